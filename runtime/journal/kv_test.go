package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"
	"testing"

	"carillon/runtime"
)

func TestStatesAreSavedAndLoaded(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Options{Dir: dir})
	ctx := context.Background()
	if states, upTo, err := j.LoadStates(ctx); err != nil || upTo != 0 || len(states) != 0 {
		t.Fatalf("got %d states up to %d, %v, want none", len(states), upTo, err)
	}
	mustAppend(t, j, events(0, 500)...)
	table := map[string]runtime.StoredState{}
	var changed []runtime.StoredState
	for i := range savesAtOnce + 500 {
		s := runtime.StoredState{Source: "a.js@1", State: &runtime.State{EntityID: fmt.Sprintf("light.l%d", i), State: "on",
			Attributes: json.RawMessage(`{"n":1}`), LastChanged: start, LastUpdated: start, LastReported: start, Context: runtime.Context{ID: "x"}}}
		changed = append(changed, s)
		table[s.State.EntityID] = s
	}
	if err := j.SaveStates(ctx, changed, nil, 400); err != nil {
		t.Fatal(err)
	}
	changed[7].State.State, changed[7].Source = "off", "b.js@2"
	delete(table, "light.l8")
	table["light.l7"] = changed[7]
	if err := j.SaveStates(ctx, changed[7:8], []string{"light.l8", "light.never"}, 450); err != nil {
		t.Fatal(err)
	}
	check := func(wantUpTo uint64) {
		t.Helper()
		states, upTo, err := j.LoadStates(ctx)
		if err != nil || upTo != wantUpTo || len(states) != len(table) {
			t.Fatalf("got %d states up to %d, %v, want %d up to %d", len(states), upTo, err, len(table), wantUpTo)
		}
		for _, s := range states {
			want := table[s.State.EntityID]
			if s.Source != want.Source || string(s.State.AppendJSON(nil)) != string(want.State.AppendJSON(nil)) {
				t.Fatalf("got %s of %q, want %s of %q", s.State.AppendJSON(nil), s.Source, want.State.AppendJSON(nil), want.Source)
			}
		}
	}
	check(450)
	j.Close()
	j = open(t, Options{Dir: dir})
	check(450)
	if err := j.SaveStates(ctx, nil, nil, 600); err != nil { // as if the journal had lost its end
		t.Fatal(err)
	}
	check(500)
}

func TestKV(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Options{Dir: dir})
	ctx := context.Background()
	kv, err := j.KV("tokens")
	if err != nil {
		t.Fatal(err)
	}
	keys := []string{"a", "a.b", "ü *>", "=41", "A", ".", strings.Repeat("k", 1024)}
	for _, key := range keys {
		if err := kv.Put(ctx, key, []byte("old")); err != nil {
			t.Fatal(err)
		}
		if err := kv.Put(ctx, key, []byte("value of "+key)); err != nil {
			t.Fatal(err)
		}
	}
	if err := kv.Delete(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if err := kv.Delete(ctx, "never"); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", strings.Repeat("k", 1025)} {
		if err := kv.Put(ctx, bad, nil); err == nil {
			t.Errorf("got no error for a key of %d bytes", len(bad))
		}
	}
	j.Close()
	if _, err := kv.Get(ctx, "a"); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	j = open(t, Options{Dir: dir})
	if kv, err = j.KV("tokens"); err != nil {
		t.Fatal(err)
	}
	got, err := kv.Keys(ctx)
	sort.Strings(got)
	want := append([]string(nil), keys[1:]...)
	sort.Strings(want)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got keys %q, %v, want %q", got, err, want)
	}
	if _, err := kv.Get(ctx, "a"); !errors.Is(err, ErrNoKey) {
		t.Errorf("got %v, want ErrNoKey", err)
	}
	for _, key := range want {
		if v, err := kv.Get(ctx, key); err != nil || string(v) != "value of "+key {
			t.Errorf("got %q, %v, want the value of %q", v, err, key)
		}
	}
	if err := kv.Put(ctx, "empty", nil); err != nil {
		t.Fatal(err)
	}
	if v, err := kv.Get(ctx, "empty"); err != nil || len(v) != 0 {
		t.Errorf("got %q, %v, want an empty value", v, err)
	}
	if _, err := j.KV("a.b"); err == nil {
		t.Error("got no error for a bucket's bad name")
	}
}
