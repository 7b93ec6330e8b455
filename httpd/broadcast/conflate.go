package broadcast

import (
	"fmt"
	"strings"
)

// conflate is read for a stream that wants only what is not outdated. It gives
// a part of what is left of the events up to the job's merge. What is left
// depends on that end alone: so the turns that follow give the rest of the
// same, and the first one knows how much was left out.
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
	if left.merged+left.dropped > 0 {
		t.lead = Gap{From: t.pos + 1, To: to, Reason: Conflated, Merged: left.merged, Dropped: left.dropped}
	}
	whole := true
	err = h.cfg.Replay(t.r.ctx, t.pos, func(ev *Event) bool {
		if ev.Seq > to {
			return false
		}
		if left.has(ev) {
			t.event(ev)
			whole = len(t.data) < h.cfg.merged
		}
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
	last            map[string]uint64 // sequence of the last event of each key
	keyless         []uint64          // ring of the newest ones' sequences
	most            int               // of them
	seen            int               // events without a key
	merged, dropped uint64
}

// survivors reads what the selection takes behind t.pos, up to and including to.
func (t *turn) survivors(to uint64) (*survivors, error) {
	left := &survivors{last: make(map[string]uint64), most: t.r.h.cfg.keyless}
	f := t.j.feed
	err := t.r.h.cfg.Replay(t.r.ctx, t.pos, func(ev *Event) bool {
		if ev.Seq > to {
			return false
		}
		if f.whole || f.sel.matches(ev) {
			left.add(ev)
		}
		return true
	})
	return left, err
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

// has reports whether an event of the range is given. One without a key must
// match the selection, as those with a key do that are found.
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
