package httpd

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"carillon/internal/sse"
	"carillon/runtime"
	"carillon/runtime/runtimetest"
)

const (
	testToken = "the-administrators-token"
	testEpoch = "epochone"
	patience  = time.Minute
)

// A home is a running server on a journal in memory.
type home struct {
	t       *testing.T
	server  *Server
	runtime *runtime.Runtime
	address string
	log     *lockedBuffer
	stop    func()
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// startHome serves a new home; change may set the server's fields before.
func startHome(t *testing.T, settings Settings, change func(*Server)) *home {
	t.Helper()
	j := &runtimetest.Journal{}
	h := &home{t: t, log: &lockedBuffer{}}
	log := slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r, err := runtime.Open(t.Context(), j, runtime.Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	h.runtime = r
	h.server = &Server{
		Runtime: r, Epoch: testEpoch, Log: log, Replay: j.Read,
		First: func() uint64 { first, _ := j.Bounds(); return first },
		Token: func() string { return testToken },
	}
	if change != nil {
		change(h.server)
	}
	h.server.SetSettings(settings)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.address = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- h.server.Serve(ln) }()
	h.stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := h.server.Shutdown(ctx); err != nil {
			t.Errorf("shutting down: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serving: %v", err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("closing the runtime: %v", err)
		}
	})
	t.Cleanup(h.stop)
	h.waitFor("the server to answer", func() bool { return h.try("GET", "/healthz", "") == 200 })
	return h
}

func (h *home) waitFor(what string, done func() bool) {
	h.t.Helper()
	for end := time.Now().Add(patience); !done(); {
		if time.Now().After(end) {
			h.t.Fatalf("waited too long for %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

func (h *home) try(method, path, body string) int {
	req, err := http.NewRequest(method, "http://"+h.address+path, strings.NewReader(body))
	if err != nil {
		return 0
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	Timeout:       patience,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// An answer is a response that has been read.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request with the administrator's token and further headers,
// "Name: value".
func (h *home) ask(method, path, body string, headers ...string) answer {
	h.t.Helper()
	return h.askBare(method, path, body, append([]string{"Authorization: Bearer " + testToken}, headers...)...)
}

// askBare sends a request without a credential.
func (h *home) askBare(method, path, body string, headers ...string) answer {
	h.t.Helper()
	req, err := http.NewRequest(method, "http://"+h.address+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, header := range headers {
		if name, value, ok := strings.Cut(header, ": "); ok {
			req.Header.Set(name, value)
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		h.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatalf("%s %s: reading the answer: %v", method, path, err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

func (a answer) want(t *testing.T, what string, status int, part string) {
	t.Helper()
	if a.status != status || !strings.Contains(a.body, part) {
		t.Errorf("%s: got %d %s, want %d with %q", what, a.status, a.body, status, part)
	}
}

// dial opens a connection that is closed with the test.
func (h *home) dial() net.Conn {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.address)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	return conn
}

// raw sends bytes as they are and returns all that comes back until the server
// closes.
func (h *home) raw(text string) string {
	h.t.Helper()
	conn := h.dial()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		h.t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		h.t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil && len(got) == 0 {
		h.t.Fatalf("reading the answer to %.80q: %v", text, err)
	}
	return string(got)
}

func (h *home) set(id, state, attributes string) *runtime.State {
	h.t.Helper()
	results, err := h.runtime.Set(h.t.Context(), runtime.Change{EntityID: id, State: state, Attributes: []byte(attributes)})
	if err != nil {
		h.t.Fatal(err)
	}
	return results[0].State
}

func (h *home) fire(typ, data string) (seq uint64) {
	h.t.Helper()
	seq, err := h.runtime.Fire(h.t.Context(), runtime.NewEvent{Type: typ, Data: []byte(data)})
	if err != nil {
		h.t.Fatal(err)
	}
	return seq
}

// A frame is what a stream brought, copied.
type frame struct {
	kind  sse.Kind
	id    string
	hasID bool
	event string
	data  string
	retry time.Duration
}

// A streamClient is a client's end of a stream.
type streamClient struct {
	t      *testing.T
	conn   net.Conn
	head   string
	frames chan frame // closed by the reading goroutine when the stream ends
}

// open opens a stream with the administrator's token.
func (h *home) open(path string, headers ...string) *streamClient {
	h.t.Helper()
	return h.openRequest("GET", path, "", append([]string{"Authorization: Bearer " + testToken}, headers...)...)
}

func (h *home) openRequest(method, path, body string, headers ...string) *streamClient {
	h.t.Helper()
	conn := h.dial()
	var req strings.Builder
	req.WriteString(method + " " + path + " HTTP/1.1\r\nHost: " + h.address + "\r\n")
	for _, header := range headers {
		req.WriteString(header + "\r\n")
	}
	if body != "" {
		req.WriteString("Content-Length: " + strconv.Itoa(len(body)) + "\r\n")
	}
	req.WriteString("\r\n" + body)
	if _, err := io.WriteString(conn, req.String()); err != nil {
		h.t.Fatal(err)
	}
	c := &streamClient{t: h.t, conn: conn, frames: make(chan frame, 100_000)}
	c.readHead()
	go c.read()
	return c
}

func (c *streamClient) readHead() {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
	var one [1]byte
	var head []byte
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		if _, err := c.conn.Read(one[:]); err != nil {
			c.t.Fatalf("reading the head of a stream: %v after %q", err, head)
		}
		head = append(head, one[0])
	}
	c.head = string(head)
	if err := c.conn.SetReadDeadline(time.Time{}); err != nil {
		c.t.Fatal(err)
	}
}

// id returns the stream's id, as its head tells.
func (c *streamClient) id() string {
	c.t.Helper()
	_, rest, ok := strings.Cut(c.head, "X-Stream-Id: ")
	id, _, _ := strings.Cut(rest, "\r\n")
	if !ok || id == "" {
		c.t.Fatalf("got head %q, want X-Stream-Id", c.head)
	}
	return id
}

func (c *streamClient) read() {
	defer close(c.frames)
	reader := sse.Reader{On: func(f sse.Frame) {
		c.frames <- frame{f.Kind, string(f.ID), f.HasID, string(f.Event), string(f.Data), f.Retry}
	}}
	buf := make([]byte, 16<<10)
	for {
		n, err := c.conn.Read(buf)
		if _, werr := reader.Write(buf[:n]); werr != nil {
			c.t.Errorf("parsing the stream: %v", werr)
			return
		}
		if err != nil {
			return
		}
	}
}

// next returns the next frame of any kind.
func (c *streamClient) next() frame {
	c.t.Helper()
	select {
	case f, ok := <-c.frames:
		if !ok {
			c.t.Fatal("the stream ended, want a frame")
		}
		return f
	case <-time.After(patience):
		c.t.Fatal("no frame came")
	}
	return frame{}
}

// message returns the next message; pings are passed over.
func (c *streamClient) message() frame {
	c.t.Helper()
	for {
		if f := c.next(); f.kind == sse.Message && f.data != "ping" && !strings.HasPrefix(f.data, `{"type":"ping"`) {
			return f
		}
	}
}

// moved returns the next id-only frame, and fails on a message before it.
func (c *streamClient) moved() frame {
	c.t.Helper()
	for {
		f := c.next()
		if f.kind == sse.Moved {
			return f
		}
		if f.kind == sse.Message && f.data != "ping" && !strings.HasPrefix(f.data, `{"type":"connection"`) && f.event != greetingEvent {
			c.t.Fatalf("got message %s, want an id", f.data)
		}
	}
}

// ends waits until the server closes the stream and returns what came before.
func (c *streamClient) ends() (frames []frame) {
	c.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case f, ok := <-c.frames:
			if !ok {
				return frames
			}
			frames = append(frames, f)
		case <-timeout:
			c.t.Fatalf("the stream did not end; it brought %v", frames)
		}
	}
}
