package broadcast

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// kernelBytes returns how many bytes the kernel holds for the stream that its
// peer has not acknowledged (SIOCOUTQ); 0 if that cannot be known.
func (s *Stream) kernelBytes() int {
	if s.fd >= 0 {
		return outQueue(int(s.fd))
	}
	n := 0
	conn := s.line.conn
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = t.NetConn() // below TLS
	}
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			raw.Control(func(fd uintptr) { n = outQueue(int(fd)) }) //nolint:errcheck // closed: it holds nothing
		}
	}
	return n
}

func outQueue(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}
