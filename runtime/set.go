package runtime

import (
	"bytes"
	"context"
	"encoding/json"
	"time"
	"unicode/utf8"
)

// MaxAttributes is the largest attributes object of a state, in bytes.
const MaxAttributes = 256 << 10

// A Change is what a writer says of an entity.
type Change struct {
	EntityID    string
	State       string
	Attributes  json.RawMessage // a JSON object; nil keeps what the entity has
	ForceUpdate bool            // an event even when nothing differs
	Origin      Origin          // default Local
	Context     Context         // a fresh one when it has no id
	Source      string
}

// A SetResult tells what became of a Change.
type SetResult struct {
	State   *State // as it is after the change
	Created bool   // the entity is new
	Changed bool   // an event was made
}

// Set applies changes in their order and returns when they are visible: all of
// them, or an *EventError that names the one refused and nothing is changed. A
// change that says what is known already moves LastReported only and makes no
// event, as in Home Assistant.
func (r *Runtime) Set(ctx context.Context, changes ...Change) ([]SetResult, error) {
	t, results, err := r.set(ctx, nil, changes)
	if err != nil || t == nil {
		return results, err
	}
	if _, err := t.wait(ctx); err != nil {
		return nil, err
	}
	return results, nil
}

// set proposes changes behind after. There is no ticket when all is visible
// already.
func (r *Runtime) set(ctx context.Context, after *ticket, changes []Change) (t *ticket, results []SetResult, err error) {
	for i := range changes {
		c := changes[i]
		if err := c.check(); err != nil {
			return nil, nil, &EventError{i, err}
		}
		if i == 0 {
			changes = append([]Change(nil), changes...)
		}
		changes[i] = c
	}
	p := &r.proposer
	if err := p.beginAfter(ctx, after); err != nil {
		return nil, nil, err
	}
	defer p.end()
	results = make([]SetResult, len(changes))
	events, repeats := p.decide(changes, results)
	switch {
	case len(events) > 0:
		t = p.queue(events)
	case repeats:
		t = p.newest()
	}
	return t, results, nil
}

// decide makes the events of changes. It reports whether a change repeats one
// that is still under way and so is not visible yet. Callers hold the turn.
func (p *proposer) decide(changes []Change, results []SetResult) (events []*Event, repeats bool) {
	at := p.now()
	for i, c := range changes {
		old, underWay := p.base(c.EntityID)
		next, changed := c.apply(old, at)
		results[i] = SetResult{State: next, Created: old == nil, Changed: changed}
		if changed {
			events = append(events, newStateChanged(old, next, c.Origin, at, next.Context, c.Source))
			p.note(c.EntityID, next)
			continue
		}
		if underWay {
			repeats = true
		} else if reported := p.r.table.report(c.EntityID, at); reported != nil {
			results[i].State = reported
		}
	}
	return events, repeats
}

// check validates the change and brings its attributes into canonical form.
func (c *Change) check() error {
	if !ValidEntityID(c.EntityID) {
		return invalid("entity_id", "%.300q is none: it is <domain>.<object>, both of lower-case letters, digits and single underscores (light.kitchen)", c.EntityID)
	}
	if n := utf8.RuneCountInString(c.State); n > MaxState {
		return invalid("state", "has %d characters, more than %d: put long values into an attribute", n, MaxState)
	}
	if !utf8.ValidString(c.State) {
		return invalid("state", "is no UTF-8")
	}
	if c.Attributes == nil {
		return nil
	}
	if len(c.Attributes) > MaxAttributes {
		return invalid("attributes", "have %d bytes, more than %d", len(c.Attributes), MaxAttributes)
	}
	canonical, err := CanonicalObject(c.Attributes)
	switch {
	case err != nil:
		return invalid("attributes", "%v", err)
	case len(canonical) > MaxAttributes: // what is no UTF-8, U+2028 and U+2029 take more bytes then
		return invalid("attributes", "have %d bytes as they are kept, more than %d", len(canonical), MaxAttributes)
	}
	c.Attributes = canonical
	return nil
}

// apply returns the state after the change and whether it makes an event.
func (c *Change) apply(old *State, at time.Time) (next *State, changed bool) {
	next = &State{
		EntityID: c.EntityID, State: c.State, Attributes: c.Attributes,
		LastChanged: at, LastUpdated: at, LastReported: at,
	}
	if next.Attributes == nil {
		next.Attributes = json.RawMessage("{}")
		if old != nil {
			next.Attributes = old.Attributes
		}
	}
	if old != nil && old.State == next.State && !c.ForceUpdate {
		if bytes.Equal(old.Attributes, next.Attributes) {
			return old, false
		}
		next.LastChanged = old.LastChanged
	}
	next.Context = c.Context.orNew()
	return next, true
}

// Remove takes an entity away. It returns ErrNotFound when there is none.
func (r *Runtime) Remove(ctx context.Context, entityID string, origin Origin, story Context, source string) error {
	t, err := r.remove(ctx, nil, entityID, origin, story, source)
	if err == nil {
		_, err = t.wait(ctx)
	}
	return err
}

func (r *Runtime) remove(ctx context.Context, after *ticket, entityID string, origin Origin, story Context, source string) (*ticket, error) {
	p := &r.proposer
	if err := p.beginAfter(ctx, after); err != nil {
		return nil, err
	}
	defer p.end()
	old, _ := p.base(entityID)
	if old == nil {
		return nil, ErrNotFound
	}
	e := newStateChanged(old, nil, origin, p.now(), story.orNew(), source)
	p.note(entityID, nil)
	return p.queue([]*Event{e}), nil
}
