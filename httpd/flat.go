package httpd

import (
	"time"

	"carillon/runtime"
)

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
