package broadcast

import "sync/atomic"

// A Stream is one connection that gets events. Its fields belong to its pump.
// What a send needs stands together, in the first two cache lines: with 10,000
// streams each line is a miss.
type Stream struct {
	member *member
	own    []byte                // bytes for this stream alone, to be sent before the feed goes on; never changed, often shared
	cursor uint64                // on the feed, between frames: a tape offset or a reference's ordinal
	extra  atomic.Pointer[extra] // nil for most; stored under the sending lock
	fd     int32
	sent   uint32 // when bytes last went out; seconds of the hub's clock, as are stuck and until
	stuck  uint32 // since when its connection takes nothing, plus 1; 0 if that is not so
	state  state
	why    Reason
	pos    uint64 // sequence of the last event that it has, or has in own
	bytes  uint64
	events uint64 // from the feed; those of replays are in bytes only as they are in own

	slot  uint32 // place in the pump's table
	place uint32 // place in member.streams
	until uint32 // when MaxAge is over; 0 for never
	noise uint32 // bytes that the client sent
	home  uint16 // its pump's place in Hub.pumps; never changes

	id, remote, label, credential string

	onClose func(Reason)
	line    *line // of the portable pump only
	opened  int64 // Unix milliseconds
}

type state uint8

const (
	joined   state = 1 << iota // cursor counts; else pos does
	blocked                    // the connection takes no more for now
	replays                    // a reader has it
	checking                   // pos came from the client, and may lie ahead of the journal
	ending                     // to be closed, for the reason why, once own is sent
	gone                       // closed
	slowed                     // its connection was full for a time
	chunked                    // own is from one turn of a reader
)

func (s *Stream) is(bits state) bool { return s.state&bits != 0 }
func (s *Stream) set(bits state)     { s.state |= bits }
func (s *Stream) clear(bits state)   { s.state &^= bits }

const (
	maxNoise   = 64 << 10 // bytes that a client may send in all
	stallAfter = 60       // seconds without progress of a blocked stream
	replayBeat = 10       // seconds of silence after which a stream that reads the journal gets its position
)

// A pump owns streams and writes to their connections. Those of its methods
// that say so are called with Hub.mu held; all others from anywhere.
type pump interface {
	attach(s *Stream)       // takes the stream over; Hub.mu is held
	touch(m *member)        // the feed has something new; Hub.mu is held
	wake()                  // makes the pump look at what it was given; Hub.mu is held
	lockSending()           // waits until no send is under way, and keeps it so
	unlockSending()         //
	reply(j *job)           // a reader has done with j
	look(s *Stream)         // has s served soon, unless it is closed
	ask(f func())           // has f called soon, where the pump's streams may be used
	each(fn func(*Stream))  // calls fn for all its streams; for what ask was given
	finish(*Stream, Reason) // ends a stream; for what ask was given
	sweep()                 // looks for streams whose time is over
	drain()                 // ends each stream as soon as it has all that is published
	abort()                 // ends all streams now
	ended() <-chan struct{} // closed after drain, when no stream is left
}

// next says what a stream needs. It leaves what is to be sent in s.own, or in
// g; in the latter case the pump holds its sending lock until g is settled.
func (h *Hub) next(s *Stream, g *gather) need {
	switch {
	case s.is(blocked | gone):
		return needNothing
	case len(s.own) > 0:
		return needOwn
	case s.is(ending):
		return needEnd
	case s.is(replays):
		return needNothing
	}
	if x := s.extra.Load(); x != nil {
		return h.nextOf(s, x, g)
	}
	if !s.is(joined) && !h.join(s) {
		return h.behindOrAhead(s)
	}
	switch g.fill(s.member.feed, s.cursor) {
	case supplied:
		return needSend
	case skipped:
		s.clear(joined)
		return needReplay
	case lost:
		return h.fellBehind(s, nil, g)
	}
	return needNothing
}

type need int

const (
	needNothing need = iota
	needOwn
	needSend
	needReplay
	needEnd
)

// join puts the stream onto its feed if the feed has all that it lacks.
func (h *Hub) join(s *Stream) bool {
	if s.pos > s.member.feed.head() {
		return false
	}
	cursor, ok := s.member.feed.join(s.pos)
	if !ok {
		return false
	}
	s.cursor = cursor
	s.clear(checking)
	s.set(joined)
	if m := s.member; cursor < m.done.Load() {
		m.done.Store(cursor)
	}
	return true
}

// behindOrAhead says what a stream needs that cannot join. One that is ahead
// of its feed waits: whatever comes to the feed makes its pump try again. But
// the journal is asked once whether an id that came from outside is its own.
func (h *Hub) behindOrAhead(s *Stream) need {
	if s.pos > s.member.feed.head() && !(s.is(checking) && s.pos > h.head.Load()) {
		return needNothing
	}
	return needReplay
}

// finish makes the stream end for this reason once a frame that it got a part
// of is whole. Its pump serves it then.
func (s *Stream) finish(why Reason) {
	if !s.is(ending) {
		s.set(ending)
		s.why = why
	}
}

// caughtUp reports whether the stream has all that is published.
func (s *Stream) caughtUp(head uint64) bool {
	switch f := s.member.feed; {
	case len(s.own) > 0 || s.is(replays):
		return false
	case s.is(joined):
		return f.head() >= head && s.cursor == f.end()
	}
	return s.pos >= head
}

// isBehind reports whether the stream is with a reader, or still has to get what
// a reader found: what is new does not concern it yet.
func (s *Stream) isBehind() bool {
	return !s.is(joined) && (s.is(replays) || len(s.own) > 0)
}

// due returns why the stream is to end now, if it is.
func (s *Stream) due(now uint32) (Reason, bool) {
	switch {
	case s.is(blocked) && now+1 >= s.stuck+stallAfter:
		return Stalled, true
	case s.until != 0 && now >= s.until:
		return MaxAge, true
	}
	return 0, false
}

// silent reports whether a stream that a reader has needs a sign of life.
func (s *Stream) silent(now uint32) bool {
	return s.is(replays) && !s.is(blocked|ending|gone) && len(s.own) == 0 && now >= s.sent+replayBeat
}
