package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"carillon/runtime"
	"carillon/scripts/filter"
)

// TestMain lets the test binary be the worker that the tests start.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "filter-worker":
			os.Exit(Main(os.Stdin, os.Stdout))
		case "lie":
			lie(os.Args[2])
			return
		case "hold-workers":
			holdWorkers()
			return
		}
	}
	os.Exit(m.Run())
}

// newTestPool returns a pool whose workers are this test binary.
func newTestPool(t testing.TB, o Options) *Pool {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o.Command = []string{self, "filter-worker"}
	if raceEnabled { // the detector takes several times what the program does, of everything
		o.Memory = max(o.Memory, 400<<20)
		o.Deadline = max(o.Deadline, 250*time.Millisecond)
	}
	o.Log = slog.New(slog.NewTextHandler(testLog{t}, nil))
	p := NewPool(o)
	t.Cleanup(p.Close)
	return p
}

type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func compileAll(t testing.TB, p *Pool, domain string, sources ...string) (filters []*Filter) {
	t.Helper()
	for i, source := range sources {
		f, err := p.Compile(context.Background(), domain, fmt.Sprintf("f%d", i), source, nil)
		if err != nil {
			t.Fatalf("compiling %s: %v", source, err)
		}
		filters = append(filters, f)
	}
	return filters
}

// change is a state_changed event as the journal gives it. Old and next are a
// state and its attributes in JSON, or empty.
func change(seq uint64, entityID, old, next string) *runtime.Event {
	state := func(s string) string {
		if s == "" {
			return "null"
		}
		value, attributes, _ := strings.Cut(s, ",")
		return `{"entity_id":"` + entityID + `","state":` + value + `,"attributes":` + attributes +
			`,"last_changed":"2026-01-01T00:00:00.123456+00:00","last_reported":"2026-01-01T00:00:03+00:00","last_updated":"2026-01-01T00:00:02+00:00","context":{"id":"c","parent_id":null,"user_id":null}}`
	}
	return fired(seq, runtime.StateChanged, entityID, `{"entity_id":"`+entityID+`","old_state":`+state(old)+`,"new_state":`+state(next)+`}`)
}

func fired(seq uint64, typ, entityID, data string) *runtime.Event {
	text := `{"event_type":"` + typ + `","data":` + data + `,"origin":"LOCAL","time_fired":"2026-01-01T00:00:05.678901+00:00","context":{"id":"c","parent_id":null,"user_id":null}}`
	at := time.Date(2026, 1, 1, 0, 0, 5, 678_901_000, time.UTC)
	return runtime.ParseEvent(seq, "hall.js@7", typ, entityID, runtime.Domain(entityID), at, []byte(text))
}

// lights are n changes of a light, whose brightness is their place.
func lights(n int) []*runtime.Event {
	events := make([]*runtime.Event, n)
	for i := range events {
		attributes := fmt.Sprintf(`{"brightness":%d,"color_temp":370,"friendly_name":"Kitchen","icon":"mdi:x","supported_features":44}`, i)
		events[i] = change(uint64(i+1), "light.kitchen", `"off",`+attributes, `"on",`+attributes)
	}
	return events
}

// answers are what Decide told, as text: filter:event=what.
func answers(t testing.TB, p *Pool, domain string, events []*runtime.Event, filters []*Filter, wants func(filter, event int) bool) []string {
	t.Helper()
	var told []string
	err := p.Decide(context.Background(), domain, events, filters, wants, func(f, e int, o filter.Outcome) {
		what := "match"
		if o.Data != nil {
			what = string(o.Data)
		} else if o.Err != "" {
			what = o.Err
		}
		told = append(told, fmt.Sprintf("%d:%d=%s", f, e, what))
	})
	if err != nil {
		t.Fatal(err)
	}
	return told
}

func TestDecide(t *testing.T) {
	p := newTestPool(t, Options{})
	filters := compileAll(t, p, "operator", "e => e.attributes.brightness > 1", "({a: e.seq})", "e => { throw new Error('no ' + e.seq) }")
	got := answers(t, p, "operator", lights(3), filters, nil)
	want := []string{"1:0={\"a\":1}", "2:0=Error: no 1", "1:1={\"a\":2}", "2:1=Error: no 2", "0:2=match", "1:2={\"a\":3}", "2:2=Error: no 3"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func asRefusal(err error) (refused *filter.Error, ok bool) {
	ok = errors.As(err, &refused)
	return refused, ok
}

func lightsOf(events ...*runtime.Event) []*runtime.Event { return events }
