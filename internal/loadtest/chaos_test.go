package loadtest

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// disturbed are options for a short test of f with a lot of chaos.
func disturbed(t *testing.T, f *fake, portable bool) Options {
	t.Helper()
	o := f.options(t)
	o.Portable, o.Duration, o.Drain = portable, 2*time.Second, 10*time.Second
	o.Chaos = &Chaos{Seed: 1, KillEvery: 300 * time.Millisecond, StallEvery: time.Second, StallMax: 2 * time.Second,
		RestartEvery: 400 * time.Millisecond, Restart: func(context.Context, bool) error {
			f.server.CloseClientConnections()
			return nil
		}}
	return o
}

// Whatever happens to the connections, nothing is lost on a correct server,
// and the chaos has happened.
func TestChaosOnACorrectServer(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		for _, chunked := range []bool{false, true} {
			f := startFake(t, &fake{chunked: chunked})
			o := disturbed(t, f, portable)
			var restarts atomic.Int64
			o.Progress = func(p Progress) { restarts.Store(p.Restarts) }
			r, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if !r.OK() || r.Published != 400 || r.Delivered != 8000+r.PublishedTwice || r.Announced != 0 {
				t.Errorf("chunked %v: got %+v, %d published, %d delivered, want all 400 on each of 20 streams (%q)", chunked, r.faults, r.Published, r.Delivered, r.Examples)
			}
			c := r.Chaos
			if c.Kills < 20 || c.KillsInFrame < 5 || c.KillsInHead < 1 || c.Aborted < 5 || c.Aborted > c.Kills-5 || c.Stalls < 5 || c.StallSeconds <= 0 {
				t.Errorf("chunked %v: got %+v, want kills of all kinds and stalls", chunked, c)
			}
			if c.RestartsKill < 1 || c.RestartsTerm < 1 || restarts.Load() == 0 || r.Reconnects < c.Kills/2 {
				t.Errorf("chunked %v: got %d and %d restarts (%d shown), %d reconnects, want each", chunked, c.RestartsKill, c.RestartsTerm, restarts.Load(), r.Reconnects)
			}
		}
	})
}

// Faults are found in the midst of chaos, and a gap that is announced is not one.
func TestChaosFindsFaults(t *testing.T) {
	gapFor := func(from, to uint64) []byte {
		return fmt.Appendf(nil, "id: abcdefgh-%d\nevent: gap\ndata: {\"from\":%d,\"to\":%d,\"reason\":\"aged_out\"}\n\n", to, from, to)
	}
	// withhold keeps 100 to 109 from all streams, but for what it says instead.
	withhold := func(instead ...[]byte) func(int, uint64, []byte) [][]byte {
		return func(_ int, seq uint64, frame []byte) [][]byte {
			switch {
			case seq == 100:
				return instead
			case seq > 100 && seq < 110:
				return nil
			}
			return [][]byte{frame}
		}
	}
	twice := func(i int, seq uint64, frame []byte) [][]byte {
		if seq == 100 {
			return [][]byte{frame, frame}
		}
		return [][]byte{frame}
	}
	for name, c := range map[string]struct {
		mangle func(int, uint64, []byte) [][]byte
		check  func(faults) bool
	}{
		"lost":              {withhold(), func(f faults) bool { return f.Lost == 200 && f.Announced == 0 }},
		"announced":         {withhold(gapFor(100, 109)), func(f faults) bool { return f.total() == 0 && f.Announced == 200 }},
		"announced in part": {withhold(gapFor(100, 106)), func(f faults) bool { return f.Lost == 60 && f.Announced == 140 }},
		"announced wrongly": {withhold(gapFor(50, 109)), func(f faults) bool { return f.Disordered > 0 && f.Lost == 200 }},
		"repeated":          {twice, func(f faults) bool { return f.Repeated > 0 && f.Lost == 0 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := disturbed(t, startFake(t, &fake{mangle: c.mangle}), false)
			o.Chaos.RestartEvery = 0
			r, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if !c.check(r.faults) || r.OK() != (r.total() == 0) {
				t.Errorf("got %+v, ok %v (%q)", r.faults, r.OK(), r.Examples)
			}
		})
	}
}

func TestChaosEndsWhenTheServerDoesNotComeBack(t *testing.T) {
	o := disturbed(t, startFake(t, &fake{}), false)
	o.Chaos.Restart = func(context.Context, bool) error { return http.ErrServerClosed }
	r, err := Run(t.Context(), o)
	if err == nil || r == nil || r.Published == 400 {
		t.Errorf("got %+v, %v, want an end before all is published", r, err)
	}
	o.Rate = 0
	if _, err := Run(t.Context(), o); err == nil {
		t.Error("got chaos without events")
	}
}

func TestOrderBounds(t *testing.T) {
	var o, p order
	for n, seq := range map[int64]uint64{1: 11, 2: 12, 5: 17, 9: 30} {
		o.note(n, seq)
	}
	p.note(5, 99) // published twice
	p.note(10, 31)
	o.merge(p)
	for n, want := range map[int64][2]uint64{1: {11, 11}, 3: {13, 15}, 4: {14, 16}, 5: {17, 17}, 7: {19, 28}, 10: {31, 31}, 12: {33, 1<<64 - 1}} {
		if first, last := o.bounds(n); first != want[0] || last != want[1] {
			t.Errorf("event %d: got sequences %d to %d, want %v", n, first, last, want)
		}
	}
	if first, _ := order(nil).bounds(3); first != 3 {
		t.Errorf("of nothing known: got %d, want 3: every event has one", first)
	}
}
