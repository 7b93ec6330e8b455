package loadtest

import (
	"bytes"
	"encoding/json"
	"strconv"

	"carillon/internal/sse"
)

// EventType is the type of the events that a load test publishes.
const EventType = "loadtest"

// mark is what a published event carries, so that each stream can check what
// it got: the run it belongs to, its number from 1, and when it should have
// been sent, in Unix nanoseconds.
type mark struct {
	Run string `json:"run"`
	N   int64  `json:"n"`
	T   int64  `json:"t"`
}

// appendEvent appends one line of the body of POST /api/events whose data has
// size bytes, or as few as the mark needs.
func appendEvent(dst []byte, m mark, size int) []byte {
	dst = append(dst, `{"event_type":"`+EventType+`","data":`...)
	begin := len(dst)
	dst = append(dst, `{"run":"`...)
	dst = append(dst, m.Run...)
	dst = append(dst, `","n":`...)
	dst = strconv.AppendInt(dst, m.N, 10)
	dst = append(dst, `,"t":`...)
	dst = strconv.AppendInt(dst, m.T, 10)
	dst = append(dst, `,"pad":"`...)
	for len(dst)-begin < size-len(`"}`) {
		dst = append(dst, 'x')
	}
	return append(dst, "\"}}\n"...)
}

// parseMark finds the mark in an event's data: in its "data" object, as our
// streams have it, or on top, as another server passes a payload on.
func parseMark(data []byte) (mark, bool) {
	if !bytes.Contains(data, []byte(`"run"`)) {
		return mark{}, false
	}
	var ev struct {
		mark
		Data mark `json:"data"`
	}
	if json.Unmarshal(data, &ev) != nil {
		return mark{}, false
	}
	for _, m := range []mark{ev.Data, ev.mark} {
		if m.Run != "" && m.N > 0 {
			return m, true
		}
	}
	return mark{}, false
}

// kind says what a frame means to the test.
type kind uint8

const (
	kindMark  kind = iota // a published event
	kindOther             // any other event
	kindMoved             // an id alone
	kindGap               // the server says that it cannot give some events
	kindReset             // the server says that the stream begins anew
)

// record is one frame as every stream that receives it sees it.
type record struct {
	end   uint64 // offset on the tape after the frame
	n, t  int64  // of the mark
	seq   uint64 // of an id <epoch>-<seq>, else 0
	epoch int32  // 1 and up, 0 for ids of other forms
	kind  kind
	mine  bool   // the mark is of the run under test
	hasID bool   // id is of this frame
	id    string // as sent, to resume from
}

// recorder makes records of frames.
type recorder struct {
	run    string // the run under test; empty until the first mark if only listening
	epochs map[string]int32
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
		r.kind = kindGap
	case string(f.Event) == "reset":
		r.kind = kindReset
	default:
		if m, ok := parseMark(f.Data); ok {
			if c.run == "" {
				c.run = m.Run
			}
			r.kind, r.n, r.t, r.mine = kindMark, m.N, m.T, m.Run == c.run
		}
	}
	return r
}
