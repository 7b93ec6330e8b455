package broadcast

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A poller is an epoll, itself watched by Go's poller.
type poller struct {
	// Static after construction.
	fd   int
	file *os.File // of fd
	raw  syscall.RawConn
	wish chan struct{} // of capacity 1: the pump wants to be told
	quit chan struct{} // closed by close

	armed  atomic.Bool       // the pump will be told
	events []unix.EpollEvent // owned by the pump
}

const interest = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making an epoll: %w", err)
	}
	// os.NewFile gives only non-blocking descriptors to Go's poller.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("making an epoll non-blocking: %w", err)
	}
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("watching an epoll: %w", err)
	}
	return &poller{
		fd: fd, file: file, raw: raw, events: make([]unix.EpollEvent, 256),
		wish: make(chan struct{}, 1), quit: make(chan struct{}),
	}, nil
}

// watch calls signal after each arm once events wait. RawConn.Read forgets old
// readiness before it calls the function, which looks at the epoll itself, and
// waits only if nothing was there: so no event is missed between.
func (p *poller) watch(signal func()) {
	for {
		select {
		case <-p.wish:
		case <-p.quit:
			return
		}
		p.armed.Store(true)
		err := p.raw.Read(func(fd uintptr) bool {
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := unix.Poll(fds, 0)
			return n > 0 || err != nil && err != unix.EINTR
		})
		p.armed.Store(false)
		if err != nil {
			return // closed
		}
		signal()
	}
}

// arm makes sure that the pump is told of the next event, and of one that waits.
func (p *poller) arm() {
	if p.armed.Load() {
		return
	}
	select {
	case p.wish <- struct{}{}:
	default:
	}
}

func (p *poller) close() {
	close(p.quit)
	p.file.Close()
}

func (p *poller) add(fd int, slot uint32) error {
	ev := unix.EpollEvent{Events: interest & 0xffffffff, Fd: int32(slot)}
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &ev)
}

func (p *poller) remove(fd int) {
	unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, fd, nil) //nolint:errcheck // fails only if add failed
}

// ready calls fn for the events that wait, and reports whether there were any.
func (p *poller) ready(fn func(slot, events uint32)) bool {
	any := false
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd),
			uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), 0, 0, 0)
		if errno != 0 {
			return any
		}
		for _, ev := range p.events[:n] {
			fn(uint32(ev.Fd), ev.Events)
			any = true
		}
		if int(n) < len(p.events) {
			return any
		}
	}
}

// duplicate makes a descriptor of our own for a connection, tuned for a stream;
// the connection is to be closed then. It reports false for one that has none,
// such as TLS. The duplicate saves what Go's net package holds per connection
// (some 400 bytes) and its poller being woken for each event.
func duplicate(conn net.Conn, sendBuffer int) (fd int, ok bool, err error) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return 0, false, nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, false, err
	}
	cerr := raw.Control(func(old uintptr) {
		if fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			if err = tune(fd, conn, sendBuffer); err != nil {
				unix.Close(fd)
			}
		}
	})
	if cerr != nil || err != nil {
		return 0, false, firstError(cerr, err)
	}
	return fd, true, nil
}

// dropDescriptor closes a duplicate; the connection goes on.
func dropDescriptor(fd int) { unix.Close(fd) } //nolint:errcheck // nothing to be done about it

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// deadPeer is how long the kernel waits for a peer that acknowledges nothing.
const deadPeer = stallAfter * 1000 // milliseconds

func tune(fd int, conn net.Conn, sendBuffer int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer); err != nil {
		return fmt.Errorf("bounding the send buffer: %w", err)
	}
	if _, ok := conn.(*net.TCPConn); !ok {
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return fmt.Errorf("setting TCP_NODELAY: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, sendBuffer); err != nil {
		return fmt.Errorf("setting TCP_NOTSENT_LOWAT: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, deadPeer); err != nil {
		return fmt.Errorf("setting TCP_USER_TIMEOUT: %w", err)
	}
	return nil
}

// closeDescriptor ends the sending half first: closing a socket that holds
// unread input would reset the connection, and lose what is not yet read there.
func closeDescriptor(fd int) {
	var scratch [512]byte
	for range 8 {
		if n, err := unix.Read(fd, scratch[:]); n <= 0 || err != nil {
			break
		}
	}
	unix.Shutdown(fd, unix.SHUT_WR) //nolint:errcheck // the peer may be gone
	unix.Close(fd)                  //nolint:errcheck // nothing to be done about it
}

const sendFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL

// sendBytes sends without waiting. It is a raw system call: a send takes a few
// microseconds and never blocks, so the scheduler need not know.
func sendBytes(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), sendFlags, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// An outgoing is the memory for system calls of one pump.
type outgoing struct {
	iov     []unix.Iovec
	header  unix.Msghdr
	garbage [4096]byte
}

// send sends pieces in order, with one call.
func (o *outgoing) send(fd int, pieces [][]byte) (int, syscall.Errno) {
	if len(pieces) == 1 {
		return sendBytes(fd, pieces[0])
	}
	o.iov = o.iov[:0]
	for _, piece := range pieces {
		if len(piece) == 0 {
			continue
		}
		v := unix.Iovec{Base: unsafe.SliceData(piece)}
		v.SetLen(len(piece))
		o.iov = append(o.iov, v)
	}
	o.header = unix.Msghdr{Iov: unsafe.SliceData(o.iov)}
	o.header.SetIovlen(len(o.iov))
	n, _, errno := syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&o.header)), sendFlags)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// discard reads what has come and forgets it.
func (o *outgoing) discard(fd int) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd),
		uintptr(unsafe.Pointer(&o.garbage[0])), uintptr(len(o.garbage)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}
