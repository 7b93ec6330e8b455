package broadcast

import "time"

// keepUnused is how long a format without streams is still encoded, so that a
// reader that comes back soon finds what it missed on the tape.
const keepUnused = time.Minute

// retire forgets the formats that nobody reads: events are not encoded for
// them any more, and their tape is given back. It is called with mu held.
func (h *Hub) retire(now time.Time) {
	for name, ch := range h.channels {
		switch {
		case ch.used():
			ch.unused = time.Time{}
		case ch.unused.IsZero():
			ch.unused = now
		case now.Sub(ch.unused) >= keepUnused:
			for _, f := range ch.feeds {
				h.unuses(f)
			}
			delete(h.channels, name)
		}
	}
}

// used reports whether the channel has streams, or is to get some by Reselect.
func (ch *channel) used() bool {
	if ch.whole != nil && ch.whole.streams.Load() > 0 {
		return true
	}
	for _, f := range ch.feeds {
		if f.streams.Load() > 0 {
			return true
		}
	}
	return false
}
