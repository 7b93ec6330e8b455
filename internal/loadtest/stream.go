package loadtest

import (
	"errors"

	"carillon/internal/sse"
)

// phase is how far a stream's connection has come.
type phase uint8

const (
	phaseIdle       phase = iota // to be opened at dialAt
	phaseConnecting              // the descriptor is connecting
	phaseHead                    // the request is sent
	phaseBody                    // events come
	phaseClosed                  // for good
)

// stream is one event stream under test. It belongs to its worker. While it
// is on the tape (own == nil) it needs no memory but this.
type stream struct {
	tracker
	feed    *feed
	pos     uint64 // on the tape: what it has received
	nextRec uint64 // number of the tape's first frame that it has not received
	own     *parser
	body    *chunks // if the response is chunked
	head    []byte  // response head so far
	index   int32
	fd      int32
	phase   phase
	leaves  uint8 // times it left the tape without having matched a frame on it
	tries   uint8 // failed attempts to open since it was last open
	once    bool  // it has been open before
	reads   uint8 // of the descriptor, modulo 256
	dialAt  int64 // run time in ns

	cut       cut   // how the connection is to be killed, if it is
	left      int32 // bytes that it still reads before that
	stalledTo int64 // run time until which it is not read; 0 if it is
}

// maxLeaves is how often a stream may leave the tape without use. One whose
// bytes are its alone is then parsed on its own for good.
const maxLeaves = 8

// parser reads a stream that is not on the tape: at its beginning, and after
// its bytes differed from the tape's.
type parser struct {
	reader sse.Reader
	w      *worker
	s      *stream
	now    int64
	key    uint64 // of the last frame
	framed bool   // there was one
}

// frame is called by the parser's reader.
func (p *parser) frame(f sse.Frame) {
	switch f.Kind {
	case sse.Comment:
		p.w.comment = append(p.w.comment[:0], f.Data[:min(len(f.Data), 200)]...)
	case sse.Message, sse.Moved:
		p.key, p.framed = p.s.feed.tape.key(f), true
		rec := p.s.feed.tape.known(p.key, f).rec
		p.w.note(p.s, &rec, p.now)
	}
}

// begin prepares for the response of a new connection.
func (w *worker) begin(s *stream) {
	s.phase = phaseHead
	s.own = w.newParser(s)
	s.cut = cutNot
	if m := w.mischief; m != nil && m.KillEvery > 0 && !w.run.quiet.Load() && m.IntN(earlyCuts) == 0 {
		m.mark(s, earlyCut)
	}
}

// end forgets the connection's state. What was unterminated is discarded, as
// every reader of event streams does.
func (w *worker) end(s *stream) {
	w.drop(s)
	s.body, s.head = nil, nil
}

func (w *worker) newParser(s *stream) *parser {
	var p *parser
	if n := len(w.parsers); n > 0 {
		p, w.parsers = w.parsers[n-1], w.parsers[:n-1]
	} else {
		p = &parser{w: w}
		p.reader.On = p.frame
	}
	p.reader.Reset()
	p.s, p.framed = s, false
	return p
}

// drop gives the stream's parser back.
func (w *worker) drop(s *stream) {
	if s.own != nil {
		s.own.s = nil
		w.parsers = append(w.parsers, s.own)
		s.own = nil
	}
}

// input takes bytes that came for s at the run time now, in ns. They are
// only lent. After an error the connection is of no use.
func (w *worker) input(s *stream, p []byte, now int64) error {
	w.bytes += int64(len(p))
	var cut error
	if s.cut != cutNot {
		p, cut = w.cutShort(s, p)
	}
	if s.phase == phaseHead {
		var err error
		if p, err = w.takeHead(s, p); err != nil || s.phase == phaseHead {
			return errors.Join(err, cut)
		}
	}
	if s.body == nil {
		if err := w.feed(s, p, now); err != nil {
			return err
		}
		return cut
	}
	for len(p) > 0 {
		payload, rest, err := s.body.next(p)
		if err != nil {
			return err
		}
		if err := w.feed(s, payload, now); err != nil {
			return err
		}
		p = rest
	}
	return cut
}

// takeHead returns the body bytes behind the response head once it is whole.
func (w *worker) takeHead(s *stream, p []byte) ([]byte, error) {
	s.head = append(s.head, p...)
	n, chunked, err := cutHead(s.head)
	if err != nil || n == 0 {
		return nil, err
	}
	p = s.head[n:]
	s.head = nil
	if chunked {
		s.body = &chunks{}
	}
	s.phase = phaseBody
	w.opened(s)
	return p, nil
}

// feed takes payload bytes of s.
func (w *worker) feed(s *stream, p []byte, now int64) error {
	t := s.feed.tape
	for len(p) > 0 && s.own == nil {
		rest, walled := t.from(s.pos)
		n, same := match(p, rest)
		switch {
		case !same || n == 0 && walled:
			if err := w.leave(s, now); err != nil {
				return err
			}
		case n == 0:
			if t.full() {
				w.slide(s.feed, now)
				continue
			}
			if err := t.append(p); err != nil {
				return err
			}
			w.advance(s, len(p), now)
			p = nil
		default:
			if w.advance(s, n, now) {
				s.leaves = 0
			}
			p = p[n:]
		}
	}
	if len(p) == 0 {
		return nil
	}
	return w.feedOwn(s, p, now)
}

// feedOwn parses bytes of a stream that is not on the tape, and puts it there
// if it stands at a frame boundary then.
func (w *worker) feedOwn(s *stream, p []byte, now int64) error {
	s.own.now = now
	if _, err := s.own.reader.Write(p); err != nil {
		return err
	}
	if s.own.framed && !s.own.reader.Pending() && s.leaves < maxLeaves {
		s.pos, s.nextRec = s.feed.tape.join(s.own.key)
		w.drop(s)
	}
	return nil
}

// leave takes s off the tape, with a parser that has read the begin of the
// frame that s is within.
func (w *worker) leave(s *stream, now int64) error {
	s.own = w.newParser(s)
	s.own.now = now
	s.leaves++
	_, err := s.own.reader.Write(s.feed.tape.partial(s.pos, s.nextRec))
	s.own.framed = false
	return err
}

// advance moves s along the tape and notes each frame that it has completed.
// It reports whether there was one.
func (w *worker) advance(s *stream, n int, now int64) bool {
	s.pos += uint64(n)
	begin := s.nextRec
	recs := s.feed.tape.recs[s.nextRec-s.feed.tape.recBase:]
	for i := range recs {
		if recs[i].end > s.pos {
			break
		}
		s.nextRec++
		w.note(s, &recs[i], now)
	}
	return s.nextRec > begin
}

// slide makes room on a feed's tape. Streams that have not come as far as its
// new begin leave it.
func (w *worker) slide(f *feed, now int64) {
	t := f.tape
	to := t.slideTo()
	if to == t.base {
		t.wall()
		to = t.head()
	}
	for i := range w.streams {
		s := &w.streams[i]
		if s.feed == f && s.phase == phaseBody && s.own == nil && s.pos < to {
			if err := w.leave(s, now); err != nil {
				w.run.fail(err)
			}
			s.leaves--
		}
	}
	t.slide(to)
}
