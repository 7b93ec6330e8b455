package broadcast

import (
	"fmt"
	"strings"
)

// conflate is read for a stream that wants only what is not outdated. It gives
// a part of what is left of the events up to the job's merge. What is left
// depends on that end alone: so the turns that follow give the rest of the
// same. The first one tells how much is left out; since that depends on where
// it begins, it looks for itself, and the others at what it found.
func (t *turn) conflate() (chunk, error) {
	h := t.r.h
	to := t.j.merge
	t.pos, t.told = t.j.pos, t.j.pos
	if t.gap(min(h.cfg.First(), to+1)); t.lead.Reason != "" {
		return t.chunk(), nil
	}
	left, err := t.survivors(to)
	if err != nil {
		return chunk{}, fmt.Errorf("conflating the journal after %d: %w", t.pos, err)
	}
	if !t.j.begun && left.merged+left.dropped > 0 {
		t.lead = Gap{From: t.pos + 1, To: to, Reason: Conflated, Merged: left.merged, Dropped: left.dropped}
	}
	whole := true
	err = t.selected(to, left.has, func(ev *Event, data []byte) bool {
		t.event(ev, data)
		whole = len(t.data) < h.cfg.merged
		return whole
	})
	if err != nil {
		return chunk{}, fmt.Errorf("reading the journal after %d: %w", t.pos, err)
	}
	if whole {
		t.pos = to
	}
	if first := min(h.cfg.First(), to+1); first > t.j.pos+1 { // some of it may have aged out unread
		t.data, t.events, t.lead = t.data[:0], 0, Gap{}
		t.pos = t.j.pos
		t.gap(first)
	}
	return t.chunk(), nil
}

// survivors are the events of a range that a conflation gives.
type survivors struct {
	feed            *feed
	from, to        uint64
	last            map[string]uint64 // sequence of the last event of each key
	keyless         []uint64          // ring of the newest ones' sequences
	most            int               // of them
	seen            int               // events without a key
	merged, dropped uint64
}

// survivors finds what is left of what the selection takes behind t.pos, up to
// and including to.
func (t *turn) survivors(to uint64) (*survivors, error) {
	f := t.j.feed
	if left := t.r.left(f, t.pos, to); t.j.begun && left != nil {
		return left, nil
	}
	left := &survivors{feed: f, from: t.pos, to: to, last: make(map[string]uint64), most: t.r.h.cfg.keyless}
	err := t.selected(to, nil, func(ev *Event, _ []byte) bool {
		left.add(ev)
		return true
	})
	if err == nil {
		t.r.keepLeft(left)
	}
	return left, err
}

// keptSurvivors bounds what is kept of conflations under way: each may hold
// some 60 bytes for every entity.
const keptSurvivors = 8

// left returns what was found of the same range, or a longer one, if it is kept.
func (r *readers) left(f *feed, from, to uint64) *survivors {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.merged.left {
		if l.feed == f && l.from <= from && l.to == to {
			return l
		}
	}
	return nil
}

func (r *readers) keepLeft(l *survivors) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := &r.merged; len(m.left) < keptSurvivors {
		m.left = append(m.left, l)
	} else {
		m.left = append(append(m.left[:0:0], m.left[1:]...), l)
	}
}

func (l *survivors) add(ev *Event) {
	switch _, known := l.last[ev.Key]; {
	case ev.Key == "" && len(l.keyless) < l.most:
		l.keyless = append(l.keyless, ev.Seq)
		l.seen++
	case ev.Key == "":
		l.keyless[l.seen%l.most] = ev.Seq
		l.seen++
		l.dropped++
	case known:
		l.last[ev.Key] = ev.Seq
		l.merged++
	default:
		l.last[strings.Clone(ev.Key)] = ev.Seq // the event's memory is not kept
	}
}

// has reports whether an event of the range is given, if the selection takes it.
func (l *survivors) has(ev *Event) bool {
	if ev.Key != "" {
		return l.last[ev.Key] == ev.Seq
	}
	return l.seen > 0 && ev.Seq >= l.keyless[l.oldest()]
}

func (l *survivors) oldest() int {
	if l.seen <= l.most {
		return 0
	}
	return l.seen % l.most
}
