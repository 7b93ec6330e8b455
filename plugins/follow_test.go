//go:build unix

package plugins

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	sdk "carillon/plugins/adapter"
	"carillon/runtime"
)

// An audience is a bench whose adapters can follow; the journal lets go of what is
// before first.
type audience struct {
	*bench
	first atomic.Uint64
	reads atomic.Int64
}

func newAudience(t testing.TB, words string) *audience {
	a := &audience{}
	a.first.Store(1)
	a.bench = newBench(t, func(b *bench) {
		b.host.Epoch = "epoch1"
		b.host.First = a.first.Load
		b.host.Replay = a.replay(b)
	}, "ears", "listen "+words)
	a.awaitShown("light.listener", "listening")
	return a
}

func (a *audience) replay(b *bench) func(context.Context, uint64, func(*runtime.Event) bool) error {
	return func(ctx context.Context, after uint64, fn func(*runtime.Event) bool) error {
		a.reads.Add(1)
		return b.journal.Read(ctx, max(after, a.first.Load()-1), fn)
	}
}

func (a *audience) file() string { return filepath.Join(a.host.workDir("ears"), "heard") }

func (a *audience) heard() []heard { return readHeard(a.file()) }

// fire fires numbered events.
func (a *audience) fire(from, to int) {
	a.t.Helper()
	var events []runtime.NewEvent
	for n := from; n <= to; n++ {
		events = append(events, runtime.NewEvent{Type: "tick", Data: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n)), Source: "api"})
	}
	for part := range slices.Chunk(events, 500) {
		if _, err := a.rt.Fire(a.t.Context(), part...); err != nil {
			a.t.Fatal(err)
		}
	}
}

// ticks returns the numbers of the ticks that were heard, and -1 for a gap.
func (a *audience) ticks() (numbers []int) {
	for _, one := range a.heard() {
		var e struct {
			Data struct {
				N int `json:"n"`
			} `json:"data"`
		}
		switch {
		case one.Gap != nil:
			numbers = append(numbers, -1)
		case one.Type == "tick" && json.Unmarshal(one.JSON, &e) == nil:
			numbers = append(numbers, e.Data.N)
		}
	}
	return numbers
}

// awaitFollow waits until the adapter has a follow that has heard of the newest event.
func (a *audience) awaitFollow() {
	a.t.Helper()
	a.await("it follows", func() bool { s := a.status("ears"); return s.Follows == 1 && s.FollowLag == 0 })
}

func TestFollowIsWholeAndInOrder(t *testing.T) {
	a := newAudience(t, "types=tick")
	a.awaitFollow()
	a.fire(1, 3000)
	a.await("all is heard", func() bool { return len(a.ticks()) >= 3000 })
	checkNumbers(t, "", a.ticks())
	first := a.heard()[0]
	e := a.find("tick")[0]
	if first.ID != fmt.Sprintf("epoch1-%d", e.Seq) || first.Source != "api" || !first.Time.Equal(e.Time) || string(first.JSON) != string(e.JSON) {
		t.Errorf("got %+v\nwant %+v", first, e)
	}
	if got := a.status("ears"); got.Counters.Followed != 3000 || got.Counters.FollowGaps != 0 {
		t.Errorf("got %+v, want 3000 followed, no gaps", got.Counters)
	}
}

// A follower that stalls while more happens than anything holds for it reads the
// journal, and comes back to the newest events.
func TestFollowerThatStalls(t *testing.T) {
	wait := filepath.Join(t.TempDir(), "wait")
	if err := os.WriteFile(wait, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a := newAudience(t, "types=tick wait="+wait)
	a.awaitFollow()
	const all = 3 * feedEvents
	a.fire(1, all)
	if st := a.status("ears"); st.FollowLag < feedEvents {
		t.Errorf("got a lag of %d, want more than the feed holds: it waits", st.FollowLag)
	}
	if st := a.status("ears"); st.Counters.Followed > 1024+messageEvents {
		t.Errorf("it was told %d events, and there was credit for 1024", st.Counters.Followed)
	}
	if err := os.Remove(wait); err != nil {
		t.Fatal(err)
	}
	a.fire(all+1, all+2000) // while it catches up
	a.await("all is heard", func() bool { return len(a.ticks()) >= all+2000 })
	checkNumbers(t, "", a.ticks())
	before := a.reads.Load()
	if before == 0 {
		t.Error("it has not read the journal")
	}
	a.fire(all+2001, all+2100)
	a.await("the newest are heard", func() bool { return len(a.ticks()) >= all+2100 })
	checkNumbers(t, "", a.ticks())
	if got := a.reads.Load(); got != before {
		t.Errorf("the journal was read %d times for the newest events", got-before)
	}
}

func TestFollowResumesOverRestart(t *testing.T) {
	a := newAudience(t, "types=tick resume=yes")
	a.awaitFollow()
	a.fire(1, 10)
	a.await("they are heard", func() bool { return len(a.ticks()) >= 10 })
	if err := a.host.Disable("ears"); err != nil {
		t.Fatal(err)
	}
	a.awaitState("ears", Disabled)
	a.fire(11, 20)
	if err := a.host.Enable("ears"); err != nil {
		t.Fatal(err)
	}
	a.await("the others are heard", func() bool { return len(a.ticks()) >= 20 })
	checkNumbers(t, "", a.ticks())
}

// Where the journal can't go on, the gap is told, and behind it the present.
func TestFollowGaps(t *testing.T) {
	for _, test := range []struct {
		words string
		first uint64
		want  sdk.Gap // To 0: the head
	}{
		{"after=epoch0-5", 1, sdk.Gap{Reason: sdk.GapEpoch}},
		{"after=epoch1-99999999", 1, sdk.Gap{Reason: sdk.GapAhead}},
		{"after=epoch1-3", 7, sdk.Gap{From: 4, To: 6, Reason: sdk.GapAgedOut}},
		{"snapshot after=epoch1-3", 7, sdk.Gap{From: 4, Reason: sdk.GapAgedOut}},
		{"snapshot after=epoch0-5", 1, sdk.Gap{Reason: sdk.GapEpoch}},
	} {
		t.Run(test.words, func(t *testing.T) {
			a := newAudience(t, "types=state_changed")
			for _, id := range []string{"switch.a", "switch.b"} {
				if _, err := a.rt.Set(t.Context(), runtime.Change{EntityID: id, State: "on", Source: "api"}); err != nil {
					t.Fatal(err)
				}
			}
			a.fire(1, 20)
			if err := os.Remove(a.file()); err != nil {
				t.Fatal(err)
			}
			a.first.Store(test.first)
			a.put("ears", "listen types=tick,state_changed "+test.words)
			a.await("a gap is told", func() bool { return len(a.heard()) > 0 })
			a.awaitFollow()
			a.fire(100, 100)
			a.await("it goes on", func() bool { n := a.ticks(); return n[len(n)-1] == 100 })
			all := a.heard()
			gap := all[0]
			if gap.Gap == nil || gap.Gap.Reason != test.want.Reason || gap.Gap.From != test.want.From || test.want.To != 0 && gap.Gap.To != test.want.To {
				t.Fatalf("got %+v, want the gap %+v first", gap, test.want)
			}
			snapshot := strings.HasPrefix(test.words, "snapshot")
			if id := fmt.Sprintf("epoch1-%d", gap.Gap.To); gap.ID != id && !snapshot || gap.ID != "" && snapshot {
				t.Errorf("the gap's id is %q: it ends at %d, snapshot: %v", gap.ID, gap.Gap.To, snapshot)
			}
			if snapshot {
				checkSnapshot(t, all[1:], "switch.a", "switch.b")
			}
		})
	}
}

// checkSnapshot checks that present states come first: those of entities, and no
// others.
func checkSnapshot(t *testing.T, all []heard, entities ...string) {
	t.Helper()
	for i, id := range entities {
		if i >= len(all) {
			t.Fatalf("got %d happenings, want present states of %v", len(all), entities)
		}
		one := all[i]
		if !one.Present || one.EntityID != id || one.Type != runtime.StateChanged || !strings.Contains(string(one.JSON), `"old_state":null,"new_state":{"entity_id":"`+id) {
			t.Errorf("happening %d: got %+v %s, want the present state of %s", i, one.Happening, one.JSON, id)
		}
		if last := i == len(entities)-1; (one.ID != "") != last {
			t.Errorf("happening %d: got the id %q; the last has one, and no other", i, one.ID)
		}
	}
	if len(all) > len(entities) && all[len(entities)].Present {
		t.Errorf("got one more present state: %+v", all[len(entities)].Happening)
	}
}
