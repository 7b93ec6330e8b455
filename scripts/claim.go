package scripts

import (
	"slices"

	"carillon/internal/watch"
	"carillon/runtime"
)

// A refusal is a content of a file that is not in service because another
// script has an entity of it.
type refusal struct {
	entity string
	change watch.Change
}

// claim tells the runtime what the script has from now on, in place of what it
// had, and has files tried again that were refused for what it gives up. The
// script's registry is held.
func (s *script) claim(reg runtime.Registration) error {
	if err := s.host.Runtime.Register(s.name, reg); err != nil {
		return err
	}
	freed := slices.DeleteFunc(s.has, func(id string) bool {
		_, kept := slices.BinarySearch(reg.Entities, id)
		return kept
	})
	s.has = reg.Entities
	if len(freed) > 0 {
		s.host.retry(freed)
	}
	return nil
}

// retry loads the files again that were refused for one of the entities.
func (h *Host) retry(entities []string) {
	h.freed.Add(1)
	h.mu.Lock()
	var again []*script
	for _, s := range h.scripts {
		if s.refused != nil && slices.Contains(entities, s.refused.entity) {
			again = append(again, s)
		}
	}
	h.mu.Unlock()
	for _, s := range again {
		s.tryAgain()
	}
}

// awaitFree keeps what was refused until the entity is free. Before is the
// host's count of freed entities from before it was tried: if it has changed,
// the entity may be free by now.
func (s *script) awaitFree(r refusal, before uint64) {
	s.host.mu.Lock()
	s.refused = &r
	s.host.mu.Unlock()
	if s.host.freed.Load() != before {
		s.tryAgain()
	}
}

// tryAgain loads what was refused, unless a newer content waits already.
func (s *script) tryAgain() {
	h := s.host
	h.mu.Lock()
	r, newer := s.refused, s.want != nil
	s.refused = nil
	h.mu.Unlock()
	if r != nil && !newer {
		s.submit(wanted{change: r.change, done: func() {}})
	}
}

func (s *script) forgetRefusal() {
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	s.refused = nil
}
