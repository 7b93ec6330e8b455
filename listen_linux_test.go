package main

import (
	"context"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// Both ends of a connection on this machine keep to short segments.
func TestSegmentsAreShort(t *testing.T) {
	ln, err := listenConfig.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	for name, conn := range map[string]net.Conn{"client": near, "server": far} {
		raw, err := conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG)
			if err != nil || got < 1000 || got > longestSegment {
				t.Errorf("%s: got segments of %d bytes, %v, want 1000 to %d", name, got, err, longestSegment)
			}
		})
	}
}
