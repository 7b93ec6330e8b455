package journal

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"carillon/runtime"
	"carillon/runtime/runtimetest"
)

// testWriter sends log lines to the test.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, nil))
}

func open(t testing.TB, o Options) *Journal {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	j, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

var start = time.Date(2026, 1, 1, 0, 0, 0, 123456000, time.UTC)

// event makes the i-th test event, a second after the one before.
func event(i int) *runtime.Event {
	at := start.Add(time.Duration(i) * time.Second)
	id := fmt.Sprintf("sensor.s%d", i%10)
	text := fmt.Sprintf(`{"event_type":"state_changed","data":{"entity_id":%q,"n":%d},"origin":"LOCAL"}`, id, i)
	return runtime.ParseEvent(0, "test.js@1", runtime.StateChanged, id, "sensor", at, []byte(text))
}

func events(from, n int) []*runtime.Event {
	evs := make([]*runtime.Event, n)
	for i := range evs {
		evs[i] = event(from + i)
	}
	return evs
}

// appendWait recovers from an append that failed before, if one did, appends
// and waits for the answer. No other append may be under way that could fail.
func appendWait(t testing.TB, j *Journal, evs ...*runtime.Event) (uint64, error) {
	t.Helper()
	type answer struct {
		last uint64
		err  error
	}
	answers := make(chan answer, 1)
	j.Recover()
	j.Append(evs, func(last uint64, err error) { answers <- answer{last, err} })
	select {
	case a := <-answers:
		return a.last, a.err
	case <-time.After(30 * time.Second):
		t.Fatal("Append was not answered")
		return 0, nil
	}
}

func mustAppend(t testing.TB, j *Journal, evs ...*runtime.Event) uint64 {
	t.Helper()
	last, err := appendWait(t, j, evs...)
	if err != nil {
		t.Fatal(err)
	}
	return last
}

func readAll(t testing.TB, j *Journal, after uint64) []*runtime.Event {
	t.Helper()
	var evs []*runtime.Event
	if err := j.Read(context.Background(), after, func(ev *runtime.Event) bool {
		evs = append(evs, ev)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return evs
}

// eventually polls until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("still not so after a minute: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// tailer collects what a Tail delivers.
type tailer struct {
	mu     sync.Mutex
	events []*runtime.Event
	most   int // in one batch
	cancel context.CancelFunc
	err    chan error
}

func startTail(t testing.TB, j *Journal, after uint64) *tailer {
	ctx, cancel := context.WithCancel(context.Background())
	l := &tailer{cancel: cancel, err: make(chan error, 1)}
	go func() {
		l.err <- j.Tail(ctx, after, func(batch []*runtime.Event) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.events = append(l.events, batch...)
			l.most = max(l.most, len(batch))
		})
	}()
	t.Cleanup(cancel)
	return l
}

func (l *tailer) all() []*runtime.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.events[:len(l.events):len(l.events)]
}

func (l *tailer) wait(t testing.TB, n int) []*runtime.Event {
	t.Helper()
	eventually(t, fmt.Sprintf("%d events tailed", n), func() bool { return len(l.all()) >= n })
	return l.all()
}

func TestEventsComeBackAsTheyWere(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Options{Dir: dir})
	at := start.Add(42 * time.Microsecond)
	want := []*runtime.Event{
		runtime.ParseEvent(0, "core", "state_changed", "light.hall_2", "light", at, []byte(`{"a":1}`)),
		runtime.ParseEvent(0, "", "state_changed", "", "", at, []byte(`{"a":"\n"}`)),
		runtime.ParseEvent(0, "hall.js@7", "service_called", "", "light", at, []byte(`{}`)),
		runtime.ParseEvent(0, "a b c", "tür.offen *> =2E", "light.a", "light", at, []byte(`{}`)),
		runtime.ParseEvent(0, "x", "_", "_._", "_", at, []byte(`{"b":[]}`)),
		runtime.ParseEvent(0, "x", "state_changed", "odd one.a.b", "odd one", at, []byte(`{}`)),
	}
	if last := mustAppend(t, j, want...); last != uint64(len(want)) {
		t.Errorf("got last %d, want %d", last, len(want))
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	got := readAll(t, open(t, Options{Dir: dir}), 0)
	if len(got) != len(want) {
		t.Fatalf("got %d events, want %d", len(got), len(want))
	}
	for i, w := range want {
		if g := got[i]; g.Seq != uint64(i+1) || g.Type != w.Type || g.EntityID != w.EntityID || g.Domain != w.Domain ||
			g.Source != w.Source || !g.Time.Equal(w.Time) || string(g.JSON) != string(w.JSON) {
			t.Errorf("got %d %q %q %q %q %v %s, want %d %q %q %q %q %v %s", g.Seq, g.Type, g.EntityID, g.Domain, g.Source, g.Time, g.JSON,
				i+1, w.Type, w.EntityID, w.Domain, w.Source, w.Time, w.JSON)
		}
	}
}

func TestConcurrentAppendsAreOrderedAndTailedByPointer(t *testing.T) {
	j := open(t, Options{})
	l := startTail(t, j, 0)
	const writers, each = 8, 500
	var mu sync.Mutex
	var order []uint64
	var wg, answered sync.WaitGroup
	for w := range writers {
		wg.Add(1)
		answered.Add(each)
		go func() {
			defer wg.Done()
			for i := range each {
				j.Append(events((w*each+i)*3, 1+i%3), func(last uint64, err error) {
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					order = append(order, last)
					mu.Unlock()
					answered.Done()
				})
			}
		}()
	}
	wg.Wait()
	answered.Wait()
	for i := 1; i < len(order); i++ {
		if order[i] <= order[i-1] {
			t.Fatalf("dones out of order: %d after %d", order[i], order[i-1])
		}
	}
	last := order[len(order)-1]
	tailed := l.wait(t, int(last))
	read := readAll(t, j, 0)
	if len(tailed) != int(last) || len(read) != int(last) {
		t.Fatalf("got %d tailed and %d read, want %d", len(tailed), len(read), last)
	}
	for i := range tailed {
		a, b := tailed[i], read[i]
		if a.Seq != uint64(i+1) || b.Seq != a.Seq || string(a.JSON) != string(b.JSON) || !a.Time.Equal(b.Time) {
			t.Fatalf("event %d: got %d %s tailed, %d %s read", i+1, a.Seq, a.JSON, b.Seq, b.JSON)
		}
	}
	if _, last := j.Bounds(); last != order[len(order)-1] {
		t.Errorf("got last %d, want %d", last, order[len(order)-1])
	}
}

func TestTooLongAnEventFailsWithWhatIsBehindIt(t *testing.T) {
	j := open(t, Options{})
	long := event(1)
	long.JSON = make([]byte, MaxEvent+1)
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	wg.Add(3)
	note := func(_ uint64, err error) {
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, err)
		wg.Done()
	}
	j.mu.Lock() // so that run takes all three together
	j.queue = append(j.queue, &entry{events: events(0, 1), done: note}, &entry{events: []*runtime.Event{long}, done: note}, &entry{events: events(2, 1), done: note})
	for _, e := range j.queue {
		e.check()
		j.used += len(e.events)
		j.usedSize += e.size
	}
	j.mu.Unlock()
	wake(j.kick)
	wg.Wait()
	if errs[0] != nil || errs[1] == nil || errs[2] == nil {
		t.Errorf("got %v, want the second and third to fail", errs)
	}
	if errs[1] != nil && !strings.Contains(errs[1].Error(), "at most 4194304") {
		t.Errorf("got %q, want the limit to be told", errs[1])
	}
	biggest := event(3)
	biggest.JSON = append([]byte(`"`), make([]byte, MaxEvent-1)...)
	if last := mustAppend(t, j, biggest); last != 2 {
		t.Errorf("got %d, want 2", last)
	}
	if got := readAll(t, j, 1); len(got) != 1 || len(got[0].JSON) != MaxEvent {
		t.Errorf("got %d events, want the longest possible one", len(got))
	}
}

func TestLastAndSeqAtAndBounds(t *testing.T) {
	j := open(t, Options{})
	ctx := context.Background()
	if first, last := j.Bounds(); first != 1 || last != 0 {
		t.Errorf("got bounds %d, %d of an empty journal, want 1, 0", first, last)
	}
	mustAppend(t, j, events(0, 95)...)
	mustAppend(t, j, runtime.ParseEvent(0, "x", "doorbell", "", "", start.Add(95*time.Second), []byte("{}")))
	var seqs []uint64
	if err := j.Last(ctx, func(ev *runtime.Event) { seqs = append(seqs, ev.Seq) }); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(seqs), "[86 87 88 89 90 91 92 93 94 95]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, c := range []struct {
		at   time.Duration
		want uint64
	}{{-time.Hour, 0}, {0, 0}, {time.Microsecond, 1}, {50 * time.Second, 50}, {95 * time.Second, 95}, {time.Hour, 96}} {
		if got, err := j.SeqAt(ctx, start.Add(c.at)); err != nil || got != c.want {
			t.Errorf("SeqAt(+%v): got %d, %v, want %d", c.at, got, err, c.want)
		}
	}
}

func TestEightReadersAtOnce(t *testing.T) {
	j := open(t, Options{})
	for i := range 100 {
		j.Append(events(i*100, 100), func(uint64, error) {})
	}
	mustAppend(t, j, event(10000))
	var wg sync.WaitGroup
	for r := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			next := uint64(r * 1000)
			err := j.Read(context.Background(), next, func(ev *runtime.Event) bool {
				next++
				if ev.Seq != next {
					t.Errorf("got %d, want %d", ev.Seq, next)
				}
				return next < 9500
			})
			if err != nil || next != 9500 {
				t.Errorf("got to %d, %v, want 9500", next, err)
			}
		}()
	}
	wg.Wait()
}

func TestAnAppendLongerThanTheWindow(t *testing.T) {
	j := open(t, Options{})
	l := startTail(t, j, 0)
	const n = 3*window + 7
	j.Append(events(0, 5), func(uint64, error) {})
	if last := mustAppend(t, j, events(5, n)...); last != n+5 {
		t.Errorf("got %d, want %d", last, n+5)
	}
	got := l.wait(t, n+5)
	for i, ev := range got {
		if ev.Seq != uint64(i+1) || string(ev.JSON) != string(event(i).JSON) {
			t.Fatalf("got %d %s, want %d %s", ev.Seq, ev.JSON, i+1, event(i).JSON)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add("state_changed", "light.hall", "light", "hall.js@7", "{}", int64(1))
	f.Add("a.b *>", "", "\x00", "x\ny", "{\"a\":\"\\n\"}", int64(-1))
	f.Fuzz(func(t *testing.T, typ, id, domain, source, text string, micros int64) {
		e := runtime.ParseEvent(0, source, typ, id, domain, time.UnixMicro(micros), []byte(text))
		if id != "" {
			e.Domain = runtime.Domain(id)
		}
		if typ == "" {
			return
		}
		subject := subjectOf(e)
		for _, token := range strings.Split(subject, ".") {
			if token == "" || strings.ContainsAny(token, " *>\x00\r\n\t") {
				t.Fatalf("got subject %q", subject)
			}
		}
		got, err := parseEvent(9, subject, appendPayload(nil, e, 3, 4))
		if err != nil {
			t.Fatal(err)
		}
		if got.Type != typ || string(got.JSON) != text || got.Time.UnixMicro() != micros || got.Source != strings.ReplaceAll(source, "\n", " ") {
			t.Errorf("got %q %q %v %q", got.Type, got.JSON, got.Time, got.Source)
		}
		if whole := strings.Contains(id, ".") && runtime.Domain(id) != "" && !strings.HasSuffix(id, "."); whole && (got.EntityID != id || got.Domain != e.Domain) {
			t.Errorf("got %q %q, want %q %q", got.EntityID, got.Domain, id, e.Domain)
		}
	})
}

func TestConformance(t *testing.T) {
	t.Parallel()
	runtimetest.TestJournal(t, open(t, Options{}))
}
