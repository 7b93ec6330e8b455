//go:build unix

package plugins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	sdk "carillon/plugins/adapter"
	"carillon/runtime"
)

func TestFollowIsWholeAndInOrder(t *testing.T) {
	a := newAudience(t, "types=tick")
	a.awaitFollow()
	a.fire(1, 3000)
	a.awaitTick(3000)
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
	a.awaitTick(all + 2000)
	checkNumbers(t, "", a.ticks())
	before := a.reads.Load()
	if before == 0 {
		t.Error("it has not read the journal")
	}
	a.fire(all+2001, all+2100)
	a.awaitTick(all + 2100)
	checkNumbers(t, "", a.ticks())
	if got := a.reads.Load(); got != before {
		t.Errorf("the journal was read %d times for the newest events", got-before)
	}
}

func TestFollowResumesOverRestart(t *testing.T) {
	a := newAudience(t, "types=tick resume=yes")
	a.awaitFollow()
	a.fire(1, 10)
	a.awaitTick(10)
	if err := a.host.Disable("ears"); err != nil {
		t.Fatal(err)
	}
	a.awaitState("ears", Disabled)
	a.fire(11, 20)
	if err := a.host.Enable("ears"); err != nil {
		t.Fatal(err)
	}
	a.awaitTick(20)
	checkNumbers(t, "", a.ticks())
}

// What is asked for happens for the first time while the adapter is away: by the mark
// at the beginning it knows where it began, and misses nothing.
func TestFollowOfWhatHasNotHappenedYet(t *testing.T) {
	a := newAudience(t, "types=tick marks resume=yes")
	a.await("a mark", func() bool { return len(a.heard()) > 0 })
	if err := a.host.Disable("ears"); err != nil {
		t.Fatal(err)
	}
	a.awaitState("ears", Disabled)
	a.fire(1, 3)
	if err := a.host.Enable("ears"); err != nil {
		t.Fatal(err)
	}
	a.awaitTick(3)
	checkNumbers(t, "", a.ticks())
}

// What was said of an adapter's entities while it was disabled is its own doing: it is not
// told that they are unavailable.
func TestOwnWhileDisabled(t *testing.T) {
	a := newAudience(t, "types=state_changed,tick snapshot resume=yes")
	a.awaitFollow()
	a.fire(1, 1)
	a.awaitTick(1)
	if err := a.host.Disable("ears"); err != nil {
		t.Fatal(err)
	}
	a.awaitShown("light.listener", runtime.Unavailable)
	if err := a.host.Enable("ears"); err != nil {
		t.Fatal(err)
	}
	a.awaitShown("light.listener", "listening")
	a.fire(2, 2)
	a.awaitTick(2)
	for _, one := range a.heard() {
		if one.EntityID == "light.listener" {
			t.Errorf("got %s of %s by %q, want nothing of its own", one.JSON, one.EntityID, one.Source)
		}
	}
}

// A follow is told where it is as events pass that it does not ask for.
func TestMarks(t *testing.T) {
	a := newAudience(t, "types=doorbell marks")
	a.await("a mark", func() bool { return len(a.heard()) > 0 })
	a.fire(1, markEvery)
	a.await("another mark", func() bool { return len(a.heard()) > 1 })
	if _, err := a.rt.Fire(t.Context(), runtime.NewEvent{Type: "doorbell", Source: "api"}); err != nil {
		t.Fatal(err)
	}
	a.await("the doorbell", func() bool { all := a.heard(); return all[len(all)-1].Type == "doorbell" })
	all := a.heard()
	if len(all) != 3 || !all[0].Mark || !all[1].Mark || all[2].Mark || all[2].ID == "" {
		t.Fatalf("got %+v, want two marks and the doorbell", all)
	}
	from, err := parsePlace(all[0].ID)
	to, err2 := parsePlace(all[1].ID)
	if err != nil || err2 != nil || to.seq < from.seq+markEvery {
		t.Errorf("got marks %q and %q (%v, %v), want them %d apart at least", all[0].ID, all[1].ID, err, err2, markEvery)
	}
	if got := a.status("ears").Counters.Followed; got != 1 {
		t.Errorf("got %d events that were followed, want 1: marks are none", got)
	}
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
			a.awaitTick(100)
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

// A publisher of states has the present ones of all entities first and then every
// change, and nothing twice, whatever happens meanwhile.
func TestSnapshotThenChanges(t *testing.T) {
	a := newAudience(t, "types=none")
	const entities, rounds = 50, 60
	set := func(round int) {
		changes := make([]runtime.Change, entities)
		for i := range changes {
			changes[i] = runtime.Change{EntityID: fmt.Sprintf("sensor.s%d", i), State: fmt.Sprint(round), Source: "api"}
		}
		if _, err := a.rt.Set(t.Context(), changes...); err != nil {
			t.Fatal(err)
		}
	}
	set(0)
	a.put("ears", "listen snapshot domains=sensor,light")
	for round := 1; round <= rounds || len(a.heard()) == 0; round++ {
		set(round)
	}
	set(1 << 20)
	last := map[string]int{}
	a.await("the last is heard", func() bool {
		all := a.heard()
		return len(all) > 0 && strings.Contains(string(all[len(all)-1].JSON), "1048576")
	})
	presents := 0
	for i, one := range a.heard() {
		var e struct {
			Data struct {
				Old, New *struct{ State string }
			}
		}
		text := strings.NewReplacer("old_state", "old", "new_state", "new").Replace(string(one.JSON))
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			t.Fatal(err)
		}
		now, _ := strconv.Atoi(e.Data.New.State)
		before, known := last[one.EntityID]
		switch {
		case one.EntityID == "light.listener":
			t.Errorf("it hears of its own entity: %s", one.JSON)
		case one.Present && (known || e.Data.Old != nil || presents != i):
			t.Fatalf("happening %d: got a present state again, or behind changes: %s", i, one.JSON)
		case !one.Present && (!known || e.Data.Old == nil || e.Data.Old.State != fmt.Sprint(before)):
			t.Fatalf("happening %d: a change is missing or told twice: %s, and it was %d (%v)", i, one.JSON, before, known)
		}
		if one.Present {
			presents++
		}
		last[one.EntityID] = now
	}
	if presents != entities || len(last) != entities {
		t.Errorf("got %d present states and %d entities, want %d", presents, len(last), entities)
	}
}

func TestFollowSelects(t *testing.T) {
	for _, test := range []struct {
		words string
		want  []string
	}{
		{"domains=switch", []string{"switch.hall", "switch.attic"}},
		{"types=state_* entities=*.hall", []string{"switch.hall", "sensor.hall"}},
		{"types=state_changed domains=sensor entities=*.hall,*.attic", []string{"sensor.hall"}},
		{"types=state_changed entities=light.*,switch.a*", []string{"switch.attic"}},
		{"own types=state_changed entities=light.*,switch.a*", []string{"light.listener", "switch.attic"}},
		{"types=button,other", []string{""}},
	} {
		t.Run(test.words, func(t *testing.T) {
			a := newAudience(t, "types=none")
			for _, id := range []string{"switch.hall", "sensor.hall", "switch.attic"} {
				if _, err := a.rt.Set(t.Context(), runtime.Change{EntityID: id, State: "on", Source: "api"}); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := a.rt.Fire(t.Context(), runtime.NewEvent{Type: "button", Source: "api"}); err != nil {
				t.Fatal(err)
			}
			a.put("ears", "listen after=epoch1-0 "+test.words)
			a.await("it is swapped", func() bool { return a.status("ears").Generation == 2 })
			a.awaitFollow()
			slices.Sort(test.want)
			var got []string
			a.await("what it asks for is heard", func() bool {
				got = got[:0]
				for _, one := range a.heard() {
					got = append(got, one.EntityID)
				}
				slices.Sort(got)
				return len(slices.Compact(slices.Clone(got))) >= len(test.want)
			})
			if got = slices.Compact(got); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// The server starts anew: with it the runtime and the host, over the same journal.
func TestFollowResumesOverRestartOfTheServer(t *testing.T) {
	a := newAudience(t, "types=tick resume=yes")
	a.awaitFollow()
	a.fire(1, 10)
	a.awaitTick(10)
	a.stop()
	a.fire(11, 20)
	rt, err := runtime.Open(t.Context(), &a.journal, runtime.Options{Log: a.host.Log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rt.Close() })
	a.rt = rt
	a.host = &Host{Dir: a.host.Dir, DataDir: a.host.DataDir, Log: a.host.Log, Quiet: a.host.Quiet, times: impatient,
		Runtime: rt, Epoch: "epoch1", First: a.first.Load, Replay: a.replay(a.bench)}
	a.start()
	a.awaitFollow()
	a.fire(21, 30)
	a.awaitTick(30)
	checkNumbers(t, "", a.ticks())
}

// A journal that can't be read for a while, and lets go of events as it is read.
func TestFollowJournalInTrouble(t *testing.T) {
	wait := filepath.Join(t.TempDir(), "wait")
	if err := os.WriteFile(wait, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a := newAudience(t, "types=none")
	a.fire(1, 2*feedEvents)
	from := a.find("tick")[0].Seq
	sound := a.host.Replay
	var tries, read atomic.Int64
	a.host.Replay = nil // set again below, before anybody reads
	a.stop()
	a.host = &Host{Dir: a.host.Dir, DataDir: a.host.DataDir, Log: a.host.Log, Quiet: a.host.Quiet, times: impatient,
		Runtime: a.rt, Epoch: "epoch1", First: a.first.Load,
		Replay: func(ctx context.Context, after uint64, fn func(*runtime.Event) bool) error {
			if tries.Add(1) < 5 {
				return errors.New("the disk is slow")
			}
			return sound(ctx, after, func(e *runtime.Event) bool {
				if read.Add(1) == 3000 { // retention was faster
					a.first.Store(e.Seq + 500)
				}
				if e.Seq >= a.first.Load() {
					return fn(e)
				}
				return true
			})
		}}
	a.put("ears", fmt.Sprintf("listen types=tick after=epoch1-%d", from-1))
	a.start()
	a.awaitFollow()
	a.fire(2*feedEvents+1, 2*feedEvents+10)
	a.awaitTick(2*feedEvents + 10)
	got := a.ticks()
	i := slices.Index(got, -1)
	if i < 2000 || got[i-1] != i || got[i+1] != i+501 {
		t.Fatalf("got the gap behind %d events, from %d to %d", i, got[max(i-1, 0)], got[i+1])
	}
	gap := a.heard()[i].Gap
	if gap.Reason != sdk.GapAgedOut || gap.From != from+uint64(i) || gap.To != gap.From+499 {
		t.Errorf("got %+v", gap)
	}
	for j, n := range got[i+1:] {
		if n != i+501+j {
			t.Fatalf("behind the gap: got %d at place %d", n, j)
		}
	}
	if a.status("ears").Counters.FollowGaps != 1 {
		t.Errorf("got %d gaps counted, want 1", a.status("ears").Counters.FollowGaps)
	}
}
