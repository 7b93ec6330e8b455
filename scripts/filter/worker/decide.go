package worker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"carillon/runtime"
	"carillon/scripts/filter"
)

const (
	// window is how many batches are on their way at a time, so that the
	// worker has the next one when it is done with one.
	window = 2
	// A batch has at most so many events, bytes of events, and decisions.
	batchEvents    = 256
	batchBytes     = 128 << 10
	batchDecisions = 8 << 10
	// turnFor is how long one call keeps others of its domain waiting.
	turnFor = 4 * time.Millisecond
	// attempts is how many processes may be lost one after the other, to no
	// filter that is known and without a decision, before a call gives up.
	attempts = 3
)

// Decide has filters of one domain decide about events. It calls out for each
// event that a filter takes or throws on: in the order of events, and of
// filters for each event, each at most once, one call at a time, from the
// calling goroutine. Filters must be distinct. Wants says which filter is asked
// about which event (places in filters and events); nil is all about all. What
// out gets is its own. Out must not call the Pool.
//
// A filter that hangs or ends the process is put into quarantine; for it, and
// for those that are in quarantine already, the outcome of each event that it
// is wanted for is an error. The others' decisions are not affected.
//
// It returns when all is decided; earlier with ctx's error when that ends,
// ErrClosed, or an error if the process can't be run: then nothing is known of
// the events after the last that out was called for.
func (p *Pool) Decide(ctx context.Context, domain string, events []*runtime.Event, filters []*Filter,
	wants func(filter, event int) bool, out func(filter, event int, o filter.Outcome)) error {
	for _, f := range filters {
		if f.lane.domain != domain {
			return fmt.Errorf("the filter %s is of %s, not of %s", f.Name(), f.lane.domain, domain)
		}
	}
	if len(filters) == 0 {
		return nil
	}
	r := &request{pool: p, events: events, filters: filters, wants: wants, out: out, attempts: attempts}
	for r.next < len(events) {
		l, err := p.take(ctx, domain)
		if err != nil {
			return err
		}
		r.lane = l
		if err := r.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// A request is one call of Decide.
type request struct {
	pool     *Pool
	lane     *lane
	events   []*runtime.Event
	filters  []*Filter
	wants    func(filter, event int) bool
	out      func(filter, event int, o filter.Outcome)
	next     int     // the first event that is not told
	sent     int     // the first event that is not on its way
	flight   []*trip // what is, oldest first
	attempts int
}

// A trip is a batch on its way.
type trip struct {
	number   uint64
	from, to int      // the events
	places   []int    // of the request's filters in the batch; -1: not asked
	why      []string // why not
	asked    int      // filters in the batch
	wants    bitmap   // what the batch has of Decide's wants
}

// run decides until all is done or others should have a turn.
func (r *request) run(ctx context.Context) error {
	defer r.lane.give()
	began := time.Now()
	var w *watch
	defer func() {
		if w != nil {
			w.stop()
		}
	}()
	for r.next < len(r.events) {
		late := ctx.Err() != nil || r.pool.ctx.Err() != nil || time.Since(began) > turnFor
		if late && len(r.flight) == 0 {
			return r.over(ctx)
		}
		if !late {
			if err := r.fill(ctx); err != nil {
				return err
			}
		}
		if len(r.flight) == 0 {
			continue // those events needed no worker
		}
		if w == nil || w.proc != r.lane.proc {
			if w != nil {
				w.stop()
			}
			w = r.lane.watch()
		}
		reply, e := w.next()
		if e == nil {
			e = r.heard(reply, ctx.Err() == nil)
		}
		if e != nil {
			if err := r.lost(e); err != nil {
				return err
			}
		}
	}
	return r.over(ctx)
}

// over returns why a call ends before all is decided, nil if it does not.
func (r *request) over(ctx context.Context) error {
	if r.next == len(r.events) {
		return nil
	}
	if ctx.Err() == nil && r.pool.ctx.Err() != nil {
		return ErrClosed
	}
	return ctx.Err()
}

// fill sends batches while there is room in the window.
func (r *request) fill(ctx context.Context) error {
	for len(r.flight) < window && r.sent < len(r.events) {
		t := r.trip()
		if t.asked == 0 {
			if len(r.flight) > 0 {
				return nil // it is not their turn yet
			}
			for i := t.from; i < t.to; i++ {
				r.refuse(t, i)
			}
			r.next, r.sent = t.to, t.to
			continue
		}
		if err := r.lane.ready(ctx); err != nil {
			return err
		}
		r.send(t)
	}
	return nil
}

// trip makes the next batch's trip; send says how many events it takes.
func (r *request) trip() *trip {
	t := &trip{from: r.sent, to: min(r.sent+batchEvents, len(r.events)), places: make([]int, len(r.filters))}
	for i, f := range r.filters {
		if q := f.quarantine(); q != nil {
			if t.why == nil {
				t.why = make([]string, len(r.filters))
			}
			t.places[i], t.why[i] = -1, q.message()
			continue
		}
		t.places[i] = t.asked
		t.asked++
	}
	if t.asked > 0 {
		t.to = min(t.to, t.from+max(batchDecisions/t.asked, 1))
	}
	return t
}

// send sends a batch, and before it the filters that the process has not got.
func (r *request) send(t *trip) {
	asked := make([]*Filter, 0, t.asked)
	for i, f := range r.filters {
		if t.places[i] >= 0 {
			asked = append(asked, f)
		}
	}
	r.lane.number++
	t.number = r.lane.number
	b, start := beginFrame(r.lane.loading(asked...), kindBatch)
	b = binary.AppendUvarint(b, t.number)
	b = binary.AppendUvarint(b, uint64(len(asked)))
	for _, f := range asked {
		b = binary.AppendUvarint(b, uint64(f.load.id))
	}
	size := 0
	for i := t.from; i < t.to; i++ {
		if e := r.events[i]; i > t.from && size+len(e.JSON) > batchBytes {
			t.to = i
		} else {
			size += len(e.JSON)
		}
	}
	t.wants = r.wanted(t)
	b = appendString(b, t.wants)
	b = binary.AppendUvarint(b, uint64(t.to-t.from))
	for _, e := range r.events[t.from:t.to] {
		b = appendEvent(b, e)
	}
	r.lane.proc.send(endFrame(b, start), len(r.flight) == 0)
	r.flight = append(r.flight, t)
	r.sent = t.to
}

// wanted is who is to decide about what, empty for all about all.
func (r *request) wanted(t *trip) bitmap {
	if r.wants == nil {
		return nil
	}
	b := newBitmap((t.to - t.from) * t.asked)
	for i := t.from; i < t.to; i++ {
		for k, place := range t.places {
			if place >= 0 && r.wants(k, i) {
				b.set((i-t.from)*t.asked + place)
			}
		}
	}
	return b
}

// heard takes what the process said. What is nonsense ends it.
func (r *request) heard(reply any, tell bool) *ended {
	switch m := reply.(type) {
	case loaded:
		// It was loaded before. Now that it can't be, the worker says so for
		// each event.
	case *part:
		t := r.flight[0]
		if m.batch != t.number || m.first != r.next-t.from || m.count < 1 || m.count > t.to-r.next ||
			len(m.matches) != len(newBitmap(m.count*t.asked)) {
			r.lane.bury()
			return &ended{reason: "gave an answer that makes no sense"}
		}
		r.told(t, m, tell)
	}
	return nil
}

// told tells the decisions of a part.
func (r *request) told(t *trip, m *part, tell bool) {
	decisions := 0
	for i := range m.count {
		for k, place := range t.places {
			if place < 0 {
				if tell {
					r.refuseOne(t, k, r.next)
				}
				continue
			}
			if len(t.wants) > 0 && !t.wants.has((r.next-t.from)*t.asked+place) {
				continue
			}
			decisions++
			r.filters[k].budget.decided++
			o := filter.Outcome{Match: m.matches.has(i*t.asked + place)}
			if len(m.extras) > 0 && m.extras[0].event == m.first+i && m.extras[0].filter == place {
				r.add(&o, m.extras[0])
				m.extras = m.extras[1:]
			}
			if tell && (o.Match || o.Err != "") {
				r.out(k, r.next, o)
			}
		}
		r.next++
	}
	r.pool.decisions.Add(uint64(decisions))
	r.attempts = attempts
	if r.next == t.to {
		r.flight = r.flight[1:]
	}
}

func (r *request) add(o *filter.Outcome, x extra) {
	if x.kind == extraProjection {
		o.Data = []byte(x.text)
		return
	}
	o.Match, o.Err = false, x.text
	r.pool.failures.Add(1)
}

// refuse tells the errors of an event that no worker is asked about.
func (r *request) refuse(t *trip, event int) {
	for k := range r.filters {
		r.refuseOne(t, k, event)
	}
}

func (r *request) refuseOne(t *trip, k, event int) {
	if r.wants == nil || r.wants(k, event) {
		r.pool.failures.Add(1)
		r.out(k, event, filter.Outcome{Err: t.why[k]})
	}
}

// lost goes on without a process: what it had not told is asked again, but not
// of the filter that ended it.
func (r *request) lost(e *ended) error {
	r.flight, r.sent = nil, r.next
	name := ""
	if e.culprit != nil {
		name = e.culprit.Name()
		r.pool.jail(e.culprit, e.reason)
	}
	r.pool.o.Log.Warn("a filter worker was lost", "domain", r.lane.domain, "filter", name, "reason", e.reason)
	if e.culprit == nil {
		if r.attempts--; r.attempts == 0 {
			return errors.New("deciding about events: the filter worker " + e.reason)
		}
	}
	return nil
}
