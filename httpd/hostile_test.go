package httpd

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"
)

const bearer = "Authorization: Bearer " + testToken + "\r\n"

func TestOversizedBodies(t *testing.T) {
	h := startHome(t, Settings{MaxBody: 1000}, nil)
	body := `{"state":"` + strings.Repeat("x", 3<<20) + `"}`
	h.ask("POST", "/api/states/light.a", body).want(t, "with a length", 413, "larger than 1000 bytes")
	h.ask("POST", "/api/states/light.a", body, "Expect: 100-continue").want(t, "asking before", 413, "larger than 1000 bytes")
	chunked := fmt.Sprintf("POST /api/states/light.a HTTP/1.1\r\nHost: x\r\n%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", bearer, len(body), body)
	if got := h.raw(chunked); !strings.HasPrefix(got, "HTTP/1.1 413 ") {
		t.Errorf("chunked: got %.200q, want 413", got)
	}
	h.server.SetSettings(Settings{MaxBody: 5 << 20})
	h.ask("POST", "/api/states/light.a", body).want(t, "with a higher limit", 400, "characters")
	h.ask("POST", "/api/states/light.a", `{"state":"on"}`, "Content-Encoding: gzip").want(t, "compressed", 415, "Content-Encoding")
}

func TestBrokenRequests(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	long := strings.Repeat("x", maxHeader)
	for _, c := range []struct{ what, text, want string }{
		{"long header", "GET /api/ HTTP/1.1\r\nHost: x\r\nX: " + long + "\r\n\r\n", "431"},
		{"long address", "GET /api/?" + long + " HTTP/1.1\r\nHost: x\r\n\r\n", "431"},
		{"no request", "hello\r\n\r\n", "400"},
		{"line feed in a header's name", "GET /api/ HTTP/1.1\r\nHost: x\r\nA\n b: c\r\n\r\n", "400"},
		{"broken chunks", "POST /api/events HTTP/1.1\r\nHost: x\r\n" + bearer + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", "400"},
		{"negative length", "POST /api/events HTTP/1.1\r\nHost: x\r\n" + bearer + "Content-Length: -5\r\n\r\n", "400"},
	} {
		got := h.raw(c.text)
		if !strings.HasPrefix(got, "HTTP/1.1 "+c.want+" ") || !strings.Contains(got, `{"message":"`) {
			t.Errorf("%s: got %.300q, want %s with a message", c.what, got, c.want)
		}
	}
	// Path and event type with control characters, as bytes on the wire.
	for _, path := range []string{"/api/states/light.a\x00", "/api/events/a%0d%0aX: y", "/api/%00", "/%2e%2e/%2e%2e/etc/passwd", "//", "/\\..\\.."} {
		got := h.raw("POST " + path + " HTTP/1.1\r\nHost: x\r\n" + bearer + "Connection: close\r\nContent-Length: 0\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 4") || strings.Contains(got, "\r\nX: y") {
			t.Errorf("%q: got %.300q, want a 4xx", path, got)
		}
	}
	h.ask("GET", "/api/", "").want(t, "afterwards", 200, "running")
}

// An id with CR, LF or NUL can't come back out of the server.
func TestIDsWithControlCharacters(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	for _, id := range []string{"a-1%0d%0aevent:%20x", "a%00-1", "%0a%0adata:%20x%0a%0a"} {
		stream := h.open("/api/stream?lastEventId=" + id)
		if f := stream.message(); f.event != "reset" || strings.Contains(f.data, "data") {
			t.Errorf("%s: got %v, want a reset that does not repeat the id", id, f)
		}
	}
}

func TestSlowHeader(t *testing.T) {
	h := startHome(t, Settings{}, func(s *Server) { s.HeaderTimeout = 200 * time.Millisecond })
	conn := h.dial()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
			text := "x"
			if i == 0 {
				text = "GET /api/ HTTP/1.1\r\nHost: "
			}
			if _, err := io.WriteString(conn, text); err != nil {
				return
			}
		}
	}()
	got, err := io.ReadAll(conn)
	if err != nil && len(got) == 0 {
		t.Fatalf("reading the answer: %v", err)
	}
	if !strings.HasPrefix(string(got), "HTTP/1.1 408 ") {
		t.Errorf("got %.200q, want 408", got)
	}
}

func TestSlowBody(t *testing.T) {
	h := startHome(t, Settings{BodyTimeout: 200 * time.Millisecond}, nil)
	got := h.raw("POST /api/events HTTP/1.1\r\nHost: x\r\n" + bearer + "Content-Length: 100\r\n\r\n{")
	if !strings.HasPrefix(got, "HTTP/1.1 408 ") {
		t.Errorf("got %.200q, want 408", got)
	}
}

func TestIdleConnectionIsClosed(t *testing.T) {
	h := startHome(t, Settings{}, func(s *Server) { s.IdleTimeout = 100 * time.Millisecond })
	if got := h.raw("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("got %.200q, want 200 and then the end", got)
	}
}

// A client that closes its half of the connection, at any point, costs nothing
// that lasts.
func TestHalfOpenClients(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	for _, text := range []string{"", "GET", "GET /api/stream HTTP/1.1\r\nHost: x\r\n", "GET /api/stream HTTP/1.1\r\nHost: x\r\n" + bearer + "\r\n"} {
		conn := h.dial()
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%.20q: %v, want the end", text, err)
		}
	}
	h.waitFor("the streams to be gone", func() bool { return h.server.hub.Stats().Streams == 0 })
}

// What a client sends behind the request of its stream is dropped.
func TestPipelinedBehindStream(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	conn := h.dial()
	request := "GET /api/stream HTTP/1.1\r\nHost: x\r\n" + bearer + "\r\n"
	if _, err := io.WriteString(conn, request+"POST /api/events/evil HTTP/1.1\r\nHost: x\r\n"+bearer+"Content-Length: 0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	c := &streamClient{t: t, conn: conn, frames: make(chan frame, 100)}
	c.readHead()
	go c.read()
	c.moved()
	h.fire("good", "{}")
	if f := c.message(); !strings.Contains(f.data, `"event_type":"good"`) {
		t.Errorf("got %v, want only the event that was fired", f)
	}
}

func TestRandomBytes(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	total := 10_000
	if testing.Short() {
		total = 500
	}
	random := rand.New(rand.NewPCG(1, 2))
	starts := []string{"", "GET ", "POST /api/events HTTP/1.1\r\nHost: x\r\n" + bearer, "GET /api/stream HTTP/1.1\r\n", "\x16\x03\x01", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}
	for i := range total {
		conn, err := net.Dial("tcp", h.address)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		noise := make([]byte, random.IntN(300))
		for j := range noise {
			noise[j] = byte(random.Uint32())
		}
		if _, err := io.WriteString(conn, starts[i%len(starts)]+string(noise)); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		// A reset, so that no closed connections pile up in the kernel.
		if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	h.ask("GET", "/api/", "").want(t, "afterwards", 200, "running")
	h.waitFor("the connections to be gone", func() bool { return h.server.http.GetOpenConnectionsCount() <= 1 })
}
