package broadcast

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A portablePump serves each stream with two goroutines, on any net.Conn. Its
// streams stand on the same feeds as those of the other pumps; what they get is
// copied, so that no lock is held during a write.
type portablePump struct {
	// Static after construction.
	h     *Hub
	awake chan struct{} // of capacity 1; feeds have something new
	done  chan struct{} // closed by run
	quit  chan struct{} // closed by drain

	given atomic.Bool
	once  sync.Once // of drain

	mu    sync.Mutex
	dirty []*member // guarded by mu

	sending sync.Mutex
	// Guarded by sending, as are the streams' fields.
	g        gather
	streams  map[*Stream]struct{}
	draining bool

	buffers sync.Pool // of *[]byte
}

// A line is what a stream of the portable pump has besides.
type line struct {
	conn net.Conn
	poke chan struct{} // of capacity 1; the stream is to look
	why  Reason
	cut  bool // to be closed, or closed, for the reason why; guarded by the pump's sending, as is why
}

// recordBytes is one send of the portable pump: a TLS record.
const recordBytes = 16 << 10

// slowWrite is how long a write takes at least if the connection was full.
const slowWrite = 50 * time.Millisecond

func newLine(conn net.Conn) *line {
	return &line{conn: conn, poke: make(chan struct{}, 1)}
}

func newPortablePump(h *Hub) *portablePump {
	p := &portablePump{
		h: h, awake: make(chan struct{}, 1), done: make(chan struct{}), quit: make(chan struct{}),
		streams: make(map[*Stream]struct{}),
	}
	p.g.limit = recordBytes
	go p.run()
	return p
}

func (p *portablePump) touch(m *member) {
	p.mu.Lock()
	p.dirty = append(p.dirty, m)
	p.mu.Unlock()
	p.given.Store(true)
}

func (p *portablePump) wake() {
	if p.given.Load() && p.given.Swap(false) {
		p.signal()
	}
}

func (p *portablePump) signal() {
	select {
	case p.awake <- struct{}{}:
	default:
	}
}

func (p *portablePump) lockSending()           { p.sending.Lock() }
func (p *portablePump) unlockSending()         { p.sending.Unlock() }
func (p *portablePump) ended() <-chan struct{} { return p.done }

func (p *portablePump) ask(f func()) {
	p.sending.Lock()
	defer p.sending.Unlock()
	f()
}

func (p *portablePump) each(fn func(*Stream)) {
	for s := range p.streams {
		fn(s)
	}
}

func (p *portablePump) look(s *Stream) { s.line.look() }

func (p *portablePump) finish(s *Stream, why Reason) {
	s.finish(why)
	s.line.look()
}

func (p *portablePump) attach(s *Stream) {
	p.sending.Lock()
	defer p.sending.Unlock()
	p.streams[s] = struct{}{}
	s.member.put(s)
	tuneConn(s.line.conn, p.h.cfg.SendBuffer)
	go p.serve(s)
	go p.listen(s)
}

// tuneConn bounds the kernel's memory where the connection lets us; deadlines
// of the request that opened the stream end.
func tuneConn(conn net.Conn, sendBuffer int) {
	conn.SetDeadline(time.Time{}) //nolint:errcheck // a broken connection shows when it is used
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = t.NetConn()
	}
	if t, ok := conn.(*net.TCPConn); ok {
		t.SetWriteBuffer(sendBuffer) //nolint:errcheck // as above
	}
}

func (p *portablePump) reply(j *job) {
	p.sending.Lock()
	defer p.sending.Unlock()
	switch {
	case j.s.is(gone):
	case j.err != nil:
		p.h.cfg.Log.Warn("stream cannot be replayed", "remote", j.s.remote, "error", j.err)
		p.cut(j.s, ReplayFailed)
	default:
		p.h.met.deliveries.AddInt64(int64(p.h.take(j)))
		j.s.line.look()
	}
}

func (p *portablePump) sweep() {
	p.sending.Lock()
	defer p.sending.Unlock()
	now := p.h.clock.Load()
	for s := range p.streams {
		if why, ok := s.due(now); ok {
			p.finish(s, why)
		} else if s.silent(now) {
			s.sent = now
			s.own = appendPosition(nil, p.h.cfg.Epoch, s.pos)
			s.line.look()
		}
	}
}

func (p *portablePump) drain() {
	p.sending.Lock()
	defer p.sending.Unlock()
	p.draining = true
	p.each(func(s *Stream) { s.line.look() })
	p.once.Do(func() { close(p.quit) })
}

func (p *portablePump) abort() {
	p.sending.Lock()
	defer p.sending.Unlock()
	p.each(func(s *Stream) { p.cut(s, Shutdown) })
}

// run tells streams that their feeds have something new, until after drain no
// stream is left.
func (p *portablePump) run() {
	defer close(p.done)
	quit := p.quit
	for {
		select {
		case <-p.awake:
		case <-quit:
			quit = nil
		}
		p.mu.Lock()
		dirty := p.dirty
		p.dirty = nil
		p.mu.Unlock()
		p.sending.Lock()
		for _, m := range dirty {
			p.pass(m)
		}
		over := p.draining && len(p.streams) == 0
		p.sending.Unlock()
		if over {
			return
		}
	}
}

func (p *portablePump) pass(m *member) {
	m.dirty.Store(false)
	done := ^uint64(0)
	for _, s := range m.streams {
		if s.is(joined) {
			done = min(done, s.cursor)
		}
		s.line.look()
	}
	m.done.Store(done)
}

func (l *line) look() {
	select {
	case l.poke <- struct{}{}:
	default:
	}
}

// hangUp closes the connection without a word: closing a TLS connection
// properly may take seconds, if the peer does not read.
func (l *line) hangUp() {
	conn := l.conn
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = t.NetConn()
	}
	conn.Close() //nolint:errcheck // it is given up
}

// cut ends a stream now. It is called with sending held.
func (p *portablePump) cut(s *Stream, why Reason) {
	if s.line.cut {
		return
	}
	s.line.cut, s.line.why = true, why
	s.line.hangUp()
	s.line.look()
}

// serve writes to a stream until it ends.
func (p *portablePump) serve(s *Stream) {
	for {
		out, loan, over := p.nextBytes(s)
		switch {
		case over:
			p.remove(s)
			return
		case out == nil:
			<-s.line.poke
			continue
		}
		start := time.Now()
		s.line.conn.SetWriteDeadline(start.Add(stallAfter * time.Second)) //nolint:errcheck // Write tells
		n, err := s.line.conn.Write(out)
		if loan != nil && cap(*loan) <= 2*recordBytes {
			p.buffers.Put(loan)
		}
		p.wrote(s, n, err, time.Since(start) > slowWrite)
	}
}

// nextBytes returns what is to be written next, nil for nothing yet, and the
// pooled buffer that it is in, if any; or that the stream is over.
func (p *portablePump) nextBytes(s *Stream) (out []byte, loan *[]byte, over bool) {
	p.sending.Lock()
	defer p.sending.Unlock()
	if s.line.cut {
		return nil, nil, true
	}
	switch p.h.next(s, &p.g) {
	case needOwn:
		n := min(len(s.own), chunkBytes)
		out, s.own = s.own[:n], s.own[n:]
		return out, nil, false
	case needSend:
		loan = p.copyFeed(s)
		return *loan, loan, false
	case needReplay:
		p.h.readers.ask(s)
		return nil, nil, false
	case needEnd:
		s.line.cut, s.line.why = true, s.why
	default:
		if p.draining && s.caughtUp(p.h.head.Load()) {
			s.line.cut, s.line.why = true, Shutdown
		}
	}
	return nil, nil, s.line.cut
}

func (p *portablePump) copyFeed(s *Stream) *[]byte {
	loan, _ := p.buffers.Get().(*[]byte)
	if loan == nil {
		loan = new([]byte)
	}
	*loan = (*loan)[:0]
	for _, piece := range p.g.pieces {
		*loan = append(*loan, piece...)
	}
	events, bytes := s.events, s.bytes
	p.g.settle(s, p.g.total)
	s.bytes = bytes // counted when written
	p.h.met.deliveries.AddInt64(int64(s.events - events))
	return loan
}

func (p *portablePump) wrote(s *Stream, n int, err error, slow bool) {
	p.sending.Lock()
	defer p.sending.Unlock()
	s.bytes += uint64(n)
	s.sent = p.h.clock.Load()
	if slow {
		s.set(slowed)
	}
	p.h.met.bytes.AddInt64(int64(n))
	switch {
	case err == nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.cut(s, Stalled)
	default:
		p.cut(s, WriteError)
	}
}

// listen throws away what the client sends, until it leaves.
func (p *portablePump) listen(s *Stream) {
	var garbage [512]byte
	why := ClientLeft
	for read := 0; ; {
		n, err := s.line.conn.Read(garbage[:])
		if err != nil {
			break
		}
		if read += n; read > maxNoise {
			why = Flooded
			break
		}
	}
	p.sending.Lock()
	defer p.sending.Unlock()
	p.cut(s, why)
}

// remove ends a stream's connection and forgets it.
func (p *portablePump) remove(s *Stream) {
	if c, ok := s.line.conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite() //nolint:errcheck // the peer may be gone
	}
	s.line.conn.Close() //nolint:errcheck // nothing to be done about it
	p.sending.Lock()
	s.set(gone)
	s.own = nil
	why := s.line.why
	delete(p.streams, s)
	s.member.take(s)
	p.h.forget(s)
	p.sending.Unlock()
	p.h.left(s, why)
	p.signal()
}
