package broadcast

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	chunkBytes = 64 << 10    // a turn of a replay ends after this much
	chunkTime  = time.Second // or this long, so that its stream hears of it
	keptChunks = 64          // for streams that resume at the same place
	clockEvery = 64          // events between looks at the clock
)

// A job is one turn of a stream's replay.
type job struct {
	s     *Stream
	pump  pump
	feed  *feed
	check bool   // after may lie ahead of the journal
	limit uint64 // nothing above it is given
	merge uint64 // it is a conflation up to here; 0 if not

	// The reader moves pos from the sequence that the stream has to the one
	// that it has with data.
	pos uint64
	chunk
	err error
}

// A chunk is what one turn of a replay yields. It never changes.
type chunk struct {
	gap    Gap // told before data; none if it has no Reason
	data   []byte
	end    uint64 // the position after it
	events uint64
}

type chunkKey struct {
	feed      *feed
	after, to uint64 // to is that of a conflation
}

// readers are goroutines that read the journal for streams that are not on
// their tape. There are at most Config.Readers, and none when none is needed.
type readers struct {
	h   *Hub
	ctx context.Context

	mu sync.Mutex
	// Guarded by mu. A stream has one job at most, which bounds the queue.
	queue   []*job
	running int
	kept    map[chunkKey]chunk
	order   []chunkKey // of kept, oldest first
}

func (r *readers) ask(s *Stream) {
	s.set(replays)
	j := &job{s: s, pump: s.member.pump, feed: s.member.feed, check: s.is(checking) && s.pos > r.h.head.Load(), pos: s.pos, limit: noLimit}
	if x := s.extra.Load(); x != nil {
		j.limit, j.merge = x.limit, x.conflating(s.pos)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, j)
	if r.running < r.h.cfg.Readers {
		r.running++
		go r.run()
	}
}

func (r *readers) run() {
	var scratch, payload []byte
	for {
		j := r.nextJob()
		if j == nil {
			return
		}
		c, known := r.known(j)
		if !known {
			t := turn{r: r, j: j, data: scratch[:0], payload: payload}
			if j.merge != 0 {
				c, j.err = t.conflate()
			} else {
				c, j.err = t.read()
			}
			scratch, payload = t.data, t.payload
			r.keep(j, c)
		}
		r.h.met.replays.Inc()
		j.chunk, j.pos = c, c.end
		j.pump.reply(j)
	}
}

func (r *readers) nextJob() *job {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		r.queue = nil
		r.running--
		return nil
	}
	j := r.queue[0]
	r.queue[0] = nil
	r.queue = r.queue[1:]
	return j
}

func (r *readers) known(j *job) (chunk, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.kept[j.key()]
	return c, ok && !j.check && c.end <= j.limit
}

func (j *job) key() chunkKey { return chunkKey{j.feed, j.pos, j.merge} }

// keep remembers a chunk: what follows a position stays what it is.
func (r *readers) keep(j *job, c chunk) {
	if j.err != nil || c.end == j.pos || j.check {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.order) == keptChunks {
		delete(r.kept, r.order[0])
		r.order = append(r.order[:0], r.order[1:]...)
	}
	k := j.key()
	if _, ok := r.kept[k]; !ok {
		r.order = append(r.order, k)
	}
	r.kept[k] = c
}

// forget drops what is kept when no stream reads.
func (r *readers) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running == 0 {
		clear(r.kept)
		r.order = nil
	}
}

// A turn reads the journal for one job.
type turn struct {
	r       *readers
	j       *job
	data    []byte
	payload []byte
	lead    Gap // told before data
	pos     uint64
	told    uint64 // the position that the stream's client knows of after data
	events  uint64
}

// read frames what follows the job's position, up to a chunk or the hub's
// head, whichever comes first. What lies beyond the head comes over the tape.
func (t *turn) read() (chunk, error) {
	h := t.r.h
	t.pos, t.told = t.j.pos, t.j.pos
	if t.j.check {
		if err := t.check(); err != nil {
			return chunk{}, err
		}
	}
	limit := min(h.head.Load(), t.j.limit)
	if t.pos >= limit {
		return t.chunk(), nil
	}
	t.gap(min(h.cfg.First(), limit+1))
	whole, started, seen := true, time.Now(), 0
	err := h.cfg.Replay(t.r.ctx, t.pos, func(ev *Event) bool {
		if ev.Seq > limit {
			return false
		}
		if ev.Seq != t.pos+1 && !t.gap(min(h.cfg.First(), ev.Seq)) {
			whole = false
			return false
		}
		t.event(ev)
		seen++
		whole = len(t.data) < chunkBytes && (seen%clockEvery != 0 || time.Since(started) < chunkTime)
		return whole
	})
	if err != nil {
		return chunk{}, fmt.Errorf("reading the journal after %d: %w", t.pos, err)
	}
	if whole && t.gap(min(h.cfg.First(), limit+1)) { // what aged out since the first look
		t.pos = max(t.pos, limit) // whatever else was missing before the head is no event
	}
	return t.chunk(), nil
}

func (t *turn) event(ev *Event) {
	t.pos = ev.Seq
	if f := t.j.feed; f.whole || f.sel.matches(ev) {
		t.data, t.payload = f.ch.appendFrame(t.data, t.payload, ev)
		t.events++
		t.told = ev.Seq
	}
}

// chunk ends the turn. If what came last did not match, the client still
// learns how far it is, so that it need not come back for the same again.
func (t *turn) chunk() chunk {
	if t.told < t.pos {
		t.data = appendPosition(t.data, t.j.feed.ch.epoch, t.pos)
	}
	return chunk{t.lead, bytes.Clone(t.data), t.pos, t.events}
}

// gap tells the reader of the stream that the events before first are gone. It
// reports false if that must wait for the next turn: a gap begins one.
func (t *turn) gap(first uint64) bool {
	if t.pos+1 >= first {
		return true
	}
	if len(t.data) > 0 || t.lead.Reason != "" {
		return false
	}
	t.lead = Gap{From: t.pos + 1, To: first - 1, Reason: AgedOut}
	t.pos, t.told = first-1, first-1
	return true
}

// check finds out whether a position that a client named lies in the journal,
// which may be ahead of the hub. If not, the stream begins at the head.
func (t *turn) check() error {
	h := t.r.h
	if t.pos <= h.head.Load() {
		return nil
	}
	found := false
	err := h.cfg.Replay(t.r.ctx, t.pos-1, func(*Event) bool {
		found = true
		return false
	})
	if err != nil {
		return fmt.Errorf("looking for %d in the journal: %w", t.pos, err)
	}
	if head := h.head.Load(); !found && t.pos > head {
		t.lead = Gap{Reset: true, Epoch: t.j.feed.ch.epoch, To: head, Reason: Ahead}
		t.pos, t.told = head, head
	}
	return nil
}
