package main

import (
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"
)

// callers are the connections that a listener serves.
type callers struct {
	serving sync.WaitGroup // of open

	mu sync.Mutex
	// Guarded by mu.
	open   map[net.Conn]bool
	closed bool
}

// serve calls fn, unless no more is served, and returns when it has. Then the connection is closed.
func (c *callers) serve(conn net.Conn, fn func()) {
	defer conn.Close()
	if c.enter(conn) {
		defer c.leave(conn)
		fn()
	}
}

// enter notes a connection, and reports whether it may be served.
func (c *callers) enter(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	if c.open == nil {
		c.open = map[net.Conn]bool{}
	}
	c.open[conn] = true
	c.serving.Add(1)
	return true
}

func (c *callers) leave(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, conn)
	c.serving.Done()
}

// refuse has no more served.
func (c *callers) refuse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

func (c *callers) refuses() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// end closes all, and waits for those who serve them: the server counts its clients when they come, and must
// not do so any more when it waits for them.
func (c *callers) end() {
	c.refuse()
	c.mu.Lock()
	for conn := range c.open {
		go conn.Close() // who has not said who it is, or does not hang up; TLS may wait for it
	}
	c.mu.Unlock()
	c.serving.Wait()
}

// A socketListener takes MQTT over TCP. It stands in for mochi's, whose end waits for somebody who
// connected and says nothing, and which takes clients while the server ends.
type socketListener struct {
	// Static after construction.
	address string
	tls     *tls.Config // nil: none

	// Static after Init.
	socket net.Listener
	log    *slog.Logger

	callers
}

// ID implements listeners.Listener.
func (l *socketListener) ID() string { return "mqtt" }

// Address implements listeners.Listener.
func (l *socketListener) Address() string { return l.address }

// Protocol implements listeners.Listener.
func (l *socketListener) Protocol() string { return "tcp" }

// Init implements listeners.Listener: it opens the socket.
func (l *socketListener) Init(log *slog.Logger) (err error) {
	l.log = log
	if l.socket, err = net.Listen("tcp", l.address); err == nil && l.tls != nil {
		l.socket = tls.NewListener(l.socket, l.tls)
	}
	return err
}

// Serve implements listeners.Listener.
func (l *socketListener) Serve(establish listeners.EstablishFn) {
	for {
		conn, err := l.socket.Accept()
		switch {
		case err == nil:
			go l.serve(conn, func() { hear(l.ID(), conn, establish, l.log) })
		case l.refuses():
			return
		default: // too many descriptors are open: what waits is taken when there are fewer
			l.log.Error("no clients are taken for now", "error", err)
			<-time.After(acceptPause)
		}
	}
}

// acceptPause is how long a listener that can't take clients waits.
const acceptPause = time.Second

// hear has the server hear a client until it goes.
func hear(id string, conn net.Conn, establish listeners.EstablishFn, log *slog.Logger) {
	if err := establish(id, conn); err != nil {
		log.Warn("", "error", err) // as mochi's own listeners do
	}
}

// Close implements listeners.Listener.
func (l *socketListener) Close(closeClients listeners.CloseFn) {
	l.refuse()
	l.socket.Close()
	closeClients(l.ID())
	l.end()
}
