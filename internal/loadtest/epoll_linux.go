package loadtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	readBuffer = 256 << 10 // one for all streams of a worker
	maxEvents  = 512
	// maxReads is how many buffers one stream may fill before it is the others' turn.
	maxReads = 16
	// headTimeout is how long a connection may take to become a stream.
	headTimeout = 15 * time.Second
	// smallBuffer is the receive buffer of half of the streams that may stall, in bytes.
	smallBuffer = 4 << 10
	// tick is how often a worker looks up when nothing comes.
	tick = 10 * time.Millisecond
)

// fast reports whether workers can use loop on this system.
const fast = true

// poll is what loop needs beside the worker.
type poll struct {
	*worker
	epoll   int
	addr    unix.Sockaddr
	family  int
	buf     []byte
	request []byte
	opening map[int32]int64 // streams on their way, and since when
}

// loop opens the worker's streams and reads them until ctx ends: one
// goroutine, one epoll, one buffer. addr is where to connect to.
func (w *worker) loop(ctx context.Context, addr *net.TCPAddr) error {
	p := poll{worker: w, buf: make([]byte, readBuffer), opening: map[int32]int64{}}
	p.family, p.addr = sockaddr(addr)
	var err error
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("creating epoll: %w", err)
	}
	defer p.closeAll()
	events := make([]unix.EpollEvent, maxEvents)
	for ctx.Err() == nil {
		wait := p.dial()
		n, err := unix.EpollWait(p.epoll, events, int(wait.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting for streams: %w", err)
		}
		for _, ev := range events[:max(n, 0)] {
			p.ready(&w.streams[ev.Fd], ev.Events)
		}
		now := w.run.now()
		w.disturb(now, p.resume)
		p.expire(now)
		w.flush(now)
	}
	return nil
}

func sockaddr(a *net.TCPAddr) (int, unix.Sockaddr) {
	if ip := a.IP.To4(); ip != nil {
		return unix.AF_INET, &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(ip)}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: a.Port, Addr: [16]byte(a.IP.To16())}
}

// dial begins the connections whose time has come and returns for how long
// the worker may wait.
func (p *poll) dial() time.Duration {
	for len(p.waiting) > 0 {
		s, now := &p.streams[p.waiting[0]], p.run.now()
		if now < s.dialAt {
			break
		}
		ok, wait := p.run.gate.try(now)
		if !ok {
			return max(min(wait, tick), time.Millisecond)
		}
		p.waiting = p.waiting[1:]
		p.opening[s.index] = now
		if err := p.connect(s); err != nil {
			p.close(s, err)
		}
	}
	return tick
}

func (p *poll) connect(s *stream) error {
	fd, err := unix.Socket(p.family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening socket: %w", err)
	}
	s.fd, s.phase = int32(fd), phaseConnecting
	if m := p.mischief; m != nil && m.IntN(2) == 0 {
		// The system would take in much of what a stalled reader leaves to the server.
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, smallBuffer)
	}
	err = unix.Connect(fd, p.addr)
	if errors.Is(err, unix.EINPROGRESS) {
		return p.watch(s, unix.EPOLL_CTL_ADD, unix.EPOLLOUT)
	}
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	if err := p.watch(s, unix.EPOLL_CTL_ADD, 0); err != nil {
		return err
	}
	return p.send(s)
}

// send writes the request. It is far smaller than any send buffer, so that a
// short write can only be a broken connection.
func (p *poll) send(s *stream) error {
	p.request = appendRequest(p.request[:0], s.feed.request, s.lastID)
	n, err := unix.Write(int(s.fd), p.request)
	if err == nil && n < len(p.request) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("sending request: %w", err)
	}
	p.begin(s)
	return nil
}

// ready handles what epoll reports of s.
func (p *poll) ready(s *stream, events uint32) {
	if s.fd < 0 || s.stalledTo != 0 {
		return
	}
	if s.phase == phaseConnecting {
		if err := p.connected(s); err != nil {
			p.close(s, err)
		}
		return
	}
	if err := p.read(s, events&^unix.EPOLLIN != 0); err != nil {
		p.close(s, err)
	} else if s.phase == phaseBody && len(p.opening) > 0 {
		delete(p.opening, s.index)
	}
}

// resume reads a stream that was stalled.
func (p *poll) resume(s *stream) {
	if s.fd >= 0 {
		p.ready(s, unix.EPOLLIN|unix.EPOLLRDHUP)
	}
}

// read takes what there is. Epoll reports only changes, which saves it a look
// at each stream after each read; so all must be taken. A read that does not
// fill the buffer has taken all, unless the end is there too.
func (p *poll) read(s *stream, ending bool) error {
	for range maxReads {
		n, err := p.receive(s)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("reading stream: %w", err)
		case n == 0:
			return errEnded
		}
		if err := p.input(s, p.buf[:n], p.run.now()); err != nil {
			return err
		}
		if n < len(p.buf) && !ending {
			return nil
		}
	}
	// The others' turn: setting the same events again makes epoll look again.
	return p.watch(s, unix.EPOLL_CTL_MOD, 0)
}

// ackEvery is how many reads of a stream go by until it is asked again to delay
// its acknowledgements: the system stops that by itself after a silence.
const ackEvery = 32

// receive reads what there is of s, at most a buffer. It goes around the
// scheduler, as neither call can block, and lets the system acknowledge each
// second segment instead of each read: by default a reader that takes all
// pays for a segment of its own, a third of what reading costs.
func (p *poll) receive(s *stream) (int, error) {
	if s.reads++; s.reads%ackEvery == 1 {
		no := int32(0)
		syscall.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(s.fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, uintptr(unsafe.Pointer(&no)), unsafe.Sizeof(no), 0)
	}
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(s.fd), uintptr(unsafe.Pointer(&p.buf[0])), uintptr(len(p.buf)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// watch sets what epoll reports of s.
func (p *poll) watch(s *stream, op int, more uint32) error {
	ev := unix.EpollEvent{Fd: s.index, Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET | more}
	if err := unix.EpollCtl(p.epoll, op, int(s.fd), &ev); err != nil {
		return fmt.Errorf("watching socket: %w", err)
	}
	return nil
}

func (p *poll) connected(s *stream) error {
	code, err := unix.GetsockoptInt(int(s.fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	if err := p.watch(s, unix.EPOLL_CTL_MOD, 0); err != nil {
		return err
	}
	return p.send(s)
}

// expire gives up connections that do not become streams in time.
func (p *poll) expire(now int64) {
	for i, since := range p.opening {
		if now-since > int64(headTimeout) {
			p.close(&p.streams[i], fmt.Errorf("no response within %v", headTimeout))
		}
	}
}

func (p *poll) close(s *stream, cause error) {
	if s.fd >= 0 {
		p.hangUp(int(s.fd), s.cut)
		s.fd = -1
	}
	delete(p.opening, s.index)
	p.closed(s, cause, p.run.now())
}

// hangUp closes a descriptor in the way of the cut.
func (p *poll) hangUp(fd int, how cut) {
	switch how {
	case cutAbort:
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	case cutClose:
		// A close with bytes unread would be a reset.
		unix.Shutdown(fd, unix.SHUT_WR)
		for range maxReads {
			if n, err := unix.Read(fd, p.buf); err != nil || n == 0 {
				break
			}
		}
	}
	unix.Close(fd)
}

func (p *poll) closeAll() {
	for i := range p.streams {
		if s := &p.streams[i]; s.fd >= 0 {
			unix.Close(int(s.fd))
			s.fd = -1
		}
	}
	unix.Close(p.epoll)
}
