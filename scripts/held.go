package scripts

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/dop251/goja"

	"carillon/runtime"
)

// heldBack is something that a top level did and that takes effect only when
// the generation takes over: one of the four.
type heldBack struct {
	change *runtime.Change
	event  *runtime.NewEvent
	remove string
	begin  func() // a call

	at   position
	time time.Time
}

// hold keeps h for later. It returns the state that a change will make.
func (g *generation) hold(h heldBack) goja.Value {
	if len(g.held) >= maxHeldBack {
		g.throw("more than %d changes, events and calls at the top level of a script", maxHeldBack)
	}
	h.at, h.time = g.here(), time.Now()
	g.held = append(g.held, h)
	if h.change != nil {
		return g.stateObject(g.look(h.change.EntityID))
	}
	return goja.Undefined()
}

// apply does what was held back, and makes every declared entity known.
func (g *generation) apply() {
	held := g.held
	g.held = nil
	ctx, cancel := context.WithTimeout(g.ctx, journalWait)
	defer cancel()
	if err := g.introduce(ctx, held); err != nil {
		g.tell(&Error{File: g.script, Message: "making the entities known: " + plain(err).Error(), reason: reasonException})
	}
	for len(held) > 0 && g.ctx.Err() == nil {
		n := sameKind(held)
		if err := g.do(ctx, held[:n]); err != nil {
			at := held[0].at
			g.tell(&Error{File: g.script, Line: at.line, Column: at.column, Message: plain(err).Error(), reason: reasonException})
		}
		held = held[n:]
	}
}

// sameKind returns how many changes or events stand together at the beginning:
// they go into the journal at once.
func sameKind(held []heldBack) int {
	n := 1
	for n < len(held) && (held[0].change != nil && held[n].change != nil || held[0].event != nil && held[n].event != nil) {
		n++
	}
	return n
}

func (g *generation) do(ctx context.Context, held []heldBack) error {
	rt := g.host.Runtime
	switch h := held[0]; {
	case h.change != nil:
		changes := make([]runtime.Change, len(held))
		for i := range held {
			changes[i] = *held[i].change
		}
		results, err := rt.Set(ctx, changes...)
		g.noteShown(results)
		return err
	case h.event != nil:
		events := make([]runtime.NewEvent, len(held))
		for i := range held {
			events[i] = *held[i].event
		}
		_, err := rt.Fire(ctx, events...)
		return err
	case h.begin != nil:
		h.begin()
		return nil
	default:
		if err := rt.Remove(ctx, h.remove, runtime.Local, g.root.get(), g.source); err != runtime.ErrNotFound {
			return err
		}
		return nil
	}
}

// introduce gives each declared entity that the top level does not set a state
// ("unknown", if it had none or was unavailable) and the declared attributes.
func (g *generation) introduce(ctx context.Context, held []heldBack) error {
	isSet := map[string]bool{}
	for i := range held {
		if held[i].change != nil {
			isSet[held[i].change.EntityID] = true
		}
	}
	var changes []runtime.Change
	for _, id := range g.registration().Entities {
		d, present := g.devices[id], g.host.Runtime.State(id)
		if isSet[id] {
			continue
		}
		c := runtime.Change{EntityID: id, State: "unknown", Source: g.source, Context: g.root.get()}
		if present != nil && present.State != runtime.Unavailable {
			c.State = present.State
		}
		d.complete(&c, present)
		if present != nil {
			d.shown = present.Attributes
		}
		if present == nil || present.State != c.State || c.Attributes != nil && !sameObject(c.Attributes, present.Attributes) {
			changes = append(changes, c)
		}
	}
	if len(changes) == 0 {
		return nil
	}
	results, err := g.host.Runtime.Set(ctx, changes...)
	g.noteShown(results)
	return err
}

// noteShown remembers the attributes that entities of the script were given.
func (g *generation) noteShown(results []runtime.SetResult) {
	for _, r := range results {
		if d := g.devices[r.State.EntityID]; d != nil {
			d.shown = r.State.Attributes
		}
	}
}

func sameObject(text, canonical json.RawMessage) bool {
	c, err := runtime.CanonicalObject(text)
	return err == nil && bytes.Equal(c, canonical)
}
