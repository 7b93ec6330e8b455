package broadcast

import (
	"bytes"
	"fmt"
	"slices"
)

// A reading is one pass over a part of the journal, for all jobs whose position lies in
// it. It puts what it reads onto the shelf, a passage at a time.
type reading struct {
	// Static after construction.
	r            *readers
	ch           *channel
	after, bound uint64 // it reads what lies between, at most

	// Guarded by readers.mu.
	waiting []*job
	at      uint64 // it has passed everything up to here, and maybe more
	goal    uint64 // it ends here if nobody else comes to wait

	// Owned by read.
	pos  uint64 // it has passed everything up to here
	upTo uint64 // it ends here, unless goal was moved
	buf  *passageBuffer
}

// A passageBuffer is memory in which passages are made.
type passageBuffer struct {
	after   uint64
	data    []byte
	payload []byte
	marks   []frameMark
	about   []about
	events  []*Event
}

// attend has j wait for a reading that comes by its position. It returns one
// that is to be read, if there was none.
func (r *readers) attend(j *job) *reading {
	first := r.h.cfg.First()
	r.mu.Lock()
	defer r.mu.Unlock()
	goal := j.pos - j.pos%passageEvents + aheadOf*passageEvents
	for _, l := range r.readings {
		if l.ch == j.feed.ch && l.at <= j.pos && j.pos < min(l.at+waitFor, l.bound) {
			l.waiting = append(l.waiting, j)
			l.goal = max(l.goal, min(goal, l.bound))
			return nil
		}
	}
	from, to := r.shelf.room(j.feed.ch, j.pos)
	if from > j.pos { // it was read a moment ago
		c := r.crewOf(j)
		c.queue = append(c.queue, j)
		return nil
	}
	l := &reading{r: r, ch: j.feed.ch, waiting: []*job{j}}
	l.after = max(j.pos-j.pos%passageEvents, from, min(j.pos, first-1))
	l.bound = min(to, r.h.head.Load())
	for _, o := range r.readings {
		if o.ch == l.ch && o.after > j.pos {
			l.bound = min(l.bound, o.after)
		}
	}
	l.at, l.goal = l.after, min(goal, l.bound)
	r.readings = append(r.readings, l)
	return l
}

// read reads, and answers those who wait.
func (l *reading) read(buf *passageBuffer) {
	h := l.r.h
	l.buf, l.pos, l.upTo = buf, l.after, l.goalNow(l.after)
	l.begin(l.after)
	err := h.cfg.Replay(l.r.ctx, l.after, func(ev *Event) bool {
		if ev.Seq <= l.pos {
			return true
		}
		if ev.Seq > l.upTo {
			return false
		}
		l.skip(ev.Seq - 1)
		l.add(ev)
		return ev.Seq < l.upTo
	})
	if err == nil {
		l.skip(l.upTo) // whatever else is missing up to there is no event
		l.close(l.pos)
	} else {
		err = fmt.Errorf("reading the journal after %d: %w", l.pos, err)
	}
	l.end(err)
}

// goalNow tells those who come how far the reading is, and returns how far it
// has to go.
func (l *reading) goalNow(at uint64) uint64 {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	l.at = at
	return l.goal
}

// skip passes over sequences that the journal does not hold. Those that aged
// out since reading began are in no passage, so that their gap will be told.
func (l *reading) skip(to uint64) {
	if to <= l.pos {
		return
	}
	if first := l.r.h.cfg.First(); first > l.pos+1 {
		l.close(l.pos)
		l.begin(min(first-1, to))
	}
	if end := to - to%passageEvents; end > l.buf.after && end > l.pos {
		l.close(end)
	}
	l.pos = to
}

func (l *reading) begin(after uint64) {
	b := l.buf
	b.after, l.pos = after, after
	b.data, b.marks, b.about, b.events = b.data[:0], b.marks[:0], b.about[:0], nil
}

func (l *reading) add(ev *Event) {
	b := l.buf
	b.data, b.payload = l.ch.appendFrame(b.data, b.payload, ev)
	b.marks = append(b.marks, frameMark{ev.Seq, uint32(len(b.data))})
	b.about = append(b.about, about{ev.Type, ev.Domain, ev.EntityID})
	if l.r.h.filtering.Load() > 0 && len(b.events)+1 == len(b.marks) { // from the passage's first event on
		b.events = append(b.events, ev)
	}
	l.pos = ev.Seq
	if ev.Seq%passageEvents == 0 || len(b.data) >= passageBytes {
		l.close(ev.Seq)
	}
}

// close ends the passage at hand, and begins the next one behind it.
func (l *reading) close(end uint64) {
	b := l.buf
	if end > b.after {
		p := &passage{after: b.after, end: end, data: bytes.Clone(b.data), marks: slices.Clone(b.marks), about: slices.Clone(b.about)}
		if len(b.events) == len(b.marks) {
			p.events = b.events
		}
		l.r.shelf.add(l.ch, p, l.r.h.clock.Load())
		l.answer(end)
		l.upTo = l.goalNow(end)
	}
	l.begin(end)
}

// answer goes on with those whose position was passed.
func (l *reading) answer(end uint64) {
	var passed []*job
	l.r.mu.Lock()
	l.waiting = slices.DeleteFunc(l.waiting, func(j *job) bool {
		if j.pos < end {
			passed = append(passed, j)
			return true
		}
		return false
	})
	l.r.mu.Unlock()
	for _, j := range passed {
		if j.feed.lane != nil { // which may take long
			l.r.enqueue(j)
			continue
		}
		if l.r.advance(j) {
			j.finish()
			l.r.reply(j)
			continue
		}
		l.r.mu.Lock()
		l.waiting = append(l.waiting, j) // it is ahead now, or read ends and lets it try again
		l.goal = max(l.goal, min(j.pos+passageEvents, l.bound))
		l.r.mu.Unlock()
	}
}

// end lets those who still wait try again, or fail.
func (l *reading) end(err error) {
	r := l.r
	r.mu.Lock()
	r.readings = slices.DeleteFunc(r.readings, func(o *reading) bool { return o == l })
	left := l.waiting
	l.waiting = nil
	r.mu.Unlock()
	if err == nil {
		r.enqueue(left...)
		return
	}
	for _, j := range left {
		j.err = err
		r.reply(j)
	}
}
