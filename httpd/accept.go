package httpd

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

const (
	// firstPause and longestPause bound the time between two tries to accept a
	// connection when the system has no descriptor for it.
	firstPause   = 5 * time.Millisecond
	longestPause = time.Second
	// complaintEvery is how often the log says that descriptors are short.
	complaintEvery = time.Minute
)

// A gate is a listener in front of fasthttp, which would take a lack of
// descriptors for the listener's end. It bounds the connections in all and the
// rate of new ones by address.
type gate struct {
	net.Listener
	server *Server
	closed chan struct{} // closed by Close
	once   sync.Once
}

func (s *Server) newGate(ln net.Listener) *gate {
	return &gate{Listener: ln, server: s, closed: make(chan struct{})}
}

// Close closes the listener and ends an Accept that pauses.
func (g *gate) Close() error {
	g.once.Do(func() { close(g.closed) })
	return g.Listener.Close()
}

// Accept returns the next connection that may be served, if only with a
// refusal. While the system is short of descriptors it waits, longer from try
// to try, and what is open goes on.
func (g *gate) Accept() (net.Conn, error) {
	for pause := firstPause; ; {
		conn, err := g.Listener.Accept()
		switch {
		case err == nil:
			pause = firstPause
			if conn = g.server.admit(conn); conn != nil {
				return conn, nil
			}
			continue
		case !passes(err):
			return nil, err
		}
		g.server.complain("accept", err)
		select {
		case <-time.After(pause):
		case <-g.closed:
		}
		pause = min(2*pause, longestPause)
	}
}

// passes reports whether accepting can be tried again.
func passes(err error) bool {
	for _, passing := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// lacksDescriptors reports whether an error says so.
func lacksDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// A refusedConn is a connection whose first request is refused, and which ends
// then.
type refusedConn struct {
	net.Conn
	reason refusedReason
}

// admit returns the connection, or one that is to be refused, or nil if there
// is no room even for that: it is closed then.
func (s *Server) admit(conn net.Conn) net.Conn {
	settings := s.settings()
	if most := settings.MaxConnections; most > 0 {
		open := s.connections()
		switch {
		case open >= most:
			s.refused(noDescriptors)
			s.complain("closed", nil)
			conn.Close()
			return nil
		case open >= most-kept(most):
			s.complain("refused", nil)
			return &refusedConn{conn, noDescriptors}
		}
	}
	switch s.rate.take(addressOf(conn), float64(settings.ConnectionsPerSecond), s.now()) {
	case rateRefused:
		return &refusedConn{conn, connectionRate}
	case rateClosed:
		s.refused(connectionRate)
		conn.Close()
		return nil
	}
	return conn
}

// kept is how many of the connections are kept for requests that are answered
// at once, health checks and refusals among them.
func kept(most int) int { return min(max(most/8, 1), 256) }

// connections returns how many connections there are of all kinds. A stream
// that is just being opened may count twice.
func (s *Server) connections() int {
	streams, _ := s.places.now()
	return streams + int(s.http.GetOpenConnectionsCount()) + int(s.hijacked.Load())
}

func addressOf(conn net.Conn) netip.Addr {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		address, _ := netip.AddrFromSlice(tcp.IP)
		return address.Unmap()
	}
	return netip.Addr{}
}

// complain says in the log, once a minute at most, that descriptors are short.
func (s *Server) complain(what string, err error) {
	s.metrics.GetOrCreateCounter(`carillon_http_descriptor_shortages_total{at="` + what + `"}`).Inc()
	now := s.now()
	s.complaint.mu.Lock()
	told := !s.complaint.last.IsZero() && now.Sub(s.complaint.last) < complaintEvery
	if !told {
		s.complaint.last = now
	}
	s.complaint.mu.Unlock()
	if told {
		return
	}
	streams, _ := s.places.now()
	s.log.Warn("short of file descriptors: the open streams stay, new ones are told to come back later",
		"connections", s.connections(), "streams", streams, "most", s.settings().MaxConnections, "at", what, "err", err,
		"hint", "raise the limit of open files (ulimit -n) and start again")
}
