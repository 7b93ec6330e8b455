package filter

import (
	"math"
	"strings"
)

// cannotConvert is the message of the only error of the operations here: an
// object whose own property hides the toString that it inherits.
const cannotConvert = "Cannot convert object to primitive value"

// primitive is ToPrimitive. Lists and objects become strings, whatever the
// hint, since neither valueOf that they inherit gives a primitive. It is not ok
// where JavaScript throws a TypeError (cannotConvert).
func (v value) primitive() (p value, ok bool) {
	switch v.kind {
	case list:
		s, ok := v.join(",")
		return stringValue(s), ok
	case object:
		if v.node().find("toString") >= 0 {
			return value{}, false
		}
		return stringValue("[object Object]"), true
	}
	return v, true
}

// join is Array.prototype.join of a list.
func (v value) join(separator string) (s string, ok bool) {
	items := v.node().items
	switch len(items) {
	case 0:
		return "", true
	case 1:
		if items[0].nullish() {
			return "", true
		}
		return items[0].toString()
	}
	var b strings.Builder
	for i, item := range items {
		if i > 0 {
			b.WriteString(separator)
		}
		if item.nullish() {
			continue
		}
		s, ok := item.toString()
		if !ok {
			return "", false
		}
		b.WriteString(s)
	}
	return joinSurrogates(b.String()), true
}

// toString is ToString; not ok as primitive is.
func (v value) toString() (s string, ok bool) {
	switch v.kind {
	case undefined:
		return "undefined", true
	case null:
		return "null", true
	case boolean:
		if v.num() != 0 {
			return "true", true
		}
		return "false", true
	case number:
		return formatNumber(v.num()), true
	case str:
		return v.text(), true
	}
	p, ok := v.primitive()
	return p.text(), ok
}

// toNumber is ToNumber; not ok as primitive is.
func (v value) toNumber() (f float64, ok bool) {
	switch v.kind {
	case undefined:
		return math.NaN(), true
	case null:
		return 0, true
	case boolean, number:
		return v.num(), true
	case str:
		return parseNumber(v.text()), true
	}
	p, ok := v.primitive()
	if !ok {
		return 0, false
	}
	return parseNumber(p.text()), true
}

// strictEqual is ===. Lists and objects are equal to themselves only.
func strictEqual(a, b value) bool {
	if a.kind != b.kind {
		return false
	}
	switch a.kind {
	case boolean, number:
		return a.num() == b.num()
	case str:
		return a.text() == b.text()
	case list, object:
		return a.node() == b.node()
	}
	return true
}

// sameValueZero is how includes compares: === but for NaN, which is itself.
func sameValueZero(a, b value) bool {
	return strictEqual(a, b) || a.kind == number && b.kind == number && a.num() != a.num() && b.num() != b.num()
}

// looseEqual is ==; not ok as primitive is.
func looseEqual(a, b value) (equal, ok bool) {
	if a.kind == b.kind || a.container() && b.container() {
		return strictEqual(a, b), true
	}
	if a.nullish() || b.nullish() {
		return a.nullish() && b.nullish(), true
	}
	if a.kind > b.kind {
		a, b = b, a
	}
	// Now a is a boolean, a number or a string, and b of a later kind.
	if b.container() {
		p, ok := b.primitive()
		if !ok {
			return false, false
		}
		if b = p; a.kind == str {
			return a.text() == b.text(), true
		}
	}
	x, _ := a.toNumber()
	y, _ := b.toNumber()
	return x == y, true
}

// An ordering is what a relational comparison of two values finds.
type ordering uint8

const (
	unordered ordering = iota // one of them is NaN: every comparison is false
	below
	equal
	above
)

// compare is what <, <=, > and >= decide by: strings by their UTF-16 code
// units if both are strings once they are primitive, else numbers. It is not ok
// as primitive is.
func compare(a, b value) (ordering, bool) {
	if a.kind == number && b.kind == number {
		return orderOf(a.num(), b.num()), true
	}
	a, aok := a.primitive()
	b, bok := b.primitive()
	if !aok || !bok {
		return unordered, false
	}
	if a.kind == str && b.kind == str {
		return orderOf(float64(compare16(a.text(), b.text())), 0), true
	}
	x, _ := a.toNumber()
	y, _ := b.toNumber()
	return orderOf(x, y), true
}

func orderOf(x, y float64) ordering {
	switch {
	case x < y:
		return below
	case x > y:
		return above
	case x == y:
		return equal
	}
	return unordered
}
