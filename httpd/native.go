package httpd

import (
	"strconv"
	"time"

	"carillon/httpd/broadcast"
	"carillon/internal/sse"
	"carillon/runtime"
)

// greetingEvent names the first message of formats with named events: the
// stream's id, for readers that can't see the response's head.
const greetingEvent = "stream"

// leaveEvent names the messages about entities that a stream's new selection
// does not take.
const leaveEvent = "leave"

// newNative is Carillon's own format. Its events are named by their type, and
// their data is the whole envelope:
//
//	{"id","sequence","epoch","type","entity_id","domain","source","origin","time","context","data"}
//
// What an event does not have is null. The source is the generation of the
// script that made it ("hall.js@7"), or "api" or "core". In a snapshot a state
// is a state_changed without an old state, whose id, sequence and source are
// null.
func newNative(epoch string) format {
	return format{
		Format: broadcast.Format{
			Name:  formatNative,
			Event: nativeName,
			Append: func(b []byte, ev *broadcast.Event) []byte {
				return appendNative(b, epoch, ev.Value.(*runtime.Event), nil)
			},
			Projected: func(b []byte, ev *broadcast.Event, data []byte) []byte {
				return appendNative(b, epoch, ev.Value.(*runtime.Event), data)
			},
		},
		greeting:     appendStreamID,
		greetingName: greetingEvent,
		state: func(b []byte, s *runtime.State, _ uint64, data []byte) []byte {
			return appendNativeState(b, epoch, s, data)
		},
		stateName: runtime.StateChanged,
		told: func(b []byte, name string, _ uint64, data []byte) []byte {
			b = append(append(b, `{"type":"`...), name...)
			return append(append(append(b, `","data":`...), data...), '}')
		},
	}
}

// nativeName is the name of an event's frame: its type, unless a stream says
// something else by that name. Those events are unnamed; so are those whose type
// is a name that the hub or an EventSource has use for, see broadcast.Format.
func nativeName(ev *broadcast.Event) string {
	if ev.Type == leaveEvent || ev.Type == greetingEvent {
		return ""
	}
	return ev.Type
}

// appendNative writes an event with its own data, or with what a filter gave in
// the data's place.
func appendNative(b []byte, epoch string, e *runtime.Event, given []byte) []byte {
	data, origin, context := envelope(e)
	if given != nil {
		data = given
	}
	b = append(b, `{"id":"`...)
	b = sse.AppendSeqID(b, epoch, e.Seq)
	b = append(b, `","sequence":`...)
	b = strconv.AppendUint(b, e.Seq, 10)
	b = append(append(b, `,"epoch":"`...), epoch...)
	b = append(b, `","type":`...)
	b = runtime.AppendString(b, e.Type)
	b = appendMember(b, "entity_id", e.EntityID)
	b = appendMember(b, "domain", e.Domain)
	b = appendMember(b, "source", e.Source)
	b = append(append(b, `,"origin":"`...), origin...)
	b = append(b, `","time":"`...)
	b = runtime.AppendTime(b, e.Time)
	b = append(append(b, `","context":`...), context...)
	b = append(append(b, `,"data":`...), data...)
	return append(b, '}')
}

func appendNativeState(b []byte, epoch string, s *runtime.State, given []byte) []byte {
	b = append(append(b, `{"id":null,"sequence":null,"epoch":"`...), epoch...)
	b = append(b, `","type":"state_changed"`...)
	b = appendMember(b, "entity_id", s.EntityID)
	b = appendMember(b, "domain", runtime.Domain(s.EntityID))
	b = append(b, `,"source":null,"origin":"LOCAL","time":"`...)
	b = runtime.AppendTime(b, s.LastUpdated)
	b = append(b, `","context":`...)
	b = s.Context.AppendJSON(b)
	b = appendPresent(append(b, `,"data":`...), s, given)
	return append(b, '}')
}

// appendPresent writes a state as the data of an entity that appears, or what a
// filter gave in its place.
func appendPresent(b []byte, s *runtime.State, given []byte) []byte {
	if given != nil {
		return append(b, given...)
	}
	b = append(b, `{"entity_id":`...)
	b = runtime.AppendString(b, s.EntityID)
	b = append(b, `,"old_state":null,"new_state":`...)
	b = s.AppendJSON(b)
	return append(b, '}')
}

func appendStreamID(b []byte, o *opening, now time.Time) []byte {
	b = append(b, `{"id":`...)
	b = runtime.AppendString(b, o.id)
	b = appendTimestamp(append(b, ','), now)
	return append(b, '}')
}

// appendMember writes a further member of an object, null for "".
func appendMember(b []byte, name, value string) []byte {
	b = append(append(append(b, `,"`...), name...), `":`...)
	if value == "" {
		return append(b, "null"...)
	}
	return runtime.AppendString(b, value)
}
