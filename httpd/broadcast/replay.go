package broadcast

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"carillon/internal/sse"
)

const (
	chunkBytes = 64 << 10    // a filtered turn of a replay ends after this much
	chunkTime  = time.Second // or this long, so that its stream hears of it

	chunkWait = 10 * time.Millisecond // and after this long, if it has something and more must be read

	// A reading goes that many passages beyond the last stream that waits for
	// it: each start costs the journal about a millisecond.
	aheadOf = 8
	// waitFor is how many events behind a stream a reading may be for the
	// stream to wait for it, rather than have one of its own.
	waitFor = 16384
)

// A job is one turn of a stream's replay.
type job struct {
	s     *Stream
	pump  pump
	feed  *feed
	check bool // pos may lie ahead of the journal
	began time.Time

	// The readers move pos from the sequence that the stream has to the one
	// that it has with out.
	pos    uint64
	told   uint64 // the position that the stream's client knows of after out
	out    *run   // frames, of which the stream lacks data
	data   []byte // the end of out.data
	events uint64 // in data
	err    error
}

// readers are goroutines that read the journal for streams that are not on
// their tape. There are at most Config.Readers, and none when none is needed.
// What they read goes onto a shelf, whole and unfiltered, so that streams that
// resume in the same region share the reading and the encoding of it.
type readers struct {
	h     *Hub
	ctx   context.Context
	shelf shelf

	mu sync.Mutex
	// Guarded by mu. A stream has one job at most, which bounds the queue.
	queue    []*job
	running  int
	readings []*reading
}

// kept gives the stream what the shelf has for it. It reports false if the
// journal has to be read, or a selection to be looked for: ask does both.
func (r *readers) kept(s *Stream) (events uint64, ok bool) {
	f := s.member.feed
	if !f.whole || s.is(checking) && s.pos > r.h.head.Load() {
		return 0, false
	}
	p := r.shelf.at(f.ch, s.pos, r.h.clock.Load())
	if p == nil {
		return 0, false
	}
	j := job{s: s, feed: f, pos: s.pos}
	j.takeAll(p)
	s.take(&j)
	r.follow(f.ch, j.pos)
	return j.events, true
}

// follow keeps a reading going that has somebody close behind it.
func (r *readers) follow(ch *channel, pos uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.readings {
		if l.ch == ch && l.after <= pos && pos <= l.goal {
			l.goal = max(l.goal, min(pos+aheadOf*passageEvents, l.bound))
		}
	}
}

// ask has the pump told by reply what follows the stream's position.
func (r *readers) ask(s *Stream) {
	s.set(replays)
	check := s.is(checking) && s.pos > r.h.head.Load()
	r.enqueue(&job{s: s, pump: s.member.pump, feed: s.member.feed, check: check, pos: s.pos, told: s.pos, began: time.Now()})
}

func (r *readers) enqueue(jobs ...*job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, jobs...)
	for n := 0; n < len(jobs) && r.running < r.h.cfg.Readers; n++ {
		r.running++
		go r.run()
	}
}

func (r *readers) run() {
	var buf passageBuffer
	for {
		j := r.nextJob()
		if j == nil {
			return
		}
		if r.advance(j) {
			r.reply(j)
		} else if l := r.attend(j); l != nil {
			l.read(&buf)
		}
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

func (r *readers) reply(j *job) {
	r.h.met.replays.Inc()
	if j.err == nil {
		j.finish()
	}
	j.pump.reply(j)
}

// forget drops what nobody asked for lately.
func (r *readers) forget() { r.shelf.forget(r.h.clock.Load()) }

// advance moves a job on as far as the shelf goes. It reports whether the
// stream is to have what there is then; else the journal has to be read. What
// lies beyond the hub's head comes over the tape.
func (r *readers) advance(j *job) bool {
	if j.check && !r.check(j) {
		return true
	}
	keys, sought := []nameKey(nil), false
	for limit := r.h.head.Load(); j.pos < limit; {
		p := r.shelf.at(j.feed.ch, j.pos, r.h.clock.Load())
		if p == nil {
			if first := min(r.h.cfg.First(), limit+1); j.pos+1 < first {
				r.gap(j, first)
				return true
			}
			spent := time.Since(j.began)
			return j.events > 0 && spent >= chunkWait || spent >= chunkTime
		}
		if j.feed.whole {
			j.takeAll(p)
			return true
		}
		if !sought {
			keys, sought = j.feed.sel.keys(), true
		}
		j.takeSome(p, keys)
		if j.out != nil && len(j.out.data) >= chunkBytes || time.Since(j.began) >= chunkTime {
			return true
		}
	}
	return true
}

// takeAll gives the job the rest of a passage, which it shares.
func (j *job) takeAll(p *passage) {
	place, offset := p.behind(j.pos)
	j.out, j.data = &p.run, p.data[offset:]
	j.events = uint64(len(p.marks) - place)
	j.pos = p.end
	j.told = p.end // no event lies between
}

// takeSome gives the job a copy of what it wants of a passage.
func (j *job) takeSome(p *passage, keys []nameKey) {
	var scratch [passageEvents]uint32
	for _, i := range p.match(scratch[:0], &j.feed.sel, keys, j.pos) {
		m := p.marks[i]
		j.append(p.data[p.start(int(i)):m.end], m.seq, true)
	}
	j.pos = p.end
}

// append gives the job a frame of its own.
func (j *job) append(frame []byte, seq uint64, event bool) {
	if j.out == nil {
		j.out = &run{}
	}
	j.out.data = append(j.out.data, frame...)
	j.out.marks = append(j.out.marks, frameMark{seq, uint32(len(j.out.data)), event})
	j.data = j.out.data
	j.told = seq
	if event {
		j.events++
	}
}

// finish ends the turn. If what came last did not match, the client still
// learns how far it is, so that it need not come back for the same again.
func (j *job) finish() {
	if j.told < j.pos {
		j.append(appendPosition(nil, j.feed.ch.epoch, j.pos), j.pos, false)
	}
}

// gap tells the reader of the stream that the events before first are gone.
func (r *readers) gap(j *job, first uint64) {
	data := fmt.Appendf(nil, `{"from":%d,"to":%d,"reason":"aged_out"}`, j.pos+1, first-1)
	j.append(sse.AppendSeqEvent(nil, j.feed.ch.epoch, first-1, "gap", data), first-1, false)
	j.pos = first - 1
	r.h.met.gaps.Inc()
}

// check finds out whether a position that a client named lies in the journal,
// which may be ahead of the hub. If not, the stream begins at the head. It
// reports false if that ends the turn.
func (r *readers) check(j *job) bool {
	j.check = false
	if j.pos <= r.h.head.Load() {
		return true
	}
	found := false
	err := r.h.cfg.Replay(r.ctx, j.pos-1, func(*Event) bool {
		found = true
		return false
	})
	if err != nil {
		j.err = fmt.Errorf("looking for %d in the journal: %w", j.pos, err)
		return false
	}
	if head := r.h.head.Load(); !found && j.pos > head {
		epoch := j.feed.ch.epoch
		data := fmt.Appendf(nil, `{"epoch":%q,"head":%d,"reason":"ahead"}`, epoch, head)
		j.append(sse.AppendSeqEvent(nil, epoch, head, "reset", data), head, false)
		j.pos = head
	}
	return false
}

// keepFrame lets go of what own holds of a run, but for the rest of the frame
// that comes next: a stream that is blocked would keep much memory, and may
// never come back. It returns how many events the stream so gives up, to be
// read again.
func (s *Stream) keepFrame() (events uint64) {
	r := s.run
	if s.run = nil; r == nil || len(s.own) == 0 {
		return 0
	}
	at := len(r.data) - len(s.own)
	i, _ := slices.BinarySearchFunc(r.marks, uint32(at+1), func(m frameMark, end uint32) int { return int(m.end) - int(end) })
	for _, m := range r.marks[i+1:] {
		if m.event {
			events++
		}
	}
	s.own = bytes.Clone(r.data[at:r.marks[i].end])
	s.pos = r.marks[i].seq
	s.events -= events
	return events
}
