package worker

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"carillon/scripts/filter"
)

// TestMemoryKeptFromEventToEvent has one filter of several keep a little more
// with each event. It is found, and nobody else has to suffer: not even the
// process ends.
func TestMemoryKeptFromEventToEvent(t *testing.T) {
	skipUnderRace(t)
	for name, keep := range map[string]string{
		"a string":   "kept.push(('x' + e.seq).repeat(1e4))",
		"objects":    "for (let i = 0; i < 300; i++) kept.push({i, a: [e.seq]})",
		"a big list": "kept.push(new Array(1e5).fill(e.seq))",
		"events":     "kept.push(e.attributes, e.data, e.data.new_state, JSON.parse(JSON.stringify(e.data)))",
	} {
		t.Run(name, func(t *testing.T) {
			p := newTestPool(t, Options{Deadline: 5 * time.Second})
			var later atomic.Int64
			p.now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
			allocates := "e => { let s = ''; for (let i = 0; i < 20; i++) s += 'some text'; return s.length + e.seq }"
			filters := compileAll(t, p, "operator", "e => e.seq % 2", allocates, "const kept = []; export default e => { "+keep+"; return true }", "e => true", allocates)
			events := lights(1000)
			told := make([]int, len(filters))
			for round := 0; round < 400; round++ {
				err := p.Decide(context.Background(), "operator", events, filters, nil, func(f, _ int, o filter.Outcome) {
					if f != 2 && o.Err != "" {
						t.Fatalf("filter %d: got error %s, want none", f, o.Err)
					}
					told[f]++
				})
				if err != nil {
					t.Fatal(err)
				}
				if _, found := filters[2].Quarantined(); found {
					break
				}
			}
			for i, f := range filters {
				reason, jailed := f.Quarantined()
				if jailed != (i == 2) {
					t.Errorf("filter %d: got quarantine %v (%s), want %v", i, jailed, reason, i == 2)
				}
			}
			reason, _ := filters[2].Quarantined()
			t.Logf("%s: after %d events: %s; %d processes", name, told[2], reason, p.Stats().Started)
			if !strings.Contains(reason, "kept") || p.Stats().Started != 1 {
				t.Errorf("got %q and %d processes, want the amount that it kept and one process", reason, p.Stats().Started)
			}
			if told[1] != told[3] || told[0] != told[1]/2 {
				t.Errorf("decisions of the others: got %v", told)
			}
			later.Store(int64(quarantineFor))
			if got := answers(t, p, "operator", lights(1), filters[2:3], nil); len(got) != 1 || got[0] != "0:0=match" {
				t.Errorf("after the quarantine: got %v, want a match", got)
			}
		})
	}
}

// TestMemoryThatIsNotKept has filters that allocate much and keep nothing: they
// are left alone.
func TestMemoryThatIsNotKept(t *testing.T) {
	skipUnderRace(t)
	p := newTestPool(t, Options{Deadline: 5 * time.Second})
	filters := compileAll(t, p, "operator",
		"e => new Array(1e3).fill(e.seq).length === 1e3",
		"const table = Array.from({length: 1001}, (_, i) => i); export default e => table[e.seq] === e.seq",
		"e => 'x'.repeat(1e4).length === 1e4")
	events := lights(1000)
	count := 0
	err := p.Decide(context.Background(), "operator", events, filters, nil, func(f, e int, o filter.Outcome) {
		if !o.Match {
			t.Fatalf("filter %d, event %d: got %v, want a match", f, e, o)
		}
		count++
	})
	if err != nil || count != 3000 {
		t.Errorf("got %d matches and %v, want 3000", count, err)
	}
	if s := p.Stats(); s.Started != 1 || s.Quarantines != 0 {
		t.Errorf("got %+v, want one process and no quarantine", s)
	}
}

func TestManyFilters(t *testing.T) {
	skipUnderRace(t)
	p := newTestPool(t, Options{Memory: 16 << 20})
	var filters []*Filter
	for len(filters) < 3000 {
		f, err := p.Compile(context.Background(), "operator", "f", fmt.Sprintf("e => e.seq === %d", len(filters)), nil)
		if err != nil {
			if !strings.Contains(err.Error(), "no memory left") {
				t.Fatal(err)
			}
			break
		}
		filters = append(filters, f)
	}
	if len(filters) == 3000 {
		t.Error("got 3000 filters in 16 MiB, want a refusal before that")
	}
	if len(filters) < 300 {
		t.Errorf("got %d filters in 16 MiB, want 300 at least", len(filters))
	}
	got := answers(t, p, "operator", lights(200), filters, nil)
	if len(got) != 200 { // the filters 1 to 200 match an event each
		t.Errorf("got %d matches, want 200", len(got))
	}
	if s := p.Stats(); s.Started != 1 || s.Quarantines != 0 {
		t.Errorf("got %+v, want one process and no quarantine", s)
	}
	t.Logf("%d filters fit", len(filters))
}

// skipUnderRace skips a test of how much memory filters take, in a process that
// takes a multiple of it.
func skipUnderRace(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's memory counts too")
	}
}
