// Package runtimetest helps to test what stands on the runtime: a journal in
// memory and an adapter without hardware, and the conformance tests that every
// journal and every adapter passes.
package runtimetest

import (
	"context"
	"maps"
	"slices"
	"sync"

	"carillon/runtime"
)

// A Journal is a runtime.Journal in memory. Its zero value is ready for use. It
// calls dones and tails from goroutines of its own, like a real one.
type Journal struct {
	// Fail, when it is set, is asked before events are stored; its error fails
	// the Append, and those queued behind it as the contract says. It is set
	// before the first Append.
	Fail func(events []*runtime.Event) error

	mu     sync.Mutex
	events []*runtime.Event
	grown  chan struct{} // closed and replaced when events grow
	queue  []appending
	busy   bool
	failed error // until Recover
	states map[string]runtime.StoredState
	upTo   uint64
}

type appending struct {
	events []*runtime.Event
	done   func(uint64, error)
}

// Append implements runtime.Journal.
func (j *Journal) Append(events []*runtime.Event, done func(last uint64, err error)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.queue = append(j.queue, appending{events, done})
	if !j.busy {
		j.busy = true
		go j.work()
	}
}

// Recover implements runtime.Journal.
func (j *Journal) Recover() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.failed = nil
}

func (j *Journal) work() {
	for {
		j.mu.Lock()
		if len(j.queue) == 0 {
			j.busy = false
			j.mu.Unlock()
			return
		}
		a := j.queue[0]
		j.queue = j.queue[1:]
		if j.failed == nil && j.Fail != nil {
			j.failed = j.Fail(a.events)
		}
		err := j.failed
		if err == nil {
			j.store(a.events)
		}
		last := uint64(len(j.events))
		j.mu.Unlock()
		if err != nil {
			last = 0
		}
		a.done(last, err)
	}
}

func (j *Journal) store(events []*runtime.Event) {
	for _, e := range events {
		e.Seq = uint64(len(j.events)) + 1
		j.events = append(j.events, e)
	}
	if j.grown != nil {
		close(j.grown)
		j.grown = nil
	}
}

// Tail implements runtime.Journal.
func (j *Journal) Tail(ctx context.Context, after uint64, fn func([]*runtime.Event)) error {
	for {
		j.mu.Lock()
		batch := slices.Clone(j.events[min(after, uint64(len(j.events))):])
		if j.grown == nil {
			j.grown = make(chan struct{})
		}
		grown := j.grown
		j.mu.Unlock()
		if len(batch) > 0 {
			fn(batch)
			after = batch[len(batch)-1].Seq
			continue
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Read calls fn with the events behind after, in order, until it has given
// what there was at the time of the call or fn returns false.
func (j *Journal) Read(_ context.Context, after uint64, fn func(*runtime.Event) bool) error {
	j.mu.Lock()
	events := slices.Clone(j.events[min(after, uint64(len(j.events))):])
	j.mu.Unlock()
	for _, e := range events {
		if !fn(e) {
			break
		}
	}
	return nil
}

// Bounds implements runtime.Journal.
func (j *Journal) Bounds() (first, last uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return 1, uint64(len(j.events))
}

// LoadStates implements runtime.Journal.
func (j *Journal) LoadStates(context.Context) ([]runtime.StoredState, uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Collect(maps.Values(j.states)), j.upTo, nil
}

// SaveStates implements runtime.Journal.
func (j *Journal) SaveStates(_ context.Context, changed []runtime.StoredState, removed []string, upTo uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.states == nil {
		j.states = map[string]runtime.StoredState{}
	}
	for _, s := range changed {
		j.states[s.State.EntityID] = s
	}
	for _, id := range removed {
		delete(j.states, id)
	}
	j.upTo = upTo
	return nil
}
