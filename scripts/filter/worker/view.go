package worker

import (
	"math"
	"strings"

	"github.com/dop251/goja"
)

// An item is a primitive value, or an object or list; nothing if it is not yet
// decoded.
type item struct {
	value  goja.Value
	nested *nested
}

// nested is an object or a list of an event, without the machines' objects that
// show it: all machines read it, one at a time.
type nested struct {
	list  bool
	keys  []string // in the order of Object.keys; none of a list
	items []item
	index map[string]int       // places of keys, if there are many
	fill  func(place int) item // decodes an item that is nothing yet
}

// indexFrom is how many keys are found by walking over them.
const indexFrom = 12

// add adds a key; its item is appended by the caller.
func (n *nested) add(key string) {
	n.keys = append(n.keys, key)
	switch {
	case n.index != nil:
		n.index[key] = len(n.keys) - 1
	case len(n.keys) > indexFrom:
		n.index = make(map[string]int, 2*len(n.keys))
		for i, k := range n.keys {
			n.index[k] = i
		}
	}
}

// find returns the place of a key, or -1.
func (n *nested) find(key string) int {
	if n.index != nil {
		if i, ok := n.index[key]; ok {
			return i
		}
		return -1
	}
	for i, k := range n.keys {
		if k == key {
			return i
		}
	}
	return -1
}

func (n *nested) item(i int) item {
	if n.fill != nil && n.items[i] == (item{}) {
		n.items[i] = n.fill(i)
	}
	return n.items[i]
}

// The properties of e and of e.old, in the order of Object.keys.
var (
	eventKeys = []string{
		"type", "entity_id", "domain", "source", "time", "seq", "state", "number", "unit", "attributes", "old", "data",
		"last_changed", "last_updated",
	}
	oldKeys = []string{"state", "number", "unit", "attributes", "last_changed", "last_updated"}
)

// A view is what filters see of an event. Each part is decoded when a filter
// first asks for it, once for all filters.
type view struct {
	vm    *goja.Runtime // makes primitive values, which belong to no machine
	event eventWire
	root  nested
}

func newView(vm *goja.Runtime, e eventWire) *view {
	v := &view{vm: vm, event: e}
	v.root = nested{keys: eventKeys, items: make([]item, len(eventKeys)), fill: v.field}
	return v
}

func (v *view) field(i int) item {
	e := &v.event
	switch key := eventKeys[i]; key {
	case "type":
		return v.text(e.typ)
	case "entity_id":
		return v.optional(e.entityID)
	case "domain":
		return v.optional(e.domain)
	case "source":
		return v.text(e.source)
	case "time":
		return v.number(float64(e.time))
	case "seq":
		return v.number(float64(e.seq))
	case "data":
		return item{nested: parseObject(v.vm, e.data)}
	case "old":
		return v.old()
	default:
		attributes := v.root.find("attributes")
		return v.ofState(&e.new, key, func() item { return v.root.item(attributes) })
	}
}

func (v *view) old() item {
	if !v.event.old.there {
		return item{value: goja.Undefined()}
	}
	n := &nested{keys: oldKeys, items: make([]item, len(oldKeys))}
	attributes := n.find("attributes")
	n.fill = func(i int) item {
		return v.ofState(&v.event.old, oldKeys[i], func() item { return n.item(attributes) })
	}
	return item{nested: n}
}

// ofState returns a property of a state, undefined if there is no state.
func (v *view) ofState(s *stateWire, key string, attributes func() item) item {
	if !s.there {
		return item{value: goja.Undefined()}
	}
	switch key {
	case "state":
		return v.text(s.state)
	case "number":
		return v.numeric(s.state)
	case "unit":
		return unit(attributes().nested)
	case "attributes":
		return item{nested: parseObject(v.vm, s.attributes)}
	case "last_changed":
		return v.number(float64(s.changed))
	default:
		return v.number(float64(s.updated))
	}
}

func (v *view) text(s string) item    { return item{value: v.vm.ToValue(s)} }
func (v *view) number(f float64) item { return item{value: v.vm.ToValue(f)} }

func (v *view) optional(s string) item {
	if s == "" {
		return item{value: goja.Undefined()}
	}
	return v.text(s)
}

// numeric is the number that a state is, undefined for what is blank or not
// finite.
func (v *view) numeric(state string) item {
	text := strings.TrimFunc(state, isSpace) // goja trims what is ASCII only
	if f := v.vm.ToValue(text).ToFloat(); text != "" && !math.IsNaN(f) && !math.IsInf(f, 0) {
		return v.number(f)
	}
	return item{value: goja.Undefined()}
}

// isSpace reports whether r is WhiteSpace or LineTerminator of ECMA-262.
func isSpace(r rune) bool {
	switch r {
	case '\t', '\n', '\v', '\f', '\r', ' ', 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000, 0xfeff:
		return true
	}
	return r >= 0x2000 && r <= 0x200a
}

// unit is the unit of measurement among attributes, if that is a string.
func unit(attributes *nested) item {
	if at := attributes.find("unit_of_measurement"); at >= 0 {
		if it := attributes.items[at]; it.nested == nil {
			if _, ok := it.value.(goja.String); ok {
				return it
			}
		}
	}
	return item{value: goja.Undefined()}
}
