package broadcast

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carillon/internal/sse"
)

// A world is a hub with a journal in memory and a clock that the test moves.
type world struct {
	t   *testing.T
	hub *Hub

	mu     sync.Mutex
	events []*Event // the journal; events[i].Seq is i+1
	first  uint64
	now    time.Time
	broken error
}

const testEpoch = "e0test"

// nativeName names events by their type, and some as the hub names its own.
func nativeName(ev *Event) string {
	switch ev.Seq % 7 {
	case 0:
		return "gap"
	case 1:
		return ""
	}
	return ev.Type
}

// payload is what the event seq carries: long and different enough that a byte
// from a wrong place shows.
func payload(dst []byte, ev *Event) []byte {
	dst = fmt.Appendf(dst, `{"n":%d,"type":%q,"entity":%q,"x":"`, ev.Seq, ev.Type, ev.EntityID)
	size, _ := ev.Value.(int)
	for i := range size {
		dst = append(dst, 'a'+byte((ev.Seq*7+uint64(i)*3+uint64(i)/11)%26))
	}
	return append(dst, `"}`...)
}

// projected wraps what a filter gave.
func projected(dst []byte, ev *Event, data []byte) []byte {
	return fmt.Appendf(dst, `{"n":%d,"projected":%s}`, ev.Seq, data)
}

// taken reports whether a canonical selection takes an event, and what its
// filter gives for it.
func taken(sel Selection, ev *Event) (data []byte, ok bool) {
	if !sel.matches(ev) {
		return nil, false
	}
	if sel.Filter == nil {
		return nil, true
	}
	d := sel.Filter.(*testFilter).decide(ev)
	return d.Data, d.Match && d.Err == ""
}

func newWorld(t *testing.T, change func(*Config)) *world {
	t.Helper()
	w := &world{t: t, first: 1, now: time.Unix(1_700_000_000, 0)}
	cfg := Config{
		Epoch: testEpoch,
		Formats: []Format{
			{Name: "flat", Append: payload},
			{Name: "ha", Append: payload, PingEvery: 50 * time.Second, PingOnlyWhenSilent: true,
				Ping: func(dst []byte, _ time.Time) []byte { return append(dst, "ping"...) }},
			{Name: "native", Append: payload, Event: nativeName, Gap: func(dst []byte, g Gap) []byte {
				return g.AppendJSON(append(dst, "as data: "...))
			}, FilterError: func(dst []byte, e FilterError) []byte {
				return e.AppendJSON(append(dst, "as data: "...))
			}},
			{Name: "timed", Append: payload, PingEvery: 30 * time.Second, Projected: projected,
				Ping: func(dst []byte, now time.Time) []byte { return fmt.Appendf(dst, "ping %d", now.Unix()) }},
		},
		TapeBytes: 64 << 10,
		Replay:    w.replay,
		First:     w.firstSeq,
		Now:       w.time,
		Log:       slog.New(slog.DiscardHandler),
		manual:    true,
	}
	if change != nil {
		change(&cfg)
	}
	hub, err := New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	w.hub = hub
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // cut whatever is left
		hub.Close(ctx)
	})
	return w
}

// bothPumps runs a test on the system's pumps and on the portable one.
func bothPumps(t *testing.T, f func(t *testing.T, portable bool)) {
	if goruntime.GOOS == "linux" {
		t.Run("epoll", func(t *testing.T) { f(t, false) })
	}
	t.Run("portable", func(t *testing.T) { f(t, true) })
}

func (w *world) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) firstSeq() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.first
}

func (w *world) replay(_ context.Context, after uint64, fn func(*Event) bool) error {
	w.mu.Lock()
	events, first, broken := w.events, w.first, w.broken
	w.mu.Unlock()
	if broken != nil {
		return broken
	}
	for _, ev := range events[min(uint64(len(events)), max(after, first-1)):] {
		if !fn(ev) {
			return nil
		}
	}
	return nil
}

// age makes the journal forget what is before first.
func (w *world) age(first uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.first = first
}

// pass moves the clock and has the hub do what is due.
func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	w.now = w.now.Add(d)
	w.mu.Unlock()
	w.hub.tick(0)
}

// store puts n events into the journal that the hub does not see yet.
func (w *world) store(n int, make func(seq uint64) Event) []*Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	var added []*Event
	for range n {
		ev := make(uint64(len(w.events) + 1))
		ev.Seq = uint64(len(w.events) + 1)
		w.events = append(w.events, &ev)
		added = append(added, &ev)
	}
	return added
}

func (w *world) publish(n int, make func(seq uint64) Event) {
	w.hub.Publish(w.store(n, make))
}

func (w *world) head() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return uint64(len(w.events))
}

// plain events are of one type, entity and size.
func plain(uint64) Event {
	return Event{Type: "state_changed", Domain: "light", EntityID: "light.hall", Value: 100}
}

// mixed events differ in all that a selection can name.
func mixed(seq uint64) Event {
	domain := []string{"light", "switch", "sensor", "lock"}[seq%4]
	typ := []string{"state_changed", "state_changed", "service_called"}[seq%3]
	ev := Event{Type: typ, Domain: domain, EntityID: fmt.Sprintf("%s.room_%d", domain, seq%5), Value: int(seq * 31 % 200)}
	if typ == "state_changed" {
		ev.Key = ev.EntityID
	}
	return ev
}

// A client reads one stream only when told to.
type client struct {
	t      *testing.T
	w      *world
	conn   net.Conn
	stream *Stream
	reader sse.Reader
	frames []frame
	id     string
	ended  bool
	raw    []byte
	closed chan Reason

	retries []time.Duration
}

type frame struct {
	kind            sse.Kind
	id, event, data string
}

func (w *world) open(r Request) *client {
	w.t.Helper()
	near, far := pipe(w.t)
	return w.openOn(near, far, r)
}

func (w *world) openOn(near, far net.Conn, r Request) *client {
	w.t.Helper()
	c := &client{t: w.t, w: w, conn: near, closed: make(chan Reason, 1)}
	c.reader.On = func(f sse.Frame) {
		if f.Kind == sse.Retry {
			c.retries = append(c.retries, f.Retry)
		}
		c.frames = append(c.frames, frame{f.Kind, string(f.ID), string(f.Event), string(f.Data)})
		c.id = string(f.ID)
	}
	c.reader.MaxEvent = 16 << 20
	if r.Format == "" {
		r.Format = "flat"
	}
	r.Conn = far
	r.OnClose = func(why Reason) { c.closed <- why }
	s, err := w.hub.Attach(r)
	if err != nil {
		w.t.Fatalf("Attach: %v", err)
	}
	c.stream = s
	return c
}

// pipe returns both ends of a loopback connection with a bounded receive buffer
// at the near end, so that a client that does not read is soon felt.
func pipe(t *testing.T) (near, far net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, _ := ln.Accept()
		accepted <- conn
	}()
	if near, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	near.(*net.TCPConn).SetReadBuffer(64 << 10)
	if far = <-accepted; far == nil {
		t.Fatal("accept failed")
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

const patience = time.Minute

// read reads until cond holds for the client, or the stream ends.
func (c *client) read(cond func() bool) {
	c.t.Helper()
	buf := make([]byte, 8<<10)
	c.conn.SetReadDeadline(time.Now().Add(patience))
	for !cond() && !c.ended {
		n, err := c.conn.Read(buf)
		c.reader.Write(buf[:n])
		c.raw = append(c.raw, buf[:n]...)
		if err != nil {
			if e, ok := err.(net.Error); ok && e.Timeout() {
				c.t.Fatalf("waited for %v; got %d frames, last id %q", patience, len(c.frames), c.id)
			}
			c.ended = true
		}
	}
}

// readTo reads until the client's id is that of seq or a later one.
func (c *client) readTo(seq uint64) {
	c.t.Helper()
	c.read(func() bool {
		_, at, ok := sse.ParseID(c.id)
		return ok && at >= seq
	})
}

// seqs returns the sequences of the events that the client got, having checked
// each one's data.
func (c *client) seqs() []uint64 {
	c.t.Helper()
	var got []uint64
	for _, f := range c.frames {
		if f.kind != sse.Message || f.event != "" || !strings.HasPrefix(f.data, "{") {
			continue
		}
		_, seq, ok := sse.ParseID(f.id)
		if !ok || seq == 0 || seq > c.w.head() {
			c.t.Fatalf("got id %q, want one of an event", f.id)
		}
		c.w.mu.Lock()
		ev := c.w.events[seq-1]
		c.w.mu.Unlock()
		if want := string(payload(nil, ev)); f.data != want {
			c.t.Fatalf("event %d: got data %.80q, want %.80q", seq, f.data, want)
		}
		got = append(got, seq)
	}
	return got
}

// named returns the data of the frames with that event name.
func (c *client) named(event string) []string {
	var got []string
	for _, f := range c.frames {
		if f.kind == sse.Message && f.event == event {
			got = append(got, f.data)
		}
	}
	return got
}

// want returns the sequences after..to whose events match the selection.
func (w *world) want(sel Selection, after, to uint64) []uint64 {
	sel = sel.canonical()
	w.mu.Lock()
	defer w.mu.Unlock()
	var seqs []uint64
	for _, ev := range w.events[after:to] {
		if _, ok := taken(sel, ev); ok {
			seqs = append(seqs, ev.Seq)
		}
	}
	return seqs
}

// expect compares what the client got with what it should have.
func (c *client) expect(sel Selection, after, to uint64) {
	c.t.Helper()
	got, want := c.seqs(), c.w.want(sel, after, to)
	if !slices.Equal(got, want) {
		at := 0
		for at < min(len(got), len(want)) && got[at] == want[at] {
			at++
		}
		c.t.Fatalf("got %d events, want %d (%d..%d); first difference at place %d: got %v, want %v",
			len(got), len(want), after+1, to, at, clip(got, at), clip(want, at))
	}
}

func clip(s []uint64, at int) []uint64 { return s[min(at, len(s)):min(at+5, len(s))] }

// reason waits for the end of the stream at the hub's side.
func (c *client) reason() Reason {
	c.t.Helper()
	select {
	case why := <-c.closed:
		return why
	case <-time.After(patience):
		c.t.Fatalf("stream not closed after %v", patience)
		return 0
	}
}

// until polls for something that happens on another goroutine.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited %v for: %s", patience, what)
		}
	}
}

// stuck waits until a stream's connection takes no more. The portable pump
// cannot tell, other than by lagging behind what a kernel buffer holds.
func (w *world) stuck() {
	w.t.Helper()
	until(w.t, "a stream to be blocked", func() bool {
		found := false
		w.hub.Streams(func(info StreamInfo) {
			found = found || info.Blocked || w.hub.cfg.portable && info.LagEvents > 30 && info.Events > 0
		})
		return found
	})
}

// settled waits until all streams have everything.
func (w *world) settled() {
	w.t.Helper()
	until(w.t, "all streams to have everything", func() bool {
		lag := uint64(0)
		w.hub.Streams(func(info StreamInfo) { lag += info.LagEvents })
		return lag == 0
	})
}

func (c *client) hasBytes(b string) bool { return bytes.Contains(c.raw, []byte(b)) }
