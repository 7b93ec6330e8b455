package template

import (
	"math"
	"slices"
	"strings"
)

func listFilters() map[string]*builtin {
	length := define("value", func(e *env, args []Value) Value { return e.length(args[0]) })
	fallback := define("value default_value? boolean?", defaultFilter)
	return map[string]*builtin{
		"length":  length,
		"count":   length,
		"default": fallback,
		"d":       fallback,
		"list":    define("value", func(e *env, args []Value) Value { return slices.Clone(e.iterate(args[0])) }),
		"first":   define("seq", first),
		"last":    define("seq", last),
		"min":     define("value case_sensitive? attribute?", func(e *env, args []Value) Value { return e.extreme(args, true) }),
		"max":     define("value case_sensitive? attribute?", func(e *env, args []Value) Value { return e.extreme(args, false) }),
		"sum":     define("iterable attribute? start?", sum),
		"sort":    define("value reverse? case_sensitive? attribute?", sortFilter),
		"unique":  define("value case_sensitive? attribute?", unique),
		"reverse": define("value", reverse),
		"join":    define("value d? attribute?", joinFilter),
		"items":   define("value", itemsFilter),
		"iif":     define("value if_true? if_false? if_none?", iif),
		"is_defined": define("value", func(e *env, args []Value) Value {
			if u, ok := args[0].(Undefined); ok {
				err := e.t.errorAt(e.at, "%s", u.why)
				err.KeepsPayload, err.Skips = true, true
				panic(err)
			}
			return args[0]
		}),
	}
}

func (e *env) length(v Value) Value {
	if text, ok := v.(string); ok {
		e.step(len(text) / stepBytes)
	}
	n, ok := lengthOf(v)
	if !ok {
		e.failf("a value of type %s has no length", typeName(v))
	}
	return int64(n)
}

func defaultFilter(e *env, args []Value) Value {
	_, isUndefined := args[0].(Undefined)
	if isUndefined || truth(orElse(args[2], false)) && !truth(args[0]) {
		return orElse(args[1], "")
	}
	return args[0]
}

func iif(e *env, args []Value) Value {
	switch {
	case args[0] == nil && given(args[3]):
		return args[3]
	case truth(args[0]):
		return orElse(args[1], true)
	}
	return orElse(args[2], false)
}

func first(e *env, args []Value) Value {
	if item, ok := e.iterator(args[0])(); ok {
		return item
	}
	return Undefined{"there is no first item, the sequence is empty"}
}

func last(e *env, args []Value) Value {
	if items := e.reversible(args[0]); len(items) > 0 {
		return items[len(items)-1]
	}
	return Undefined{"there is no last item, the sequence is empty"}
}

// reversible returns the items of what Python's reversed() takes.
func (e *env) reversible(v Value) List {
	if is[*generator](v) {
		e.failf("a %s has no last item, a list has", typeName(v))
	}
	return e.iterate(v)
}

func reverse(e *env, args []Value) Value {
	if text, ok := plain(args[0]).(string); ok {
		e.made(len(text))
		runes := []rune(text)
		slices.Reverse(runes)
		return like(args[0], string(runes))
	}
	if !isIterable(e, args).(bool) {
		e.failKept("a value of type %s cannot be reversed", typeName(args[0]))
	}
	items := slices.Clone(e.iterate(args[0]))
	slices.Reverse(items)
	if _, ok := args[0].(*generator); ok {
		return items
	}
	return generated("reversed", items)
}

func itemsFilter(e *env, args []Value) Value {
	switch v := args[0].(type) {
	case Undefined:
		return generated("generator", nil)
	case *Dict:
		return generated("generator", e.pairs(v))
	}
	e.failf("items needs a dict: it is of type %s", typeName(args[0]))
	return nil
}

func (e *env) pairs(d *Dict) List {
	e.step(2 * len(d.entries))
	items := make(List, len(d.entries))
	for i := range d.entries {
		items[i] = Tuple{d.entries[i].key, d.entries[i].value}
	}
	return items
}

func joinFilter(e *env, args []Value) Value {
	items := e.iterate(args[0])
	by := e.str(orElse(args[1], ""))
	get := e.getter(orElse(args[2], nil), nil)
	var text []byte
	for i, item := range items {
		if i > 0 {
			text = append(text, by...)
		}
		text = e.appendText(text, get(item))
		if len(text) > maxString {
			break
		}
	}
	e.made(len(text))
	return string(text)
}

// getter returns what takes an attribute like "a.0.b" of an item.
func (e *env) getter(attribute, otherwise Value) func(Value) Value {
	parts := e.attributeParts(attribute)
	return func(item Value) Value {
		e.step(1 + len(parts))
		for _, part := range parts {
			item = e.item(item, part)
			if _, ok := item.(Undefined); ok && otherwise != nil {
				item = otherwise
			}
		}
		return item
	}
}

func (e *env) attributeParts(attribute Value) (parts List) {
	switch a := attribute.(type) {
	case nil:
		return nil
	case string:
		e.made(len(a))
		for _, part := range strings.Split(a, ".") {
			parts = append(parts, indexOrName(part))
		}
		e.makes(len(parts))
		return parts
	}
	if i, ok := integer(attribute); ok {
		return List{i}
	}
	return List{attribute}
}

func indexOrName(part string) Value {
	if part == "" || len(part) > 18 {
		return part
	}
	n := int64(0)
	for i := range len(part) {
		if !isDigit(part[i]) {
			return part
		}
		n = n*10 + int64(part[i]-'0')
	}
	return n
}

// sortable is what an item is sorted by: strings in lower case unless told otherwise.
func (e *env) sortable(v, caseSensitive Value) Value {
	if text, ok := plain(v).(string); ok && !truth(orElse(caseSensitive, false)) {
		return e.lower(text)
	}
	return v
}

// extreme is the min and max filter.
func (e *env) extreme(args []Value, least bool) Value {
	items := e.iterate(args[0])
	if len(items) == 0 {
		return Undefined{"there is no least or greatest item, the sequence is empty"}
	}
	get := e.getter(orElse(args[2], nil), nil)
	best := items[0]
	bestKey := e.sortable(get(best), args[1])
	for _, item := range items[1:] {
		key := e.sortable(get(item), args[1])
		if least && e.less(key, bestKey, false, 0) || !least && e.less(bestKey, key, false, 0) {
			best, bestKey = item, key
		}
	}
	return best
}

// sum adds floats the way that Python does from 3.12 on, with the error of each
// addition kept and added at the end.
func sum(e *env, args []Value) Value {
	total := orElse(args[2], int64(0))
	if text, ok := total.(string); ok {
		e.failf("sum cannot begin with %.40q", text)
	}
	get := e.getter(orElse(args[1], nil), nil)
	compensation := 0.0
	for _, item := range e.iterate(args[0]) {
		v := get(item)
		a, isFloat := total.(float64)
		b, isFloat2 := v.(float64)
		if isFloat && isFloat2 {
			added := a + b
			if math.Abs(a) >= math.Abs(b) {
				compensation += (a - added) + b
			} else {
				compensation += (b - added) + a
			}
			total = added
			continue
		}
		total = e.binary('+', total, v)
	}
	if f, ok := total.(float64); ok && compensation != 0 && !math.IsInf(compensation, 0) && !math.IsNaN(compensation) {
		return f + compensation
	}
	return total
}

// sortFilter sorts by one attribute, or by several like "a,b.c".
func sortFilter(e *env, args []Value) Value {
	items := slices.Clone(e.iterate(args[0]))
	var getters []func(Value) Value
	if text, ok := args[3].(string); ok {
		for _, attribute := range strings.Split(text, ",") {
			getters = append(getters, e.getter(attribute, nil))
		}
		e.makes(len(getters))
	} else {
		getters = append(getters, e.getter(orElse(args[3], nil), nil))
	}
	type sorted struct {
		key  List
		item Value
	}
	keyed := make([]sorted, len(items))
	for i, item := range items {
		key := make(List, len(getters))
		for j, get := range getters {
			key[j] = e.sortable(get(item), args[2])
			if f, ok := key[j].(float64); ok && math.IsNaN(f) {
				e.failf("sorting NaN is not supported")
			}
		}
		keyed[i] = sorted{key, item}
	}
	reversed := truth(orElse(args[1], false))
	slices.SortStableFunc(keyed, func(a, b sorted) int {
		e.step(1)
		if reversed {
			a, b = b, a
		}
		switch {
		case e.lessItems(a.key, b.key, false, 0):
			return -1
		case e.lessItems(b.key, a.key, false, 0):
			return 1
		}
		return 0
	})
	for i := range keyed {
		items[i] = keyed[i].item
	}
	return items
}

func unique(e *env, args []Value) Value {
	get := e.getter(orElse(args[2], nil), nil)
	seen := map[any]bool{}
	var kept List
	for _, item := range e.iterate(args[0]) {
		hash := e.hash(e.sortable(get(item), args[1]))
		if !seen[hash] {
			seen[hash] = true
			kept = append(kept, item)
		}
	}
	return generated("generator", kept)
}
