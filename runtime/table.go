package runtime

import (
	"cmp"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
)

// A table is the fold of the journal: the present state of every entity.
type table struct {
	mu sync.RWMutex
	// Guarded by mu.
	entities map[string]entity
	seq      uint64              // of the last event folded
	dirty    map[string]struct{} // entities that changed since the last checkpoint
}

type entity struct {
	state  *State
	source string // the generation that last spoke for it, "hall.js@7"; empty when no producer ever did
}

func newTable(stored []StoredState, seq uint64) *table {
	t := &table{entities: make(map[string]entity, len(stored)), seq: seq, dirty: map[string]struct{}{}}
	for _, s := range stored {
		t.entities[s.State.EntityID] = entity{s.State, s.Source}
	}
	return t
}

// fold takes a batch in, in order. Folding an event again changes nothing as
// long as all behind it are folded again too.
func (t *table) fold(batch []*Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range batch {
		t.seq = e.Seq
		if e.Type != StateChanged || e.EntityID == "" {
			continue
		}
		t.dirty[e.EntityID] = struct{}{}
		next := e.New()
		if next == nil {
			delete(t.entities, e.EntityID)
			continue
		}
		source := t.entities[e.EntityID].source
		if producer(e.Source) != "" {
			source = e.Source
		}
		t.entities[e.EntityID] = entity{next, source}
	}
}

// producer returns the producer of a generation, "hall.js" for "hall.js@7", and
// nothing for sources that own no entities.
func producer(source string) string {
	if i := strings.LastIndexByte(source, '@'); i > 0 {
		return source[:i]
	}
	return ""
}

func (t *table) get(id string) *State {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.entities[id].state
}

func (t *table) head() uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.seq
}

// sourced returns all states, sorted by id, who last spoke for each, and the
// sequence they are of.
func (t *table) sourced() (states []*State, sources []string, seq uint64) {
	t.mu.RLock()
	all := slices.Collect(maps.Values(t.entities))
	seq = t.seq
	t.mu.RUnlock()
	slices.SortFunc(all, func(a, b entity) int { return cmp.Compare(a.state.EntityID, b.state.EntityID) })
	states, sources = make([]*State, len(all)), make([]string, len(all))
	for i, e := range all {
		states[i], sources[i] = e.state, e.source
	}
	return states, sources, seq
}

// snapshot returns all states, sorted by id, and the sequence they are of.
func (t *table) snapshot() ([]*State, uint64) {
	t.mu.RLock()
	states := make([]*State, 0, len(t.entities))
	for _, e := range t.entities {
		states = append(states, e.state)
	}
	seq := t.seq
	t.mu.RUnlock()
	sort.Slice(states, func(i, j int) bool { return states[i].EntityID < states[j].EntityID })
	return states, seq
}

// report notes that somebody said again what is known.
func (t *table) report(id string, at time.Time) *State {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entities[id]
	if e.state == nil {
		return nil
	}
	reported := *e.state
	reported.LastReported = at
	e.state = &reported
	t.entities[id] = e
	return e.state
}

// produced returns the entities that a producer speaks for, by id.
func (t *table) produced() map[string]string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	by := map[string]string{}
	for id, e := range t.entities {
		if p := producer(e.source); p != "" {
			by[id] = p
		}
	}
	return by
}

// takeDirty returns what a checkpoint has to save and starts the next one.
func (t *table) takeDirty() (changed []StoredState, removed []string, seq uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := range t.dirty {
		if e, ok := t.entities[id]; ok {
			changed = append(changed, StoredState{e.state, e.source})
		} else {
			removed = append(removed, id)
		}
	}
	clear(t.dirty)
	return changed, removed, t.seq
}

// restoreDirty takes back what a failed checkpoint did not save.
func (t *table) restoreDirty(changed []StoredState, removed []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range changed {
		t.dirty[s.State.EntityID] = struct{}{}
	}
	for _, id := range removed {
		t.dirty[id] = struct{}{}
	}
}
