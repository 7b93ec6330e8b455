package httpd

import (
	"time"

	"carillon/httpd/broadcast"
	"carillon/runtime"
)

// The names of the two formats. In ha an event's data is Home Assistant's event
// object; in flat it is one object with the fields that readers compare.
const (
	formatHA   = "ha"
	formatFlat = "flat"
)

// formats tells the hub how events and pings are written. Both pings are
// unnamed and without an id. Home Assistant's is the bare text, after 50 s of
// silence: its old frontends give a connection up after 60 s.
func formats() []broadcast.Format {
	return []broadcast.Format{
		{
			Name:      formatHA,
			Append:    func(dst []byte, ev *broadcast.Event) []byte { return append(dst, ev.Value.(*runtime.Event).JSON...) },
			Ping:      func(dst []byte, _ time.Time) []byte { return append(dst, "ping"...) },
			PingEvery: 50 * time.Second, PingOnlyWhenSilent: true,
		},
		{
			Name:      formatFlat,
			Append:    func(dst []byte, ev *broadcast.Event) []byte { return appendFlat(dst, ev.Value.(*runtime.Event)) },
			Ping:      appendFlatPing,
			PingEvery: 30 * time.Second,
		},
	}
}

func wrapEvent(e *runtime.Event) *broadcast.Event {
	return &broadcast.Event{Seq: e.Seq, Type: e.Type, Domain: e.Domain, EntityID: e.EntityID, Value: e}
}

// wrapEvents makes two allocations, whatever the batch's length.
func wrapEvents(batch []*runtime.Event) []*broadcast.Event {
	wrapped, out := make([]broadcast.Event, len(batch)), make([]*broadcast.Event, len(batch))
	for i, e := range batch {
		wrapped[i] = broadcast.Event{Seq: e.Seq, Type: e.Type, Domain: e.Domain, EntityID: e.EntityID, Value: e}
		out[i] = &wrapped[i]
	}
	return out
}

// appendStateAsEvent writes a state as the event of an entity that appears:
// Home Assistant's state_changed without an old state.
func appendStateAsEvent(b []byte, s *runtime.State) []byte {
	b = append(b, `{"event_type":"state_changed","data":{"entity_id":`...)
	b = runtime.AppendString(b, s.EntityID)
	b = append(b, `,"old_state":null,"new_state":`...)
	b = s.AppendJSON(b)
	b = append(b, `},"origin":"LOCAL","time_fired":"`...)
	b = runtime.AppendTime(b, s.LastUpdated)
	b = append(b, `","context":`...)
	b = s.Context.AppendJSON(b)
	return append(b, '}')
}

// appendFlat writes an event as one flat message; what it is about stands both
// in the message and in data, since readers of both kinds exist.
func appendFlat(b []byte, e *runtime.Event) []byte {
	if e.Type == runtime.StateChanged && e.EntityID != "" {
		return appendFlatState(b, e.EntityID, e.New(), e.Time)
	}
	b = append(b, `{"type":`...)
	b = runtime.AppendString(b, e.Type)
	if e.EntityID != "" {
		b = append(b, `,"entity_id":`...)
		b = runtime.AppendString(b, e.EntityID)
	}
	if e.Domain != "" {
		b = append(b, `,"domain":`...)
		b = runtime.AppendString(b, e.Domain)
	}
	b = appendTimestamp(append(b, ','), e.Time)
	b = append(b, `,"data":`...)
	b = append(b, e.Data()...)
	return append(b, '}')
}

// appendFlatState writes a change of state; s is nil for an entity that was
// removed, whose state is null.
func appendFlatState(b []byte, id string, s *runtime.State, at time.Time) []byte {
	b = append(b, `{"type":"state_changed","entity_id":`...)
	b = runtime.AppendString(b, id)
	b = append(b, `,"domain":`...)
	b = runtime.AppendString(b, runtime.Domain(id))
	b = appendValue(b, s)
	b = appendTimestamp(append(b, ','), at)
	b = append(b, `,"data":{"entity_id":`...)
	b = runtime.AppendString(b, id)
	b = appendValue(b, s)
	if s != nil {
		b = append(b, `,"last_changed":"`...)
		b = runtime.AppendTime(b, s.LastChanged)
		b = append(b, `","last_updated":"`...)
		b = runtime.AppendTime(b, s.LastUpdated)
		b = append(b, '"')
	}
	return append(b, "}}"...)
}

func appendValue(b []byte, s *runtime.State) []byte {
	if s == nil {
		return append(b, `,"state":null,"attributes":{}`...)
	}
	b = append(b, `,"state":`...)
	b = runtime.AppendString(b, s.State)
	b = append(b, `,"attributes":`...)
	return append(b, s.Attributes...)
}

func appendConnection(b []byte, id string, now time.Time) []byte {
	b = append(b, `{"type":"connection","status":"connected","id":`...)
	b = runtime.AppendString(b, id)
	b = appendTimestamp(append(b, ','), now)
	return append(b, '}')
}

func appendFlatPing(b []byte, now time.Time) []byte {
	return append(appendTimestamp(append(b, `{"type":"ping",`...), now), '}')
}

func appendFlatError(b []byte, msg string) []byte {
	b = append(b, `{"type":"error","message":`...)
	b = runtime.AppendString(b, msg)
	return append(b, '}')
}

// appendTimestamp writes the member timestamp as JavaScript's toISOString does.
func appendTimestamp(b []byte, t time.Time) []byte {
	b = append(b, `"timestamp":"`...)
	b = t.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	return append(b, '"')
}
