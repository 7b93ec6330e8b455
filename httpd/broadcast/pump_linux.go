package broadcast

import (
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// An epollPump serves its streams with one goroutine, by system calls that
// never block. While it has nothing to do it waits on a channel; its epoll is
// watched through Go's own poller, so that no thread is held.
type epollPump struct {
	// Static after construction.
	h     *Hub
	poll  *poller
	awake chan struct{} // of capacity 1; something is to be done
	done  chan struct{} // closed by run

	given atomic.Bool // something was put in since the last wake

	sending sync.Mutex // held while bytes of a tape are used

	mu sync.Mutex
	in inbox // guarded by mu

	// Owned by run.
	work     inbox
	slots    []*Stream
	free     []uint32
	count    int
	more     []*Stream // have more to get than one turn gives, those from next on
	next     int
	draining bool
	sends    uint
	events   uint64 // delivered since counted last, as is the next one
	bytes    uint64
	gathers  [turnSends]gather // one for each send of a turn: the streams of a feed mostly go from place to place together
	out      outgoing
}

const (
	// turnSends is how often a stream is sent to before the others have their turn.
	turnSends = 4
	// yieldEvery is the number of sends after which other goroutines may run: a
	// pass over 10,000 streams would keep them waiting for tens of milliseconds.
	yieldEvery = 64
	longTurn   = 2 * time.Millisecond
	// moreTurn is for how long those that lag are served before it is looked
	// for what is new.
	moreTurn = 4 * time.Millisecond
	maxRest  = 10 * time.Millisecond
	// sendBuffers is how many send buffers' worth one send is at most. The kernel
	// takes that at once if its buffer is empty; of a longer one it would leave a
	// rest, which costs a look for room and a copy of a frame.
	sendBuffers = 3
)

func systemPumps(h *Hub, n int) ([]pump, error) {
	var pumps []pump
	for range n {
		poll, err := newPoller()
		if err != nil {
			for _, p := range pumps {
				p.drain()
			}
			return nil, err
		}
		p := &epollPump{h: h, poll: poll, awake: make(chan struct{}, 1), done: make(chan struct{})}
		for i := range p.gathers {
			p.gathers[i].limit = min(sendBuffers*h.cfg.SendBuffer, maxSend)
		}
		go p.run()
		go poll.watch(p.signal)
		pumps = append(pumps, p)
	}
	return pumps, nil
}

func (p *epollPump) signal() {
	select {
	case p.awake <- struct{}{}:
	default: // it is to look already
	}
}

// put changes the inbox without waking the pump.
func (p *epollPump) put(f func(*inbox)) {
	p.mu.Lock()
	f(&p.in)
	p.mu.Unlock()
	p.given.Store(true)
}

func (p *epollPump) tell(f func(*inbox)) {
	p.put(f)
	p.signal()
}

func (p *epollPump) touch(m *member) {
	p.mu.Lock()
	p.in.dirty = append(p.in.dirty, m)
	p.mu.Unlock()
	p.given.Store(true)
}

func (p *epollPump) wake() {
	if p.given.Load() && p.given.Swap(false) {
		p.signal()
	}
}

func (p *epollPump) attach(s *Stream)       { p.put(func(in *inbox) { in.streams = append(in.streams, s) }) }
func (p *epollPump) reply(j *job)           { p.tell(func(in *inbox) { in.jobs = append(in.jobs, j) }) }
func (p *epollPump) ask(f func())           { p.tell(func(in *inbox) { in.asks = append(in.asks, f) }) }
func (p *epollPump) look(s *Stream)         { p.ask(func() { p.serve(s) }) }
func (p *epollPump) sweep()                 { p.tell(func(in *inbox) { in.sweep = true }) }
func (p *epollPump) drain()                 { p.tell(func(in *inbox) { in.drain = true }) }
func (p *epollPump) abort()                 { p.tell(func(in *inbox) { in.abort = true }) }
func (p *epollPump) lockSending()           { p.sending.Lock() }
func (p *epollPump) unlockSending()         { p.sending.Unlock() }
func (p *epollPump) ended() <-chan struct{} { return p.done }

func (p *epollPump) run() {
	defer close(p.done)
	defer p.poll.close()
	for {
		start := time.Now()
		busy := p.poll.ready(p.happened)
		busy = p.takeIn() || busy
		busy = p.continueMore(time.Now()) || busy
		p.countUp()
		if p.draining && p.count == 0 {
			return
		}
		if busy {
			rest(time.Since(start))
			continue
		}
		p.poll.arm()
		<-p.awake
	}
}

// rest lets others have the core after a long turn. While all pumps are busy
// nobody looks at the network for those who publish; and the events of the
// meantime go out together.
func rest(worked time.Duration) {
	if worked > longTurn {
		time.Sleep(min(worked/2, maxRest))
	}
}

// takeIn does what others asked for, and reports whether there was anything.
func (p *epollPump) takeIn() bool {
	p.mu.Lock()
	p.in, p.work = p.work, p.in
	p.mu.Unlock()
	w := &p.work
	for _, s := range w.streams {
		p.begin(s)
	}
	for _, j := range w.jobs {
		p.resume(j)
	}
	for _, f := range w.asks {
		f()
	}
	for _, m := range w.dirty {
		p.pass(m)
	}
	if w.sweep {
		p.sweepAll()
	}
	if w.drain {
		p.draining = true
		p.each(p.serve)
	}
	if w.abort {
		p.each(func(s *Stream) { p.close(s, Shutdown) })
	}
	busy := len(w.streams)+len(w.jobs)+len(w.asks)+len(w.dirty) > 0
	w.reset()
	return busy
}

// begin makes a stream one of the pump's.
func (p *epollPump) begin(s *Stream) {
	if n := len(p.free); n > 0 {
		s.slot = p.free[n-1]
		p.free = p.free[:n-1]
	} else {
		s.slot = uint32(len(p.slots))
		p.slots = append(p.slots, nil)
	}
	p.slots[s.slot] = s
	p.count++
	s.member.put(s)
	if err := p.poll.add(int(s.fd), s.slot); err != nil {
		p.h.cfg.Log.Error("stream cannot be watched", "remote", s.remote, "error", err)
		p.close(s, WriteError)
		return
	}
	p.serve(s)
}

// resume goes on with a stream that a reader had.
func (p *epollPump) resume(j *job) {
	s := j.s
	if s.is(gone) {
		return
	}
	if j.err != nil {
		p.h.cfg.Log.Warn("stream cannot be replayed", "remote", s.remote, "error", j.err)
		p.close(s, ReplayFailed)
		return
	}
	p.sending.Lock()
	p.events += p.h.take(j)
	p.sending.Unlock()
	p.more = append(p.more, s)
}

// pass serves all streams of a feed that has something new.
func (p *epollPump) pass(m *member) {
	m.dirty.Store(false) // before the feed's end is loaded: what comes later makes it dirty again
	done := ^uint64(0)
	for i := 0; i < len(m.streams); {
		s := m.streams[i]
		if s.isBehind() {
			i++
			continue
		}
		p.serve(s)
		if s.is(gone) || s.member != m {
			continue // another one has its place
		}
		if s.is(joined) {
			done = min(done, s.cursor)
		}
		i++
	}
	m.done.Store(done)
}

// continueMore serves, for a while, the streams that were not done in an
// earlier turn: they take turns, and none keeps those that have almost
// everything from what is new.
func (p *epollPump) continueMore(now time.Time) bool {
	for n := len(p.more); p.next < n; {
		s := p.more[p.next]
		p.more[p.next] = nil
		p.next++
		p.serve(s)
		if p.next%8 == 0 && time.Since(now) > moreTurn {
			break
		}
	}
	if p.next > len(p.more)/2 {
		n := copy(p.more, p.more[p.next:])
		clear(p.more[n:])
		p.more, p.next = p.more[:n], 0
	}
	if len(p.more) == 0 {
		p.more = reuse(p.more)
	}
	return len(p.more) > 0
}

// serve sends the stream what it lacks, as far as its connection takes it.
func (p *epollPump) serve(s *Stream) {
	for i := range turnSends {
		g := &p.gathers[i]
		p.sending.Lock()
		need := p.h.next(s, g)
		if need == needSend {
			p.sendFeed(s, g) // gives the lock back
			continue
		}
		p.sending.Unlock()
		switch need {
		case needOwn:
			p.sendOwn(s)
		case needReplay:
			if p.takeKept(s) {
				p.more = append(p.more, s)
				return
			}
			p.h.readers.ask(s)
		case needEnd:
			p.close(s, s.why)
		default:
			if p.draining && !s.is(gone) && s.caughtUp(p.h.head.Load()) {
				p.close(s, Shutdown)
			}
			return
		}
	}
	p.more = append(p.more, s)
}

// takeKept gives the stream what was read for others, and reports whether there
// was anything.
func (p *epollPump) takeKept(s *Stream) bool {
	p.sending.Lock()
	defer p.sending.Unlock()
	events, ok := p.h.readers.kept(s)
	p.events += events
	return ok
}

// sendFeed sends what g holds. It is called with sending held, and ends that.
func (p *epollPump) sendFeed(s *Stream, g *gather) {
	n, errno := p.out.send(int(s.fd), g.pieces)
	events := s.events
	g.settle(s, n)
	total := g.total
	p.sending.Unlock()
	p.events += s.events - events
	p.sent(s, n, total, errno)
}

func (p *epollPump) sendOwn(s *Stream) {
	n, errno := sendBytes(int(s.fd), s.own)
	total := len(s.own)
	s.bytes += uint64(n)
	if s.own = s.own[n:]; len(s.own) == 0 {
		s.own = nil
	}
	p.sent(s, n, total, errno)
}

// sent notes what became of a send of total bytes. A send cut short means that
// the kernel's buffer is full, and that it will tell of room: tcp_sendmsg
// notes the lack of space whenever it takes less than it was given.
func (p *epollPump) sent(s *Stream, n, total int, errno syscall.Errno) {
	p.bytes += uint64(n)
	now := p.h.clock.Load()
	if n > 0 {
		s.sent, s.stuck = now, 0
	}
	switch {
	case errno == unix.EAGAIN || errno == 0 && n < total:
		s.set(blocked)
		if s.stuck == 0 { // room that let nothing through is no progress
			s.stuck = now + 1
		}
		p.h.met.blocked.Inc()
	case errno == unix.EPIPE || errno == unix.ECONNRESET:
		p.close(s, ClientLeft)
	case errno != 0 && errno != unix.EINTR:
		p.close(s, WriteError)
	}
	if p.sends++; p.sends%yieldEvery == 0 {
		p.countUp()
		goruntime.Gosched()
	}
}

func (p *epollPump) countUp() {
	if p.bytes == 0 && p.events == 0 {
		return
	}
	p.h.met.deliveries.AddInt64(int64(p.events))
	p.h.met.bytes.AddInt64(int64(p.bytes))
	p.events, p.bytes = 0, 0
}

// happened is told what the kernel noticed about a stream's connection.
func (p *epollPump) happened(slot uint32, events uint32) {
	s := p.slots[slot]
	if s == nil {
		return
	}
	switch {
	case events&unix.EPOLLERR != 0:
		why := ClientLeft
		if code, err := unix.GetsockoptInt(int(s.fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && code == int(unix.ETIMEDOUT) {
			why = deadReason(s)
		}
		p.close(s, why)
	case events&(unix.EPOLLRDHUP|unix.EPOLLHUP) != 0:
		p.close(s, ClientLeft)
	case events&unix.EPOLLIN != 0 && !p.listen(s):
	case events&unix.EPOLLOUT != 0 && s.is(blocked):
		s.clear(blocked)
		s.set(slowed)
		if s.is(joined) {
			p.serve(s)
		} else {
			p.more = append(p.more, s)
		}
	}
}

// deadReason says why the kernel gave a connection up: TCP_USER_TIMEOUT ends
// one whose peer is there but reads nothing as it does one whose peer is gone.
func deadReason(s *Stream) Reason {
	if s.is(blocked) {
		return Stalled
	}
	return WriteError
}

// listen throws away what the client sends, and reports whether the stream goes on.
func (p *epollPump) listen(s *Stream) bool {
	for {
		n, errno := p.out.discard(int(s.fd))
		switch {
		case errno == unix.EAGAIN:
			return true
		case errno == unix.EINTR:
			continue
		case errno != 0 || n == 0:
			p.close(s, ClientLeft)
			return false
		}
		if s.noise += uint32(n); s.noise > maxNoise {
			p.close(s, Flooded)
			return false
		}
	}
}

// sweepAll ends streams whose time is over, and gives a sign of life to those
// that wait for the journal.
func (p *epollPump) sweepAll() {
	now := p.h.clock.Load()
	p.each(func(s *Stream) {
		if why, ok := s.due(now); ok {
			p.end(s, why)
		} else if s.silent(now) {
			s.own = appendPosition(nil, p.h.cfg.Epoch, s.pos)
			p.serve(s)
		} else {
			p.events -= p.h.trim(s, now)
		}
	})
}

// end ends a stream: at once if it is stuck, else between two frames.
func (p *epollPump) end(s *Stream, why Reason) {
	if why == Stalled {
		p.close(s, why)
		return
	}
	p.finish(s, why)
}

func (p *epollPump) finish(s *Stream, why Reason) {
	s.finish(why)
	p.serve(s)
}

func (p *epollPump) each(fn func(*Stream)) {
	for _, s := range p.slots {
		if s != nil {
			fn(s)
		}
	}
}

// close ends a stream's connection. What the kernel holds for it is still sent.
func (p *epollPump) close(s *Stream, why Reason) {
	if s.is(gone) {
		return
	}
	p.sending.Lock()
	p.h.forget(s)
	p.sending.Unlock()
	s.set(gone)
	s.own = nil
	p.poll.remove(int(s.fd))
	closeDescriptor(int(s.fd))
	p.slots[s.slot] = nil
	p.free = append(p.free, s.slot)
	p.count--
	s.member.take(s)
	p.h.left(s, why)
}
