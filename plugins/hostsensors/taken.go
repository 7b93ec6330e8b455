package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"carillon/plugins/adapter"
)

// tryTaken is how often an id that a script or another adapter has is asked for again: nothing
// tells of its end, and each try is one refused item.
const tryTaken = time.Minute

// declare tells of the machine and all its sensors. One whose id a script or another adapter
// has is named and left out, since the server refuses a device that has any such.
func (m *machine) declare(ctx context.Context, h *adapter.Host) error {
	m.tried = m.now()
	taken := map[string]string{}
	defer func() { m.noteTaken(h.Log(), taken) }()
	for {
		m.device.Entities = nil
		for _, id := range slices.Sorted(maps.Keys(m.declared)) {
			if taken[id] == "" {
				m.device.Entities = append(m.device.Entities, m.declared[id].entity)
			}
		}
		err := h.Declare(ctx, m.device)
		if err == nil {
			err = h.Flush(ctx)
		}
		if err == nil {
			return nil
		}
		id, why := m.culprit(err)
		if id == "" || taken[id] != "" {
			return fmt.Errorf("declaring the machine: %w", err)
		}
		taken[id] = why
	}
}

// culprit returns the entity that the server names where it refuses the machine, and why it
// does; empty if the error is another one.
func (m *machine) culprit(err error) (id, why string) {
	var refused *adapter.ItemErrors
	if !errors.As(err, &refused) {
		return "", ""
	}
	for _, one := range refused.First {
		for _, word := range strings.Fields(one.Error()) {
			if m.declared[word] != nil {
				return word, one.Error()
			}
		}
	}
	return "", ""
}

// noteTaken keeps which sensors can't be declared, and tells when that changes.
func (m *machine) noteTaken(log *slog.Logger, taken map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taken = nil
	for _, id := range slices.Sorted(maps.Keys(m.declared)) {
		s, why := m.declared[id], taken[id]
		switch {
		case why != "" && s.taken == "":
			log.Warn("a sensor is left out until nobody else has its id, or prefix: gives it another one", "entity_id", id, "err", why)
		case why == "" && s.taken != "":
			log.Info("a sensor that was left out is there", "entity_id", id)
		}
		if s.taken = why; why != "" {
			m.taken = append(m.taken, why)
		}
	}
}

// anyTaken reports whether a sensor is left out.
func (m *machine) anyTaken() bool {
	for _, s := range m.declared {
		if s.taken != "" {
			return true
		}
	}
	return false
}
