package filter

import (
	"math"
	"time"

	"carillon/runtime"
)

// An eventField is a property of the event that filters see, or of its old
// state, which has some of its own so that e.old.state costs no more than
// e.state.
type eventField uint8

// The properties of e, in the order of Object.keys(e).
const (
	fieldType eventField = iota
	fieldEntityID
	fieldDomain
	fieldSource
	fieldTime
	fieldSeq
	fieldState
	fieldNumber
	fieldUnit
	fieldAttributes
	fieldOld
	fieldData
	fieldLastChanged
	fieldLastUpdated
	endOfEvent
)

// The properties of e.old, in the order of Object.keys(e.old). All of them are
// undefined if e.old is.
const (
	oldState eventField = iota + endOfEvent
	oldNumber
	oldUnit
	oldAttributes
	oldLastChanged
	oldLastUpdated
	endOfOld

	wholeEvent = endOfOld // e itself
	fieldCount = wholeEvent + 1
)

var eventFieldNames = [endOfOld]string{
	"type", "entity_id", "domain", "source", "time", "seq", "state", "number", "unit", "attributes", "old", "data",
	"last_changed", "last_updated",
	"state", "number", "unit", "attributes", "last_changed", "last_updated",
}

// eventFieldOf returns the property of e with that name.
func eventFieldOf(name string) (f eventField, ok bool) {
	return fieldNamed(name, fieldType, endOfEvent)
}

// oldFieldOf returns the property of e.old with that name.
func oldFieldOf(name string) (f eventField, ok bool) {
	return fieldNamed(name, oldState, endOfOld)
}

func fieldNamed(name string, from, to eventField) (f eventField, ok bool) {
	for f := from; f < to; f++ {
		if eventFieldNames[f] == name {
			return f, true
		}
	}
	return 0, false
}

// An Event is what filters see of a runtime.Event. Each property is decoded
// when first asked for, once, into memory that the next event uses again:
// nothing read from an Event may be kept beyond its next Reset. It belongs to
// one goroutine at a time. The zero Event must be Reset before its use.
type Event struct {
	ev   *runtime.Event
	have uint32 // a bit for each of values that is decoded
	vals [fieldCount]value
	tree tree

	oldFields   [endOfOld - oldState]field
	eventFields [endOfEvent]field
	oldNode     node
	eventNode   node

	machine machine // that runs programs on the event
}

// Reset makes e show another event. It allocates nothing once e has seen events
// of that size.
func (e *Event) Reset(ev *runtime.Event) {
	e.ev, e.have = ev, 0
	e.tree.reset()
}

// field returns a property of the event, undefined if it has none.
func (e *Event) field(f eventField) value {
	if e.have&(1<<(f&31)) != 0 {
		return e.vals[f]
	}
	return e.load(f)
}

func (e *Event) load(f eventField) value {
	e.vals[f] = e.decode(f)
	e.have |= 1 << f
	return e.vals[f]
}

// root returns the event as an object with all its properties, those that are
// undefined included.
func (e *Event) root() value { return e.field(wholeEvent) }

// hasOld reports whether e.old is an object.
func (e *Event) hasOld() bool { return e.ev.Old() != nil }

func (e *Event) decode(f eventField) value {
	switch f {
	case fieldType:
		return stringValue(e.ev.Type)
	case fieldEntityID:
		return optional(e.ev.EntityID)
	case fieldDomain:
		return optional(e.ev.Domain)
	case fieldSource:
		return stringValue(e.ev.Source)
	case fieldTime:
		return milliseconds(e.ev.Time)
	case fieldSeq:
		return numberValue(float64(e.ev.Seq))
	case fieldOld:
		return e.old()
	case fieldData:
		return e.object(e.ev.Data())
	case wholeEvent:
		return e.whole()
	}
	if f >= oldState {
		return e.ofState(e.ev.Old(), f, oldAttributes)
	}
	return e.ofState(e.ev.New(), f, fieldAttributes)
}

// ofState returns a property of a state that may be nil.
func (e *Event) ofState(s *runtime.State, f, attributes eventField) value {
	if s == nil {
		return value{}
	}
	switch f {
	case fieldState, oldState:
		return stringValue(s.State)
	case fieldNumber, oldNumber:
		return numeric(s.State)
	case fieldUnit, oldUnit:
		if unit := e.field(attributes).get("unit_of_measurement"); unit.kind == str {
			return unit
		}
	case fieldAttributes, oldAttributes:
		return e.object(s.Attributes)
	case fieldLastChanged, oldLastChanged:
		return milliseconds(s.LastChanged)
	case fieldLastUpdated, oldLastUpdated:
		return milliseconds(s.LastUpdated)
	}
	return value{}
}

// object returns the object that text is, an empty one if it is none.
func (e *Event) object(text []byte) value {
	if v, ok := e.tree.parse(text); ok && v.kind == object {
		return v
	}
	return nodeValue(object, &emptyNode)
}

var emptyNode node

func (e *Event) old() value {
	if !e.hasOld() {
		return value{}
	}
	for i := range e.oldFields {
		f := oldState + eventField(i)
		e.oldFields[i] = field{eventFieldNames[f], e.field(f)}
	}
	e.oldNode.fields = e.oldFields[:]
	return nodeValue(object, &e.oldNode)
}

func (e *Event) whole() value {
	for i := range e.eventFields {
		f := eventField(i)
		e.eventFields[i] = field{eventFieldNames[f], e.field(f)}
	}
	e.eventNode.fields = e.eventFields[:]
	return nodeValue(object, &e.eventNode)
}

func optional(s string) value {
	if s == "" {
		return value{}
	}
	return stringValue(s)
}

// numeric is the number that a state is, undefined for what is blank or not
// finite.
func numeric(state string) value {
	f := parseNumber(state)
	if f != f || math.IsInf(f, 0) || f == 0 && trimSpace(state) == "" {
		return value{}
	}
	return numberValue(f)
}

// milliseconds returns a time as Date.now() would give it: whole milliseconds
// since 1970 in UTC.
func milliseconds(t time.Time) value { return numberValue(float64(t.UnixMilli())) }
