package main

import (
	"context"
	"slices"
	"sync/atomic"

	"carillon/httpd/broadcast"
	"carillon/runtime"
	"carillon/scripts/filter"
	"carillon/scripts/filter/worker"
)

// matching is the set's side of filters: the hub calls Add, Remove and Match
// one at a time.
type matching struct {
	yield func(broadcast.Filter, broadcast.Decision) // of the Match under way
	each  func(*filter.Entry, filter.Outcome)        // made once: Match allocates nothing

	decided, failed atomic.Uint64 // decisions that were a match or an error; errors
}

func (m *matching) begin() {
	m.each = func(e *filter.Entry, o filter.Outcome) {
		m.count(o)
		for f := e.Value.(*liveFilter); f != nil; f = f.next {
			m.yield(f, broadcast.Decision(o))
		}
	}
}

func (m *matching) count(o filter.Outcome) {
	m.decided.Add(1)
	if o.Err != "" {
		m.failed.Add(1)
	}
}

// Add puts a compiled filter into the set. Several may share an entry: a named
// one and the same text given by a stream decide together.
func (f *filters) Add(added broadcast.Filter) {
	l := added.(*liveFilter)
	f.mu.Lock()
	l.users++
	f.mu.Unlock()
	if l.program == nil {
		return
	}
	l.entry = f.set.Add(l.program)
	l.next, _ = l.entry.Value.(*liveFilter)
	l.entry.Value = l
}

// Remove is the reverse of Add.
func (f *filters) Remove(removed broadcast.Filter) {
	l := removed.(*liveFilter)
	if l.program != nil {
		first := l.entry.Value.(*liveFilter)
		if first == l {
			l.entry.Value = l.next
		}
		for ; first != nil; first = first.next {
			if first.next == l {
				first.next = l.next
			}
		}
		f.set.Remove(l.entry)
		l.entry, l.next = nil, nil
	}
	f.leave(l)
}

// Match decides with all compiled filters in use.
func (f *filters) Match(ev *broadcast.Event, yield func(broadcast.Filter, broadcast.Decision)) {
	f.matching.yield = yield
	f.set.Decide(ev.Value.(*runtime.Event), f.matching.each)
	f.matching.yield = nil
}

// Ask has the worker of a lane, which is a trust domain, decide. What several
// filters run is asked once.
func (f *filters) Ask(ctx context.Context, lane string, events []*broadcast.Event, asked []broadcast.Filter, yield func(int, int, broadcast.Decision)) error {
	var full []*worker.Filter
	var places [][]int // in asked, for each of full
	for i, a := range asked {
		l := a.(*liveFilter)
		place := slices.Index(full, l.full)
		if place < 0 {
			place, full, places = len(full), append(full, l.full), append(places, nil)
		}
		places[place] = append(places[place], i)
	}
	return f.pool.Decide(ctx, lane, values(events), full, nil, func(place, event int, o filter.Outcome) {
		for _, i := range places[place] {
			yield(i, event, broadcast.Decision(o))
		}
	})
}

// Decide decides with one filter about what has been.
func (f *filters) Decide(ctx context.Context, asked broadcast.Filter, events []*broadcast.Event, yield func(int, broadcast.Decision)) error {
	l := asked.(*liveFilter)
	if l.program == nil {
		return f.pool.Decide(ctx, l.full.Domain(), values(events), []*worker.Filter{l.full}, nil,
			func(_, event int, o filter.Outcome) { yield(event, broadcast.Decision(o)) })
	}
	seen := f.events.Get().(*filter.Event)
	defer f.events.Put(seen)
	for i, ev := range events {
		if i%64 == 63 && ctx.Err() != nil {
			return ctx.Err()
		}
		seen.Reset(ev.Value.(*runtime.Event))
		if o := l.program.Eval(seen); o.Match || o.Err != "" {
			f.matching.count(o)
			yield(i, broadcast.Decision(o))
		}
	}
	return nil
}

func values(events []*broadcast.Event) []*runtime.Event {
	out := make([]*runtime.Event, len(events))
	for i, ev := range events {
		out[i] = ev.Value.(*runtime.Event)
	}
	return out
}
