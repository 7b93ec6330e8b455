package httpd

import (
	"bytes"
	"slices"
	"time"

	"carillon/httpd/broadcast"
	"carillon/runtime"
)

// The names of the formats. In ha an event's data is Home Assistant's event
// object; in flat it is one object with the fields that readers compare; in
// native events are named and carry all that is known of them; in cloudevents
// each is a CloudEvent 1.0.
const (
	formatHA          = "ha"
	formatFlat        = "flat"
	formatNative      = "native"
	formatCloudEvents = "cloudevents"
)

// A format is a way to write events, and what else a stream in it says. All
// functions append the data of one frame.
type format struct {
	broadcast.Format
	// greeting is the first message, named by greetingName; nil for none.
	greeting     func(b []byte, o *opening, now time.Time) []byte
	greetingName string
	// state writes a present state, as a snapshot cut at a sequence has it. Data is
	// what a filter gave in its place, nil for none; where the format has no
	// Projected, that alone is the message.
	state func(b []byte, s *runtime.State, cut uint64, data []byte) []byte
	// stateName is the name of such a message.
	stateName string
	// told writes what a named event of the stream itself (gap, reset, leave)
	// says at a sequence, for readers that see only unnamed messages.
	told func(b []byte, name string, seq uint64, data []byte) []byte
}

var formatNames = []string{formatHA, formatFlat, formatNative, formatCloudEvents}

// newFormats returns the formats of a journal's epoch.
func newFormats(epoch string) []format {
	return []format{newHA(), newFlat(), newNative(epoch), newCloudEvents(epoch)}
}

// format returns the format of a name, which was checked before.
func (s *Server) format(name string) *format {
	i := slices.IndexFunc(s.formats, func(f format) bool { return f.Name == name })
	return &s.formats[i]
}

func broadcastFormats(formats []format) []broadcast.Format {
	list := make([]broadcast.Format, len(formats))
	for i := range formats {
		f := &formats[i]
		list[i] = f.Format
		list[i].Gap = func(b []byte, g broadcast.Gap) []byte { return f.told(b, g.Name(), g.To, g.AppendJSON(nil)) }
		list[i].FilterError = func(b []byte, e broadcast.FilterError) []byte {
			return f.told(b, filterErrorEvent, e.Seq, e.AppendJSON(nil))
		}
	}
	return list
}

// newHA is Home Assistant's format. Its ping is the bare text, after 50 s of
// silence: its old frontends give a connection up after 60 s.
func newHA() format {
	return format{
		Format: broadcast.Format{
			Name:      formatHA,
			Append:    func(b []byte, ev *broadcast.Event) []byte { return append(b, ev.Value.(*runtime.Event).JSON...) },
			Ping:      func(b []byte, _ time.Time) []byte { return append(b, "ping"...) },
			PingEvery: 50 * time.Second, PingOnlyWhenSilent: true,
		},
		greeting: func(b []byte, _ *opening, _ time.Time) []byte { return append(b, "ping"...) },
		state:    func(b []byte, s *runtime.State, _ uint64, _ []byte) []byte { return appendStateAsEvent(b, s) },
		told: func(b []byte, name string, _ uint64, data []byte) []byte {
			b = append(append(b, `{"event_type":"`...), name...)
			return append(append(append(b, `","data":`...), data...), '}')
		},
	}
}

// newFlat is the format of /subscribe_events.
func newFlat() format {
	return format{
		Format: broadcast.Format{
			Name:      formatFlat,
			Append:    func(b []byte, ev *broadcast.Event) []byte { return appendFlat(b, ev.Value.(*runtime.Event)) },
			Ping:      appendFlatPing,
			PingEvery: 30 * time.Second,
		},
		greeting: func(b []byte, o *opening, now time.Time) []byte { return appendConnection(b, o.id, now) },
		state: func(b []byte, s *runtime.State, _ uint64, _ []byte) []byte {
			return appendFlatState(b, s.EntityID, s, s.LastUpdated)
		},
		told: func(b []byte, name string, _ uint64, data []byte) []byte {
			b = append(append(b, `{"type":"`...), name...)
			return append(append(append(b, `","data":`...), data...), '}')
		},
	}
}

// appendState appends a state, or what a filter gave in its place.
func (f *format) appendState(b []byte, s *runtime.State, cut uint64, data []byte) []byte {
	if data != nil && f.Projected == nil {
		return append(b, data...)
	}
	return f.state(b, s, cut, data)
}

// appendEvent appends an event, or what a filter gave in its place.
func (f *format) appendEvent(b []byte, e *broadcast.Event, data []byte) []byte {
	switch {
	case data == nil:
		return f.Append(b, e)
	case f.Projected == nil:
		return append(b, data...)
	}
	return f.Projected(b, e, data)
}

func wrapEvent(e *runtime.Event) *broadcast.Event {
	return &broadcast.Event{Seq: e.Seq, Type: e.Type, Domain: e.Domain, EntityID: e.EntityID, Key: key(e), Value: e}
}

// key is what a conflating stream keeps only the last of: the changes of an
// entity.
func key(e *runtime.Event) string {
	if e.Type == runtime.StateChanged {
		return e.EntityID
	}
	return ""
}

// wrapEvents makes two allocations, whatever the batch's length.
func wrapEvents(batch []*runtime.Event) []*broadcast.Event {
	wrapped, out := make([]broadcast.Event, len(batch)), make([]*broadcast.Event, len(batch))
	for i, e := range batch {
		wrapped[i] = broadcast.Event{Seq: e.Seq, Type: e.Type, Domain: e.Domain, EntityID: e.EntityID, Key: key(e), Value: e}
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

// envelope returns an event's data, origin (without quotes) and context as
// Event.JSON has them: with nothing to decode or to allocate, also for events
// that come from the journal. None of the members that it looks for can stand
// within a string, where quotes are escaped; those behind the data are the last
// of their name.
func envelope(e *runtime.Event) (data, origin, context []byte) {
	const beforeData, beforeOrigin, beforeContext = `,"data":`, `,"origin":"`, `,"context":`
	text := e.JSON
	begin, end := bytes.Index(text, []byte(beforeData)), bytes.LastIndex(text, []byte(beforeOrigin))
	last := bytes.LastIndex(text, []byte(beforeContext))
	if begin < 0 || end < begin || last < end || text[len(text)-1] != '}' {
		return e.Data(), []byte(e.Origin()), e.Context().AppendJSON(nil)
	}
	origin, _, _ = bytes.Cut(text[end+len(beforeOrigin):last], []byte{'"'})
	return text[begin+len(beforeData) : end], origin, text[last+len(beforeContext) : len(text)-1]
}
