package template

import (
	"math"
	"strings"
)

// equal is Python's ==.
func (e *env) equal(a, b Value, depth int) bool {
	a, b = plain(a), plain(b)
	if x, y := asNumber(a), asNumber(b); x != nil && y != nil {
		order, ok := compareNumbers(x, y)
		return ok && order == 0
	}
	switch a := a.(type) {
	case nil:
		return b == nil
	case uint64:
		if asNumber(b) != nil {
			e.overflow()
		}
		large, ok := b.(uint64)
		return ok && a == large
	case string:
		text, ok := b.(string)
		return ok && a == text
	case Undefined:
		_, ok := b.(Undefined)
		return ok
	case List:
		items, ok := b.(List)
		return ok && e.equalItems(a, items, depth)
	case Tuple:
		items, ok := b.(Tuple)
		return ok && e.equalItems(List(a), List(items), depth)
	case *Dict:
		d, ok := b.(*Dict)
		return ok && e.equalDicts(a, d, depth)
	case *view, span:
		e.failf("comparing a %s is not supported", typeName(a))
	case *generator, *namespace, *loop:
		return a == b
	case moment, lapse:
		order, ok := compareMoments(a, b)
		return ok && order == 0
	}
	switch b.(type) {
	case *method:
		e.failf("comparing a method is not supported")
	case uint64:
		if asNumber(a) != nil {
			e.overflow()
		}
	}
	return false
}

func (e *env) equalItems(a, b List, depth int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		e.deeper(nil, depth)
		if !e.equal(a[i], b[i], depth+1) {
			return false
		}
	}
	return true
}

func (e *env) equalDicts(a, b *Dict, depth int) bool {
	if len(a.entries) != len(b.entries) {
		return false
	}
	for i := range a.entries {
		e.deeper(nil, depth)
		j := b.find(a.entries[i].hash)
		if j < 0 || !e.equal(a.entries[i].value, b.entries[j].value, depth+1) {
			return false
		}
	}
	return true
}

// compareNumbers compares exactly; false: one is no number (NaN).
func compareNumbers(a, b Value) (int, bool) {
	i, isInt := a.(int64)
	j, isInt2 := b.(int64)
	switch {
	case isInt && isInt2:
		return compareOrdered(i, j), true
	case isInt:
		return compareMixed(i, asFloat(b))
	case isInt2:
		order, ok := compareMixed(j, asFloat(a))
		return -order, ok
	}
	x, y := asFloat(a), asFloat(b)
	if math.IsNaN(x) || math.IsNaN(y) {
		return 0, false
	}
	return compareOrdered(x, y), true
}

func compareOrdered[T int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func compareMixed(i int64, f float64) (int, bool) {
	switch {
	case math.IsNaN(f):
		return 0, false
	case f >= 1<<63:
		return -1, true
	case f < -1<<63:
		return 1, true
	}
	whole := math.Trunc(f)
	if order := compareOrdered(i, int64(whole)); order != 0 {
		return order, true
	}
	return compareOrdered(whole, f), true
}

// less is Python's < or, with orEqual, <=.
func (e *env) less(a, b Value, orEqual bool, depth int) bool {
	a, b = plain(a), plain(b)
	for _, side := range []Value{a, b} {
		if u, ok := side.(Undefined); ok {
			e.undefined(u)
		}
	}
	if x, y := asNumber(a), asNumber(b); x != nil && y != nil {
		order, ok := compareNumbers(x, y)
		return ok && (order < 0 || orEqual && order == 0)
	}
	switch a := a.(type) {
	case string:
		if text, ok := b.(string); ok {
			return a < text || orEqual && a == text
		}
	case List:
		if items, ok := b.(List); ok {
			return e.lessItems(a, items, orEqual, depth)
		}
	case Tuple:
		if items, ok := b.(Tuple); ok {
			return e.lessItems(List(a), List(items), orEqual, depth)
		}
	}
	if is[uint64](a) || is[uint64](b) {
		e.overflow()
	}
	if order, ok := compareMoments(a, b); ok {
		return order < 0 || orEqual && order == 0
	}
	e.failf("%s and %s have no order", typeName(a), typeName(b))
	return false
}

func (e *env) lessItems(a, b List, orEqual bool, depth int) bool {
	for i := range min(len(a), len(b)) {
		e.deeper(nil, depth)
		if !e.equal(a[i], b[i], depth+1) {
			return e.less(a[i], b[i], orEqual, depth+1)
		}
	}
	return len(a) < len(b) || orEqual && len(a) == len(b)
}

// contains is Python's item in container.
func (e *env) contains(container, item Value) bool {
	switch c := plain(container).(type) {
	case string:
		text, ok := plain(item).(string)
		if !ok {
			e.failf("a string cannot hold a value of type %s", typeName(item))
		}
		e.step(len(c) / stepBytes)
		return strings.Contains(c, text)
	case *Dict:
		return c.find(e.hash(item)) >= 0
	case *namespace, *loop, *method:
		e.failf("looking into a %s is not supported", typeName(c))
	}
	if _, ok := itemsOf(container); !ok && !is[*generator](container) {
		e.failf("a value of type %s holds nothing", typeName(container))
	}
	next := e.iterator(container)
	for each, ok := next(); ok; each, ok = next() {
		e.step(1)
		if e.equal(each, item, 0) {
			return true
		}
	}
	return false
}
