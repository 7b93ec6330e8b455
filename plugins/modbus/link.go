package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// A link is an open connection to a device or gateway. It makes one request at a time. After an error that is no
// exception it is of no more use, unless it is sound: what comes later could be taken for the answer to another request.
type link struct {
	// Static after construction.
	conn net.Conn
	rtu  bool
	news chan struct{} // holds a value when there is news in what mu guards

	mu sync.Mutex
	// Guarded by mu.
	came   []byte // and was not looked at; maxStray at most
	broken error  // why nothing more comes

	// Owned by whoever makes requests.
	transaction uint16
	stray       int // bytes that nobody had asked for, so far
	unanswered  int // requests, since the last answer
}

// maxStray is how many bytes that nobody asked for may come between two requests, or with one before its answer: late
// answers, or noise of a serial line. More is a device gone mad.
const maxStray = 4096

// maxUnanswered is one more than a unit that falls silent leaves unanswered, as retries usually are.
const maxUnanswered = 3

var (
	errTimeout = errors.New("it has not answered in time")
	errClosed  = errors.New("the connection was closed")
	errFlood   = fmt.Errorf("%w: more than %d bytes that nobody asked for", errProtocol, maxStray)
)

func newLink(conn net.Conn, rtu bool) *link {
	l := &link{conn: conn, rtu: rtu, news: make(chan struct{}, 1)}
	go l.receive()
	return l
}

// receive reads all that comes, also when nobody has asked, so that it is known to be old when somebody
// asks; up to maxStray bytes.
func (l *link) receive() {
	b := make([]byte, maxRTU+tcpHeader)
	for over := false; !over; {
		n, err := l.conn.Read(b)
		l.mu.Lock()
		if len(l.came)+n > maxStray {
			l.broken = errFlood
		} else if l.came = append(l.came, b[:n]...); err != nil {
			l.broken = fmt.Errorf("%w: %v", errClosed, err)
		}
		over = l.broken != nil
		l.mu.Unlock()
		select {
		case l.news <- struct{}{}:
		default: // there is some already
		}
	}
}

// close ends the link.
func (l *link) close() { l.conn.Close() }

// idle throws away what came since the last answer, and reports whether the link can be used.
func (l *link) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stray += len(l.came)
	l.came = l.came[:0]
	return l.broken == nil
}

// exchange makes a request and returns the data of its answer. Call idle right before.
func (l *link) exchange(ctx context.Context, timeout time.Duration, unit byte, r *request) ([]byte, error) {
	limit := time.NewTimer(timeout)
	defer limit.Stop()
	stop := context.AfterFunc(ctx, func() { l.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	l.transaction++
	frame := tcpFrame(l.transaction, unit, r)
	if l.rtu {
		frame = rtuFrame(unit, r)
	}
	l.conn.SetWriteDeadline(time.Now().Add(timeout))
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if _, err := l.conn.Write(frame); err != nil {
		return nil, fmt.Errorf("%w: %v", errClosed, err)
	}
	l.unanswered++
	for before := l.stray; ; {
		pdu, err := l.look(unit, r)
		switch {
		case pdu != nil:
			l.unanswered = 0
			return r.answer(pdu)
		case l.stray-before > maxStray:
			return nil, errFlood
		case err != nil:
			return nil, err
		}
		select {
		case <-l.news:
		case <-limit.C:
			return nil, fmt.Errorf("%w: %v", errTimeout, timeout)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// sound reports whether the link may be used after an error. Over TCP answers are numbered, so one that comes late is
// known, and a unit that is silent must not cost the others behind the same gateway their connection. When
// maxUnanswered requests in a row were not answered, it may be the connection that is dead.
func (l *link) sound(err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Is(err, errTimeout) && !l.rtu && l.unanswered < maxUnanswered && len(l.came) == 0
}

// look looks for the answer in what came, and throws the rest away. It returns nothing if there is no
// answer yet.
func (l *link) look(unit byte, r *request) (pdu []byte, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	pdu, rest, err := l.take(l.came, unit, r)
	if err == nil {
		err = l.broken
	}
	if pdu != nil {
		l.stray += len(rest)
		rest = nil
	}
	l.came = slices.Clone(rest)
	return pdu, err
}

// take looks for the answer in what came. It returns what of that is still of use.
func (l *link) take(came []byte, unit byte, r *request) (pdu, rest []byte, err error) {
	if l.rtu {
		if pdu, err = takeRTU(came, unit, r); pdu != nil {
			return pdu, came[len(pdu)+3:], nil
		}
		return nil, came, err
	}
	for {
		transaction, from, pdu, rest, err := takeTCP(came)
		switch {
		case err != nil || pdu == nil:
			return nil, rest, err
		case transaction != l.transaction: // late, or nonsense
			l.stray += len(came) - len(rest)
			came = rest
		case from != unit && pdu[0]&0x80 == 0: // a gateway may refuse in its own name
			return nil, rest, fmt.Errorf("%w: unit %d answers in place of %d; is its unit_id right?", errProtocol, from, unit)
		default:
			return pdu, rest, nil
		}
	}
}
