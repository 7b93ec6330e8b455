package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

const (
	folderEvery  = time.Second      // between two looks at the folder and at late acknowledgements
	startTimeout = 60 * time.Second // for the server to recover its files
	retryFirst   = 500 * time.Millisecond
	retryMost    = 10 * time.Second
)

// run sends what is queued and takes the acknowledgements, until Close.
func (j *Journal) run() {
	defer close(j.done)
	tick := time.NewTicker(folderEvery)
	defer tick.Stop()
	for {
		if j.w.blocked != nil {
			if !j.runBlocked() {
				return
			}
			continue
		}
		j.send()
		if j.w.blocked != nil {
			continue
		}
		select {
		case <-j.kick:
		case m := <-j.eng.acks:
			j.acked(m)
		case reason := <-j.eng.broken:
			j.fail(reason)
		case <-tick.C:
			j.checkAcks()
			j.checkFolder()
		case <-j.quit:
			j.drain()
			return
		}
	}
}

func (j *Journal) checkAcks() {
	if g := j.w.groups; len(g) > 0 && time.Since(g[0].sent) > ackTimeout {
		j.fail(fmt.Errorf("the event store has not answered for %v", ackTimeout))
	}
}

// drain stores what is left, for closeTimeout at most, and fails the rest.
func (j *Journal) drain() {
	deadline := time.After(closeTimeout)
	for j.w.blocked == nil {
		j.send()
		if j.w.blocked != nil || len(j.w.groups) == 0 {
			break
		}
		select {
		case m := <-j.eng.acks:
			j.acked(m)
		case reason := <-j.eng.broken:
			j.fail(reason)
		case <-deadline:
			j.fail(errors.New("closing took too long"))
		}
	}
	j.failAll(ErrClosed)
}

// runBlocked fails what is queued until it is time to try again. It reports
// false after Close.
func (j *Journal) runBlocked() bool {
	j.failAll(fmt.Errorf("%w: %w", ErrUnavailable, j.w.blocked))
	retry := time.NewTimer(time.Until(j.w.retryAt))
	defer retry.Stop()
	select {
	case <-j.kick:
	case <-j.quit:
		j.failAll(ErrClosed)
		return false
	case <-retry.C:
		if !j.w.unsound {
			j.w.blocked = nil
			return true
		}
		j.restart()
		j.backOff()
	}
	return true
}

// fail ends a run of the server that could not store an event, or whose answer
// can't be trusted. The next run tells what is stored: that is completed, the
// rest fails, together with all that is queued behind it. When nothing could be
// stored since the last failure, appends fail for a while without a try: on a
// full disk, each would have the server start again.
func (j *Journal) fail(reason error) {
	reason = j.eng.reason(reason)
	j.log.Error("journal: storing failed, starting the store again", "error", reason)
	j.restart()
	if j.w.blocked == nil && j.w.backoff > 0 {
		j.w.blocked = reason
	}
	j.backOff()
	j.failAll(fmt.Errorf("storing events: %w", reason))
}

func (j *Journal) backOff() {
	j.w.backoff = min(max(retryFirst, 2*j.w.backoff), retryMost)
	j.w.retryAt = time.Now().Add(j.w.backoff)
}

func (j *Journal) setEngine(eng *engine, down error) {
	j.mu.Lock()
	j.eng, j.down = eng, down
	j.mu.Unlock()
}

// restart starts the server again and brings its stream and the journal's
// knowledge of it together. When the stream can be read but not mended, as on a
// full disk, the server stays for Read, and blocked says why nothing can be
// appended.
func (j *Journal) restart() {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	j.mu.Lock()
	old, o := j.eng, j.options
	j.mu.Unlock()
	if old != nil {
		j.setEngine(nil, errors.New("starting again"))
		old.stop()
	}
	j.w.blocked, j.w.unsound = nil, false
	eng, err := startEngine(ctx, o)
	if err == nil {
		err = j.resolve(ctx, eng)
		j.setEngine(eng, nil)
	} else {
		j.setEngine(nil, err)
	}
	if err != nil {
		j.log.Warn("journal: the store is not ready, trying again", "error", err)
		j.w.blocked, j.w.unsound = err, true
		return
	}
	j.log.Info("journal: the store is ready again", "last", j.durable.Load())
}

// failAll ends all appends that are under way or queued with err, and makes
// those to come fail too, until Recover.
func (j *Journal) failAll(err error) {
	w := j.w
	w.groups, w.events, w.size = nil, 0, 0
	failed := w.pending
	for _, e := range w.taken {
		if e.sent == 0 { // else it is pending too
			failed = append(failed, e)
		}
	}
	w.pending, w.taken = nil, nil
	j.mu.Lock()
	failed = append(failed, j.queue...)
	j.queue = nil
	if len(failed) > 0 {
		j.refused = err
	}
	for _, e := range failed {
		j.used -= len(e.events)
		j.usedSize -= e.size
	}
	j.room.Broadcast()
	j.mu.Unlock()
	for _, e := range failed {
		e.done(0, err)
	}
}

// Recover implements runtime.Journal.
func (j *Journal) Recover() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.refused = nil
}

// refusal returns why nothing may be stored: the folder is lost, or an append
// failed and Recover has not been called.
func (j *Journal) refusal() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return cmp.Or(j.lost, j.refused)
}

// checkFolder looks whether the folder is still the one that was opened. What
// is stored after it was removed or replaced would be gone at the next start, so
// nothing is, for as long as the journal is open.
func (j *Journal) checkFolder() {
	j.mu.Lock()
	lost := j.lost
	j.mu.Unlock()
	if lost != nil || sameFile(j.lock, filepath.Join(j.dir, lockName)) {
		return
	}
	lost = fmt.Errorf("%w: its folder %s was removed or replaced while it was open; start again", ErrUnavailable, j.dir)
	j.log.Error("journal: nothing is stored any longer", "error", lost)
	j.mu.Lock()
	j.lost = lost
	j.mu.Unlock()
}

// Err returns why the journal can store nothing for now; nil if it can.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return cmp.Or(j.lost, j.down)
}
