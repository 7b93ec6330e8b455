package filter

import (
	"strconv"
	"unicode/utf8"
)

// The functions on Object and JSON.

const toObjectMessage = "Cannot convert undefined or null to object"

// properties calls yield with the own properties of v, in the order of
// Object.keys, and throws for undefined and null.
func (m *machine) properties(v value, yield func(key string, v value)) {
	switch v.kind {
	case undefined, null:
		m.typeError(toObjectMessage)
	case object:
		for i := range v.node().fields {
			if !m.spend(1) {
				return
			}
			yield(v.node().fields[i].key, v.node().fields[i].value)
		}
	case list, str:
		n, _ := v.length()
		if !m.spend(n) {
			return
		}
		for i, item := range m.units(v) {
			yield(strconv.Itoa(i), item)
		}
	}
}

// units are the items of a list, or the code units of a string.
func (m *machine) units(v value) []value {
	if v.kind == list {
		return v.node().items
	}
	s := v.text()
	items := make([]value, 0, len(s))
	for s != "" {
		if s[0] < utf8.RuneSelf {
			items, s = append(items, stringValue(s[:1])), s[1:]
			continue
		}
		r, size := decode(s)
		first, second, two := units(r)
		if s = s[size:]; two {
			items = append(items, stringValue(string(appendUnit(nil, first))))
			first = second
		}
		items = append(items, stringValue(string(appendUnit(nil, first))))
	}
	return items
}

func keysFunction(m *machine, args []value) value {
	var items []value
	m.properties(argument(args, 0), func(key string, v value) { items = append(items, stringValue(key)) })
	return listValue(items)
}

func valuesFunction(m *machine, args []value) value {
	var items []value
	m.properties(argument(args, 0), func(key string, v value) { items = append(items, v) })
	return listValue(items)
}

func entriesFunction(m *machine, args []value) value {
	var items []value
	m.properties(argument(args, 0), func(key string, v value) {
		items = append(items, listValue([]value{stringValue(key), v}))
	})
	return listValue(items)
}

func hasOwnFunction(m *machine, args []value) value {
	v := argument(args, 0)
	if v.nullish() {
		return m.typeError(toObjectMessage)
	}
	return boolValue(v.has(m.toString(argument(args, 1))))
}

func fromEntriesFunction(m *machine, args []value) value {
	v := argument(args, 0)
	if v.nullish() {
		return m.typeError("Value is not object coercible")
	}
	var b builder
	for _, entry := range m.iterate(v).node().items {
		if !m.spend(1) {
			break
		}
		if !entry.container() {
			return m.typeError("Value is not an object: " + m.shown(entry))
		}
		key := entry.get("0")
		b.set(m.toString(key), entry.get("1"))
	}
	return b.object()
}

// stringifyFunction is JSON.stringify with one argument; the reader lets no
// other through.
func stringifyFunction(m *machine, args []value) value {
	v := argument(args, 0)
	if !m.spend(m.size(v)) {
		return value{}
	}
	text, ok := appendJSON(nil, v)
	if !ok {
		return value{}
	}
	return stringValue(string(text))
}

// size is about what walking through all of v takes.
func (m *machine) size(v value) int {
	units := 1
	switch v.kind {
	case str:
		units += len(v.text()) / 32
	case list:
		for _, item := range v.node().items {
			if units += m.size(item); units > maxWork {
				return units
			}
		}
	case object:
		for i := range v.node().fields {
			f := &v.node().fields[i]
			if units += m.size(f.value) + len(f.key)/32; units > maxWork {
				return units
			}
		}
	}
	return units
}

// iterate returns the items that for…of would meet, as a list; it throws for
// what can't be iterated.
func (m *machine) iterate(v value) value {
	switch v.kind {
	case list:
		return v
	case str:
		s := v.text()
		if !m.spend(len(s)) {
			return emptyList
		}
		var items []value
		for s != "" {
			_, size := decode(s)
			items = append(items, stringValue(s[:size]))
			s = s[size:]
		}
		return listValue(items)
	case undefined, null:
		m.typeError(toObjectMessage)
		return emptyList
	}
	m.typeError("object is not iterable")
	return emptyList
}

var emptyList = listValue(nil)

// A builder makes an object whose keys may repeat.
type builder struct {
	fields []field
	places map[string]int // of keys in fields, once there are many
}

// set gives a property a value. The last one counts, in the place of the first.
func (b *builder) set(key string, v value) {
	if i := b.find(key); i >= 0 {
		b.fields[i].value = v
		return
	}
	if b.places != nil {
		b.places[key] = len(b.fields)
	}
	b.fields = append(b.fields, field{key, v})
}

func (b *builder) find(key string) int {
	if b.places == nil && len(b.fields) >= indexFrom {
		b.places = make(map[string]int, 2*len(b.fields))
		for i := range b.fields {
			b.places[b.fields[i].key] = i
		}
	}
	if b.places != nil {
		if i, ok := b.places[key]; ok {
			return i
		}
		return -1
	}
	for i := range b.fields {
		if b.fields[i].key == key {
			return i
		}
	}
	return -1
}

func (b *builder) object() value { return objectValue(b.fields) }
