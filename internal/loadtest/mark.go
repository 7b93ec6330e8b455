package loadtest

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"carillon/internal/sse"
)

// EventType is the type of the events that a load test publishes.
const EventType = "loadtest"

// mark is what a published event carries, so that each stream can check what
// it got: the run it belongs to, its number from 1, and when it should have
// been sent, in Unix nanoseconds; and what filters select it by, 0 if there are none.
type mark struct {
	Run string `json:"run"`
	N   int64  `json:"n"`
	T   int64  `json:"t"`
	K   int64  `json:"k"`
}

// payload is a mark as it is received.
type payload struct {
	mark
	Pad string `json:"pad"`
}

// appendEvent appends one line of the body of POST /api/events whose data has
// size bytes, or as few as the mark needs.
func appendEvent(dst []byte, m mark, size int) []byte {
	dst = append(dst, `{"event_type":"`+EventType+`","data":`...)
	dst = appendMark(dst, m)
	dst = append(dst, pad(m, size)...)
	return append(dst, "\"}}\n"...)
}

// appendMark appends the data of an event up to its padding.
func appendMark(dst []byte, m mark) []byte {
	dst = append(dst, `{"run":"`...)
	dst = append(dst, m.Run...)
	dst = append(dst, `","n":`...)
	dst = strconv.AppendInt(dst, m.N, 10)
	dst = append(dst, `,"t":`...)
	dst = strconv.AppendInt(dst, m.T, 10)
	if m.K != 0 {
		dst = append(dst, `,"k":`...)
		dst = strconv.AppendInt(dst, m.K, 10)
	}
	return append(dst, `,"pad":"`...)
}

// pad returns what fills the data of m up to size.
func pad(m mark, size int) string {
	var b [128]byte
	return strings.Repeat("x", max(0, size-len(appendMark(b[:0], m))-len(`"}`)))
}

// parseMark finds the mark in an event's data: in its "data" object, as our
// streams have it, or on top, as another server passes a payload on.
func parseMark(data []byte) (payload, bool) {
	if !bytes.Contains(data, []byte(`"run"`)) {
		return payload{}, false
	}
	var ev struct {
		payload
		Data payload `json:"data"`
	}
	if json.Unmarshal(data, &ev) != nil {
		return payload{}, false
	}
	for _, m := range []payload{ev.Data, ev.payload} {
		if m.Run != "" && m.N > 0 {
			return m, true
		}
	}
	return payload{}, false
}

// kind says what a frame means to the test.
type kind uint8

const (
	kindMark  kind = iota // a published event
	kindOther             // any other event
	kindMoved             // an id alone
	kindGap               // the server says that it cannot give some events
	kindReset             // the server says that the stream begins anew
	kindError             // the server says that the stream's filter failed
)

// record is one frame as every stream that receives it sees it.
type record struct {
	end   uint64 // offset on the tape after the frame
	n, t  int64  // of the mark
	seq   uint64 // of an id <epoch>-<seq>, else 0
	epoch int32  // 1 and up, 0 for ids of other forms
	kind  kind
	mine  bool   // the mark is of the run under test
	bad   bool   // the event's data is not what was published
	hasID bool   // id is of this frame
	id    string // as sent, to resume from
	gap   *gap   // of kindGap and kindReset
	text  string // of kindError
}

// recorder makes records of frames.
type recorder struct {
	run    string  // the run under test; empty until the first mark if only listening
	size   int     // of the events published; -1 if not known
	spread *spread // of the events published
	epochs map[string]int32
	order  *order // of the worker
}

func (c *recorder) record(f sse.Frame) record {
	r := record{kind: kindOther}
	if f.HasID {
		r.hasID, r.id = true, string(f.ID)
		if epoch, seq, ok := sse.ParseID(r.id); ok {
			if c.epochs[epoch] == 0 {
				c.epochs[epoch] = int32(len(c.epochs) + 1)
			}
			r.epoch, r.seq = c.epochs[epoch], seq
		}
	}
	switch {
	case f.Kind == sse.Moved:
		r.kind = kindMoved
	case string(f.Event) == "gap":
		r.kind, r.gap = kindGap, parseGap(f)
	case string(f.Event) == "reset":
		r.kind, r.gap = kindReset, parseGap(f)
	case string(f.Event) == "filter_error":
		r.kind, r.text = kindError, string(f.Data[:min(len(f.Data), 200)])
	default:
		if m, ok := parseMark(f.Data); ok {
			if c.run == "" {
				c.run = m.Run
			}
			r.kind, r.n, r.t, r.mine = kindMark, m.N, m.T, m.Run == c.run
			r.bad = r.mine && c.size >= 0 && (m.K != c.spread.key(m.N) || m.Pad != pad(m.mark, c.size))
			if r.mine {
				c.order.note(r.n, r.seq)
			}
		}
	}
	return r
}
