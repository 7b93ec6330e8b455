package broadcast

// A gather is what one send takes from a feed: pieces of the tape that follow
// each other on the wire. Streams of a feed mostly stand at the same place, so
// it is filled once and used for all of them. It belongs to whoever holds the
// sending lock under which it is filled, sent and settled.
type gather struct {
	feed     *feed
	from, to uint64 // cursors
	a, b     mark   // of the unfiltered feed: both ends
	end      uint64 // the feed's end when it was filled
	low      uint64 // lowest tape offset of the pieces
	seq      uint64 // position of a stream that got it all
	events   uint64
	total    int
	pieces   [][]byte
	refs     []ref  // of a filtered feed: what the pieces are made of
	ping     []byte // the ping's bytes, if refs has one
	rest     frameCopy
	limit    int // bytes of one send; a longer frame goes alone
}

// A frameCopy is a frame of which some stream got only the beginning.
type frameCopy struct {
	tape  *tape
	start uint64
	data  []byte // never changes
}

const (
	// maxSend bounds one send of a pump in bytes, so that no stream keeps the
	// others and the publisher waiting.
	maxSend = 256 << 10
	// maxSendRefs bounds the references of one send, and so its iovecs.
	maxSendRefs = 64
)

type supply int

const (
	supplied supply = iota
	exhausted
	lost // the next frame is not on the feed any more
)

// fill makes g hold what follows cursor. The caller holds its sending lock.
func (g *gather) fill(f *feed, cursor uint64) supply { return g.fillTo(f, cursor, f.end()) }

// fillTo is fill, but takes nothing from the cursor end on.
func (g *gather) fillTo(f *feed, cursor, end uint64) supply {
	if cursor == end {
		return exhausted
	}
	if g.feed != f || g.from != cursor || g.end != end {
		g.feed, g.from, g.end = nil, cursor, end
		ok := false
		if f.whole {
			ok = g.fillSpan(f.ch.tape)
		} else {
			ok = g.fillRefs(f)
		}
		if !ok {
			return lost
		}
		g.feed = f
	}
	if g.low < f.ch.tape.low.Load() {
		return lost
	}
	return supplied
}

func (g *gather) fillSpan(t *tape) bool {
	a, b, ok := t.span(g.from, min(uint64(g.limit), g.end-g.from))
	if !ok {
		return false
	}
	g.a, g.b = a, b
	g.low, g.to = g.from, b.offset
	g.seq, g.events = b.seq, b.events-a.events
	g.total = int(b.offset - g.from)
	g.refs = g.refs[:0]
	g.pieces = t.bytes(g.pieces[:0], g.from, b.offset)
	return true
}

// fillRefs copies the references out, so that the feed's lock is held briefly
// and a send cut short can be settled whatever happened to the ring since.
func (g *gather) fillRefs(f *feed) bool {
	g.refs, g.total = g.refs[:0], 0
	f.mu.Lock()
	if g.from < f.first {
		f.mu.Unlock()
		return false
	}
	g.ping = nil
	for i := g.from; i < g.end && len(g.refs) < maxSendRefs; i++ {
		r := *f.ref(i)
		if r.kind == isPing {
			if g.ping == nil {
				g.ping = *f.ch.ping.Load()
			}
			r.n = uint32(len(g.ping))
		}
		if g.total > 0 && g.total+int(r.n) > g.limit {
			break
		}
		g.refs = append(g.refs, r)
		g.total += int(r.n)
	}
	f.mu.Unlock()
	return g.cut(f.ch.tape)
}

// cut makes the pieces out of the references, adjacent ones as one.
func (g *gather) cut(t *tape) bool {
	g.to = g.from + uint64(len(g.refs))
	g.pieces, g.events, g.low = g.pieces[:0], 0, ^uint64(0)
	for _, r := range g.refs {
		if r.kind != isPing {
			g.low = min(g.low, r.off)
		}
		if r.kind == isEvent {
			g.events++
		}
		g.seq = r.seq
	}
	if g.low < t.low.Load() {
		return false
	}
	for i := 0; i < len(g.refs); {
		if g.refs[i].kind == isPing {
			g.pieces = append(g.pieces, g.ping)
			i++
			continue
		}
		from := g.refs[i].off
		to := from
		for ; i < len(g.refs) && g.refs[i].kind != isPing && g.refs[i].off == to; i++ {
			to += uint64(g.refs[i].n)
		}
		g.pieces = t.bytes(g.pieces, from, to)
	}
	return true
}

// settle moves s by the first n bytes of g. If they end inside a frame, the
// frame's rest becomes the stream's own, so that a cursor is always between
// frames. The caller has held its sending lock since fill.
func (g *gather) settle(s *Stream, n int) {
	s.bytes += uint64(n)
	switch {
	case n == g.total:
		s.cursor, s.pos = g.to, g.seq
		s.events += g.events
	case n == 0:
	case g.feed.whole:
		g.settleSpan(s, g.from+uint64(n))
	default:
		g.settleRefs(s, n)
	}
}

func (g *gather) settleSpan(s *Stream, reached uint64) {
	t := g.feed.ch.tape
	a, b := t.around(g.a, g.b, reached)
	if reached > a.offset {
		s.own = g.frame(t, a.offset, b.offset)[reached-a.offset:]
		a = b
	}
	s.cursor, s.pos = a.offset, a.seq
	s.events += a.events - g.a.events
}

func (g *gather) settleRefs(s *Stream, n int) {
	for _, r := range g.refs {
		if n <= 0 {
			return
		}
		if n < int(r.n) {
			frame := g.ping
			if r.kind != isPing {
				frame = g.frame(g.feed.ch.tape, r.off, r.off+uint64(r.n))
			}
			s.own = frame[n:]
		}
		n -= int(r.n)
		s.cursor++
		s.pos = r.seq
		if r.kind == isEvent {
			s.events++
		}
	}
}

// frame returns a copy of a frame, shared by all streams that were cut in it
// one after the other.
func (g *gather) frame(t *tape, start, end uint64) []byte {
	if g.rest.tape != t || g.rest.start != start {
		data := make([]byte, 0, end-start)
		for _, piece := range t.bytes(make([][]byte, 0, 2), start, end) {
			data = append(data, piece...)
		}
		g.rest = frameCopy{t, start, data}
	}
	return g.rest.data
}
