package broadcast

import (
	"context"
	goruntime "runtime"
	"time"

	"carillon/internal/sse"
)

// ticks drives everything that depends on time: no stream has a timer.
func (h *Hub) ticks(ctx context.Context) {
	every := h.tickEvery()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			h.tick(every)
		case <-ctx.Done():
			return
		}
	}
}

// collectAfter is how many openings leave enough garbage, about a kilobyte
// each, to be worth a collection.
const collectAfter = 1000

// collect frees what a rush of openings left behind, once a second went by
// without one. The hot path allocates nothing, so the collector would not run by
// itself for minutes. It is called with mu held, once a second.
func (h *Hub) collect() {
	opened := h.met.opened.Get()
	if opened == h.openings && opened-h.collected >= collectAfter {
		h.collected = opened
		go goruntime.GC()
	}
	h.openings = opened
}

// tickEvery returns a small part of the shortest period, at most 250 ms.
func (h *Hub) tickEvery() time.Duration {
	shortest := h.cfg.BeatEvery
	for _, f := range h.cfg.Formats {
		if f.Ping != nil {
			shortest = min(shortest, f.PingEvery)
		}
	}
	return min(max(shortest/10, 5*time.Millisecond), 250*time.Millisecond)
}

// tick does what is due before the next tick, which is slack away: so a beat
// comes rather a little early than late.
func (h *Hub) tick(slack time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	now := h.cfg.Now()
	if second := uint32(now.Sub(h.birth) / time.Second); second != h.clock.Load() {
		h.clock.Store(second)
		for _, p := range h.pumps {
			p.sweep()
		}
		h.readers.forget()
		h.retire(now)
		h.collect()
	}
	h.reap()
	h.tellFailures(now.UnixNano())
	for _, ch := range h.channels {
		ch.pings(now, slack, h.head.Load())
	}
	if now.Sub(h.beaten)+slack >= h.cfg.BeatEvery {
		h.beaten = now
		for _, ch := range h.channels {
			ch.beat(h.head.Load())
		}
		h.met.beats.Inc()
	}
	h.wake()
}

// beat puts the head on the tape as a frame that has only an id, and into every feed.
func (ch *channel) beat(head uint64) {
	ch.frame = appendPosition(ch.frame[:0], ch.epoch, head)
	ch.onAll(head, true)
	for _, f := range ch.feeds {
		if len(f.refs) > minRefs { // it changes with Hub.mu held only
			f.shrink()
		}
	}
}

// appendPosition appends a frame that moves the reader's resume point only.
func appendPosition(dst []byte, epoch string, seq uint64) []byte {
	dst = append(dst, "id: "...)
	dst = sse.AppendSeqID(dst, epoch, seq)
	return append(dst, "\n\n"...)
}

// onAll puts ch.frame, which is no event, on the tape and into all feeds. If it
// is a position, feeds that are not complete up to there get their own.
func (ch *channel) onAll(head uint64, position bool) {
	off := ch.tape.append(ch.frame, head, 0)
	if ch.whole != nil {
		ch.whole.touch()
	}
	var own ref
	for _, f := range ch.feeds {
		r := ref{off: off, seq: f.head(), n: uint32(len(ch.frame)), kind: isBeat}
		if position && r.seq != head {
			if own.n == 0 || own.seq != r.seq {
				ch.other = appendPosition(ch.other[:0], ch.epoch, r.seq)
				own = ch.putAside(ch.other, r.seq, isNote)
			}
			r = own
		}
		f.append(r)
	}
}

// pings sends the format's ping where it is due.
func (ch *channel) pings(now time.Time, slack time.Duration, head uint64) {
	if ch.format.Ping == nil {
		return
	}
	// The latest time of a last ping that makes the next one due.
	since := now.Add(slack - ch.format.PingEvery).UnixNano()
	if !ch.format.PingOnlyWhenSilent {
		if ch.pinged <= since {
			ch.pinged = now.UnixNano()
			ch.encodePing(now)
			ch.onAll(head, false)
		}
		return
	}
	if ch.quiet <= since {
		ch.quiet, ch.pinged = now.UnixNano(), now.UnixNano()
		ch.encodePing(now)
		ch.tape.append(ch.frame, head, 0)
		if ch.whole != nil {
			ch.whole.touch()
		}
	}
	ch.pingSilent(now.UnixNano(), since, now, head)
}

// pingSilent pings the filtered feeds that had nothing to say. The ping's bytes
// are the channel's, off the tape: the unfiltered feed must not see them. A
// stream that comes late gets the newest ping in the place of an older one.
func (ch *channel) pingSilent(stamp, since int64, now time.Time, head uint64) {
	if ch.quietest > since {
		return
	}
	ch.quietest = stamp
	encoded := false
	for _, f := range ch.feeds {
		if f.quiet > since {
			ch.quietest = min(ch.quietest, f.quiet)
			continue
		}
		if !encoded {
			ch.encodePing(now)
			ping := append([]byte(nil), ch.frame...)
			ch.ping.Store(&ping)
			ch.pinged = stamp
			encoded = true
		}
		f.quiet = stamp
		f.append(ref{seq: f.head(), kind: isPing})
	}
}

func (ch *channel) encodePing(now time.Time) {
	ch.payload = ch.format.Ping(ch.payload[:0], now)
	ch.frame = sse.AppendEvent(ch.frame[:0], "", "", ch.payload)
}
