package sse

import (
	"bytes"
	"errors"
	"math"
	"time"
)

// DefaultMaxEvent is the bound of a [Reader] whose MaxEvent is 0: 1 MiB.
const DefaultMaxEvent = 1 << 20

// ErrTooLong is what Write returns once a line or an event's data exceeds the
// Reader's bound. The stream cannot be trusted from there on.
var ErrTooLong = errors.New("event stream line or event exceeds the reader's bound")

// Kind says what a [Frame] is.
type Kind uint8

const (
	// Message is a dispatched event: Event, Data and ID are set.
	Message Kind = iota
	// Moved is a frame with an id and no data: it dispatches nothing and
	// moves the resume point to ID.
	Moved
	// Comment is one comment line: Data is its text after the colon and one space.
	Comment
	// Retry is a new reconnection time, in force from now on.
	Retry
)

// Frame is what a [Reader] reports. Its slices belong to the Reader and are
// valid only until On returns.
type Frame struct {
	Kind Kind
	// HasID reports whether this frame itself brought an id.
	HasID bool
	// ID is the last event id after this frame: of this one or, if it has
	// none, of an earlier one. Empty if there was none yet.
	ID []byte
	// Event is the event's name; empty for an unnamed one ("message" in browsers).
	Event []byte
	// Data is the event's data, its lines joined by LF. Bytes that are not
	// UTF-8 are passed on as they are, where a browser would put U+FFFD.
	Data []byte
	// Retry is set for kind Retry alone; it is capped at 24 hours.
	Retry time.Duration
}

const maxRetry = 24 * time.Hour

var bom = [3]byte{0xef, 0xbb, 0xbf}

// Reader is an incremental parser of one event stream. It is for one
// goroutine; On is called from within Write and must not call the Reader.
type Reader struct {
	// On is called for each frame, in order. Never nil.
	On func(Frame)
	// MaxEvent bounds one line, and the data of one event, in bytes.
	// 0 means [DefaultMaxEvent].
	MaxEvent int

	carry   []byte // begin of a line whose end has not come
	data    []byte // data of the frame being read, each line ended by LF
	event   []byte
	id      []byte // the id that the next dispatch makes last
	last    []byte
	hasID   bool
	afterCR bool // an LF that comes next belongs to the line end before it
	offset  int64
	begun   bool // the byte order mark has been dealt with
	boms    int  // bytes of it seen so far
	err     error
}

// LastID returns the id to resume from: that of the last complete frame that
// had one. An unterminated frame does not count, as it was not delivered.
func (r *Reader) LastID() string { return string(r.last) }

// Offset returns how many bytes of the stream, since the Reader was new or
// Reset, the lines taken so far make up. Within On it is the end of the line
// that completed the frame (of its CR, if the line ended with CRLF).
func (r *Reader) Offset() int64 { return r.offset }

// Pending reports whether a frame has begun and not ended: were the stream to
// end here, something would be discarded.
func (r *Reader) Pending() bool {
	return len(r.carry) > 0 || len(r.data) > 0 || len(r.event) > 0 || r.hasID || !r.begun && r.boms > 0
}

// Reset prepares for the bytes of a new connection: an unterminated frame is
// discarded, an error is cleared, the last id stays.
func (r *Reader) Reset() {
	r.id = append(r.id[:0], r.last...)
	r.carry, r.data, r.event = r.carry[:0], r.data[:0], r.event[:0]
	r.hasID, r.afterCR, r.begun, r.boms, r.offset, r.err = false, false, false, 0, 0, nil
}

// Write parses the next bytes of the stream and calls On for each frame that
// they complete. Its only error is [ErrTooLong], after which it takes nothing
// more until Reset.
func (r *Reader) Write(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n := len(p)
	if !r.begun {
		p = r.skipBOM(p)
	}
	start := r.offset + int64(len(r.carry)) // of p's first byte
	lf := -1                                // offset in p of the next LF at or after pos, once searched for
	for pos := 0; pos < len(p); {
		if r.afterCR {
			r.afterCR = false
			if p[pos] == '\n' {
				pos++
				r.offset = start + int64(pos)
				continue
			}
		}
		if lf < pos {
			lf = indexFrom(p, pos, '\n')
		}
		end := lf
		if cr := bytes.IndexByte(p[pos:lf], '\r'); cr >= 0 {
			end = pos + cr
		}
		if end < len(p) {
			r.offset = start + int64(end) + 1
		}
		if r.err = r.take(p[pos:end], end < len(p)); r.err != nil {
			return n, r.err
		}
		r.afterCR = end < len(p) && p[end] == '\r'
		pos = end + 1
	}
	return n, nil
}

// indexFrom returns the offset of the first c in p at or after pos, or len(p).
func indexFrom(p []byte, pos int, c byte) int {
	if i := bytes.IndexByte(p[pos:], c); i >= 0 {
		return pos + i
	}
	return len(p)
}

// skipBOM takes one leading byte order mark off the stream, however it is
// cut. Bytes that only began like one begin the first line.
func (r *Reader) skipBOM(p []byte) []byte {
	for len(p) > 0 && !r.begun {
		if p[0] != bom[r.boms] {
			r.carry = append(r.carry, bom[:r.boms]...)
			r.begun = true
			break
		}
		p = p[1:]
		r.boms++
		if r.begun = r.boms == len(bom); r.begun {
			r.offset = int64(len(bom))
		}
	}
	return p
}

// take handles the next piece of a line, and with whole the line.
func (r *Reader) take(piece []byte, whole bool) error {
	limit := r.MaxEvent
	if limit <= 0 {
		limit = DefaultMaxEvent
	}
	if len(r.carry)+len(piece) > limit {
		return ErrTooLong
	}
	if !whole {
		r.carry = append(r.carry, piece...)
		return nil
	}
	line := piece
	if len(r.carry) > 0 {
		r.carry = append(r.carry, piece...)
		line = r.carry
		r.carry = r.carry[:0]
	}
	if len(line) == 0 {
		r.dispatch()
		return nil
	}
	return r.field(line, limit)
}

// field handles one line that is not empty.
func (r *Reader) field(line []byte, limit int) error {
	name, value, _ := bytes.Cut(line, []byte{':'})
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	switch string(name) {
	case "":
		r.On(Frame{Kind: Comment, ID: r.last, Data: value})
	case "data":
		if len(r.data)+len(value) > limit {
			return ErrTooLong
		}
		r.data = append(append(r.data, value...), '\n')
	case "event":
		r.event = append(r.event[:0], value...)
	case "id":
		if bytes.IndexByte(value, 0) < 0 {
			r.id = append(r.id[:0], value...)
			r.hasID = true
		}
	case "retry":
		if ms, ok := parseRetry(value); ok {
			r.On(Frame{Kind: Retry, ID: r.last, Retry: ms})
		}
	}
	return nil
}

// parseRetry parses a value of only digits, which may be any number of them.
func parseRetry(value []byte) (time.Duration, bool) {
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	ms, ok := parseUint(value)
	if !ok {
		ms = math.MaxUint64
	}
	return time.Duration(min(ms, uint64(maxRetry/time.Millisecond))) * time.Millisecond, len(value) > 0
}

// dispatch handles the empty line that ends a frame.
func (r *Reader) dispatch() {
	r.last = append(r.last[:0], r.id...)
	switch {
	case len(r.data) > 0:
		data := r.data[:len(r.data)-1]
		r.On(Frame{Kind: Message, HasID: r.hasID, ID: r.last, Event: r.event, Data: data})
	case r.hasID:
		r.On(Frame{Kind: Moved, HasID: true, ID: r.last})
	}
	r.data, r.event, r.hasID = r.data[:0], r.event[:0], false
}
