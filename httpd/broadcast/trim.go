package broadcast

import (
	"bytes"

	"carillon/internal/sse"
)

// trimAfter is after how many seconds without progress a stream gives back
// what a reader gave it.
const trimAfter = 2

// trim lets a stream that takes nothing keep only the rest of the frame that
// it got a part of, of all that a turn of a reader gave it: what follows is
// read again when it goes on. So many streams that stand still don't hold
// 64 KiB each. It returns how many events it took back.
func (h *Hub) trim(s *Stream, now uint32) (events uint64) {
	if !s.is(blocked) || !s.is(chunked) || s.is(joined|replays|ending|gone) || now+1 < s.stuck+trimAfter {
		return 0
	}
	s.clear(chunked)
	for at := 0; ; {
		i := bytes.Index(s.own[at:], frameEnd)
		if i < 0 || at+i+len(frameEnd) == len(s.own) {
			if at == 0 {
				s.own = bytes.Clone(s.own) // else it would hold the passage
			}
			return 0
		}
		at += i + len(frameEnd)
		if seq, _, ok := readsAgain(s.own[at:]); ok {
			events = countEvents(s.own[at:])
			s.pos = seq - 1
			s.own = bytes.Clone(s.own[:at])
			s.events -= events
			h.met.trimmed.Inc()
			return events
		}
	}
}

var frameEnd = []byte("\n\n")

// readsAgain reports whether the frame at the start of b is one that a reader
// of the journal gives again to a stream that has everything before seq: an
// event, or a position. Gaps are not: they would be told in part only.
func readsAgain(b []byte) (seq uint64, isEvent, ok bool) {
	line, rest, _ := bytes.Cut(b, frameEnd[:1])
	id, ok := bytes.CutPrefix(line, []byte("id: "))
	if !ok {
		return 0, false, false
	}
	if _, seq, ok = sse.ParseID(string(id)); !ok || seq == 0 {
		return 0, false, false
	}
	if bytes.HasPrefix(rest, []byte("event: gap\n")) || bytes.HasPrefix(rest, []byte("event: reset\n")) {
		return 0, false, false
	}
	return seq, len(rest) > 0 && rest[0] != '\n', true
}

// countEvents counts the events in whole frames.
func countEvents(b []byte) (n uint64) {
	for len(b) > 0 {
		if _, event, ok := readsAgain(b); ok && event {
			n++
		}
		i := bytes.Index(b, frameEnd)
		if i < 0 {
			break
		}
		b = b[i+len(frameEnd):]
	}
	return n
}
