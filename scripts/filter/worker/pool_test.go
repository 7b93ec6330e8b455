package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carillon/scripts/filter"
)

// eventually waits until ok, at most a minute.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come to pass that %s", what)
		}
	}
}

const endless = "e => { if (e.seq === 5) for (;;); return true }"

func TestTheSameFilterIsOne(t *testing.T) {
	p := newTestPool(t, Options{})
	ctx := context.Background()
	compile := func(domain, source string, params map[string]any) *Filter {
		f, err := p.Compile(ctx, domain, "f", source, params)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	a := compile("x", "e => true", map[string]any{"a": 1.0, "b": "c"})
	if b := compile("x", "e => true", map[string]any{"b": "c", "a": 1.0}); b != a {
		t.Errorf("the same again: got another filter")
	}
	for _, other := range []*Filter{compile("y", "e => true", map[string]any{"a": 1.0, "b": "c"}), compile("x", "e => true", nil), compile("x", "e => false", map[string]any{"a": 1.0, "b": "c"})} {
		if other == a {
			t.Errorf("another domain, source or parameters: got the same filter")
		}
		other.Release()
	}
	a.Release()
	if n := p.Stats().Filters; n != 1 {
		t.Errorf("after one of two releases: got %d filters, want 1", n)
	}
	a.Release()
	if n := p.Stats().Filters; n != 0 {
		t.Errorf("after the last release: got %d filters, want 0", n)
	}
	if err := p.Decide(ctx, "y", lights(1), []*Filter{a}, nil, nil); err == nil {
		t.Error("a filter of another domain: got no error, want one")
	}
}

func TestWants(t *testing.T) {
	p := newTestPool(t, Options{})
	filters := compileAll(t, p, "operator", "e => true", "e => { throw 'no' }", "e => ({})", endless)
	events := lights(600)
	wants := func(f, e int) bool { return e%(f+2) == 0 && f != 3 }
	var want []string
	for e := range events {
		for f, what := range []string{"match", "no", "{}"} {
			if wants(f, e) {
				want = append(want, fmt.Sprintf("%d:%d=%s", f, e, what))
			}
		}
	}
	if got := answers(t, p, "operator", events, filters, wants); !slices.Equal(got, want) {
		t.Errorf("got %d answers, %v…, want %d", len(got), got[:min(9, len(got))], len(want))
	}
	if s := p.Stats(); s.Decisions != uint64(len(want)) {
		t.Errorf("decisions: got %d, want %d", s.Decisions, len(want))
	}
}

// TestQuarantineEnds lets ten minutes go by on the pool's clock.
func TestQuarantineEnds(t *testing.T) {
	p := newTestPool(t, Options{})
	var later atomic.Int64
	p.now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	filters := compileAll(t, p, "operator", endless, "e => e.seq === 3")
	answers(t, p, "operator", lights(10), filters, nil)
	if _, yes := filters[0].Quarantined(); !yes {
		t.Fatal("got no quarantine, want one")
	}
	if _, err := p.Compile(context.Background(), "operator", "f", endless, nil); err == nil {
		t.Error("the same source again: got no error, want one")
	}
	if f, err := p.Compile(context.Background(), "operator", "f", strings.Replace(endless, "5", "6", 1), nil); err != nil {
		t.Errorf("another source: got %v, want a filter", err)
	} else if _, yes := f.Quarantined(); yes {
		t.Error("another source: got a quarantine, want none")
	}
	if f, err := p.Compile(context.Background(), "somebody", "f", endless, nil); err != nil {
		t.Errorf("another domain: got %v, want a filter", err)
	} else {
		f.Release()
	}
	got := answers(t, p, "operator", lights(2), filters, nil)
	if len(got) != 2 || !strings.Contains(got[0], "quarantine until") {
		t.Errorf("in quarantine: got %v, want two errors that say so", got)
	}
	later.Store(int64(quarantineFor))
	if _, yes := filters[0].Quarantined(); yes {
		t.Error("ten minutes later: got a quarantine, want none")
	}
	if got := answers(t, p, "operator", lights(3), filters, nil); fmt.Sprint(got) != "[0:0=match 0:1=match 0:2=match 1:2=match]" {
		t.Errorf("ten minutes later: got %v, want decisions", got)
	}
}

func TestAnIdleWorkerEnds(t *testing.T) {
	p := newTestPool(t, Options{})
	p.idle = 20 * time.Millisecond
	filters := compileAll(t, p, "operator", "e => true")
	eventually(t, "the worker ends", func() bool { return p.Stats().Processes == 0 })
	if got := answers(t, p, "operator", lights(2), filters, nil); len(got) != 2 {
		t.Errorf("afterwards: got %v, want two matches", got)
	}
	filters[0].Release()
	eventually(t, "the domain is forgotten", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.lanes) == 0
	})
	if got := p.Stats(); got.Processes != 0 || got.Started < 2 {
		t.Errorf("got %+v, want no process and two that were", got)
	}
}

// TestMoreDomainsThanProcesses has domains take turns with two processes.
func TestMoreDomainsThanProcesses(t *testing.T) {
	p := newTestPool(t, Options{Processes: 2})
	var all sync.WaitGroup
	for d := range 5 {
		all.Go(func() {
			domain := fmt.Sprint(d)
			f, err := p.Compile(context.Background(), domain, "f", "e => e.seq % 2", nil)
			if err != nil {
				t.Error(err)
				return
			}
			for range 5 {
				n := 0
				err := p.Decide(context.Background(), domain, lights(100), []*Filter{f}, nil, func(int, int, filter.Outcome) { n++ })
				if n != 50 || err != nil {
					t.Errorf("domain %s: got %d matches and %v, want 50", domain, n, err)
				}
				if s := p.Stats(); s.Processes > 2 {
					t.Errorf("got %d processes, want at most 2", s.Processes)
				}
			}
		})
	}
	all.Wait()
}

// TestManyAtOnce has several callers use one domain, one of whose filters is
// hostile.
func TestManyAtOnce(t *testing.T) {
	p := newTestPool(t, Options{})
	filters := compileAll(t, p, "operator", "e => e.seq % 2", endless, "e => ({a: e.seq})")
	events := lights(500)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			count, last := [3]int{}, -1
			err := p.Decide(context.Background(), "operator", events, filters, nil, func(f, e int, o filter.Outcome) {
				if place := e*3 + f; place <= last {
					t.Errorf("event %d, filter %d came after %d, %d", e, f, last/3, last%3)
				} else {
					last = place
				}
				count[f]++
			})
			if err != nil || count != [3]int{250, 500, 500} {
				t.Errorf("got %v and %v, want 250, 500 and 500", count, err)
			}
		})
	}
	for i := range 20 {
		f := compileAll(t, p, "operator", fmt.Sprintf("e => e.seq === %d", i))[0]
		f.Release()
	}
	all.Wait()
	if s := p.Stats(); s.Quarantines != 1 {
		t.Errorf("got %+v, want one quarantine", s)
	}
}

func TestEndedCalls(t *testing.T) {
	p := newTestPool(t, Options{Deadline: 10 * time.Second})
	slow := compileAll(t, p, "operator", "e => { for (let i = 0; i < 3000; i++); return true }")
	ctx, cancel := context.WithCancel(context.Background())
	told := 0
	err := p.Decide(ctx, "operator", lights(20_000), slow, nil, func(int, int, filter.Outcome) {
		if told++; told == 10 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || told > 2000 {
		t.Errorf("a cancelled call: got %v after %d events, want %v soon", err, told, context.Canceled)
	}
	if got := answers(t, p, "operator", lights(2), slow, nil); len(got) != 2 {
		t.Errorf("the next call: got %v, want two matches", got)
	}
	closed := make(chan struct{})
	told = 0
	err = p.Decide(context.Background(), "operator", lights(20_000), slow, nil, func(int, int, filter.Outcome) {
		if told++; told == 10 {
			go func() { p.Close(); close(closed) }()
		}
	})
	if !errors.Is(err, ErrClosed) {
		t.Errorf("a call while the pool is closed: got %v, want %v", err, ErrClosed)
	}
	<-closed
	if _, err := p.Compile(context.Background(), "operator", "f", "e => 1", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Compile of a closed pool: got %v, want %v", err, ErrClosed)
	}
	if s := p.Stats(); s.Processes != 0 {
		t.Errorf("got %+v, want no process", s)
	}
}

// TestKillers has new filters end the process again and again: the domain has
// to wait, the filters that it has go on.
func TestKillers(t *testing.T) {
	p := newTestPool(t, Options{})
	var later atomic.Int64
	p.now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	good := compileAll(t, p, "operator", "e => true")
	refused := 0
	for i := range 12 {
		_, err := p.Compile(context.Background(), "operator", "f", fmt.Sprintf("'x'.repeat(2 ** 40 + %d); export default e => true", i), nil)
		if _, ours := asRefusal(err); err != nil && !ours {
			refused++
		}
	}
	if refused != 12-deathsToRefuse {
		t.Errorf("got %d refusals, want %d", refused, 12-deathsToRefuse)
	}
	if got := answers(t, p, "operator", lights(2), good, nil); len(got) != 2 {
		t.Errorf("the other filter: got %v, want two matches", got)
	}
	if got, most := p.Stats().Started, uint64(deathsToRefuse+1); got > most {
		t.Errorf("got %d processes, want at most %d", got, most)
	}
	later.Store(int64(deathsWithin + time.Second))
	if _, err := p.Compile(context.Background(), "operator", "f", "e => false", nil); err != nil {
		t.Errorf("a minute later: got %v, want a filter", err)
	}
}

func TestNoWorker(t *testing.T) {
	for name, command := range map[string][]string{
		"none":   {"/nonexistent/carillon"},
		"silent": {os.Args[0], "-test.run=^$"},
	} {
		p := NewPool(Options{Command: command})
		if _, err := p.Compile(context.Background(), "operator", "f", "e => true", nil); err == nil || !strings.Contains(err.Error(), "starting a filter worker") {
			t.Errorf("%s: got %v, want an error that says what could not be started", name, err)
		}
		p.Close()
	}
	p := NewPool(Options{})
	defer p.Close()
	if _, err := p.Compile(context.Background(), "operator", "f", "e => true", nil); err == nil || !strings.Contains(err.Error(), "Options.Command") {
		t.Errorf("a test's binary: got %v, want an error", err)
	}
}

// TestWithoutAPage runs attacks as on systems where worker and pool share no
// memory.
func TestWithoutAPage(t *testing.T) {
	for _, attack := range attacks {
		switch attack.name {
		case "loop", "repeat", "fill", "map recursion", "deep JSON":
			t.Run(attack.name, func(t *testing.T) {
				p := newTestPool(t, Options{Deadline: 200 * time.Millisecond})
				p.noPage = true
				testAttack(t, p, "e => e.seq === 20 ? "+attack.source+" : true", attack.survives)
			})
		}
	}
}

// TestSlowFilters has one filter take a long time for each event, and none so
// long that it is ended for one.
func TestSlowFilters(t *testing.T) {
	p := newTestPool(t, Options{Deadline: 100 * time.Millisecond})
	filters := compileAll(t, p, "operator", "e => { for (let i = 0; i < 1e5; i++); return true }", "e => { for (let i = 0; i < 100; i++); return true }")
	answers(t, p, "operator", lights(2000), filters, nil)
	if _, yes := filters[0].Quarantined(); !yes {
		t.Error("the slow one: got no quarantine, want one")
	}
	if reason, yes := filters[1].Quarantined(); yes {
		t.Errorf("the other one: got a quarantine (%s), want none", reason)
	}
}

func TestBudget(t *testing.T) {
	const deadline = 50 * time.Millisecond
	var b budget
	for i := range 1000 {
		b.decided += 5 // 1 ms each is what is given back
		if b.charge(5*time.Millisecond, deadline) {
			t.Fatalf("1 ms for each event: got over the budget after %d charges", i)
		}
	}
	b = budget{}
	charges := 0
	for !b.charge(5*time.Millisecond, deadline) {
		charges++
	}
	if charges != 9 {
		t.Errorf("no event decided: got over the budget after %d charges of 5 ms, want 9", charges)
	}
	b = budget{decided: 1 << 40}
	if !b.charge(deadline, deadline) {
		t.Error("many events before: got a budget beyond the deadline")
	}
}
