package broadcast

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	goruntime "runtime"
	"sync/atomic"
	"testing"
	"time"
)

// manyStreams is a hub with streams whose clients read and count bytes only.
type manyStreams struct {
	hub  *Hub
	got  atomic.Int64
	seq  uint64
	body []byte
	ends []net.Conn

	filters constant
}

// A constant is Filters that say the same of each event, without an allocation.
type constant struct {
	filters   []Filter
	decisions []Decision
}

func (c *constant) Add(f Filter) {
	c.filters = append(c.filters, f)
	c.decisions = append(c.decisions, f.(*testFilter).decide(&Event{Seq: 2}))
}
func (c *constant) Remove(Filter) {}
func (c *constant) Match(_ *Event, yield func(Filter, Decision)) {
	for i, f := range c.filters {
		yield(f, c.decisions[i])
	}
}
func (c *constant) Ask(context.Context, string, []*Event, []Filter, func(int, int, Decision)) error {
	return errors.New("no lanes")
}
func (c *constant) Decide(context.Context, Filter, []*Event, func(int, Decision)) error {
	return errors.New("no journal")
}

func openMany(tb testing.TB, n int, sel func(i int) Selection) *manyStreams {
	return openRequests(tb, n, func(i int) Request { return Request{Selection: sel(i)} })
}

func openRequests(tb testing.TB, n int, request func(i int) Request) *manyStreams {
	m := &manyStreams{body: make([]byte, 200)}
	for i := range m.body {
		m.body[i] = 'a' + byte(i%26)
	}
	hub, err := New(Config{
		Epoch: "bench", Formats: []Format{{Name: "flat", Append: func(dst []byte, _ *Event) []byte { return append(dst, m.body...) }}},
		Replay: func(context.Context, uint64, func(*Event) bool) error { return errors.New("no journal") },
		First:  func() uint64 { return 1 },
		Log:    slog.New(slog.DiscardHandler), BeatEvery: time.Hour, Filters: &m.filters,
	})
	if err != nil {
		tb.Fatal(err)
	}
	m.hub = hub
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer ln.Close()
	for i := range n {
		near, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			tb.Fatal(err)
		}
		far, err := ln.Accept()
		if err != nil {
			tb.Fatal(err)
		}
		r := request(i)
		r.Conn, r.Format = far, "flat"
		if _, err := hub.Attach(r); err != nil {
			tb.Fatal(err)
		}
		m.ends = append(m.ends, near)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		hub.Close(ctx)
		for _, c := range m.ends {
			c.Close()
		}
	})
	return m
}

func everything(int) Selection { return Selection{} }

// readAll has each client read until the end.
func (m *manyStreams) readAll() {
	for _, c := range m.ends {
		go func() {
			buf := make([]byte, 64<<10)
			for {
				n, err := c.Read(buf)
				m.got.Add(int64(n))
				if err != nil {
					return
				}
			}
		}()
	}
}

// delivered waits until the pumps have given n events in all to connections.
func (m *manyStreams) delivered(tb testing.TB, n uint64) {
	for end := time.Now().Add(patience); m.hub.met.deliveries.Get() < n; goruntime.Gosched() {
		if time.Now().After(end) {
			tb.Fatalf("got %d deliveries after %v, want %d", m.hub.met.deliveries.Get(), patience, n)
		}
	}
}

// Publishing allocates nothing per event, and delivering nothing per stream:
// not even once in a hundred streams.
func TestNoAllocations(t *testing.T) {
	if goruntime.GOOS != "linux" {
		t.Skip("the portable pump may allocate")
	}
	some := Selection{Domains: []string{"light"}, Types: []string{"s*"}}
	one, two := every(1), projecting(1)
	for name, request := range map[string]func(int) Request{
		"one filter":  func(int) Request { return Request{Selection: Selection{Filter: one}} },
		"projections": func(i int) Request { return Request{Selection: Selection{Filter: []Filter{one, two}[i%2]}} },
		"unfiltered":  func(int) Request { return Request{} },
		"filtered":    func(int) Request { return Request{Selection: some} },
		"policies":    func(i int) Request { return Request{Slow: Policy(i % policies), GapsAsData: true} },
	} {
		t.Run(name, func(t *testing.T) {
			const streams = 100
			m := openRequests(t, streams, request)
			m.readAll()
			var ev Event
			want := uint64(0)
			publish := func() {
				m.seq++
				ev = Event{Seq: m.seq, Type: "state_changed", Domain: "light", EntityID: "light.hall"}
				batch := [1]*Event{&ev}
				m.hub.Publish(batch[:])
				want += streams
				m.delivered(t, want)
			}
			for range 1000 {
				publish() // scratch memory gets its size
			}
			if got := testing.AllocsPerRun(300, publish); got >= 1 {
				t.Errorf("got %v allocations per event and %d deliveries, want none", got, streams)
			}
		})
	}
}

// Publish to N loopback streams: the time is that of one event for all.
func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("streams=%d", n), func(b *testing.B) {
			m := openMany(b, n, everything)
			m.readAll()
			events := make([]Event, 64)
			batch := make([]*Event, 0, len(events))
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += len(events) {
				batch = batch[:0]
				for k := range min(len(events), b.N-i) {
					m.seq++
					events[k] = Event{Seq: m.seq, Type: "state_changed"}
					batch = append(batch, &events[k])
				}
				m.hub.Publish(batch)
				m.delivered(b, m.seq*uint64(n))
			}
			b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
}

// One event meets many distinct feeds, of which it matches one.
func BenchmarkPublishDistinctFeeds(b *testing.B) {
	m := openMany(b, 1000, func(i int) Selection { return Selection{Entities: []string{fmt.Sprintf("light.room_%d", i)}} })
	m.readAll()
	b.ReportAllocs()
	for i := range b.N {
		m.seq++
		m.hub.Publish([]*Event{{Seq: m.seq, Type: "state_changed", Domain: "light", EntityID: fmt.Sprintf("light.room_%d", i%1000)}})
	}
	m.delivered(b, m.seq)
}
