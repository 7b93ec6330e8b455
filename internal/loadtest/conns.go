package loadtest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const connBuffer = 16 << 10

// crowd reads a worker's streams with a goroutine for each: on systems
// without epoll, and for https.
type crowd struct {
	*worker
	mu   sync.Mutex // guards the worker
	dial func(ctx context.Context) (net.Conn, error)
}

// loopConns does what loop does, with a goroutine per stream.
func (w *worker) loopConns(ctx context.Context, addr *net.TCPAddr) error {
	plain := net.Dialer{Timeout: 15 * time.Second}
	c := &crowd{worker: w}
	c.dial = func(ctx context.Context) (net.Conn, error) { return plain.DialContext(ctx, "tcp", addr.String()) }
	if w.target.Scheme == "https" {
		secure := tls.Dialer{NetDialer: &plain, Config: &tls.Config{ServerName: w.target.Hostname(), NextProtos: []string{"http/1.1"}}}
		c.dial = func(ctx context.Context) (net.Conn, error) { return secure.DialContext(ctx, "tcp", addr.String()) }
	}
	var all sync.WaitGroup
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for ctx.Err() == nil {
		c.mu.Lock()
		c.spawn(ctx, &all)
		w.disturb(w.run.now(), func(*stream) {})
		w.flush(w.run.now())
		c.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
	all.Wait()
	return nil
}

// spawn begins the connections whose time has come.
func (c *crowd) spawn(ctx context.Context, all *sync.WaitGroup) {
	for len(c.waiting) > 0 {
		s, now := &c.streams[c.waiting[0]], c.run.now()
		if now < s.dialAt {
			return
		}
		if ok, _ := c.run.gate.try(now); !ok {
			return
		}
		c.waiting = c.waiting[1:]
		s.phase = phaseConnecting
		all.Go(func() {
			err := c.stream(ctx, s)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.closed(s, err, c.run.now())
		})
	}
}

// stream holds one connection until it breaks or ctx ends.
func (c *crowd) stream(ctx context.Context, s *stream) error {
	conn, err := c.dial(ctx)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c.mu.Lock()
	request := appendRequest(nil, s.feed.request, s.lastID)
	c.begin(s)
	c.mu.Unlock()
	if _, err := conn.Write(request); err != nil {
		return fmt.Errorf("sending request: %w", err)
	}
	conn.SetReadDeadline(time.Now().Add(15 * time.Second))
	buf := make([]byte, connBuffer)
	for {
		c.whileStalled(ctx, s)
		n, err := conn.Read(buf)
		if n > 0 {
			if err := c.take(s, buf[:n]); err != nil {
				if errors.Is(err, errCut) {
					c.hangUp(conn, s)
				}
				return err
			}
			conn.SetReadDeadline(time.Time{})
		}
		if err == io.EOF {
			return errEnded
		}
		if err != nil {
			return fmt.Errorf("reading stream: %w", err)
		}
	}
}

// whileStalled waits until s is read again.
func (c *crowd) whileStalled(ctx context.Context, s *stream) {
	for {
		c.mu.Lock()
		stalled := s.stalledTo != 0
		c.mu.Unlock()
		if !stalled {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// hangUp makes the close of conn a reset or an orderly one, as s says.
func (c *crowd) hangUp(conn net.Conn, s *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	tcp, ok := conn.(*net.TCPConn)
	switch {
	case !ok:
	case s.cut == cutAbort:
		tcp.SetLinger(0)
	default:
		tcp.CloseWrite()
	}
}

func (c *crowd) take(s *stream, p []byte) error {
	now := c.run.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.input(s, p, now)
}
