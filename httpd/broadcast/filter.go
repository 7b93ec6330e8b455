package broadcast

import (
	"context"
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"carillon/internal/sse"
)

// A Filter is a program that decides about events. Filters are compared with
// ==, so they are best pointers: whoever makes them sees to it that equal ones
// are the same. All streams that have one share its decisions.
type Filter interface {
	String() string // as StreamInfo and errors show it

	// Lane returns "" if Filters.Match decides about the filter at once. Else
	// it names the lane whose filters Filters.Ask is asked about together,
	// which may take long; it delays no other lane. It never changes.
	Lane() string
}

// A Decision is what a filter says about one event.
type Decision struct {
	Match bool
	Data  []byte // of a match: JSON that stands in for the event; nil for the event itself
	Err   string // what was thrown; then there is no match
}

// Filters decides, for all filters. What it yields is used before yield
// returns: Data may lie in memory that is used again.
type Filters interface {
	// Add tells that the first stream asks for a filter, Remove that the last
	// one is gone since a moment. Both must be quick: the hub waits for them.
	Add(f Filter)
	Remove(f Filter)

	// Match yields those of the filters in use without a lane that take ev, or
	// throw. It must be quick: Publish waits for it. It is called by one
	// goroutine at a time.
	Match(ev *Event, yield func(f Filter, d Decision))

	// Ask decides about events, in their order, for filters of one lane. It
	// yields, by their places, the pairs that match or throw, in any order. It
	// may block until ctx is done, and is called by one goroutine for each
	// lane. After an error it is asked for the same events again a little later.
	Ask(ctx context.Context, lane string, events []*Event, filters []Filter, yield func(filter, event int, d Decision)) error

	// Decide is Ask for one filter, of a lane or of none, about events of the
	// past. It is called by several goroutines, by one at a time for each lane,
	// and for a filter that was removed a moment ago, too. An error ends the
	// streams that it was for with ReplayFailed.
	Decide(ctx context.Context, f Filter, events []*Event, yield func(event int, d Decision)) error
}

// A FilterError tells a stream that its filter threw, at most once a second
// while it reads what is new, and at most once in each turn of reading the
// journal. Every stream gets it as an event named "filter_error" whose data is
// AppendJSON's, without an id.
type FilterError struct {
	Epoch   string
	Seq     uint64 // the first event of those on which it threw since it was told last
	Message string // what it threw then
	Errors  uint64 // on how many it threw since then
	Filter  string
}

const (
	filterErrorEvent = "filter_error"
	maxTold          = 1024 // bytes of a message, or of a filter, in a FilterError
)

// AppendJSON appends e as {"id","message","errors","filter"}. Message and
// filter are cut after 1 KiB.
func (e FilterError) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"id":"`...)
	dst = sse.AppendSeqID(dst, e.Epoch, e.Seq)
	dst = append(dst, `","message":`...)
	dst = appendText(dst, e.Message)
	dst = append(dst, `,"errors":`...)
	dst = strconv.AppendUint(dst, e.Errors, 10)
	dst = append(dst, `,"filter":`...)
	dst = appendText(dst, e.Filter)
	return append(dst, '}')
}

func appendText(dst []byte, text string) []byte {
	if len(text) > maxTold {
		end := maxTold
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end] + "…"
	}
	b, err := json.Marshal(text)
	if err != nil { // no string makes it fail
		return append(dst, `""`...)
	}
	return append(dst, b...)
}

// appendError appends the frames that tell of e, as appendGap does for gaps.
func (f *Format) appendError(dst []byte, e FilterError, asData bool) []byte {
	if asData && f.FilterError != nil {
		dst = sse.AppendEvent(dst, "", "", f.FilterError(nil, e))
	}
	return sse.AppendEvent(dst, "", filterErrorEvent, e.AppendJSON(nil))
}

// appendProjected appends the frame of an event in whose place its filter gave
// data. payload is scratch memory, returned.
func (ch *channel) appendProjected(dst, payload []byte, ev *Event, data []byte) (frame, scratch []byte) {
	if ch.format.Projected != nil {
		payload = ch.format.Projected(payload[:0], ev, data)
		data = payload
	}
	return sse.AppendSeqEvent(dst, ch.epoch, ev.Seq, ch.format.name(ev), data), payload
}
