package httpd

import (
	"context"
	"fmt"
	"strings"

	"github.com/valyala/fasthttp"

	"carillon/httpd/broadcast"
	"carillon/internal/sse"
	"carillon/runtime"
)

// A point is where a stream begins, once its id or time is looked up.
type point struct {
	resume bool   // behind after; else from now on
	after  uint64 // with resume
	reset  string // why the id that the client gave is of no use; empty if it is
}

// locate finds where a stream begins. A time in the future is now.
func (s *Server) locate(f from) (point, error) {
	switch f.kind {
	case fromID:
		switch {
		case f.epoch != s.Epoch:
			return point{reset: "epoch"}, nil
		case f.seq > s.Runtime.Head():
			return point{reset: "ahead"}, nil
		}
		return point{resume: true, after: f.seq}, nil
	case fromUnknown:
		return point{reset: "unknown_id"}, nil
	case fromTime:
		if s.SeqAt == nil {
			return point{}, refuse(fasthttp.StatusBadRequest, "Parameter since takes no times here; give an event id.")
		}
		ctx, cancel := context.WithTimeout(context.Background(), requestTime)
		defer cancel()
		after, err := s.SeqAt(ctx, f.at)
		if err != nil {
			return point{}, fmt.Errorf("%w: finding the time: %w", runtime.ErrJournal, err)
		}
		return point{resume: true, after: min(after, s.Runtime.Head())}, nil
	}
	return point{}, nil
}

// prologue returns a stream's response head and first frames, and where the hub
// is to go on. They are, in this order: a comment; 2 KiB more of it if padding
// was asked for; the time to wait before a reconnect; the format's greeting;
// a gap or reset if the client's id can't be continued; the snapshot if there
// is one; and, unless the stream resumes, an id-only frame, so that a reader
// that is cut off before the first event comes back to exactly here.
//
// A snapshot's frames carry no id: a reader that is cut off in the middle gets
// the whole of it again. In format ha each is a state_changed event whose
// old_state is null, which Home Assistant's clients take for an entity that
// appears; in format flat it is the message that the entity's last change was.
//
// A stream that resumes gets what it missed instead of a snapshot, which would
// tell of the present before the past; only where part of that is no longer in
// the journal, a snapshot that was asked for stands in for all of it.
//
// The error tells that the stream's filter could not be asked about a snapshot.
func (s *Server) prologue(o *opening) (b []byte, after uint64, resume bool, err error) {
	b = o.appendHead(make([]byte, 0, 768))
	b = sse.AppendComment(b, "stream "+o.id)
	if o.padding {
		b = sse.AppendComment(b, strings.Repeat(" ", 2048))
	}
	b = sse.AppendRetry(b, o.retry)
	b = s.appendGreeting(b, o)
	f := s.format(o.format)
	lost := o.point.resume && o.snapshot && o.point.after+1 < s.First()
	if o.point.resume && !lost {
		return b, o.point.after, true, nil
	}
	var states []*runtime.State
	var cut uint64
	if o.snapshot {
		states, cut = s.Runtime.Snapshot()
	} else {
		cut = s.Runtime.Head()
	}
	switch {
	case lost:
		b = f.appendGap(b, broadcast.Gap{From: o.point.after + 1, To: cut, Reason: broadcast.AgedOut}, o.gapsData)
	case o.point.reset != "":
		b = f.appendGap(b, broadcast.Gap{To: cut, Reason: o.point.reset, Reset: true, Epoch: s.Epoch}, o.gapsData)
	}
	choice := chooser{sel: o.selection}
	ctx, cancel := context.WithTimeout(context.Background(), prologueTime)
	defer cancel()
	if err := choice.decide(ctx, s, states); err != nil {
		return nil, 0, false, err
	}
	b = choice.appendTo(b, s, f, states, cut, o.gapsData, func(*runtime.State) bool { return true })
	b = sse.AppendID(b, sse.FormatID(s.Epoch, cut))
	// To the hub 0 means from now on, and that is later than the cut.
	return b, cut, cut == 0, nil
}

func (s *Server) appendGreeting(b []byte, o *opening) []byte {
	f := s.format(o.format)
	if f.greeting == nil {
		return b
	}
	return sse.AppendEvent(b, "", f.greetingName, f.greeting(nil, o, s.now()))
}

// takesState reports whether the lists of a selection take a state.
func takesState(sel *broadcast.Selection, s *runtime.State) bool {
	return sel.Matches(runtime.StateChanged, runtime.Domain(s.EntityID), s.EntityID)
}

// appendGap appends a gap or reset, without an id: a reader that is cut off
// behind it is told again.
func (f *format) appendGap(b []byte, g broadcast.Gap, asData bool) []byte {
	return f.appendTold(b, g.Name(), g.To, g.AppendJSON(nil), asData)
}
