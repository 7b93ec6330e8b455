package httpd

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"carillon/httpd/broadcast"
	"carillon/internal/sse"
	"carillon/runtime"
)

// filterErrorEvent names the messages about what a stream's filter threw.
const filterErrorEvent = "filter_error"

// ErrFilterBusy tells that a filter can't be made or asked for now, which is no
// mistake of who asks for it.
var ErrFilterBusy = errors.New("the filter can't be used just now")

// An outcome is what a selection says about one event or state.
type outcome struct {
	takes bool
	data  []byte // what a filter gave in its place; nil for itself
	err   string // what the filter threw; then it does not take it
}

// A trouble is what a filter threw while it was asked about some events.
type trouble struct {
	first  uint64 // the sequence of the first of those events
	errors uint64 // how many there were
	msg    string // what it threw at the first
}

// add notes an outcome for the event with a sequence, in their order.
func (t *trouble) add(o outcome, seq uint64) {
	if o.err == "" {
		return
	}
	if t.errors == 0 {
		t.first, t.msg = seq, o.err
	}
	t.errors++
}

// decide says what a selection takes of events, in their order.
func (s *Server) decide(ctx context.Context, sel *broadcast.Selection, events []*runtime.Event) ([]outcome, error) {
	outcomes := make([]outcome, len(events))
	var asked []*broadcast.Event
	var places []int // of those asked about, in events
	for i, e := range events {
		switch {
		case !sel.Matches(e.Type, e.Domain, e.EntityID):
		case sel.Filter == nil:
			outcomes[i].takes = true
		default:
			asked, places = append(asked, wrapEvent(e)), append(places, i)
		}
	}
	if len(asked) == 0 {
		return outcomes, nil
	}
	err := s.Broadcast.Filters.Decide(ctx, sel.Filter, asked, func(i int, d broadcast.Decision) {
		o := outcome{takes: d.Match && d.Err == "", err: d.Err}
		if o.takes && d.Data != nil {
			o.data = append([]byte(nil), d.Data...)
		}
		outcomes[places[i]] = o
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFilterBusy, err)
	}
	return outcomes, nil
}

// chunk is about how many events a filter is asked at once: enough for a worker's
// pipe, and few enough to hold.
const chunk = 256

// slow reports whether asking a filter, which may be nil, may take long.
func slow(f broadcast.Filter) bool { return f != nil && f.Lane() != "" }

// A chooser says which states a selection takes. What its filter decided it
// keeps: a state never changes, another one takes its place.
type chooser struct {
	sel   broadcast.Selection
	known map[*runtime.State]outcome // with a filter only
}

// of says what is known about a state; with a filter, after decide.
func (c *chooser) of(state *runtime.State) outcome {
	if c.sel.Filter == nil {
		return outcome{takes: takesState(&c.sel, state)}
	}
	return c.known[state]
}

// knows reports whether decide has nothing to do for the states.
func (c *chooser) knows(states []*runtime.State) bool {
	return c.sel.Filter == nil || len(c.unknown(states)) == 0
}

func (c *chooser) unknown(states []*runtime.State) (list []*runtime.State) {
	for _, state := range states {
		if _, ok := c.known[state]; !ok && takesState(&c.sel, state) {
			list = append(list, state)
		}
	}
	return list
}

// decide asks the filter, if there is one, about those of the states that it
// was not asked about before. To a filter a state is the state_changed event of
// an entity that appears.
func (c *chooser) decide(ctx context.Context, s *Server, states []*runtime.State) error {
	if c.sel.Filter == nil {
		return nil
	}
	if c.known == nil {
		c.known = make(map[*runtime.State]outcome)
	}
	for part := range slices.Chunk(c.unknown(states), chunk) {
		events := make([]*runtime.Event, len(part))
		for i, state := range part {
			events[i] = asEvent(state)
		}
		outcomes, err := s.decide(ctx, &c.sel, events)
		if err != nil {
			return err
		}
		for i, o := range outcomes {
			c.known[part[i]] = o
		}
	}
	return nil
}

// appendTo appends the frames of the states that want takes of those that the
// selection does, and what the filter threw.
func (c *chooser) appendTo(b []byte, s *Server, f *format, states []*runtime.State, cut uint64, asData bool, want func(*runtime.State) bool) []byte {
	var payload []byte
	var thrown trouble
	for _, state := range states {
		o := c.of(state)
		thrown.add(o, cut)
		if o.takes && want(state) {
			payload = f.appendState(payload[:0], state, cut, o.data)
			b = sse.AppendEvent(b, "", f.stateName, payload)
		}
	}
	if thrown.errors > 0 {
		e := s.told(thrown, c.sel.Filter)
		b = f.appendTold(b, filterErrorEvent, cut, e.AppendJSON(nil), asData)
	}
	return b
}

// asEvent returns a present state as the event of an entity that appears: the
// same one in every snapshot.
func asEvent(s *runtime.State) *runtime.Event {
	return runtime.ParseEvent(0, "", runtime.StateChanged, s.EntityID, runtime.Domain(s.EntityID), s.LastUpdated, appendStateAsEvent(nil, s))
}

// told returns what a stream or an answer says of a filter's trouble.
func (s *Server) told(t trouble, f broadcast.Filter) broadcast.FilterError {
	return broadcast.FilterError{Epoch: s.Epoch, Seq: t.first, Message: t.msg, Errors: t.errors, Filter: f.String()}
}
