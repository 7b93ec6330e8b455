package broadcast

import (
	"strconv"

	"carillon/internal/sse"
)

// A Gap says what a stream was not given, or, as a reset, that its resume
// point means nothing here. Every stream gets it as an event named "gap" or
// "reset" whose data is AppendJSON's.
//
// What aged out: the frame's id is To, and the stream goes on behind it. What
// was merged: the frame has no id, since the events of From..To that are left
// follow, each under its own id; a reader that is cut off between them resumes
// there and is told of the rest anew.
type Gap struct {
	From, To uint64 // the sequences in question; a reset has the head as To
	Reason   string // AgedOut, Conflated, or why the resume point is unknown
	Merged   uint64 // Conflated: events left out since a later one of the same key follows
	Dropped  uint64 // Conflated: events left out that had no key
	Reset    bool
	Epoch    string // of a reset: the journal's
}

// Reasons of gaps and resets that the hub tells.
const (
	AgedOut   = "aged_out"  // the journal no longer holds it
	Conflated = "conflated" // the stream was too slow and asked for this
	Ahead     = "ahead"     // reset: the resume point lies ahead of the journal
)

// Name returns the event name of g's frame.
func (g Gap) Name() string {
	if g.Reset {
		return "reset"
	}
	return "gap"
}

// AppendJSON appends g as one JSON object: {"from","to","reason"} and, if it
// was conflated, "merged" and "dropped"; a reset as {"epoch","head","reason"}.
func (g Gap) AppendJSON(dst []byte) []byte {
	if g.Reset {
		dst = append(dst, `{"epoch":`...)
		dst = strconv.AppendQuote(dst, g.Epoch)
		dst = append(dst, `,"head":`...)
	} else {
		dst = append(dst, `{"from":`...)
		dst = strconv.AppendUint(dst, g.From, 10)
		dst = append(dst, `,"to":`...)
	}
	dst = strconv.AppendUint(dst, g.To, 10)
	dst = append(dst, `,"reason":`...)
	dst = strconv.AppendQuote(dst, g.Reason)
	if g.Reason == Conflated {
		dst = append(dst, `,"merged":`...)
		dst = strconv.AppendUint(dst, g.Merged, 10)
		dst = append(dst, `,"dropped":`...)
		dst = strconv.AppendUint(dst, g.Dropped, 10)
	}
	return append(dst, '}')
}

// appendGap appends the frames that tell of g. A stream that asked for gaps as
// data gets an unnamed message in its format beside the named event, not
// instead: whatever checks continuity may rely on the name. The message comes
// first and without an id: a reader that is cut off between both resumes before
// the gap, and is told again.
func (f *Format) appendGap(dst []byte, epoch string, g Gap, asData bool) []byte {
	if asData && f.Gap != nil {
		dst = sse.AppendEvent(dst, "", "", f.Gap(nil, g))
	}
	data := g.AppendJSON(nil)
	if g.Reason == Conflated {
		return sse.AppendEvent(dst, "", g.Name(), data)
	}
	return sse.AppendSeqEvent(dst, epoch, g.To, g.Name(), data)
}

// name returns the event's name on the wire. Names that stand for something
// else there (the hub's own, and what an EventSource calls its own events) are
// not given to events: those stay unnamed.
func (f *Format) name(ev *Event) string {
	if f.Event == nil {
		return ""
	}
	switch name := f.Event(ev); name {
	case "gap", "reset", filterErrorEvent, "open", "error", "message":
		return ""
	default:
		return name
	}
}

// appendFrame appends the event's frame. payload is scratch memory, returned.
func (ch *channel) appendFrame(dst, payload []byte, ev *Event) (frame, scratch []byte) {
	payload = ch.format.Append(payload[:0], ev)
	return sse.AppendSeqEvent(dst, ch.epoch, ev.Seq, ch.format.name(ev), payload), payload
}
