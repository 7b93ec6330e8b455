package runtime

import (
	"context"
	"encoding/json"
	"time"
)

// MaxEventData is the largest data object of an event, in bytes.
const MaxEventData = 768 << 10

// A NewEvent is an event that somebody wants to happen.
type NewEvent struct {
	Type    string
	Data    json.RawMessage // a JSON object; nil is {}
	Origin  Origin          // default Local
	Context Context         // a fresh one when it has no id
	Source  string
}

// Fire makes events happen, in their order, and returns the sequence of the
// last when they are visible. Either all are checked and queued, or none: the
// error is then an *EventError that names the one refused. State changes can't
// be fired: Set makes them.
func (r *Runtime) Fire(ctx context.Context, events ...NewEvent) (last uint64, err error) {
	if len(events) == 0 {
		return r.Head(), nil
	}
	t, err := r.fire(ctx, nil, events)
	if err != nil {
		return 0, err
	}
	return t.wait(ctx)
}

// fire proposes events behind after.
func (r *Runtime) fire(ctx context.Context, after *ticket, events []NewEvent) (*ticket, error) {
	at := r.proposer.now()
	made := make([]*Event, len(events))
	for i := range events {
		n := &events[i]
		data, err := n.check()
		if err != nil {
			return nil, &EventError{i, err}
		}
		made[i] = newEvent(n.Type, data, n.Origin, at, n.Context.orNew(), n.Source)
		made[i].EntityID, made[i].Domain = concerns(data)
	}
	p := &r.proposer
	if err := p.beginAfter(ctx, after); err != nil {
		return nil, err
	}
	defer p.end()
	return p.queue(made), nil
}

// Draft returns the event that would be, with a sequence and a time: for those
// who want to know what would become of it. It may be a state_changed.
func Draft(n NewEvent, seq uint64, at time.Time) (*Event, error) {
	data, err := n.checkAny()
	if err != nil {
		return nil, err
	}
	e := newEvent(n.Type, data, n.Origin, at, n.Context.orNew(), n.Source)
	e.EntityID, e.Domain = concerns(data)
	e.Seq, e.detail = seq, detail{} // states in the data are decoded when asked for
	return e, nil
}

func (n *NewEvent) check() (data json.RawMessage, err error) {
	if n.Type == StateChanged {
		return nil, invalid("event_type", "state_changed can't be fired: set the entity's state instead (POST /api/states/<entity_id>)")
	}
	return n.checkAny()
}

// checkAny is check for events of all types.
func (n *NewEvent) checkAny() (data json.RawMessage, err error) {
	switch {
	case !ValidEventType(n.Type):
		return nil, invalid("event_type", "%.100q is none: it is 1 to %d bytes of UTF-8 without control characters", n.Type, MaxEventType)
	case len(n.Data) > MaxEventData:
		return nil, invalid("data", "has %d bytes, more than %d", len(n.Data), MaxEventData)
	}
	data, err = compactObject(n.Data)
	switch {
	case err != nil:
		return nil, invalid("data", "%v", err)
	case len(data) > MaxEventData: // what is no UTF-8 takes more bytes then
		return nil, invalid("data", "has %d bytes as it is kept, more than %d", len(data), MaxEventData)
	}
	return data, nil
}
