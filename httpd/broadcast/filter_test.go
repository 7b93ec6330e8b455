package broadcast

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carillon/internal/sse"
)

// A testFilter decides by a function.
type testFilter struct {
	name, lane string
	decide     func(*Event) Decision
}

func (f *testFilter) String() string { return f.name }
func (f *testFilter) Lane() string   { return f.lane }

// testFilters decides for testFilters, and notes which are in use. What it
// yields is overwritten when yield returns.
type testFilters struct {
	mu      sync.Mutex
	inUse   map[*testFilter]int
	broken  error                    // of Decide
	unasked error                    // of Ask
	during  func()                   // called by Ask, if it is there
	holds   map[string]chan struct{} // by lane; Ask waits until it is closed
	asked   map[string]int           // by lane: pairs that Ask was asked about
	past    int                      // events that Decide was asked about
}

func newTestFilters() *testFilters {
	return &testFilters{inUse: make(map[*testFilter]int), holds: make(map[string]chan struct{}), asked: make(map[string]int)}
}

// hold has Ask wait in a lane until the function that it returns is called.
func (t *testFilters) hold(lane string) (release func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	hold := make(chan struct{})
	t.holds[lane] = hold
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.holds, lane)
		close(hold)
	}
}

// asking reports whether a lane was ever asked.
func (t *testFilters) asking(lane string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.asked[lane] > 0
}

// fail has Ask and Decide return errors.
func (t *testFilters) fail(ask, decide error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unasked, t.broken = ask, decide
}

func (t *testFilters) count(f Filter, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tf := f.(*testFilter)
	if t.inUse[tf] += n; t.inUse[tf] == 0 {
		delete(t.inUse, tf)
	}
}

func (t *testFilters) Add(f Filter)    { t.count(f, 1) }
func (t *testFilters) Remove(f Filter) { t.count(f, -1) }

// used returns how many filters are in use; -1 if one was added twice.
func (t *testFilters) used() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.inUse {
		if n != 1 {
			return -1
		}
	}
	return len(t.inUse)
}

func passOn(d Decision, yield func(Decision)) {
	if !d.Match && d.Err == "" {
		return
	}
	data := slices.Clone(d.Data)
	d.Data = data
	yield(d)
	for i := range data {
		data[i] = '#'
	}
}

func (t *testFilters) Match(ev *Event, yield func(Filter, Decision)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for f := range t.inUse {
		if f.lane == "" {
			passOn(f.decide(ev), func(d Decision) { yield(f, d) })
		}
	}
}

func (t *testFilters) Ask(ctx context.Context, lane string, events []*Event, filters []Filter, yield func(int, int, Decision)) error {
	t.mu.Lock()
	hold, broken, during := t.holds[lane], t.unasked, t.during
	t.asked[lane] += len(events) * len(filters)
	t.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if during != nil {
		during()
	}
	if broken != nil {
		return broken
	}
	for i, f := range filters {
		tf := f.(*testFilter)
		if tf.lane != lane {
			return fmt.Errorf("filter %v asked in lane %q", f, lane)
		}
		for k, ev := range events {
			passOn(tf.decide(ev), func(d Decision) { yield(i, k, d) })
		}
	}
	return nil
}

func (t *testFilters) Decide(_ context.Context, f Filter, events []*Event, yield func(int, Decision)) error {
	t.mu.Lock()
	broken := t.broken
	t.past += len(events)
	t.mu.Unlock()
	if broken != nil {
		return broken
	}
	for i, ev := range events {
		passOn(f.(*testFilter).decide(ev), func(d Decision) { yield(i, d) })
	}
	return nil
}

// in puts a filter into a lane.
func (f *testFilter) in(lane string) *testFilter {
	f.lane = lane
	f.name += " in " + lane
	return f
}

// every returns a filter that takes each n-th event.
func every(n uint64) *testFilter {
	return &testFilter{name: fmt.Sprint("every ", n), decide: func(ev *Event) Decision { return Decision{Match: ev.Seq%n == 0} }}
}

// projecting returns a filter that gives data for each n-th event.
func projecting(n uint64) *testFilter {
	return &testFilter{name: fmt.Sprint("projecting ", n), decide: func(ev *Event) Decision {
		if ev.Seq%n != 0 {
			return Decision{}
		}
		return Decision{Match: true, Data: fmt.Appendf(nil, `{"each":%d,"only":%d}`, n, ev.Seq)}
	}}
}

// throwing returns a filter that takes all but each n-th event, on which it throws.
func throwing(n uint64) *testFilter {
	return &testFilter{name: fmt.Sprint("throwing ", n), decide: func(ev *Event) Decision {
		if ev.Seq%n == 0 {
			return Decision{Err: fmt.Sprintf("TypeError: \"no\" %d", ev.Seq)}
		}
		return Decision{Match: true}
	}}
}

// filtered is a world whose streams may have filters.
func filtered(t *testing.T, change func(*Config)) (*world, *testFilters) {
	filters := newTestFilters()
	w := newWorld(t, func(c *Config) {
		c.Filters = filters
		if change != nil {
			change(c)
		}
	})
	return w, filters
}

// Streams with the same filter share a feed; all get what it takes, and in
// place of that its data, live and from the journal.
func TestFilteredStreams(t *testing.T) {
	bothPumps(t, func(t *testing.T, portable bool) {
		w, filters := filtered(t, func(c *Config) { c.portable = portable })
		third, only := every(3), projecting(2)
		w.publish(20, mixed)
		var plain, data []*client
		for i := range 4 {
			after := uint64(i * 5) // 0 is from now on
			plain = append(plain, w.open(Request{Selection: Selection{Filter: third, Types: []string{"state_changed"}}, After: after, Resume: i > 0}))
			data = append(data, w.open(Request{Selection: Selection{Filter: only}, After: after, Resume: i > 0, Format: "native"}))
		}
		if got := filters.used(); got != 2 || w.hub.Stats().Feeds != 2 || w.hub.Stats().Filters != 2 {
			t.Errorf("got %d filters in use and %+v, want 2 filters, 2 feeds", got, w.hub.Stats())
		}
		w.publish(40, mixed)
		w.pass(w.hub.cfg.BeatEvery)
		for i := range plain {
			after := []uint64{20, 5, 10, 15}[i]
			plain[i].readTo(60)
			var want []uint64
			for _, seq := range w.want(Selection{Types: []string{"state_changed"}}, after, 60) {
				if seq%3 == 0 {
					want = append(want, seq)
				}
			}
			if got := plain[i].seqs(); !slices.Equal(got, want) {
				t.Errorf("stream after %d: got %v, want %v", after, got, want)
			}
			data[i].readTo(60)
			var got, only []string
			for seq := after - after%2 + 2; seq <= 60; seq += 2 {
				name := nativeName(&Event{Seq: seq, Type: mixed(seq).Type})
				if name == "gap" {
					name = ""
				}
				only = append(only, fmt.Sprintf(`%s-%d %s {"each":2,"only":%d}`, testEpoch, seq, name, seq))
			}
			for _, f := range data[i].frames {
				if f.kind == sse.Message {
					got = append(got, f.id+" "+f.event+" "+f.data)
				}
			}
			if !slices.Equal(got, only) {
				t.Errorf("projecting stream after %d: got %q, want %q", after, got, only)
			}
			plain[i].conn.Close()
			data[i].conn.Close()
		}
		until(t, "the filters to be given up", func() bool { w.pass(time.Second); return filters.used() == 0 })
	})
}

// What a filter throws is told once at once, and then once a second with how
// often it was; as data, too, to those who asked for that.
func TestFilterErrors(t *testing.T) {
	bothPumps(t, func(t *testing.T, portable bool) {
		w, _ := filtered(t, func(c *Config) { c.portable = portable })
		f := throwing(2)
		f.name = strings.Repeat("é", maxTold)
		live := w.open(Request{Selection: Selection{Filter: f}})
		asData := w.open(Request{Selection: Selection{Filter: f}, GapsAsData: true, Format: "native"})
		w.publish(10, mixed)
		w.pass(900 * time.Millisecond)
		w.publish(4, mixed)
		w.pass(100 * time.Millisecond)
		w.pass(w.hub.cfg.BeatEvery)
		told := func(seq, errors uint64) string {
			return fmt.Sprintf(`{"id":"%s-%d","message":"TypeError: \"no\" %d","errors":%d,"filter":%q}`, testEpoch, seq, seq, errors, strings.Repeat("é", maxTold/2)+"…")
		}
		want := []string{told(2, 1), told(4, 6)}
		live.readTo(14)
		if got := live.named("filter_error"); !slices.Equal(got, want) {
			t.Errorf("got errors %q, want %q", got, want)
		}
		asData.readTo(14)
		if got := asData.named("filter_error"); !slices.Equal(got, want) {
			t.Errorf("with data: got errors %q, want %q", got, want)
		}
		if got := strings.Count(string(asData.raw), "data: as data: "+want[1]+"\n\nevent: filter_error\ndata: "+want[1]); got != 1 {
			t.Errorf("got the second error %d times as data before it, want once", got)
		}
		late := w.open(Request{Selection: Selection{Filter: f}, After: 3, Resume: true})
		late.readTo(14)
		if got, want := late.named("filter_error"), []string{told(4, 6)}; !slices.Equal(got, want) {
			t.Errorf("replayed: got errors %q, want %q", got, want)
		}
		for _, c := range []*client{live, late} {
			if got := c.seqs(); !slices.ContainsFunc(got, func(seq uint64) bool { return seq%2 != 0 }) || slices.ContainsFunc(got, func(seq uint64) bool { return seq%2 == 0 }) {
				t.Errorf("got events %v, want the odd ones", got)
			}
		}
	})
}

// A hub without filters refuses a selection that has one.
func TestNoFilters(t *testing.T) {
	w := newWorld(t, nil)
	near, far := pipe(t)
	_, err := w.hub.Attach(Request{Conn: far, Format: "flat", Selection: Selection{Filter: every(1)}})
	if !errors.Is(err, ErrNoFilters) {
		t.Errorf("Attach: got %v, want %v", err, ErrNoFilters)
	}
	near.Close()
	c := w.open(Request{ID: "x"})
	cut := func(Selection) ([]byte, uint64) { t.Error("cut was called"); return nil, 0 }
	if err := w.hub.Reselect("x", Selection{Filter: every(1)}, cut); !errors.Is(err, ErrNoFilters) {
		t.Errorf("Reselect: got %v, want %v", err, ErrNoFilters)
	}
	c.conn.Close()
}

// oneOf are filters of which each takes the events of its own number: what
// Match finds costs as little as an index makes it.
type oneOf struct{ filters []*testFilter }

func (o *oneOf) Add(Filter)    {}
func (o *oneOf) Remove(Filter) {}
func (o *oneOf) Match(ev *Event, yield func(Filter, Decision)) {
	yield(o.filters[ev.Seq%uint64(len(o.filters))], Decision{Match: true})
}
func (o *oneOf) Ask(context.Context, string, []*Event, []Filter, func(int, int, Decision)) error {
	return errors.New("no lanes")
}
func (o *oneOf) Decide(context.Context, Filter, []*Event, func(int, Decision)) error {
	return errors.New("no journal")
}

// 10,000 feeds, each with a filter of its own, while the hub's lock is held: by
// Publish of one event, which one of them takes, by a tick on which nothing is
// due, and by a beat to all.
func BenchmarkDistinctFilters(b *testing.B) {
	const feeds = 10_000
	o := &oneOf{}
	now := time.Unix(1_700_000_000, 0)
	hub, err := New(Config{
		Epoch: "bench", Filters: o, Log: slog.New(slog.DiscardHandler), BeatEvery: time.Hour, manual: true,
		Formats: []Format{{Name: "flat", Append: func(dst []byte, _ *Event) []byte { return append(dst, "{}"...) },
			Ping: func(dst []byte, _ time.Time) []byte { return append(dst, "ping"...) }, PingEvery: 50 * time.Minute, PingOnlyWhenSilent: true}},
		Replay: func(context.Context, uint64, func(*Event) bool) error { return errors.New("no journal") },
		First:  func() uint64 { return 1 },
		Now:    func() time.Time { return now },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { hub.Close(context.Background()) })
	hub.mu.Lock()
	ch, _ := hub.channel("flat", now)
	for i := range feeds {
		o.filters = append(o.filters, every(1))
		f := hub.feed(ch, Selection{Filter: o.filters[i]}, false, now)
		f.member(hub.pumps[i%len(hub.pumps)]).done.Store(^uint64(0))
		f.streams.Add(1)
	}
	hub.mu.Unlock()
	b.Run("publish", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			hub.Publish([]*Event{{Seq: hub.Head() + 1}})
		}
	})
	b.Run("tick", func(b *testing.B) {
		for range b.N {
			hub.tick(0)
		}
	})
	b.Run("beat", func(b *testing.B) {
		for range b.N {
			hub.beaten = time.Time{}
			hub.tick(0)
		}
	})
}
