package httpd

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"carillon/internal/sse"
)

// A shortListener has no descriptor for some of its connections.
type shortListener struct {
	net.Listener
	fail  atomic.Int32 // how many times more Accept fails
	tries atomic.Int32
}

func (l *shortListener) Accept() (net.Conn, error) {
	l.tries.Add(1)
	if l.fail.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.Listener.Accept()
}

// A lack of descriptors ends neither the listener nor a stream, is told once in
// the log, and does not make Accept spin.
func TestAcceptSurvivesShortage(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	short := &shortListener{Listener: ln}
	short.fail.Store(8)
	go h.server.Serve(short)
	began := time.Now()
	resp, err := client.Get("http://" + ln.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if took := time.Since(began); took < 500*time.Millisecond || short.tries.Load() > 12 {
		t.Errorf("8 failures: got %d tries in %v, want pauses that double", short.tries.Load(), took)
	}
	if n := strings.Count(h.log.String(), "short of file descriptors"); n != 1 {
		t.Errorf("got %d lines in the log, want 1", n)
	}
	h.ask("GET", "/metrics", "").want(t, "counted", 200, `carillon_http_descriptor_shortages_total{at="accept"} 8`)
	h.ask("GET", "/readyz", "").want(t, "ready", 200, "ready")
}

func TestAcceptEnds(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	short := &shortListener{Listener: ln}
	short.fail.Store(1 << 30)
	g := h.server.newGate(short)
	ended := make(chan error, 1)
	go func() {
		_, err := g.Accept()
		ended <- err
	}()
	h.waitFor("failures", func() bool { return short.tries.Load() > 3 })
	short.fail.Store(0)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v, want net.ErrClosed", err)
		}
	case <-time.After(patience):
		t.Fatal("Accept does not end with the listener")
	}
}

// Near the bound of connections streams and polls are refused, and all else is
// answered; at the bound connections are closed. Open streams stay.
func TestConnectionBound(t *testing.T) {
	h := startHome(t, Settings{MaxConnections: 16}, nil) // 2 of them kept
	h.waitFor("the first connection to be gone", func() bool { return h.server.connections() == 0 })
	var streams []*streamClient
	for range 14 {
		stream := h.open("/api/stream")
		stream.moved()
		streams = append(streams, stream)
		h.waitFor("the stream to be counted once", func() bool { return h.server.connections() == len(streams) })
	}
	frames := h.open("/api/stream").ends()
	if len(frames) != 2 || frames[0].kind != sse.Retry || !strings.Contains(frames[1].data, "short of file descriptors") {
		t.Errorf("one more stream: got %v, want retry and the reason", frames)
	}
	h.waitFor("it to be gone", func() bool { return h.server.connections() == 14 })
	h.ask("GET", "/api/events/poll?wait=1", "").want(t, "a poll", 429, "short of file descriptors")
	h.waitFor("it to be gone", func() bool { return h.server.connections() == 14 })
	ready := h.ask("GET", "/readyz", "")
	ready.want(t, "ready", 200, "ready")
	h.waitFor("it to be gone", func() bool { return h.server.connections() == 14 })
	one, two := h.dial(), h.dial()
	h.waitFor("two silent connections", func() bool { return h.server.connections() == 16 })
	if got := rawOrNothing(h, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); got != "" {
		t.Errorf("at the bound: got %q, want the end", got)
	}
	one.Close()
	two.Close()
	h.waitFor("room", func() bool { return h.server.connections() == 14 })
	h.ask("GET", "/metrics", "").want(t, "counted", 200, `carillon_http_refused_total{reason="no_descriptors"} 3`)
	seq := h.fire("after", "{}")
	for i, stream := range streams {
		if f := stream.message(); f.id != id(seq) {
			t.Errorf("stream %d: got %v, want event %d", i, f, seq)
		}
	}
	if n := strings.Count(h.log.String(), "short of file descriptors: the open"); n != 1 {
		t.Errorf("got %d lines in the log, want 1", n)
	}
}

func TestConnectionRate(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	clock := time.Now()
	h.stop()
	h = startHome(t, Settings{ConnectionsPerSecond: 3}, func(s *Server) { s.Now = func() time.Time { return clock } })
	// The first connection of the second is startHome's own.
	h.open("/api/stream").moved()
	h.ask("GET", "/api/", "").want(t, "within the rate", 200, "running")
	if frames := h.open("/subscribe_events").ends(); len(frames) != 3 || frames[0].kind != sse.Retry || !strings.Contains(frames[1].data, "Too many connections") {
		t.Errorf("over the rate: got %v, want retry, the reason, and the error", frames)
	}
	refused := h.ask("GET", "/api/", "")
	refused.want(t, "over the rate", 429, "Too many connections")
	if refused.header.Get("Retry-After") == "" {
		t.Errorf("got header %v, want Retry-After", refused.header)
	}
	if got := h.raw("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 429 ") || !strings.Contains(got, "Connection: close\r\n") {
		t.Errorf("over the rate: got %q, want 429 and the end", got)
	}
	if got := rawOrNothing(h, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); got != "" {
		t.Errorf("far over the rate: got %q, want the end", got)
	}
	h.server.SetSettings(Settings{})
	h.ask("GET", "/metrics", "").want(t, "counted", 200, `carillon_http_refused_total{reason="connection_rate"} 4`)
}

// rawOrNothing is raw for a connection that may be reset.
func rawOrNothing(h *home, text string) string {
	conn := h.dial()
	io.WriteString(conn, text)
	got, _ := io.ReadAll(conn)
	return string(got)
}

func TestRate(t *testing.T) {
	var r rate
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	six, same, other := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("2001:db8:0:1::1")
	now := time.Unix(1000, 0)
	take := func(address netip.Addr, after time.Duration, want verdict) {
		t.Helper()
		now = now.Add(after)
		if got := r.take(address, 2, now); got != want {
			t.Errorf("%v: got %d, want %d", address, got, want)
		}
	}
	for _, want := range []verdict{rateGranted, rateGranted, rateRefused, rateRefused, rateClosed, rateClosed} {
		take(a, 0, want)
	}
	take(b, 0, rateGranted)
	take(a, 500*time.Millisecond, rateRefused)
	take(a, 1500*time.Millisecond, rateGranted)
	take(a, time.Hour, rateGranted)
	take(a, 0, rateGranted)
	take(a, 0, rateRefused)
	take(six, 0, rateGranted)
	take(same, 0, rateGranted)
	take(six, 0, rateRefused)
	take(other, 0, rateGranted)
	if got := r.take(a, 0, now); got != rateGranted {
		t.Errorf("without a limit: got %d, want it granted", got)
	}
	for i := range 3 * maxBuckets {
		r.take(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 2, now)
	}
	if n := len(r.buckets); n > maxBuckets {
		t.Errorf("got %d addresses remembered, want %d at most", n, maxBuckets)
	}
}
