package httpd

import (
	"cmp"
	cryptorand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"carillon/httpd/broadcast"
	"carillon/internal/sse"
)

const (
	// maxOpenings bounds the snapshots that are being written at once.
	maxOpenings = 32
	// longPrologue is how many bytes the hub may have to keep for a stream;
	// longer ones are written before it gets the stream.
	longPrologue = 64 << 10
	// prologueTime is how long a client may take to read a long prologue.
	prologueTime = 15 * time.Second
	// refusalTime is how long a client may take to read why it is refused.
	refusalTime = 5 * time.Second
)

// An opening is a stream between its request and the hub.
type opening struct {
	query
	point   point
	id      string
	visitor visitor
	address netip.Addr
	cors    []byte // header lines
	retry   time.Duration
	maxAge  time.Duration
}

// openStream checks what the client asks for and takes its connection over.
func (s *Server) openStream(c *call, format string) error {
	q, err := readQuery(c, s.settings())
	if err != nil {
		return err
	}
	if q.format == "" {
		q.format = format
	}
	if q.format == formatFlat && len(q.selection.Entities) > 0 {
		q.snapshot = !q.refrain
	}
	if c.IsHead() {
		c.SetContentType("text/event-stream")
		return nil
	}
	o := &opening{query: q, id: cryptorand.Text(), visitor: c.visitor, address: remote(c.RequestCtx)}
	if o.point, err = s.locate(q.from); err != nil {
		return err
	}
	if err := s.useFilter(c, &o.query); err != nil {
		return err
	}
	settings := s.settings()
	o.cors = s.corsLines(c.RequestCtx)
	o.retry = jitter(settings.Retry)
	o.slow = cmp.Or(o.slow, settings.Slow)
	o.maxAge = shortest(q.maxAge, settings.MaxAge)
	if !c.expires.IsZero() {
		o.maxAge = shortest(o.maxAge, max(c.expires.Sub(s.now()), time.Second))
	}
	s.hijack(c.RequestCtx, func(conn net.Conn) { s.attach(o, conn) })
	return nil
}

// hijack gives the bare connection to fn, on a goroutine of its own, once the
// handler has returned. Nothing of the request may be used in fn. What the
// client sent behind its request is dropped with fasthttp's buffer.
func (s *Server) hijack(ctx *fasthttp.RequestCtx, fn func(net.Conn)) {
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(conn net.Conn) {
		if wrapped, ok := conn.(interface{ UnsafeConn() net.Conn }); ok {
			conn = wrapped.UnsafeConn()
		}
		s.hijacked.Add(1)
		defer s.hijacked.Add(-1)
		defer func() {
			if p := recover(); p != nil {
				s.metrics.GetOrCreateCounter("carillon_http_panics_total").Inc()
				s.log.Error("opening a stream panicked", "panic", p, "stack", string(debug.Stack()))
				conn.Close()
			}
		}()
		fn(conn)
	})
}

// attach gives the stream to the hub, or tells the client when to come back.
func (s *Server) attach(o *opening, conn net.Conn) {
	defer s.releaseFilter(o.selection.Filter) // the hub uses it then
	reason, release := s.takePlace(o)
	if reason == noReason && o.snapshot && !s.beginSnapshot(slow(o.selection.Filter)) {
		release(broadcast.Ended)
		reason = tooManySnapshots
	}
	if reason != noReason {
		s.refused(reason)
		s.writeLater(conn, o, reason.why())
		return
	}
	prologue, after, resume, err := s.prologue(o)
	written := err == nil && (len(prologue) <= longPrologue || writeLong(conn, prologue))
	if o.snapshot {
		s.endSnapshot(slow(o.selection.Filter))
	}
	if !written {
		release(broadcast.Ended)
		s.notWritten(o, conn, err)
		return
	}
	if len(prologue) > longPrologue {
		prologue = nil
	}
	_, err = s.hub.Attach(broadcast.Request{
		Conn: conn, Format: o.format, Selection: o.selection, Prologue: prologue,
		After: after, Resume: resume, MaxAge: o.maxAge,
		Slow: policy(o.slow), GapsAsData: o.gapsData,
		ID: o.id, Remote: o.address.String(), Label: o.visitor.user, Credential: o.visitor.who(),
		OnClose: release,
	})
	if err != nil {
		release(broadcast.Ended)
		s.notAttached(o, conn, err, prologue == nil)
		return
	}
	s.followFilter(o.selection.Filter)
}

// takePlace counts the stream, or returns why there may not be another one. What
// gives the place back holds no more than it must: as long as the stream, too.
func (s *Server) takePlace(o *opening) (refusedReason, func(broadcast.Reason)) {
	settings := s.settings()
	reason, free := s.places.take(o.visitor, o.address, false, settings)
	if reason != noReason {
		return reason, nil
	}
	id, who, f := o.id, o.visitor.who(), o.selection.Filter
	if !s.tenants.take(who, f, settings.MaxFiltersPerCredential) {
		free()
		return tooManyFilters, nil
	}
	if o.leave == yes {
		s.leaving.Store(id, nil)
	}
	return noReason, func(broadcast.Reason) {
		s.tenants.end(id, who, f)
		s.leaving.Delete(id)
		free()
	}
}

// notWritten ends a stream before it began: its snapshot could not be decided
// about, for the reason err, or was not read.
func (s *Server) notWritten(o *opening, conn net.Conn, err error) {
	if err == nil {
		s.refused("snapshot_not_read")
		conn.Close()
		return
	}
	s.refused(filterNotAsked)
	s.log.Warn("deciding about a snapshot", "filter", o.selection.Filter, "err", err)
	s.writeLater(conn, o, filterNotAsked.why())
}

// notAttached tells the reader of a stream that the hub did not take when to
// come back, if it did not get a part of the stream yet.
func (s *Server) notAttached(o *opening, conn net.Conn, err error, begun bool) {
	reason, why := refusedReason("hub"), "Carillon is stopping."
	if lacksDescriptors(err) {
		reason, why = noDescriptors, noDescriptors.why()
		s.complain("stream", err)
	}
	s.refused(reason)
	s.log.Debug("attaching a stream", "remote", o.address, "err", err)
	if begun {
		conn.Close()
		return
	}
	s.writeLater(conn, o, why)
}

// endSnapshot gives the place of beginSnapshot back.
func (s *Server) endSnapshot(slow bool) { <-s.openings.of(slow) }

// beginSnapshot waits for one of the places for snapshots that are being
// written, so that those of clients that don't read can't fill the memory. It
// reports false if none gets free in time.
func (s *Server) beginSnapshot(slow bool) bool {
	timer := time.NewTimer(prologueTime)
	defer timer.Stop()
	select {
	case s.openings.of(slow) <- struct{}{}:
		return true
	case <-timer.C:
		return false
	}
}

// writeLong writes a prologue that is too long to be left to the hub.
func writeLong(conn net.Conn, prologue []byte) bool {
	if conn.SetWriteDeadline(time.Now().Add(prologueTime)) != nil {
		return false
	}
	if _, err := conn.Write(prologue); err != nil {
		return false
	}
	return conn.SetWriteDeadline(time.Time{}) == nil
}

// refuseStream refuses a stream for now: 200, when to come back, why, and the
// end. Every other status would end a browser's EventSource for good.
func (s *Server) refuseStream(ctx *fasthttp.RequestCtx, format string, refused *refusal) {
	o := &opening{query: query{format: format}, cors: s.corsLines(ctx), retry: jitter(s.settings().Retry)}
	if refused.header[0] == "Retry-After" {
		if seconds, err := strconv.Atoi(refused.header[1]); err == nil {
			o.retry = max(o.retry, time.Duration(seconds)*time.Second)
		}
	}
	s.hijack(ctx, func(conn net.Conn) { s.writeLater(conn, o, refused.msg) })
}

// writeLater tells a stream's reader to come back later and closes.
func (s *Server) writeLater(conn net.Conn, o *opening, why string) {
	o.id = "" // of no stream
	b := o.appendHead(nil)
	b = sse.AppendRetry(b, o.retry)
	b = sse.AppendComment(b, why)
	if o.format == formatFlat {
		b = sse.AppendEvent(b, "", "", appendFlatError(nil, why))
	}
	if conn.SetDeadline(time.Now().Add(refusalTime)) == nil {
		_, err := conn.Write(b)
		if err != nil {
			s.log.Debug("refusing a stream", "err", err)
		}
	}
	conn.Close()
}

// appendHead appends the response's head: no length and no chunks, so that
// every stream gets identical bytes behind it.
func (o *opening) appendHead(b []byte) []byte {
	b = append(b, "HTTP/1.1 200 OK\r\n"+
		"Content-Type: text/event-stream\r\n"+
		"Cache-Control: no-cache, no-transform\r\n"+
		"X-Accel-Buffering: no\r\n"+
		"X-Content-Type-Options: nosniff\r\n"+
		"Connection: close\r\n"...)
	if o.id != "" {
		b = append(append(append(b, "X-Stream-Id: "...), o.id...), "\r\n"...)
	}
	b = append(b, o.cors...)
	return append(b, "\r\n"...)
}

func (s *Server) corsLines(ctx *fasthttp.RequestCtx) []byte {
	var lines []byte
	s.cors(ctx, func(name, value string) { lines = fmt.Appendf(lines, "%s: %s\r\n", name, value) })
	return lines
}

// policy returns the policy of one of slowPolicies.
func policy(name string) broadcast.Policy {
	return broadcast.Policy(max(slices.Index(slowPolicies, name), 0))
}

// jitter returns a random time from d up to twice d.
func jitter(d time.Duration) time.Duration {
	return d + rand.N(d+1)
}

// shortest returns the smaller of two times, where 0 stands for none.
func shortest(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}
