package broadcast

// A gather is what one send takes from a feed: pieces of tapes that follow
// each other on the wire. Streams of a feed mostly stand at the same place, so
// it is filled once and used for all of them. It belongs to whoever holds the
// sending lock under which it is filled, sent and settled.
type gather struct {
	feed     *feed
	from, to uint64 // cursors
	a, b     mark   // of the unfiltered feed: both ends
	end      uint64 // the feed's end when it was filled; if it stops before, more at the end changes nothing
	low      uint64 // lowest offset of the pieces on the tape
	lowAside uint64 // the same on the aside tape; ^0 for none
	seq      uint64 // position of a stream that got it all
	events   uint64
	total    int
	pieces   [][]byte
	refs     []ref // of a filtered feed: what the pieces are made of
	spans    []span
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
	// maxSendRefs bounds the references of one send.
	maxSendRefs = 1024
	// maxPieces bounds the spans of one send, and so its iovecs: one that wraps
	// around a ring's end takes two, and the kernel takes 1,024.
	maxPieces = 64
)

type supply int

const (
	supplied supply = iota
	exhausted
	lost    // the next frame is not on the feed any more
	skipped // the next frames never came to the feed: its lane left them out
)

// fill makes g hold what follows cursor. The caller holds its sending lock.
func (g *gather) fill(f *feed, cursor uint64) supply { return g.fillTo(f, cursor, f.end()) }

// fillTo is fill, but takes nothing from the cursor end on.
func (g *gather) fillTo(f *feed, cursor, end uint64) supply {
	if cursor == end {
		return exhausted
	}
	if g.feed != f || g.from != cursor || g.end != end && g.to >= min(g.end, end) {
		g.feed, g.from, g.end = nil, cursor, end
		got := lost
		if f.whole {
			got = g.fillSpan(f.ch.tape)
		} else {
			got = g.fillRefs(f)
		}
		if got != supplied {
			return got
		}
		g.feed = f
	}
	if g.gone(f.ch) {
		return lost
	}
	return supplied
}

// gone reports whether some piece is not on its tape any more.
func (g *gather) gone(ch *channel) bool {
	return g.low < ch.tape.low.Load() || g.lowAside != ^uint64(0) && g.lowAside < ch.aside.Load().low.Load()
}

func (g *gather) fillSpan(t *tape) supply {
	a, b, ok := t.span(g.from, min(uint64(g.limit), g.end-g.from))
	if !ok {
		return lost
	}
	g.a, g.b = a, b
	g.low, g.lowAside, g.to = g.from, ^uint64(0), b.offset
	g.seq, g.events = b.seq, b.events-a.events
	g.total = int(b.offset - g.from)
	g.refs = g.refs[:0]
	g.pieces = t.bytes(g.pieces[:0], g.from, b.offset)
	return supplied
}

// fillRefs copies the references out, so that the feed's lock is held briefly
// and a send cut short can be settled whatever happened to the ring since.
func (g *gather) fillRefs(f *feed) supply {
	g.refs, g.spans, g.total, g.ping = g.refs[:0], g.spans[:0], 0, nil
	f.mu.Lock()
	defer f.mu.Unlock()
	if g.from < f.first {
		return lost
	}
	for i := g.from; i < g.end && len(g.refs) < maxSendRefs; i++ {
		r := *f.ref(i)
		if r.kind == isPing {
			if g.ping == nil {
				g.ping = *f.ch.ping.Load()
			}
			r.n = uint32(len(g.ping))
		}
		if r.kind == isHole || g.total > 0 && g.total+int(r.n) > g.limit || !g.join(r) {
			break
		}
		g.refs = append(g.refs, r)
		g.total += int(r.n)
	}
	if len(g.refs) == 0 {
		return skipped
	}
	return g.cut(f.ch)
}

// A span is a run of frames that follow each other on a tape, or a ping.
type span struct {
	kind     refKind // of its first frame
	from, to uint64
}

// join adds a frame to the spans, adjacent ones as one. It reports false if they
// are too many.
func (g *gather) join(r ref) bool {
	if n := len(g.spans); n > 0 && r.kind != isPing {
		if last := &g.spans[n-1]; last.to == r.off && last.kind != isPing && last.kind.aside() == r.kind.aside() {
			last.to += uint64(r.n)
			return true
		}
	}
	if len(g.spans) == maxPieces {
		return false
	}
	g.spans = append(g.spans, span{r.kind, r.off, r.off + uint64(r.n)})
	return true
}

// cut makes the pieces out of the spans.
func (g *gather) cut(ch *channel) supply {
	g.to = g.from + uint64(len(g.refs))
	g.seq = g.refs[len(g.refs)-1].seq
	g.pieces, g.events, g.low, g.lowAside = g.pieces[:0], 0, ^uint64(0), ^uint64(0)
	for _, s := range g.spans {
		switch {
		case s.kind.aside():
			g.lowAside = min(g.lowAside, s.from)
		case s.kind != isPing:
			g.low = min(g.low, s.from)
		}
	}
	if g.gone(ch) {
		return lost
	}
	for _, r := range g.refs {
		if r.kind.event() {
			g.events++
		}
	}
	for _, s := range g.spans {
		if s.kind == isPing {
			g.pieces = append(g.pieces, g.ping)
			continue
		}
		g.pieces = ch.tapeOf(s.kind).bytes(g.pieces, s.from, s.to)
	}
	return supplied
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
				frame = g.frame(g.feed.ch.tapeOf(r.kind), r.off, r.off+uint64(r.n))
			}
			s.own = frame[n:]
		}
		n -= int(r.n)
		s.cursor++
		s.pos = r.seq
		if r.kind.event() {
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
