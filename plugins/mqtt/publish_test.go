package main

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"carillon/plugins/adapter"
)

// publishing is a publication to a broker in memory.
func publishing(t *testing.T, folder string, s publishSettings) (*publication, *memory) {
	t.Helper()
	b := newBridge()
	b.log, b.reports.log, b.ctx, b.stateDir = discard, discard, t.Context(), folder
	if s.Prefix == "" {
		s.Prefix = "carillon"
	}
	b.settings.Publish = &s
	m := &memory{b: b}
	b.link = m
	return newPublication(b), m
}

// topics are those of all that was published, in order, and taken out.
func (m *memory) topics() (all []string) {
	for o, ok := m.next(); ok; o, ok = m.next() {
		all = append(all, o.topic)
	}
	return all
}

// Entities and domains choose of the events that concern an entity; others go by their types
// alone.
func TestEventsOfEntities(t *testing.T) {
	event := func(typ, entity string) adapter.Happening {
		return adapter.Happening{ID: "e-" + typ, Type: typ, EntityID: entity, JSON: json.RawMessage(`{}`)}
	}
	list := []adapter.Happening{event("doorbell", ""), event("a", "sensor.tmp"), event("b", "sensor.tmp2"), event("c", "light.tmp"), event("d", "")}
	for _, test := range []struct {
		s    publishSettings
		want []string
	}{
		{publishSettings{}, []string{"doorbell", "a", "b", "c", "d"}},
		{publishSettings{Entities: []string{"sensor.tmp"}}, []string{"doorbell", "a", "d"}},
		{publishSettings{Entities: []string{"*.tmp"}}, []string{"doorbell", "a", "c", "d"}},
		{publishSettings{Domains: []string{"light", "sw*"}}, []string{"doorbell", "c", "d"}},
		{publishSettings{Domains: []string{"sensor"}, Entities: []string{"*2", "light.*"}}, []string{"doorbell", "b", "d"}},
	} {
		p, m := publishing(t, t.TempDir(), test.s)
		if err := p.tell(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, typ := range test.want {
			want = append(want, "carillon/event/"+typ)
		}
		if got := m.topics(); !slices.Equal(got, want) {
			t.Errorf("entities %v, domains %v: got %v, want %v", test.s.Entities, test.s.Domains, got, want)
		}
		p.save()
		if text, err := os.ReadFile(p.file); err != nil || string(text) != "e-d\n" {
			t.Errorf("it goes on behind %q, %v, want e-d", text, err)
		}
	}
}
