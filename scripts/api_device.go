package scripts

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"unicode/utf8"

	"github.com/dop251/goja"

	"carillon/runtime"
)

// A device is an entity that the script has.
type device struct {
	id       string
	declared map[string]json.RawMessage // attributes given to device(), below those of each set
	commands map[string]handler
	handle   *goja.Object
	at       position
	shown    json.RawMessage // the attributes that this generation gave the entity last; nil: none yet
}

// A handler is a function of the script, and where it was given.
type handler struct {
	fn goja.Callable
	at position
}

// apiDevice is device(id, {name, commands, ...attributes}) -> handle. Declaring
// an entity again returns the same handle, with the new options.
func (g *generation) apiDevice(c goja.FunctionCall) goja.Value {
	id := g.text("device: the id", c.Argument(0))
	if !runtime.ValidEntityID(id) {
		g.throw("device: %.100q is no entity id: want <domain>.<object> of lower-case letters, digits and single underscores, like light.lamp", id)
	}
	known := g.devices[id]
	d := &device{id: id, commands: map[string]handler{}}
	if known != nil {
		copied := *known
		d = &copied
	}
	if options := c.Argument(1); !missing(options) {
		o, ok := options.(*goja.Object)
		if !ok {
			g.throw("device: the options must be an object, like {name: 'Lamp', commands: {}}")
		}
		g.declare(d, o)
	}
	if known == nil && len(g.devices) >= maxEntities {
		g.throw("device: more than %d entities in one script", maxEntities)
	}
	if d.handle == nil {
		d.handle = g.newHandle(id)
	}
	d.at = g.here()
	g.devices[id] = d
	if err := g.register(); err != nil {
		delete(g.devices, id)
		if known != nil {
			g.devices[id] = known
		}
		g.throw("device: %v", err)
	}
	return d.handle
}

// declare reads device's options into d.
func (g *generation) declare(d *device, options *goja.Object) {
	d.declared, d.shown = map[string]json.RawMessage{}, nil
	for _, key := range options.Keys() {
		v := options.Get(key)
		switch key {
		case "commands":
			d.commands = g.commandTable(v)
		case "name":
			d.declared["friendly_name"] = json.RawMessage(runtime.AppendString(nil, g.text("device: name", v)))
		default:
			text, err := g.toJSON(v)
			if err != nil {
				panic(err)
			}
			if text != nil {
				d.declared[key] = text
			}
		}
	}
}

func (g *generation) commandTable(v goja.Value) map[string]handler {
	table := map[string]handler{}
	if missing(v) {
		return table
	}
	o, ok := v.(*goja.Object)
	if !ok {
		g.throw("device: commands must be an object of functions, like {turn_on() {}}")
	}
	at := g.here()
	for _, name := range o.Keys() {
		g.checkCommand(name, table)
		table[name] = handler{g.callable("device: command "+name, o.Get(name)), at}
	}
	return table
}

func (g *generation) checkCommand(name string, table map[string]handler) {
	if !runtime.ValidEntityID("x." + name) {
		g.throw("command: %.100q is no name: want lower-case letters, digits and single underscores, like turn_on", name)
	}
	if _, known := table[name]; !known && len(table) >= maxServices {
		g.throw("command: more than %d commands for one entity", maxServices)
	}
}

// newHandle makes what device() returns: id, state, attributes, set, command
// and remove.
func (g *generation) newHandle(id string) *goja.Object {
	o := g.vm.NewObject()
	get := func(fn func(*runtime.State) goja.Value) goja.Value {
		return g.vm.ToValue(func(goja.FunctionCall) goja.Value {
			if s := g.look(id); s != nil {
				return fn(s)
			}
			return goja.Undefined()
		})
	}
	fixed := func(name string, v any) {
		o.DefineDataProperty(name, g.vm.ToValue(v), goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_TRUE)
	}
	fixed("id", id)
	o.DefineAccessorProperty("state", get(func(s *runtime.State) goja.Value { return g.vm.ToValue(s.State) }), nil, goja.FLAG_FALSE, goja.FLAG_TRUE)
	o.DefineAccessorProperty("attributes", get(func(s *runtime.State) goja.Value { return g.fromJSON(s.Attributes) }), nil, goja.FLAG_FALSE, goja.FLAG_TRUE)
	fixed("set", g.native(func(c goja.FunctionCall) goja.Value { return g.set(id, c.Argument(0), c.Argument(1)) }))
	fixed("command", g.native(func(c goja.FunctionCall) goja.Value { return g.addCommand(id, c) }))
	fixed("remove", g.native(func(goja.FunctionCall) goja.Value { return g.remove(id) }))
	return o
}

func (g *generation) owned(id string) *device {
	d := g.devices[id]
	if d == nil {
		g.throw("%s was removed", id)
	}
	return d
}

// set is handle.set(state[, attributes]) -> state object.
func (g *generation) set(id string, value, attributes goja.Value) goja.Value {
	d := g.owned(id)
	change := runtime.Change{
		EntityID: id, State: g.scalar("set: the state", value), Source: g.source, Context: g.story.get(),
		Attributes: g.object("set: the attributes", attributes),
	}
	if n := utf8.RuneCountInString(change.State); n > runtime.MaxState {
		g.throw("set: the state has %d characters, more than %d: put long values into an attribute", n, runtime.MaxState)
	}
	d.complete(&change, g.look(id))
	if len(change.Attributes) > runtime.MaxAttributes {
		g.throw("set: the attributes have %d bytes, more than %d", len(change.Attributes), runtime.MaxAttributes)
	}
	if g.loading {
		return g.hold(heldBack{change: &change})
	}
	ctx, cancel := g.budget()
	defer cancel()
	results, err := g.host.Runtime.Set(ctx, change)
	if err != nil {
		g.throw("set: %v", plain(err))
	}
	d.shown = results[0].State.Attributes
	return g.stateObject(results[0].State)
}

// complete puts the declared attributes below those of the change. A change
// without attributes keeps what the entity has, and needs the declared ones only
// once in a generation, and when somebody else has changed or removed the entity.
func (d *device) complete(c *runtime.Change, present *runtime.State) {
	kept := d.shown != nil && present != nil && bytes.Equal(present.Attributes, d.shown)
	if c.Attributes == nil && (kept || len(d.declared) == 0) {
		return
	}
	all := map[string]json.RawMessage{}
	base := c.Attributes
	if base == nil && present != nil {
		json.Unmarshal(present.Attributes, &all)
	}
	for key, v := range d.declared {
		all[key] = v
	}
	if base != nil {
		json.Unmarshal(base, &all) // made by JSON.stringify
	}
	if text, err := json.Marshal(all); err == nil {
		c.Attributes = text
	}
}

func (g *generation) addCommand(id string, c goja.FunctionCall) goja.Value {
	d := g.owned(id)
	name := g.text("command: the name", c.Argument(0))
	g.checkCommand(name, d.commands)
	table := make(map[string]handler, len(d.commands)+1)
	for known, h := range d.commands {
		table[known] = h
	}
	table[name] = handler{g.callable("command: the second argument", c.Argument(1)), g.here()}
	former := d.commands
	d.commands = table
	if err := g.register(); err != nil {
		d.commands = former
		g.throw("command: %v", err)
	}
	return d.handle
}

// remove is handle.remove(): the entity is gone at once, without a time of
// being unavailable.
func (g *generation) remove(id string) goja.Value {
	g.owned(id)
	if g.loading {
		delete(g.devices, id)
		g.held = slices.DeleteFunc(g.held, func(h heldBack) bool { return h.change != nil && h.change.EntityID == id })
		return g.hold(heldBack{remove: id})
	}
	ctx, cancel := g.budget()
	defer cancel()
	err := g.host.Runtime.Remove(ctx, id, runtime.Local, g.story.get(), g.source)
	if err != nil && !errors.Is(err, runtime.ErrNotFound) {
		g.throw("remove: %v", plain(err))
	}
	delete(g.devices, id)
	if err := g.register(); err != nil {
		g.throw("remove: %v", err)
	}
	return goja.Undefined()
}

// register tells the runtime what the generation has now. The top level's
// declarations are registered all at once, when it takes over.
func (g *generation) register() error {
	if g.loading {
		return nil
	}
	return plain(g.host.register(g, g.registration()))
}

// plain strips what only callers with several changes need.
func plain(err error) error {
	var one *runtime.EventError
	if errors.As(err, &one) {
		return one.Err
	}
	return err
}

// look returns an entity's state as the script sees it: with what its top level
// has set but not yet done.
func (g *generation) look(id string) *runtime.State {
	present := g.host.Runtime.State(id)
	for i := len(g.held) - 1; i >= 0; i-- {
		h := &g.held[i]
		if h.remove == id {
			return nil
		}
		if h.change == nil || h.change.EntityID != id {
			continue
		}
		s := h.provisional(present)
		return s
	}
	return present
}

func (h *heldBack) provisional(present *runtime.State) *runtime.State {
	s := &runtime.State{
		EntityID: h.change.EntityID, State: h.change.State, Attributes: h.change.Attributes, Context: h.change.Context,
		LastChanged: h.time, LastUpdated: h.time, LastReported: h.time,
	}
	switch {
	case s.Attributes != nil:
	case present != nil:
		s.Attributes = present.Attributes
	default:
		s.Attributes = json.RawMessage("{}")
	}
	if present != nil && present.State == s.State {
		s.LastChanged = present.LastChanged
		if bytes.Equal(present.Attributes, s.Attributes) {
			s.LastUpdated = present.LastUpdated
		}
	}
	return s
}
