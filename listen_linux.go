package main

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// longestSegment is the longest TCP segment in bytes, on this machine: a
// network's own are shorter. The loopback's would take a stream's whole send
// buffer, and a peer that got one segment acknowledges it 40 ms later, so that
// a reader of much would get one buffer each 40 ms.
const longestSegment = 8 << 10

// listenConfig makes the listener of HTTP.
var listenConfig = net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) (err error) {
	cerr := conn.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, longestSegment)
	})
	if cerr != nil {
		return cerr
	}
	return err
}}
