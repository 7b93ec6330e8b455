package filter

import (
	"math"
	"unsafe"
)

// A kind is the JavaScript type of a value, with lists apart from other
// objects.
type kind uint8

const (
	undefined kind = iota
	null
	boolean
	number
	str
	list
	object
)

// A value is a JavaScript value. Its zero value is undefined. Values are small
// and passed by copy, in three registers; those that come from an Event hold
// until its next Reset.
type value struct {
	kind kind
	bits uint64         // of a number and a boolean (0 or 1): its IEEE 754 bits; of a str: its length in bytes
	ptr  unsafe.Pointer // of a str: its first byte; of a list or an object: its *node
}

// num is the number that a number is; 0 or 1 of a boolean.
func (v value) num() float64 { return math.Float64frombits(v.bits) }

// text is what a str is: UTF-8, with lone surrogates in three bytes (see
// text.go).
func (v value) text() string { return unsafe.String((*byte)(v.ptr), int(v.bits)) }

// node is what a list or an object holds.
func (v value) node() *node { return (*node)(v.ptr) }

// A node is what a list or an object holds. It is immutable once made, and may
// be shared.
type node struct {
	items  []value  // of a list
	fields []field  // of an object, in the order of Object.keys
	index  keyIndex // of an object with many fields
}

// A field is one property of an object.
type field struct {
	key   string
	value value
}

func boolValue(b bool) value {
	if b {
		return value{kind: boolean, bits: math.Float64bits(1)}
	}
	return value{kind: boolean}
}

func numberValue(f float64) value { return value{kind: number, bits: math.Float64bits(f)} }

func stringValue(s string) value {
	return value{kind: str, bits: uint64(len(s)), ptr: unsafe.Pointer(unsafe.StringData(s))}
}

// listValue returns the list of these items, which become its own.
func listValue(items []value) value { return nodeValue(list, &node{items: items}) }

// objectValue returns the object of these fields, which become its own. Their
// keys must be distinct; their order becomes that of Object.keys.
func objectValue(fields []field) value { return nodeValue(object, newObject(fields)) }

func nodeValue(k kind, n *node) value { return value{kind: k, ptr: unsafe.Pointer(n)} }

// nullish reports whether v is undefined or null: what ?? and ?. pass over, and
// what has no properties.
func (v value) nullish() bool { return v.kind <= null }

// container reports whether v is a list or an object.
func (v value) container() bool { return v.kind >= list }

// truthy is ToBoolean.
func (v value) truthy() bool {
	switch v.kind {
	case boolean:
		return v.num() != 0
	case number:
		return v.num() != 0 && v.num() == v.num()
	case str:
		return v.text() != ""
	case list, object:
		return true
	}
	return false
}

// typeOf is what the operator typeof says.
func (v value) typeOf() string {
	switch v.kind {
	case undefined:
		return "undefined"
	case boolean:
		return "boolean"
	case number:
		return "number"
	case str:
		return "string"
	}
	return "object"
}

// length returns the property length of a string or list: UTF-16 code units,
// items. Other values have none.
func (v value) length() (n int, ok bool) {
	switch v.kind {
	case str:
		return length16(v.text()), true
	case list:
		return len(v.node().items), true
	}
	return 0, false
}

// get returns v's own property of that name: a field, an index, a length; else
// undefined. What v inherits is not here, and undefined and null have no
// properties: the caller throws before.
func (v value) get(name string) value {
	switch v.kind {
	case object:
		return v.node().get(name)
	case list, str:
		if name == "length" {
			n, _ := v.length()
			return numberValue(float64(n))
		}
		if i, ok := arrayIndex(name); ok {
			return v.at(int(i))
		}
	}
	return value{}
}

// at returns v[i] of a list or string, undefined outside of it.
func (v value) at(i int) value {
	switch v.kind {
	case list:
		if i >= 0 && i < len(v.node().items) {
			return v.node().items[i]
		}
	case str:
		if unit, ok := unitAt(v.text(), i); ok {
			return stringValue(unit)
		}
	case object:
		if i >= 0 {
			return v.node().get(formatNumber(float64(i)))
		}
	}
	return value{}
}

// has reports whether v has an own property of that name: hasOwnProperty. Lists
// have no holes.
func (v value) has(name string) bool {
	switch v.kind {
	case object:
		return v.node().find(name) >= 0
	case list, str:
		n, _ := v.length()
		i, ok := arrayIndex(name)
		return name == "length" || ok && int64(i) < int64(n)
	}
	return false
}
