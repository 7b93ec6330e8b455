package loadtest

import (
	"bytes"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// filtered are options for a short test of f with 7 filters on 20 streams: 3
// streams have the first 6 of them, 2 the last.
func filtered(t *testing.T, f *fake, portable bool) Options {
	t.Helper()
	o := startFake(t, f).options(t)
	o.Filters, o.Portable, o.Workers = 7, portable, 2
	return o
}

// wanted counts the deliveries of a test with o, of n events.
func wanted(o Options, n int64) (deliveries int64) {
	for i := range o.Streams {
		deliveries += (&taking{*newSpread(o.Filters), int64(i % o.Filters)}).count(1, n)
	}
	return deliveries
}

func TestRunWithFilters(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		var mu sync.Mutex
		asked := map[string]int{}
		f := &fake{asked: func(query string) {
			q, _ := url.ParseQuery(query)
			mu.Lock()
			defer mu.Unlock()
			asked[q.Get("type")+q.Get("filter")]++
		}}
		o := filtered(t, f, portable)
		o.Selections = []string{"type=a&", "type=b"}
		r, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if !r.OK() || r.Published != 100 || r.Delivered != wanted(o, 100) || r.Latency == nil || r.Filters.Distinct != 7 || r.Filters.Errors != 0 {
			t.Errorf("got %+v (%q), want %d deliveries", r, r.Examples, wanted(o, 100))
		}
		want := map[string]int{}
		for i := range 20 {
			want["ab"[i%2:i%2+1]+newSpread(7).filter(int64(i%7))]++
		}
		mu.Lock()
		defer mu.Unlock()
		if !maps.Equal(asked, want) {
			t.Errorf("got streams for %v, want %v", asked, want)
		}
		if len(asked) != 14 {
			t.Errorf("got %d kinds of streams, want 14", len(asked))
		}
	})
}

// A server may lose, repeat, disorder or alter what a filter takes, and may
// send what it does not take.
func TestRunFindsFaultsOfFilters(t *testing.T) {
	takes := func(filter string, seq uint64) bool {
		return slices.Contains(keysOf(filter), newSpread(7).key(int64(seq)))
	}
	third := newSpread(7).filter(2)
	instead := func(what ...string) func(int, uint64, []byte) [][]byte {
		return func(i int, seq uint64, frame []byte) [][]byte {
			if seq != 60 { // for a group: the sixth of them, so for one filter
				return [][]byte{frame}
			}
			out := [][]byte{}
			for _, w := range what {
				out = append(out, bytes.ReplaceAll([]byte(w), []byte("FRAME"), frame))
			}
			return out
		}
	}
	filters := map[string]*fake{
		"lost 3":       {mangle: instead()},
		"repeated 3":   {mangle: instead("FRAME", "FRAME")},
		"errors 3":     {mangle: instead("FRAME", "event: filter_error\ndata: {\"message\":\"TypeError\"}\n\n")},
		"not taken 3":  {passes: func(_ int, f string, seq uint64) bool { return takes(f, seq) || f == third && seq == 1 }},
		"never took 3": {passes: func(_ int, f string, seq uint64) bool { return takes(f, seq) && (f != third || seq != 3) }},
		"everything":   {passes: func(int, string, uint64) bool { return true }},
		"nothing":      {passes: func(int, string, uint64) bool { return false }},
	}
	for name, fake := range filters {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := filtered(t, fake, false)
			o.Drain = 3 * time.Second // what is lost is waited for
			r, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			all := wanted(o, 100)
			want := map[string]faults{
				"lost 3": {Lost: 3}, "repeated 3": {Repeated: 3}, "errors 3": {}, "not taken 3": {Unasked: 3}, "never took 3": {Lost: 3},
				"everything": {Unasked: 2000 - all}, "nothing": {Lost: all},
			}[name]
			if r.faults != want || r.OK() != (want.total() == 0) || (r.Filters.Errors == 3) != (name == "errors 3") {
				t.Errorf("got %+v, ok %v, %d errors (%q), want %+v", r.faults, r.OK(), r.Filters.Errors, r.Examples, want)
			}
		})
	}
}

// With chaos, too, what each filter takes comes once, and nothing else.
func TestChaosWithFilters(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		f := startFake(t, &fake{})
		o := disturbed(t, f, portable)
		o.Filters = 7
		r, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if !r.OK() || r.Published != 400 || r.Delivered != wanted(o, 400)+r.PublishedTwice || r.Chaos.Kills < 5 {
			t.Errorf("got %+v, %d delivered (%q), want %d", r.faults, r.Delivered, r.Examples, wanted(o, 400))
		}
	})
}

// One filter takes all, so that its cost can be compared with none.
func TestRunWithOneFilter(t *testing.T) {
	o := filtered(t, &fake{}, false)
	o.Filters = 1
	r, err := Run(t.Context(), o)
	if err != nil || !r.OK() || r.Delivered != 2000 {
		t.Errorf("got %+v, %v, want all 100 events on each of 20 streams", r, err)
	}
}

func TestFiltersThatCannotBeTested(t *testing.T) {
	f := startFake(t, &fake{})
	for want, change := range map[string]func(*Options){
		"21 filters for 20 streams":         func(o *Options) { o.Filters = 21 },
		"16 filters for 15 streams":         func(o *Options) { o.Filters, o.Stalled = 16, 5 },
		"-1 filters":                        func(o *Options) { o.Filters = -1 },
		"filters need events":               func(o *Options) { o.ListenOnly = true },
		"the address has a filter":          func(o *Options) { o.Target.RawQuery = "filter=e" },
		"1000001 filters for 2000000 strea": func(o *Options) { o.Filters, o.Streams = 1_000_001, 2_000_000 },
	} {
		o := f.options(t)
		o.Filters = 2
		change(&o)
		if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// Many tapes must not take more memory than one.
func TestTapesShareTheirMemory(t *testing.T) {
	target, _ := url.Parse("http://127.0.0.1:1/api/stream")
	run := newTest(t.Context(), Options{Target: target, Streams: 1000, Filters: 500, Workers: 1})
	defer run.cancel(nil)
	w := run.workers[0]
	if len(w.feeds) != 500 || w.feeds[0].tape.keep != smallestKeep || w.feeds[0].tape.order != w.feeds[1].tape.order {
		t.Errorf("got %d feeds that keep %d bytes each, want 500, %d, and one order", len(w.feeds), w.feeds[0].tape.keep, smallestKeep)
	}
	// Its group is the tenth, whose first event is 100, before its own first one.
	if s := w.streams[999]; s.feed != w.feeds[499] || s.next != 100 {
		t.Errorf("got a stream 999 that first expects event %d, want 100", s.next)
	}
}

func TestReportOfFilters(t *testing.T) {
	r := sampleReport()
	r.Filters = &FiltersReport{Distinct: 3, Text: "3 distinct filters", Errors: 2}
	var text, page bytes.Buffer
	r.WriteText(&text)
	if err := r.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"filters    3 distinct filters; 2 filter_error frames\n",
		"0 altered, 0 not asked for\n",
		"result     ok: every stream got every event that its filter takes unaltered, once and in order, and no other\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("got\n%s\nwant %q in it", text.String(), want)
		}
	}
	if !strings.Contains(page.String(), "3 distinct filters") {
		t.Error("got a page without the filters")
	}
	r.Unasked, r.FaultyStreams = 5, 1
	if got, want := r.Verdict(), "FAULTY: 0 lost, 0 repeated, 0 disordered, 0 altered, 5 not asked for in 1 stream"; got != want || r.OK() {
		t.Errorf("got %q, ok %v, want %q", got, r.OK(), want)
	}
}
