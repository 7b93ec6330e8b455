package scripts

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/dop251/goja"

	"carillon/runtime"
)

// An eventObject is an event as its handlers see it. What it holds is
// converted when first asked for, so that a handler which looks at the state
// only costs nothing else.
type eventObject struct {
	g     *generation
	self  *goja.Object
	event *runtime.Event
	cache map[string]goja.Value
}

var eventKeys = []string{"type", "entity_id", "domain", "state", "old", "attributes", "data", "time", "source", "context"}

// Keys implements goja.DynamicObject.
func (o *eventObject) Keys() []string { return eventKeys }

// Has implements goja.DynamicObject.
func (o *eventObject) Has(key string) bool { return slices.Contains(eventKeys, key) }

// Set implements goja.DynamicObject: an event can't be changed.
func (o *eventObject) Set(string, goja.Value) bool { return false }

// Delete implements goja.DynamicObject.
func (o *eventObject) Delete(string) bool { return false }

// Get implements goja.DynamicObject.
func (o *eventObject) Get(key string) goja.Value {
	e, vm := o.event, o.g.vm
	switch key {
	case "type":
		return vm.ToValue(e.Type)
	case "entity_id":
		return optional(vm, e.EntityID)
	case "domain":
		return optional(vm, e.Domain)
	case "source":
		return vm.ToValue(e.Source)
	case "state":
		return stateValue(vm, e.New())
	case "old":
		return stateValue(vm, e.Old())
	case "attributes", "data", "time", "context":
		return o.cached(key)
	}
	return nil
}

func (o *eventObject) cached(key string) goja.Value {
	if v := o.cache[key]; v != nil {
		return v
	}
	v := goja.Undefined()
	switch e := o.event; key {
	case "attributes":
		if s := e.New(); s != nil {
			v = o.g.fromJSON(s.Attributes)
		}
	case "data":
		v = o.g.fromJSON(e.Data())
	case "time":
		v = o.g.timeValue(e.Time)
	case "context":
		v = o.g.contextObject(e.Context())
	}
	if o.cache == nil {
		o.cache = map[string]goja.Value{}
	}
	o.cache[key] = v
	return v
}

func optional(vm *goja.Runtime, s string) goja.Value {
	if s == "" {
		return goja.Undefined()
	}
	return vm.ToValue(s)
}

func stateValue(vm *goja.Runtime, s *runtime.State) goja.Value {
	if s == nil {
		return goja.Undefined()
	}
	return vm.ToValue(s.State)
}

// A stateObject is a state as scripts see it, converted when asked for.
type stateObject struct {
	g          *generation
	state      *runtime.State
	attributes goja.Value
	context    goja.Value
}

var stateKeys = []string{"entity_id", "state", "attributes", "last_changed", "last_reported", "last_updated", "context"}

func (g *generation) stateObject(s *runtime.State) goja.Value {
	if s == nil {
		return goja.Undefined()
	}
	return g.vm.NewDynamicObject(&stateObject{g: g, state: s})
}

// Keys implements goja.DynamicObject.
func (o *stateObject) Keys() []string { return stateKeys }

// Has implements goja.DynamicObject.
func (o *stateObject) Has(key string) bool { return slices.Contains(stateKeys, key) }

// Set implements goja.DynamicObject: a state can't be changed.
func (o *stateObject) Set(string, goja.Value) bool { return false }

// Delete implements goja.DynamicObject.
func (o *stateObject) Delete(string) bool { return false }

// Get implements goja.DynamicObject.
func (o *stateObject) Get(key string) goja.Value {
	s := o.state
	switch key {
	case "entity_id":
		return o.g.vm.ToValue(s.EntityID)
	case "state":
		return o.g.vm.ToValue(s.State)
	case "attributes":
		if o.attributes == nil {
			o.attributes = o.g.fromJSON(s.Attributes)
		}
		return o.attributes
	case "last_changed":
		return o.g.timeValue(s.LastChanged)
	case "last_reported":
		return o.g.timeValue(s.LastReported)
	case "last_updated":
		return o.g.timeValue(s.LastUpdated)
	case "context":
		if o.context == nil {
			o.context = o.g.contextObject(s.Context)
		}
		return o.context
	}
	return nil
}

// timeValue returns t as text, as it stands in an event's JSON.
func (g *generation) timeValue(t time.Time) goja.Value {
	return g.vm.ToValue(string(runtime.AppendTime(nil, t)))
}

func (g *generation) contextObject(c runtime.Context) goja.Value {
	o := g.vm.NewObject()
	set := func(key, value string) {
		if value == "" {
			o.Set(key, goja.Null())
		} else {
			o.Set(key, value)
		}
	}
	set("id", c.ID)
	set("parent_id", c.ParentID)
	set("user_id", c.UserID)
	return o
}

// attributeOf returns one attribute as text, empty when there is none.
func attributeOf(s *runtime.State, name string) string {
	if s == nil {
		return ""
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(s.Attributes, &all) != nil {
		return ""
	}
	var text string
	if json.Unmarshal(all[name], &text) == nil {
		return text
	}
	return string(all[name])
}

// apiState is state(id) -> state object or undefined.
func (g *generation) apiState(c goja.FunctionCall) goja.Value {
	return g.stateObject(g.look(g.text("state: the id", c.Argument(0))))
}

// apiStates is states([patterns of ids]) -> array of state objects, sorted by id.
func (g *generation) apiStates(c goja.FunctionCall) goja.Value {
	patterns := g.list("states: the pattern", c.Argument(0))
	var list []any
	for _, s := range g.host.Runtime.States() {
		if wildAny(patterns, s.EntityID) {
			list = append(list, g.stateObject(s))
		}
	}
	return g.vm.NewArray(list...)
}
