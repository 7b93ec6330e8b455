package httpd

import (
	"hash/fnv"
	"strconv"
	"strings"

	"carillon/httpd/broadcast"
	"carillon/internal/sse"
	"carillon/runtime"
)

// newCloudEvents writes events as CNCF CloudEvents 1.0 in the JSON format, one
// object a message. The id is the event's, so that source and id together name
// it for ever; the type is "carillon.<event type>", the source the URI reference
// "carillon/<who made it>", and the subject the entity.
//
// Source: https://github.com/cloudevents/spec, v1.0.2, spec.md and
// formats/json-format.md.
func newCloudEvents(epoch string) format {
	return format{
		Format: broadcast.Format{
			Name: formatCloudEvents,
			Append: func(b []byte, ev *broadcast.Event) []byte {
				return appendCloudEvent(b, epoch, ev.Value.(*runtime.Event), nil)
			},
			Projected: func(b []byte, ev *broadcast.Event, data []byte) []byte {
				return appendCloudEvent(b, epoch, ev.Value.(*runtime.Event), data)
			},
		},
		greeting:     appendStreamID,
		greetingName: greetingEvent,
		state: func(b []byte, s *runtime.State, cut uint64, data []byte) []byte {
			return appendCloudState(b, epoch, s, cut, data)
		},
		told: func(b []byte, name string, seq uint64, data []byte) []byte {
			return appendCloudTold(b, epoch, name, seq, data)
		},
	}
}

func appendCloudEvent(b []byte, epoch string, e *runtime.Event, given []byte) []byte {
	data, _, _ := envelope(e)
	if given != nil {
		data = given
	}
	b = append(b, `{"specversion":"1.0","id":"`...)
	b = sse.AppendSeqID(b, epoch, e.Seq)
	b = append(b, `","source":"`...)
	b = appendSource(b, e.Source)
	b = append(b, `","type":`...)
	b = appendCloudType(b, e.Type)
	if e.EntityID != "" {
		b = append(b, `,"subject":`...)
		b = runtime.AppendString(b, e.EntityID)
	}
	b = append(b, `,"time":"`...)
	b = runtime.AppendTime(b, e.Time)
	b = append(append(b, `","datacontenttype":"application/json","data":`...), data...)
	return append(b, '}')
}

// appendCloudState writes a state of a snapshot: the same state in the same cut
// has the same id.
func appendCloudState(b []byte, epoch string, s *runtime.State, cut uint64, given []byte) []byte {
	b = append(b, `{"specversion":"1.0","id":"`...)
	b = sse.AppendSeqID(b, epoch, cut)
	b = append(append(b, '-'), s.EntityID...)
	b = append(b, `","source":"carillon/snapshot","type":"carillon.state_changed","subject":`...)
	b = runtime.AppendString(b, s.EntityID)
	b = append(b, `,"time":"`...)
	b = runtime.AppendTime(b, s.LastUpdated)
	b = appendPresent(append(b, `","datacontenttype":"application/json","data":`...), s, given)
	return append(b, '}')
}

// appendCloudTold writes what a stream tells of itself. Its id is made of all
// that it says: two that are equal are the same.
func appendCloudTold(b []byte, epoch, name string, seq uint64, data []byte) []byte {
	b = append(b, `{"specversion":"1.0","id":"`...)
	b = sse.AppendSeqID(b, epoch, seq)
	b = append(append(append(b, '-'), name...), '-')
	h := fnv.New64a()
	h.Write(data)
	b = strconv.AppendUint(b, h.Sum64(), 36)
	b = append(append(b, `","source":"carillon/stream","type":"carillon.`...), name...)
	b = append(append(b, `","datacontenttype":"application/json","data":`...), data...)
	return append(b, '}')
}

// appendSource writes a source as a URI reference: "carillon/hall.js@7". What a
// path may not hold is escaped (RFC 3986, section 3.3).
func appendSource(b []byte, source string) []byte {
	const hex = "0123456789ABCDEF"
	b = append(b, "carillon/"...)
	for i := range len(source) {
		c := source[i]
		if c-'a' < 26 || c-'A' < 26 || c-'0' < 10 || strings.IndexByte("-._~!$&'()*+,;=:@/", c) >= 0 {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}

// appendCloudType writes "carillon.<type>" as a JSON string. CloudEvents' strings
// hold no code points that Unicode calls noncharacters; all else that they
// exclude is excluded from event types too.
func appendCloudType(b []byte, typ string) []byte {
	begin := len(b)
	b = append(b, `"carillon`...)
	b = runtime.AppendString(b, strings.Map(character, typ))
	b[begin+len(`"carillon`)] = '.' // in place of the type's own quote
	return b
}

func character(r rune) rune {
	if r&0xfffe == 0xfffe || r >= 0xfdd0 && r <= 0xfdef {
		return '\ufffd'
	}
	return r
}
