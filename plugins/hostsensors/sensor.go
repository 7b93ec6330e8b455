package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"carillon/plugins/adapter"
)

// keepGone is how long the entities of what is gone stay, unavailable: long enough for a
// cable or a card that is put back, and no longer, as each container has an interface that never comes
// back.
const keepGone = 10 * time.Minute

// A sensor is a declared entity.
type sensor struct {
	entity adapter.Entity
	kind   string
	gone   time.Time // when a round was the first without it; zero: the last round had it
	taken  string    // why it can't be declared, as a script or another adapter has its id; empty: it is ours
}

// publish shows what a round has read, and removes what has been gone for long.
func (m *machine) publish(ctx context.Context, h *adapter.Host, all []reading, troubles map[string]error) error {
	read := map[string]bool{}
	grown := false
	for i := range all {
		r := &all[i]
		id := r.unique(m.settings.Prefix, read)
		read[id] = true
		if m.declared[id] == nil {
			m.declared[id] = &sensor{entity: r.entity(id), kind: r.kind}
			grown = true
		}
		r.id = id
	}
	if err := m.removeGone(ctx, h, read, unread(all, troubles)); err != nil {
		return err
	}
	again := grown || m.anyTaken() && m.now().Sub(m.tried) >= tryTaken
	if again {
		if err := m.declare(ctx, h); err != nil {
			return err
		}
	}
	var states []adapter.State
	for i := range all {
		if r := &all[i]; r.value != "" && m.declared[r.id].taken == "" {
			states = append(states, adapter.State{EntityID: r.id, State: r.value, Attributes: r.attributes})
		}
	}
	if err := h.Set(ctx, states...); err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	return m.showAvailable(ctx, h, read, again)
}

// unread returns the kinds that a round has learned nothing of: that nothing was read of them
// doesn't say that it is gone.
func unread(all []reading, troubles map[string]error) map[string]bool {
	kinds := map[string]bool{}
	for kind, err := range troubles {
		kinds[kind] = err != nil && !slices.ContainsFunc(all, func(r reading) bool { return r.kind == kind })
	}
	return kinds
}

// removeGone removes what a round has not read, nor any in the last keepGone.
func (m *machine) removeGone(ctx context.Context, h *adapter.Host, read, unread map[string]bool) error {
	for _, id := range slices.Sorted(maps.Keys(m.declared)) {
		s := m.declared[id]
		if read[id] || unread[s.kind] || s.gone.IsZero() || m.now().Sub(s.gone) < keepGone {
			continue
		}
		delete(m.declared, id)
		if s.taken != "" {
			continue
		}
		if err := h.Remove(ctx, id); err != nil {
			return fmt.Errorf("removing what is gone: %w", err)
		}
	}
	return nil
}

// showAvailable tells which sensors are gone and which came back.
func (m *machine) showAvailable(ctx context.Context, h *adapter.Host, read map[string]bool, declared bool) error {
	for _, id := range slices.Sorted(maps.Keys(m.declared)) {
		s := m.declared[id]
		lost := !read[id] && (s.gone.IsZero() || declared) // declaring made it available
		back := read[id] && !s.gone.IsZero() && !declared
		switch {
		case read[id]:
			s.gone = time.Time{}
		case s.gone.IsZero():
			s.gone = m.now()
		}
		if !lost && !back || s.taken != "" {
			continue
		}
		if err := h.Available(ctx, id, back); err != nil {
			return fmt.Errorf("publishing: %w", err)
		}
	}
	return nil
}
