package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"carillon/plugins/adapter"
	"carillon/runtime/runtimetest"
)

// present are the present states of entities as a follow tells them: without any, by a mark.
func present(ids ...string) (list []adapter.Happening) {
	for i, id := range ids {
		h := adapter.Happening{Type: "state_changed", EntityID: id, Present: true, JSON: json.RawMessage(`{"data":{"new_state":{"state":"1","attributes":{"a":1}}}}`)}
		if i == len(ids)-1 {
			h.ID = "e-7"
		}
		list = append(list, h)
	}
	if len(ids) == 0 {
		list = []adapter.Happening{{ID: "e-7", Mark: true}}
	}
	return list
}

// sends are a publication's messages: topics, with a - before those that are taken back.
func (m *memory) sends() (all []string) {
	for o, ok := m.next(); ok; o, ok = m.next() {
		if o.payload == "" {
			o.topic = "-" + o.topic
		}
		all = append(all, o.topic)
	}
	return all
}

// What is published no more is taken back at the next connection, also by another process: what
// was left out of the configuration since, and what went meanwhile.
func TestRetainedIsTakenBack(t *testing.T) {
	folder := t.TempDir()
	for i, step := range []struct {
		s       publishSettings
		present []string
		want    []string
	}{
		{publishSettings{Attributes: true}, []string{"a.x", "b.y"}, []string{"c/a/x/state", "c/a/x/attributes", "c/b/y/state", "c/b/y/attributes"}},
		{publishSettings{}, []string{"a.x", "b.y"}, []string{"c/a/x/state", "c/b/y/state", "-c/a/x/attributes", "-c/b/y/attributes"}},
		{publishSettings{}, []string{"b.y"}, []string{"c/b/y/state", "-c/a/x/state"}},
		{publishSettings{Prefix: "d"}, []string{"b.y"}, []string{"d/b/y/state", "-c/b/y/state"}},
		{publishSettings{Prefix: "d"}, nil, []string{"-d/b/y/state"}},
		{publishSettings{Prefix: "d"}, nil, nil},
	} {
		if step.s.Prefix == "" {
			step.s.Prefix = "c"
		}
		p, m := publishing(t, folder, step.s)
		if err := p.retained.load(); err != nil {
			t.Fatal(err)
		}
		if err := p.show(t.Context(), &roll{present: map[string]bool{}}, present(step.present...)); err != nil {
			t.Fatal(err)
		}
		if got := m.sends(); !slices.Equal(got, step.want) {
			t.Errorf("step %d: got %v, want %v", i, got, step.want)
		}
		if err := p.retained.save(); err != nil {
			t.Fatal(err)
		}
	}
}

// An entity that goes takes its messages with it; what the broker did not get stays to be taken
// back.
func TestRetainedOfAnEntityThatGoes(t *testing.T) {
	p, m := publishing(t, t.TempDir(), publishSettings{})
	r := &roll{present: map[string]bool{}}
	if err := p.show(t.Context(), r, present("a.x", "a.z")); err != nil {
		t.Fatal(err)
	}
	gone := func(id string) []adapter.Happening {
		return []adapter.Happening{{ID: "e-8", Type: "state_changed", EntityID: id, JSON: json.RawMessage(`{"data":{"new_state":null}}`)}}
	}
	if err := p.show(t.Context(), r, gone("a.x")); err != nil {
		t.Fatal(err)
	}
	m.refusal = errors.New("no")
	if err := p.show(t.Context(), r, gone("a.z")); !errors.Is(err, m.refusal) {
		t.Errorf("got %v, want what the broker said", err)
	}
	m.refusal = nil
	m.sends()
	if err := p.show(t.Context(), &roll{present: map[string]bool{}}, present()); err != nil {
		t.Fatal(err)
	}
	if got, want := m.sends(), []string{"-carillon/a/z/state"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Without publish, or without states, all is taken back, and what is kept is kept by then.
func TestRetainedWithoutStates(t *testing.T) {
	for _, config := range []string{`{}`, `{"publish":{"states":false,"events":["x"]}}`} {
		folder := t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, retainedFile), []byte(`{"version":1,"topics":["c/a/x/state","#"]}`), 0o600); err != nil {
			t.Fatal(err)
		}
		b := newBridge()
		m := &memory{b: b, filters: map[string]bool{}}
		b.open = m.open
		h := runtimetest.StartAdapter(t, b, config, folder)
		var got []string
		h.Until("it is taken back", func() bool { got = append(got, m.sends()...); return len(got) > 0 })
		if err := h.Drain(); err != nil {
			t.Error(err)
		}
		if got = append(got, m.sends()...); !slices.Equal(got, []string{"-c/a/x/state"}) {
			t.Errorf("%s: got %v, want the one topic taken back", config, got)
		}
		text, err := os.ReadFile(filepath.Join(folder, retainedFile))
		var w retainedWire
		if err == nil {
			err = json.Unmarshal(text, &w)
		}
		if err != nil || len(w.Topics) != 0 {
			t.Errorf("%s: the file has %v and %v, want no topics", config, w.Topics, err)
		}
	}
}

// What is remembered has a bound, and a file that is none is told.
func TestRetainedIsBounded(t *testing.T) {
	r := &retained{topics: map[string]bool{}}
	told := 0
	for i := range maxRetained + 10 {
		if r.note([]outgoing{{topic: fmt.Sprint(i), payload: "x"}}, true) {
			told++
		}
	}
	if r.size() != maxRetained || told != 1 {
		t.Errorf("got %d topics, told %d times, want %d and once", r.size(), told, maxRetained)
	}
	p, _ := publishing(t, t.TempDir(), publishSettings{})
	if err := os.WriteFile(p.retained.file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.retained.load(); err == nil || p.retained.size() != 0 {
		t.Errorf("a broken file: got %v and %d topics, want an error", err, p.retained.size())
	}
}
