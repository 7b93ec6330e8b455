package broadcast

import (
	"bytes"
	"cmp"
	"slices"
	"sync/atomic"
	"time"
)

// A lane decides for the filters of one name, which may take long: beside
// Publish, a batch of events at a time. Its feeds are complete up to its own
// head, and their streams go by that as others go by the hub's. When it falls
// too far behind, what it has not decided about is left to the readers of the
// journal.
type lane struct {
	// Static after construction.
	h    *Hub
	name string
	wake chan struct{} // of capacity 1; there is something to decide about

	head atomic.Uint64 // its feeds are complete up to here; stored under Hub.mu
	crew crew          // reads the journal for its feeds; guarded by readers.mu

	// Guarded by Hub.mu.
	queue []*Event // published and not taken yet
	uses  []*use

	// Owned by run.
	events  []*Event // taken, and not decided about yet
	last    uint64   // the last sequence of those taken, wanted or not; 0 if all are decided about
	asked   []*use
	filters []Filter
	sels    []*Selection // of the feeds
	notes   []note
	failing bool // the last time it was asked
}

// A note is a filter's decision on an event, by their places in what was asked.
type note struct {
	event, use int
	Decision
}

const (
	// laneQueue is how many events may wait for a lane: some seconds at a
	// thousand events per second, as long as it takes to replace a worker.
	laneQueue = 4096
	// laneBatch is how many events a lane is asked about together.
	laneBatch = 256
	// laneRetry is how long a lane waits before it asks again after an error.
	laneRetry = 200 * time.Millisecond
)

// lane returns the lane of a name, which begins with its first filter. It is
// called with mu held.
func (h *Hub) lane(name string) *lane {
	l := h.lanes[name]
	if l == nil {
		l = &lane{h: h, name: name, wake: make(chan struct{}, 1), crew: crew{most: 1}}
		h.lanes[name] = l
		if !h.cfg.byHand {
			go l.run()
		}
	}
	return l
}

// drop takes a filter off the lane. A lane without filters ends soon. It is
// called with Hub.mu held.
func (l *lane) drop(u *use) {
	l.uses = slices.DeleteFunc(l.uses, func(o *use) bool { return o == u })
	if len(l.uses) == 0 {
		l.queue = nil
		l.signal()
	}
}

func (l *lane) signal() {
	select {
	case l.wake <- struct{}{}:
	default: // it is to look already
	}
}

// take puts an event into the queue. It is called with Hub.mu held.
func (l *lane) take(ev *Event) {
	switch {
	case len(l.uses) == 0:
	case len(l.queue) < l.h.cfg.laneQueue:
		l.queue = append(l.queue, ev)
	default:
		l.overflow(ev.Seq)
	}
}

// overflow leaves everything up to seq that is not decided about to the readers.
func (l *lane) overflow(seq uint64) {
	l.h.met.overflows.Inc()
	l.h.cfg.Log.Warn("filters are too slow; their streams read the journal", "lane", l.name, "events", len(l.queue)+1)
	l.queue = nil
	l.head.Store(seq)
	for _, u := range l.uses {
		for _, f := range u.feeds {
			f.lose(seq)
		}
	}
}

// run decides until the lane has no filter any more.
func (l *lane) run() {
	for {
		switch l.turn() {
		case laneOver:
			return
		case laneIdle:
			select {
			case <-l.wake:
			case <-l.h.readers.ctx.Done():
				return
			}
		case laneFailed:
			select {
			case <-time.After(laneRetry):
			case <-l.h.readers.ctx.Done():
				return
			}
		}
	}
}

type laneState int

const (
	laneBusy   laneState = iota
	laneIdle             // it has decided about everything
	laneFailed           // it could not be asked
	laneOver
)

// turn decides about a batch of events.
func (l *lane) turn() laneState {
	if state := l.next(); state != laneBusy {
		return state
	}
	l.leaveOut()
	l.notes = l.notes[:0]
	if len(l.events) > 0 {
		err := l.h.cfg.Filters.Ask(l.h.readers.ctx, l.name, l.events, l.filters, func(filter, event int, d Decision) {
			d.Data = bytes.Clone(d.Data)
			l.notes = append(l.notes, note{event, filter, d})
		})
		if err != nil {
			if !l.failing {
				l.h.cfg.Log.Warn("filters cannot be asked; trying again", "lane", l.name, "error", err)
			}
			l.failing = true
			return laneFailed
		}
		l.failing = false
	}
	l.deliver()
	clear(l.events)
	l.events, l.last = l.events[:0], 0
	return laneBusy
}

// next takes what is to be decided about, unless the last batch still is.
func (l *lane) next() laneState {
	h := l.h
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case len(l.uses) == 0:
		delete(h.lanes, l.name)
		return laneOver
	case l.last != 0:
		return laneBusy
	}
	n := min(len(l.queue), laneBatch)
	if n == 0 {
		return laneIdle
	}
	l.last = l.queue[n-1].Seq
	l.events = append(l.events[:0], l.queue[:n]...)
	clear(l.queue[:n])
	l.queue = l.queue[n:]
	l.asked, l.filters, l.sels = append(l.asked[:0], l.uses...), l.filters[:0], l.sels[:0]
	for _, u := range l.uses {
		l.filters = append(l.filters, u.filter)
		for _, f := range u.feeds {
			l.sels = append(l.sels, &f.sel)
		}
	}
	return laneBusy
}

// leaveOut drops the events whose names no feed of the lane wants.
func (l *lane) leaveOut() {
	if slices.ContainsFunc(l.sels, (*Selection).allNames) {
		return
	}
	l.events = slices.DeleteFunc(l.events, func(ev *Event) bool {
		return !slices.ContainsFunc(l.sels, func(sel *Selection) bool { return sel.matches(ev) })
	})
}

// deliver gives the feeds what was decided, in the order of events. It gives
// the hub's lock back after each, as a thousand feeds may take it.
func (l *lane) deliver() {
	h := l.h
	slices.SortStableFunc(l.notes, func(a, b note) int { return cmp.Compare(a.event, b.event) })
	now, notes := h.cfg.Now().UnixNano(), l.notes
	for i, ev := range l.events {
		n := 0
		for n < len(notes) && notes[n].event == i {
			n++
		}
		l.deliverOne(ev, notes[:n], now)
		notes = notes[n:]
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if l.last > l.head.Load() {
		l.head.Store(l.last)
	}
	if h.closed && len(l.queue) == 0 { // the pumps wait for this
		for _, u := range l.uses {
			for _, f := range u.feeds {
				f.touch()
			}
		}
	}
	h.awaken()
	h.wake()
}

func (l *lane) deliverOne(ev *Event, notes []note, now int64) {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	if ev.Seq <= l.head.Load() {
		return // an overflow has overtaken it
	}
	for _, n := range notes {
		l.h.give(l.asked[n.use], ev, n.Decision, now)
	}
	l.head.Store(ev.Seq)
}

// lose notes that the feed lacks what its lane has not decided about up to seq.
// Streams that come so far in it go to the journal. It is called with Hub.mu held.
func (f *feed) lose(seq uint64) {
	f.append(ref{seq: seq, kind: isHole})
	f.mu.Lock()
	f.base = seq
	f.mu.Unlock()
}

// A wait is a stream that has something to do once its feed is complete up to a
// sequence, whether or not there is an event for it.
type wait struct {
	s    *Stream
	feed *feed
	seq  uint64
}

// awaken has the streams served that waited for what was published or decided.
// It is called with mu held.
func (h *Hub) awaken() {
	if len(h.waits) == 0 {
		return
	}
	h.waits = slices.DeleteFunc(h.waits, func(w wait) bool {
		if w.feed.head() < w.seq && w.feed.streams.Load() > 0 {
			return false
		}
		h.pumps[w.s.home].look(w.s)
		return true
	})
}
