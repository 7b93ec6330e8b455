package template

import (
	"iter"
	"strconv"
	"unicode/utf8"
)

// A Value is one of nil (None), Undefined, bool, int64, float64, string, List,
// Tuple or *Dict, or uint64 for whole numbers from 1<<63 on: those can be printed
// and compared with each other, but not be calculated with. Templates make a few
// more, which never leave Render.
type Value any

// Undefined is what a missing key or variable gives. It prints as nothing and is
// false; taking an attribute of it or calculating with it is an error.
type Undefined struct {
	why string // for the error: what is undefined
}

// List and Tuple are never changed once they are made.
type (
	List  []Value
	Tuple []Value
)

// missing marks a parameter that was not given.
type missing struct{}

// A generator is what Python's map, zip and the like give: items that are made
// when they are taken, once, and that have no length.
type generator struct {
	kind string
	next func() (item Value, ok bool)
}

// generated is a generator of items that are there.
func generated(kind string, items List) *generator {
	return &generator{kind, each(items)}
}

func each(items List) func() (Value, bool) {
	return func() (Value, bool) {
		if len(items) == 0 {
			return nil, false
		}
		item := items[0]
		items = items[1:]
		return item, true
	}
}

// A view is what a dict's keys(), values() and items() give.
type view struct {
	kind  string // "dict_keys" and so on
	items List
}

type span struct{ start, stop, step, length int64 }

func (s span) items() List {
	items := make(List, s.length)
	for i := range items {
		items[i] = s.start + int64(i)*s.step
	}
	return items
}

// A namespace is the only thing that a template can change.
type namespace struct{ fields *Dict }

// A method is a method of a value that was not called at once.
type method struct{ name string }

// A Dict is a dict in the order in which its keys came. It is not changed once
// it is made, so any number of goroutines may read it.
type Dict struct {
	entries []entry
	index   map[any]int // from indexFrom entries on
}

type entry struct {
	key, value Value
	hash       any // what equal keys have in common
}

// indexFrom is where a map becomes quicker than looking at each key.
const indexFrom = 16

// Len returns the number of keys.
func (d *Dict) Len() int { return len(d.entries) }

// Get returns what a string key holds.
func (d *Dict) Get(key string) (Value, bool) {
	if d.index != nil {
		i, ok := d.index[key]
		if !ok {
			return nil, false
		}
		return d.entries[i].value, true
	}
	for i := range d.entries {
		if text, ok := d.entries[i].key.(string); ok && text == key {
			return d.entries[i].value, true
		}
	}
	return nil, false
}

// All goes through keys and values in order. Keys that Decode made are strings.
func (d *Dict) All() iter.Seq2[Value, Value] {
	return func(yield func(Value, Value) bool) {
		for i := range d.entries {
			if !yield(d.entries[i].key, d.entries[i].value) {
				return
			}
		}
	}
}

func (d *Dict) find(hash any) int {
	if d.index != nil {
		if i, ok := d.index[hash]; ok {
			return i
		}
		return -1
	}
	for i := range d.entries {
		if d.entries[i].hash == hash {
			return i
		}
	}
	return -1
}

// put sets a key; a key that was there keeps its place.
func (d *Dict) put(key Value, hash any, value Value) {
	if i := d.find(hash); i >= 0 {
		d.entries[i].value = value
		return
	}
	d.entries = append(d.entries, entry{key, value, hash})
	switch {
	case d.index != nil:
		d.index[hash] = len(d.entries) - 1
	case len(d.entries) >= indexFrom:
		d.index = make(map[any]int, 2*indexFrom)
		for i := range d.entries {
			d.index[d.entries[i].hash] = i
		}
	}
}

// The hashes of keys that are no strings. Python has True, 1 and 1.0 as one key.
type (
	noneHash      struct{}
	undefinedHash struct{}
	tupleHash     string
)

// hashOf returns what equal keys have in common, and false for what cannot be a
// key. Depth bounds nested tuples.
func hashOf(v Value, depth int) (any, bool) {
	switch v := plain(v).(type) {
	case string:
		return v, true
	case nil:
		return noneHash{}, true
	case Undefined:
		return undefinedHash{}, true
	case bool:
		return intOf(v), true
	case int64:
		return v, true
	case uint64:
		return v, true
	case float64:
		if whole, ok := wholeFloat(v); ok {
			return whole, true
		}
		return v, true
	case Tuple:
		return hashOfTuple(v, depth)
	}
	return nil, false
}

func hashOfTuple(items Tuple, depth int) (any, bool) {
	if depth >= maxDepth || len(items) > maxTupleKey {
		return nil, false
	}
	var text []byte
	for _, item := range items {
		hash, ok := hashOf(item, depth+1)
		if !ok {
			return nil, false
		}
		switch hash := hash.(type) {
		case string:
			text = strconv.AppendQuote(append(text, 's'), hash)
		case tupleHash:
			text = strconv.AppendQuote(append(text, 't'), string(hash))
		case int64:
			text = strconv.AppendInt(append(text, 'i'), hash, 10)
		case uint64:
			text = strconv.AppendUint(append(text, 'i'), hash, 10)
		case float64:
			text = strconv.AppendFloat(append(text, 'f'), hash, 'g', -1, 64)
		case noneHash:
			text = append(text, 'n')
		case undefinedHash:
			text = append(text, 'u')
		}
		if len(text) > maxString {
			return nil, false
		}
		text = append(text, ',')
	}
	return tupleHash(text), true
}

func intOf(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// wholeFloat returns a float as the int64 that equals it.
func wholeFloat(f float64) (int64, bool) {
	if f >= -1<<63 && f < 1<<63 && f == float64(int64(f)) {
		return int64(f), true
	}
	return 0, false
}

// typeName is Python's name of a value's type.
func typeName(v Value) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case Undefined:
		return "Undefined"
	case bool:
		return "bool"
	case int64, uint64:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case List:
		return "list"
	case Tuple:
		return "tuple"
	case *Dict:
		return "dict"
	case *generator:
		return v.kind
	case *view:
		return v.kind
	case span:
		return "range"
	case *namespace:
		return "Namespace"
	case *method:
		return "method"
	case *loop:
		return "LoopContext"
	case markup:
		return "Markup"
	case moment:
		return "datetime"
	case lapse:
		return "timedelta"
	}
	return "object"
}

// truth is Python's bool().
func truth(v Value) bool {
	switch v := v.(type) {
	case nil, Undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case markup:
		return true // it is JSON
	case List:
		return len(v) > 0
	case Tuple:
		return len(v) > 0
	case *Dict:
		return v.Len() > 0
	case *view:
		return len(v.items) > 0
	case span:
		return v.length > 0
	case lapse:
		return v != 0
	}
	return true
}

// lengthOf is Python's len(); false: the value has none.
func lengthOf(v Value) (int, bool) {
	switch v := plain(v).(type) {
	case string:
		return utf8.RuneCountInString(v), true
	case List:
		return len(v), true
	case Tuple:
		return len(v), true
	case *Dict:
		return v.Len(), true
	case *view:
		return len(v.items), true
	case span:
		return int(v.length), true
	case Undefined:
		return 0, true
	case *loop:
		return len(v.items), true
	}
	return 0, false
}
