package broadcast

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"carillon/internal/sse"
)

// A Policy says what becomes of a stream that is too slow for what is held in
// memory. Each time it applies it is told in band and counted.
type Policy uint8

const (
	// Replay reads the journal at the stream's own pace until it has caught up.
	// A comment tells of it.
	Replay Policy = iota
	// Conflate leaves out what is outdated: of the events with the same Key only
	// the last one is given, in its place; of those without a Key the newest
	// maxKeyless. A gap tells what was left out. It applies to a stream that has
	// left the tape or feed, be it by its resume point, and to one whose
	// connection was full for a time and that then lacks more than mergeBacklog
	// frames.
	Conflate
	// Disconnect ends a stream that left the tape or feed with a comment and a
	// time to wait: its reader resumes by its id. What a stream lacks when it
	// begins comes from the journal, else it could never come back.
	Disconnect
	policies = iota
)

var policyNames = [policies]string{"replay", "conflate", "disconnect"}

func (p Policy) String() string { return policyNames[p] }

const (
	mergeBacklog = 256 // frames that a conflating stream may lag behind after its connection was full
	maxKeyless   = 256 // events without a key that one conflation gives
)

const noLimit = ^uint64(0)

var behindComment = sse.AppendComment(nil, "slow: what is missing comes from the journal (replay)")

// An extra is what a stream has that is not like most: they share none, so that
// they pay only for the pointer.
type extra struct {
	// Static after construction.
	slow       Policy
	gapsAsData bool

	// Owned by the stream's pump.
	merging uint64 // the sequence with which the last conflation ends; it is under way while the stream is below
	told    bool   // its gap is told
	limit   uint64 // the last sequence that a reader may give, or noLimit
	owned   int64  // bytes in Stream.own that count in Hub.owned

	waiting atomic.Int32 // length of changes
	changes []change     // guarded by the pump's sending lock; still to come, in order
}

func (r *Request) extra() *extra {
	if r.Slow == Replay && !r.GapsAsData {
		return nil
	}
	return &extra{slow: r.Slow, gapsAsData: r.GapsAsData, limit: noLimit}
}

// nextOf is next for a stream that has x, once all its own bytes are sent.
func (h *Hub) nextOf(s *Stream, x *extra, g *gather) need {
	h.release(x)
	for len(x.changes) > 0 {
		n, reached := h.upTo(s, x, g, x.changes[0].after)
		if !reached {
			return n
		}
		h.change(s, x)
		if len(s.own) > 0 {
			return needOwn
		}
	}
	n, _ := h.upTo(s, x, g, noLimit)
	return n
}

// upTo says what a stream needs to have everything up to limit, and whether it
// has.
func (h *Hub) upTo(s *Stream, x *extra, g *gather, limit uint64) (n need, reached bool) {
	x.limit = limit
	head := s.member.feed.head() // before any look at the feed, which is complete up to it
	switch {
	case !s.is(joined) && s.pos >= limit:
		return needNothing, true
	case x.conflating(s.pos) != 0:
		return needReplay, false
	case !s.is(joined) && !h.join(s):
		if x.slow == Conflate && s.pos < head {
			x.merge(head, limit)
		}
		return h.behindOrAhead(s), false
	}
	f := s.member.feed
	if h.outdated(s, x) {
		s.clear(joined)
		x.merge(head, limit)
		return needReplay, false
	}
	end, ok := f.end(), true
	if limit != noLimit {
		end, ok = f.join(limit)
	}
	supply := lost
	if ok {
		supply = g.fillTo(f, s.cursor, end)
	}
	switch {
	case supply == supplied:
		return needSend, false
	case supply == skipped || supply == lost && f.lane != nil && !ok:
		s.clear(joined)
		if x.slow == Conflate {
			x.merge(head, limit)
		}
		return needReplay, false
	case supply == lost:
		return h.fellBehind(s, x, g), false
	}
	return needNothing, head >= limit
}

// outdated reports whether a stream on its feed is to be conflated.
func (h *Hub) outdated(s *Stream, x *extra) bool {
	if !s.is(slowed) {
		return false
	}
	s.clear(slowed)
	if x.slow != Conflate {
		return false
	}
	frames, _, ok := s.member.feed.behind(s.cursor)
	return ok && frames > h.cfg.backlog
}

// conflating returns the end of the conflation under way; 0 for none.
func (x *extra) conflating(pos uint64) uint64 {
	if x.merging > pos {
		return x.merging
	}
	return 0
}

// merge begins a conflation up to the head, or to limit.
func (x *extra) merge(head, limit uint64) { x.merging, x.told = min(head, limit), false }

// fellBehind applies the policy to a stream whose next frame is not in memory
// any more. x may be nil.
func (h *Hub) fellBehind(s *Stream, x *extra, g *gather) need {
	s.clear(joined)
	policy := Replay
	if x != nil {
		policy = x.slow
	}
	h.met.slow[policy].Inc()
	switch policy {
	case Disconnect:
		h.farewell(s, Slow, "slow: come back for what is missing (disconnect)")
	case Replay:
		s.own = behindComment
	case Conflate:
		return h.next(s, g) // which finds it off its feed
	}
	return needOwn
}

// farewell ends a stream for the reason why, once it got a last comment and a
// time to wait before it comes back: from Config.Retry to twice that, at
// random, so that not all come at once.
func (h *Hub) farewell(s *Stream, why Reason, comment string) {
	if s.is(ending | gone) {
		return
	}
	b := append([]byte(nil), s.own...)
	b = sse.AppendComment(b, comment)
	retry := time.Duration(h.retry.Load())
	s.own = sse.AppendRetry(b, retry+rand.N(retry+time.Millisecond))
	s.finish(why)
}

// take gives the stream what a reader found for it, and returns the number of
// events in it. It is called with the pump's sending lock held.
func (h *Hub) take(j *job) (events uint64) {
	s := j.s
	s.clear(replays)
	x := s.extra.Load()
	if x != nil && len(x.changes) > 0 && j.pos > x.changes[0].after {
		return 0 // it was read before the change came; what is right is read again
	}
	s.clear(checking)
	data := j.data
	if g := j.gap; g.Reason != "" {
		h.met.gap(g)
		data = j.feed.ch.format.appendGap(nil, j.feed.ch.epoch, g, x != nil && x.gapsAsData)
		data = append(data, j.data...)
	}
	s.pos = j.pos
	s.events += j.events
	if x != nil && j.gap.Reason == Conflated {
		x.told = true
	}
	if len(s.own) == 0 {
		s.own = data
		s.set(chunked)
	} else {
		s.own = append(s.own[:len(s.own):len(s.own)], data...)
		s.clear(chunked)
	}
	return j.events
}
