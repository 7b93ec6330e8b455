package broadcast

import "time"

// A use is a filter that feeds have.
type use struct {
	// Static after construction.
	filter Filter
	lane   *lane // nil if Filters.Match decides

	feeds []*feed // guarded by Hub.mu
}

// A verdict is what is being decided about.
type verdict struct {
	ev  *Event
	now int64 // Unix nanoseconds
}

// errorEvery is the least time between two errors of a feed that are told.
const errorEvery = time.Second

// filter gives ev to the feeds whose filters decide at once. It is called with
// mu held.
func (h *Hub) filter(ev *Event, now int64) {
	if len(h.filters) == 0 {
		return
	}
	h.deciding = verdict{ev, now}
	h.cfg.Filters.Match(ev, h.decide)
	h.deciding.ev = nil
}

// decided is told what a filter says of the event that is being decided about.
func (h *Hub) decided(f Filter, d Decision) {
	if u := h.filters[f]; u != nil && u.lane == nil {
		h.give(u, h.deciding.ev, d, h.deciding.now)
	}
}

// give does with an event what its filter says, on all feeds of the filter that
// take it by its names. It is called with mu held.
func (h *Hub) give(u *use, ev *Event, d Decision, now int64) {
	for _, f := range u.feeds {
		if ev.Seq <= f.since || !f.sel.matches(ev) {
			continue
		}
		switch {
		case d.Err != "":
			h.failed(f, ev.Seq, d.Err, now)
		case d.Match:
			f.quiet = now
			f.append(f.ch.place(u, ev, d.Data))
		}
	}
}

// A placed is where the frame lies that was put on the aside tape last.
type placed struct {
	by *use // whose data it is; nil for the event's own
	at ref
}

// place returns where the frame of an event lies, with the data that a filter
// gave for it or, if that is nil, its own.
func (ch *channel) place(u *use, ev *Event, data []byte) ref {
	if data == nil {
		if ch.last.seq == ev.Seq {
			return ch.last
		}
		if r, ok := ch.tape.find(ev.Seq); ok {
			return r
		}
		u = nil
	}
	if p := &ch.placed; p.at.seq == ev.Seq && p.by == u && p.at.n > 0 {
		return p.at
	}
	if data == nil {
		ch.other, ch.payload = ch.appendFrame(ch.other[:0], ch.payload, ev)
	} else {
		ch.other, ch.payload = ch.appendProjected(ch.other[:0], ch.payload, ev, data)
	}
	ch.placed = placed{u, ch.putAside(ch.other, ev.Seq, isAside)}
	return ch.placed.at
}

// putAside puts a frame on the tape that only filtered feeds refer to.
func (ch *channel) putAside(frame []byte, seq uint64, kind refKind) ref {
	t := ch.aside.Load()
	if t == nil {
		t = ch.newTape(seq)
		ch.aside.Store(t)
	}
	return ref{off: t.append(frame, seq, 1), seq: seq, n: uint32(len(frame)), kind: kind}
}

// A failure is what a feed's filter threw and its streams were not told yet.
type failure struct {
	FilterError       // with Errors 0: there is nothing to be told
	told        int64 // Unix nanoseconds of the last time
	listed      bool  // it stands in Hub.failing
}

// failed notes that a feed's filter threw on an event. It is called with mu held.
func (h *Hub) failed(f *feed, seq uint64, message string, now int64) {
	h.met.filterErrors[f.tier()].Inc()
	if f.failure == nil {
		f.failure = new(failure)
	}
	x := f.failure
	if x.Errors == 0 {
		x.FilterError = FilterError{Epoch: f.ch.epoch, Seq: seq, Message: message, Filter: f.sel.Filter.String()}
	}
	x.Errors++
	switch {
	case now-x.told >= int64(errorEvery):
		f.tellFailure(seq, now)
	case !x.listed:
		x.listed = true
		h.failing = append(h.failing, f)
	}
}

// tellFailure puts what the filter threw into the feed, behind everything up to
// seq.
func (f *feed) tellFailure(seq uint64, now int64) {
	ch, x := f.ch, f.failure
	ch.other = ch.format.appendError(ch.other[:0], x.FilterError, f.asData)
	x.FilterError, x.told = FilterError{}, now
	f.append(ch.putAside(ch.other, seq, isNote))
}

// tellFailures tells the errors that came too soon after others, once a second
// has gone by. It is called with mu held.
func (h *Hub) tellFailures(now int64) {
	later := h.failing[:0]
	for _, f := range h.failing {
		switch x := f.failure; {
		case f.streams.Load() > 0 && x.Errors > 0 && now-x.told < int64(errorEvery):
			later = append(later, f)
		case f.streams.Load() > 0 && x.Errors > 0:
			f.tellFailure(f.head(), now)
			fallthrough
		default:
			x.listed = false
		}
	}
	clear(h.failing[len(later):])
	h.failing = later
}

// tier returns the place of the feed's filter in counters: 0 if it decides at
// once, 1 if it is of a lane.
func (f *feed) tier() int {
	if f.lane != nil {
		return 1
	}
	return 0
}

// uses makes f one of the feeds of its filter. It is called with mu held.
func (h *Hub) uses(f *feed) {
	if f.sel.Filter == nil {
		f.ch.index.add(f)
		return
	}
	u := h.filters[f.sel.Filter]
	if u == nil {
		u = &use{filter: f.sel.Filter}
		if name := u.filter.Lane(); name != "" {
			u.lane = h.lane(name)
			u.lane.uses = append(u.lane.uses, u)
		}
		h.filters[u.filter] = u
		h.filtering.Add(1)
		h.cfg.Filters.Add(u.filter)
	}
	u.feeds = append(u.feeds, f)
	f.lane = u.lane
}

// unuses is the reverse of uses.
func (h *Hub) unuses(f *feed) {
	if f.sel.Filter == nil {
		f.ch.index.remove(f)
		return
	}
	u := h.filters[f.sel.Filter]
	if u.feeds = without(u.feeds, f); len(u.feeds) > 0 {
		return
	}
	if u.lane != nil {
		u.lane.drop(u)
	}
	delete(h.filters, u.filter)
	h.filtering.Add(-1)
	h.cfg.Filters.Remove(u.filter)
}
