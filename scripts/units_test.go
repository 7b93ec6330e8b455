package scripts

import (
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dop251/goja"

	"carillon/runtime"
)

func text(v any) string { return fmt.Sprint(v) }

func contextWithCancel(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

func TestWild(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"", "", true}, {"*", "", true}, {"*", "abc", true},
		{"light.*", "light.a", true}, {"light.*", "lights.a", false}, {"*.a", "light.a", true},
		{"*a*", "cab", true}, {"*a*b", "cabb", true}, {"*a*b", "bca", false}, {"a*a", "a", false}, {"a**a", "aa", true},
	} {
		if got := wild(c.pattern, c.s); got != c.want {
			t.Errorf("%q, %q: got %v, want %v", c.pattern, c.s, got, c.want)
		}
	}
}

func TestWatchdogInterruptsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := newWatchdog()
		go w.run(ctx, func() {})
		defer cancel()
		hit := make(chan time.Time, 1)
		l := &lease{interrupt: func(error) { hit <- time.Now() }, clear: func() {}}
		w.add(l)
		w.begin(l, 100*time.Millisecond)
		began := time.Now()
		if took := (<-hit).Sub(began); took < 100*time.Millisecond || took > 100*time.Millisecond+2*watchdogTick {
			t.Errorf("got interrupted after %v, want 100 to 140 ms", took)
		}
		l.end()
		w.begin(l, 100*time.Millisecond)
		l.end()
		select {
		case <-hit:
			t.Error("got interrupted after the end of the run")
		case <-time.After(time.Second):
		}
	})
}

// An idle watchdog wakes nobody, and still keeps the time of what begins then.
func TestWatchdogSleepsWhileNothingRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := newWatchdog()
		var ticks atomic.Int64
		go w.run(ctx, func() { ticks.Add(1) })
		hit := make(chan time.Time, 1)
		l := &lease{interrupt: func(error) { hit <- time.Now() }, clear: func() {}}
		w.add(l)
		for range 3 {
			time.Sleep(time.Minute)
			if n := ticks.Swap(0); n > int64(sleepAfter)+60 {
				t.Errorf("got %d ticks in an idle minute, want about %d", n, sleepAfter)
			}
			w.begin(l, 100*time.Millisecond)
			began := time.Now()
			if took := (<-hit).Sub(began); took < 100*time.Millisecond || took > 100*time.Millisecond+2*watchdogTick {
				t.Errorf("got interrupted after %v, want 100 to 140 ms", took)
			}
			l.end()
		}
	})
}

// An interrupt never hits the run behind the one that it was meant for.
func TestNoStaleInterrupts(t *testing.T) {
	vm := goja.New()
	l := &lease{interrupt: func(err error) { vm.Interrupt(err) }, clear: vm.ClearInterrupt}
	w := newWatchdog()
	var current atomic.Int64
	stop := make(chan struct{})
	var stopper sync.WaitGroup
	stopper.Go(func() {
		for !closed(stop) {
			l.stop(errTooLong)
		}
	})
	hits := 0
	for i := range 3000 {
		current.Store(int64(i))
		w.begin(l, time.Hour)
		_, err := vm.RunString("for (let i = 0; i < 50; i++) { i; }")
		l.end()
		if err != nil {
			hits++
		}
		// Between two runs nothing may be interrupted.
		if _, err := vm.RunString("1"); err != nil {
			t.Fatalf("run %d: an interrupt was left behind: %v", i, err)
		}
	}
	close(stop)
	stopper.Wait()
	// One that comes when the run has done its work, but not ended.
	w.begin(l, time.Hour)
	l.stop(errTooLong)
	l.end()
	if _, err := vm.RunString("1"); err != nil {
		t.Errorf("an interrupt was left behind: %v", err)
	}
	if hits == 0 {
		t.Error("no run was interrupted: the test shows nothing")
	}
}

// A run does not end while somebody is about to interrupt it.
func TestEndWaitsForTheInterrupt(t *testing.T) {
	begun, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var order []string
	l := &lease{
		interrupt: func(error) { close(begun); <-goOn; order = append(order, "interrupt") },
		clear:     func() { order = append(order, "clear") },
	}
	newWatchdog().begin(l, time.Hour)
	go l.stop(errTooLong)
	<-begun
	go func() { l.end(); close(ended) }()
	for range 1000 {
		goruntime.Gosched()
	}
	close(goOn)
	<-ended
	if text(order) != "[interrupt clear]" {
		t.Errorf("got %v, want interrupt, then clear", order)
	}
}

// A reload that is refused in the end lets the old version go on, with the
// timers that came due meanwhile.
func TestTimersOutliveAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGeneration(t.Context(), &Host{}, "a.js", 1, manifest{})
		g.host.init()
		g.newVM()
		g.lease.interrupt, g.lease.clear = func(error) {}, func() {}
		g.loading = false
		fired := 0
		g.vm.Set("fired", func() { fired++ })
		if _, err := g.vm.RunString("after(10, fired)"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // in the bubble's time
		g.box.pause()
		if g.step() || fired != 0 {
			t.Fatalf("while paused: got fired %d times, want 0", fired)
		}
		g.box.resume()
		if !g.step() || fired != 1 {
			t.Errorf("after the pause: got fired %d times, want once", fired)
		}
		if g.step() || fired != 1 {
			t.Errorf("later: got fired %d times, want once", fired)
		}
	})
}

func TestTimersKeepTheirBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGeneration(t.Context(), &Host{}, "a.js", 1, manifest{})
		g.newVM()
		var seen []string
		g.vm.Set("note", func(s string) { seen = append(seen, s) })
		start := time.Now()
		at := func() time.Duration { return time.Since(start) }
		g.run2(t, `every('1s', () => note('a')); after(1500, () => note('b')); every('700ms', () => note('c'))();`)
		step := func(d time.Duration, want ...string) {
			t.Helper()
			time.Sleep(d - at()) // in the bubble's time
			seen = nil
			for tm := g.timers.due(time.Now()); tm != nil; tm = g.timers.due(time.Now()) {
				tm.handler.fn(goja.Undefined())
			}
			if text(seen) != text(want) {
				t.Errorf("at %v: got %v, want %v", d, seen, want)
			}
		}
		step(999 * time.Millisecond)
		step(time.Second, "a")
		step(1600*time.Millisecond, "b")
		step(4500*time.Millisecond, "a") // three are due; those that were missed are left out
		step(4999 * time.Millisecond)
		step(5*time.Second, "a")
		if got := g.timers.wait(time.Now()); got != time.Second {
			t.Errorf("wait: got %v, want 1s", got)
		}
	})
}

// run2 runs source on a generation that no host runs.
func (g *generation) run2(t *testing.T, source string) {
	t.Helper()
	if _, err := g.vm.RunString(source); err != nil {
		t.Fatal(err)
	}
}

func TestLimiter(t *testing.T) {
	l := limiter{burst: 2, every: time.Second}
	now := time.Unix(1000, 0)
	var got []string
	for _, wait := range []time.Duration{0, 0, 0, 0, time.Second, 0, 10 * time.Second, 0, 0} {
		now = now.Add(wait)
		ok, refused := l.allow(now)
		got = append(got, fmt.Sprint(ok, refused))
	}
	want := "[true 0 true 0 false 0 false 0 true 2 false 0 true 1 true 0 false 0]"
	if text(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestMailbox(t *testing.T) {
	b := newMailbox()
	event := func(seq uint64) job { return job{event: &runtime.Event{Seq: seq}} }
	for i := range mailboxDepth {
		if err := b.put(event(uint64(i + 1))); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		if err := b.put(event(uint64(mailboxDepth + i + 1))); !errors.Is(err, errMailFull) {
			t.Errorf("put into a full mailbox: got %v, want %v", err, errMailFull)
		}
	}
	if err := b.put(job{resume: func() {}}); err != nil {
		t.Errorf("the end of a call: got %v, want that it always finds room", err)
	}
	if got, want := b.missed(), (gap{mailboxDepth + 1, mailboxDepth + 3, 3}); got != want {
		t.Errorf("missed: got %v, want %v", got, want)
	}
	if got := b.missed(); got != (gap{}) {
		t.Errorf("missed again: got %v, want nothing", got)
	}
	j, ok := b.take()
	if !ok || j.event.Seq != 1 {
		t.Errorf("take: got %v %v, want event 1", j, ok)
	}
	rested := b.pause()
	if _, ok := b.take(); ok || b.enter() || closed(rested) {
		t.Error("paused: got something to do, want nothing, and one job under way")
	}
	b.leave()
	if !closed(rested) {
		t.Error("paused: got not told that the job is done")
	}
	if b.pause() != nil {
		t.Error("paused again: got a wait, want none")
	}
	b.resume()
	if j, ok := b.take(); !ok || j.event.Seq != 2 {
		t.Errorf("resumed: got %v %v, want event 2", j, ok)
	}
	if got := len(b.close()); got != mailboxDepth-1 {
		t.Errorf("close: got %d jobs left, want %d", got, mailboxDepth-1)
	}
	if err := b.put(event(1)); !errors.Is(err, errEnded) {
		t.Errorf("put after close: got %v, want %v", err, errEnded)
	}
}

func TestLogLines(t *testing.T) {
	b := newBench(t, "a.js", `
		log('plain', 1, true, null, undefined, {a: [1]}, new TypeError('bad'));
		log.debug('fine'); log.warn('careful'); log.error('broken'); console.log('console');
		log('x'.repeat(10000));
		for (let i = 0; i < 1000; i++) log('flood');
	`)
	log := b.logged()
	for _, want := range []string{
		`level=INFO msg="plain 1 true null undefined {\"a\":[1]} TypeError: bad" script=a.js@1`,
		`level=DEBUG msg=fine`, `level=WARN msg=careful`, `level=ERROR msg=broken`, `level=INFO msg=console`, `xxx…`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("log: got\n%.3000s\nwant %s in it", log, want)
		}
	}
	if n := strings.Count(log, "flood"); n < 100 || n > 300 {
		t.Errorf("lines of a flood of 1000: got %d, want about 200", n)
	}
	if n := strings.Count(log, "x"); n > maxLogLine+200 {
		t.Errorf("a line of 10,000 bytes: got %d of them, want at most %d", n, maxLogLine)
	}
}
