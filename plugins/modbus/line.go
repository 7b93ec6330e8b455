package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"carillon/plugins/adapter"
)

// A host is what of adapter.Host a line uses.
type host interface {
	Set(ctx context.Context, states ...adapter.State) error
	Available(ctx context.Context, id string, yes bool) error
	Metric(name string, v float64)
	Log() *slog.Logger
}

// A line is a connection, and the stations that are reached by it. Its goroutine makes
// all requests, publishes what they bring, and carries out commands.
type line struct {
	// Static after construction.
	address  string
	rtu      bool
	stations []*station
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	h        host
	count    func(counter string, n int)
	tasks    chan task

	// Owned by run.
	link      *link     // nil: not connected
	connected bool      // it was, at any time
	quiet     time.Time // until when no request may be made
}

// A task is a command that waits for the line.
type task struct {
	ctx  context.Context
	do   func(ctx context.Context) error // returns what is wrong with the command
	done chan<- error                    // has room for one
}

// errUnreachable says that there is no connection.
var errUnreachable = errors.New("connecting")

// run polls and carries out commands until ctx ends. An error is the host's.
func (l *line) run(ctx context.Context) error {
	defer l.hangUp()
	for _, s := range l.stations {
		s.plan(time.Now())
	}
	wait := time.NewTimer(0)
	defer wait.Stop()
	for ctx.Err() == nil {
		select { // commands go first
		case t := <-l.tasks:
			t.done <- t.do(t.ctx)
			continue
		default:
		}
		b, due := l.next()
		if b != nil {
			if now := time.Now(); !due.After(now) {
				if err := l.poll(ctx, b, now); err != nil && ctx.Err() == nil {
					return err
				}
				continue
			}
			wait.Reset(time.Until(due))
		}
		select {
		case t := <-l.tasks:
			t.done <- t.do(t.ctx)
		case <-wait.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// next returns the block that is due first, and when; nil if there is none.
func (l *line) next() (first *block, when time.Time) {
	for _, s := range l.stations {
		if b, due := s.next(); b != nil && (first == nil || due.Before(when)) {
			first, when = b, due
		}
	}
	return first, when
}

// command has do called by run, with ctx, and returns its error.
func (l *line) command(ctx context.Context, do func(context.Context) error) error {
	done := make(chan error, 1)
	select {
	case l.tasks <- task{ctx, do, done}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// request makes a request of a station, connecting if need be. Reads are repeated as often as is
// configured; what writes is not: the device may have done it.
func (l *line) request(ctx context.Context, s *station, r request) (data []byte, err error) {
	tries := 1
	if !r.writes() && s.failures == 0 {
		tries += s.device.retries
	}
	for range tries {
		if err = l.connect(ctx, s.device); err != nil {
			return nil, err
		}
		if err = l.silence(ctx); err != nil {
			return nil, err
		}
		l.count("requests_total", 1)
		stray := l.link.stray
		data, err = l.link.exchange(ctx, s.device.timeout, s.unit, &r)
		l.quiet = time.Now().Add(s.device.pause)
		l.count("stray_bytes_total", l.link.stray-stray)
		var refusal exception
		switch {
		case err == nil:
			return data, nil
		case errors.As(err, &refusal) && refusal == acknowledge && r.writes():
			return nil, nil // it has the command, and takes a while to carry it out
		case errors.As(err, &refusal):
			l.count("exceptions_total", 1)
			return nil, err
		}
		if !l.link.sound(err) {
			l.hangUp()
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		l.count("errors_total", 1)
		if errors.Is(err, errTimeout) {
			l.count("timeouts_total", 1)
		}
	}
	return nil, err
}

// connect connects, unless the line is connected.
func (l *line) connect(ctx context.Context, d *device) error {
	if l.link != nil {
		stray := l.link.stray
		alive := l.link.idle()
		l.count("stray_bytes_total", l.link.stray-stray)
		if alive {
			return nil
		}
		l.hangUp() // devices close connections that they find idle
	}
	limited, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	conn, err := l.dial(limited, "tcp", l.address)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l.count("errors_total", 1)
		return fmt.Errorf("%w: %v", errUnreachable, err)
	}
	if l.connected {
		l.count("reconnects_total", 1)
	}
	l.connected = true
	l.link = newLink(conn, l.rtu)
	l.quiet = time.Now().Add(d.delay)
	return nil
}

// hangUp ends the connection, if there is one.
func (l *line) hangUp() {
	if l.link != nil {
		l.link.close()
		l.link = nil
	}
}

// silence waits until the next request may be made.
func (l *line) silence(ctx context.Context) error {
	left := time.Until(l.quiet)
	if left <= 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(left):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
