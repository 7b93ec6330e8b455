package main

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// A quickConn acknowledges at once what it reads. Brokers that leave Nagle's algorithm on, as Mosquitto
// does, send nothing small while something is not acknowledged, and Linux would let them
// wait for 40 ms (tcp(7), TCP_QUICKACK, which holds for a while only).
type quickConn struct {
	net.Conn
	raw syscall.RawConn
}

func quick(c net.Conn) net.Conn {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return c
	}
	return &quickConn{c, raw}
}

// Read implements net.Conn.
func (q *quickConn) Read(p []byte) (int, error) {
	n, err := q.Conn.Read(p)
	_ = q.raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) // without it, it is only slower
	})
	return n, err
}
