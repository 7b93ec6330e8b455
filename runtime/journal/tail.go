package journal

import (
	"context"
	"errors"
	"sort"

	"carillon/runtime"
)

// batchMost is how many events Tail hands over at once: enough to share the
// cost of a call, few enough to keep the first from waiting for the last.
const batchMost = 256

// A tail is one call of Tail. Its fields are guarded by Journal.mu.
type tail struct {
	at   uint64        // it took all of recent up to here
	wake chan struct{} // of one
}

// show makes stored appends visible to Tail and Read.
func (j *Journal) show(stored []*entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range stored {
		if len(j.tails) > 0 {
			j.recent = append(j.recent, e.events...)
		} else {
			j.used -= len(e.events)
			j.usedSize -= e.size
		}
	}
	last := stored[len(stored)-1].last()
	j.durable.Store(last)
	j.unsynced.Store(true)
	if len(j.tails) == 0 {
		j.floor = last
		j.room.Broadcast()
	}
	for t := range j.tails {
		wake(t.wake)
	}
}

// Tail implements runtime.Journal. Events appended since Tail was called come
// from memory, as the pointers given to Append, which are kept until every
// Tail took them; a Tail that stands still thus stops Append after MaxPending
// events. Older ones are read. Each batch is the receiver's to keep.
func (j *Journal) Tail(ctx context.Context, after uint64, fn func([]*runtime.Event)) error {
	t, err := j.addTail(after)
	if err != nil {
		return err
	}
	defer j.removeTail(t)
	if err := j.catchUp(ctx, after, t.at, fn); err != nil {
		return err
	}
	for {
		batch := j.nextBatch(t)
		if len(batch) > 0 {
			fn(batch)
			j.took(t, batch[len(batch)-1].Seq)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		select {
		case <-t.wake:
		case <-ctx.Done():
			return ctx.Err()
		case <-j.done:
			if len(j.nextBatch(t)) == 0 {
				return ErrClosed
			}
		}
	}
}

func (j *Journal) addTail(after uint64) (*tail, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil, ErrClosed
	}
	t := &tail{at: max(after, j.floor), wake: make(chan struct{}, 1)}
	j.tails[t] = struct{}{}
	return t, nil
}

func (j *Journal) removeTail(t *tail) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.tails, t)
	j.trim()
}

func (j *Journal) nextBatch(t *tail) []*runtime.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	from := j.recentAfter(t.at)
	to := min(from+batchMost, len(j.recent))
	return j.recent[from:to:to]
}

func (j *Journal) recentAfter(seq uint64) int {
	return sort.Search(len(j.recent), func(i int) bool { return j.recent[i].Seq > seq })
}

func (j *Journal) took(t *tail, seq uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	t.at = seq
	j.trim()
}

// trim lets go of what every tail took. j.mu is held.
func (j *Journal) trim() {
	keep := j.durable.Load()
	for t := range j.tails {
		keep = min(keep, t.at)
	}
	n := j.recentAfter(keep)
	if n == 0 {
		j.floor = max(j.floor, keep)
		return
	}
	for _, ev := range j.recent[:n] {
		j.used--
		j.usedSize -= len(ev.JSON)
	}
	j.floor = max(j.floor, keep)
	if j.recent = j.recent[n:]; len(j.recent) == 0 {
		j.recent = nil // and what it was cut from
	}
	j.room.Broadcast()
}

// catchUp reads the events after a sequence up to another, and goes on where
// it was when reading is cut short.
func (j *Journal) catchUp(ctx context.Context, after, upTo uint64, fn func([]*runtime.Event)) error {
	batch := make([]*runtime.Event, 0, batchMost)
	flush := func() {
		if len(batch) > 0 {
			fn(batch)
			batch = make([]*runtime.Event, 0, batchMost)
		}
	}
	r := readRange(after, upTo)
	for {
		err := j.readEvents(ctx, r, func(ev *runtime.Event) bool {
			if batch = append(batch, ev); len(batch) == batchMost {
				flush()
			}
			return ctx.Err() == nil
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		flush()
		if err == nil || errors.Is(err, ErrClosed) {
			return err
		}
		j.log.Warn("journal: reading for a tail, going on", "after", r.after, "error", err)
	}
}
