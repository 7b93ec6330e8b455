package runtimetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"carillon/runtime"
)

// TestJournal checks that an empty journal keeps the contract of
// runtime.Journal, as far as it can be seen from outside.
func TestJournal(t *testing.T, j runtime.Journal) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if first, last := j.Bounds(); last != 0 || first == 0 {
		t.Errorf("bounds of an empty journal: got %d..%d, want 1..0", first, last)
	}
	testTail(ctx, t, j)
	testStates(ctx, t, j)
}

// testTail has writers append side by side under a tail. They start when it
// handed over a first event: only what is appended since it stands is owed to
// it as the pointers that were appended.
func testTail(ctx context.Context, t *testing.T, j runtime.Journal) {
	const writers, each, n = 8, 50, 1 + 8*50 // with the first
	var mu sync.Mutex
	appended := map[uint64]*runtime.Event{}
	var writing sync.WaitGroup
	write := func(name string) {
		var before uint64
		for i := range each {
			e := event(name, i)
			last := appendAndWait(t, j, e)
			if last <= before {
				t.Errorf("writer %s: got sequence %d behind %d", name, last, before)
			}
			before = last
			mu.Lock()
			appended[last] = e
			mu.Unlock()
		}
	}
	appendAndWait(t, j, event("first", 0))
	seen := tailUntil(ctx, t, j, 0, n, func() {
		for w := range writers {
			writing.Go(func() { write(fmt.Sprintf("w%d", w)) })
		}
	})
	writing.Wait()
	for i, e := range seen {
		if e.Seq != uint64(i)+1 {
			t.Fatalf("tail: got sequence %d at place %d", e.Seq, i)
		}
		if i > 0 && e != appended[e.Seq] {
			t.Fatalf("tail: event %d is not the pointer that was appended", e.Seq)
		}
	}
	again := tailUntil(ctx, t, j, 100, n-100, func() {})
	for i, e := range again {
		if want := seen[100+i]; e.Seq != want.Seq || string(e.JSON) != string(want.JSON) || e.Type != want.Type {
			t.Fatalf("tail from 100: got %d %s, want %d %s", e.Seq, e.JSON, want.Seq, want.JSON)
		}
	}
}

func event(writer string, i int) *runtime.Event {
	text := fmt.Sprintf(`{"event_type":"test","data":{"writer":%q,"i":%d},"origin":"LOCAL","time_fired":"2026-01-01T00:00:00.000000+00:00","context":{"id":"x","parent_id":null,"user_id":null}}`, writer, i)
	return runtime.ParseEvent(0, "test", "test", "", "", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), []byte(text))
}

func appendAndWait(t *testing.T, j runtime.Journal, events ...*runtime.Event) uint64 {
	type end struct {
		last uint64
		err  error
	}
	ended := make(chan end, 1)
	j.Append(events, func(last uint64, err error) { ended <- end{last, err} })
	select {
	case e := <-ended:
		if e.err != nil {
			t.Errorf("append: %v", e.err)
		}
		return e.last
	case <-time.After(time.Minute):
		t.Error("append: done was not called within a minute")
		return 0
	}
}

// tailUntil tails until n events came, and calls started at the first.
func tailUntil(ctx context.Context, t *testing.T, j runtime.Journal, after uint64, n int, started func()) (seen []*runtime.Event) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := j.Tail(ctx, after, func(batch []*runtime.Event) {
		if len(seen) == 0 {
			started()
		}
		seen = append(seen, batch...)
		if len(seen) >= n {
			cancel()
		}
	})
	if len(seen) != n {
		t.Fatalf("tail from %d: got %d events and %v, want %d", after, len(seen), err, n)
	}
	return seen
}

func testStates(ctx context.Context, t *testing.T, j runtime.Journal) {
	state := func(id, value string) runtime.StoredState {
		at := time.Date(2026, 1, 1, 0, 0, 0, 123456000, time.UTC)
		return runtime.StoredState{Source: "a.js@1", State: &runtime.State{
			EntityID: id, State: value, Attributes: []byte(`{"unit":"°C"}`),
			LastChanged: at, LastUpdated: at, LastReported: at, Context: runtime.Context{ID: "c", ParentID: "p"},
		}}
	}
	save := func(upTo uint64, removed []string, changed ...runtime.StoredState) {
		t.Helper()
		if err := j.SaveStates(ctx, changed, removed, upTo); err != nil {
			t.Fatalf("saving states: %v", err)
		}
	}
	save(5, nil, state("light.a", "on"), state("light.b", "on"))
	save(9, []string{"light.b"}, state("light.a", "off"), state("light.c", "on"))
	states, upTo, err := j.LoadStates(ctx)
	if err != nil || upTo != 9 || len(states) != 2 {
		t.Fatalf("loading states: got %d up to %d and %v, want 2 up to 9", len(states), upTo, err)
	}
	for _, got := range states {
		want := state("light.c", "on")
		if got.State.EntityID == "light.a" {
			want = state("light.a", "off")
		}
		if g, w := string(got.State.AppendJSON(nil)), string(want.State.AppendJSON(nil)); g != w || got.Source != want.Source {
			t.Errorf("loading states: got %s by %s, want %s by %s", g, got.Source, w, want.Source)
		}
	}
}
