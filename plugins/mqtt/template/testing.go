package template

import (
	"strings"
	"unicode"
)

// testTable are the tests: what may follow is.
func testTable() map[string]*builtin {
	table := map[string]*builtin{
		"defined":     define("value", func(e *env, args []Value) Value { return !is[Undefined](args[0]) }),
		"undefined":   define("value", func(e *env, args []Value) Value { return is[Undefined](args[0]) }),
		"none":        define("value", func(e *env, args []Value) Value { return args[0] == nil }),
		"boolean":     define("value", func(e *env, args []Value) Value { return is[bool](args[0]) }),
		"true":        define("value", func(e *env, args []Value) Value { v, ok := args[0].(bool); return ok && v }),
		"false":       define("value", func(e *env, args []Value) Value { v, ok := args[0].(bool); return ok && !v }),
		"integer":     define("value", func(e *env, args []Value) Value { return typeName(args[0]) == "int" }),
		"float":       define("value", func(e *env, args []Value) Value { return is[float64](args[0]) }),
		"number":      define("value", func(e *env, args []Value) Value { return asNumber(args[0]) != nil || is[uint64](args[0]) }),
		"string":      define("value", func(e *env, args []Value) Value { return is[string](plain(args[0])) }),
		"mapping":     define("value", func(e *env, args []Value) Value { return is[*Dict](args[0]) }),
		"list":        define("value", func(e *env, args []Value) Value { return is[List](args[0]) }),
		"tuple":       define("value", func(e *env, args []Value) Value { return is[Tuple](args[0]) }),
		"sequence":    define("value", isSequence),
		"iterable":    define("value", isIterable),
		"lower":       define("value", func(e *env, args []Value) Value { return e.cased(args[0], unicode.IsLower, unicode.IsUpper) }),
		"upper":       define("value", func(e *env, args []Value) Value { return e.cased(args[0], unicode.IsUpper, unicode.IsLower) }),
		"odd":         define("value", func(e *env, args []Value) Value { return e.remainder(args[0], int64(2), 1) }),
		"even":        define("value", func(e *env, args []Value) Value { return e.remainder(args[0], int64(2), 0) }),
		"divisibleby": define("value num", func(e *env, args []Value) Value { return e.remainder(args[0], args[1], 0) }),
		"datetime":    define("value", func(e *env, args []Value) Value { return is[moment](args[0]) }),
		"is_number":   define("value", isNumber),
		"in":          define("value seq", func(e *env, args []Value) Value { return e.contains(args[1], args[0]) }),
		"contains":    define("value item", func(e *env, args []Value) Value { return e.contains(args[0], args[1]) }),
		"match":       regexBuiltin(regexMatch, "value find? ignorecase?"),
		"search":      regexBuiltin(regexSearch, "value find? ignorecase?"),
	}
	for op, names := range map[string]string{
		"==": "== eq equalto", "!=": "!= ne", ">": "> gt greaterthan", ">=": ">= ge", "<": "< lt lessthan", "<=": "<= le",
	} {
		test := define("a b", func(e *env, args []Value) Value { return e.compare(op, args[0], args[1]) })
		for _, name := range strings.Fields(names) {
			table[name] = test
		}
	}
	return table
}

func is[T any](v Value) bool {
	_, ok := v.(T)
	return ok
}

func isSequence(_ *env, args []Value) Value {
	switch plain(args[0]).(type) {
	case string, List, Tuple, *Dict, span, Undefined:
		return true
	}
	return false
}

func isIterable(_ *env, args []Value) Value {
	switch args[0].(type) {
	case nil, bool, int64, float64, *namespace, *method, moment, lapse:
		return false
	}
	return true
}

// cased is Python's islower and isupper: one letter of the case, none of the other.
func (e *env) cased(v Value, want, other func(rune) bool) Value {
	text := e.str(v)
	e.step(len(text) / stepBytes)
	found := false
	for _, r := range text {
		if other(r) || unicode.IsTitle(r) {
			return false
		}
		found = found || want(r)
	}
	return found
}

func (e *env) remainder(v, by Value, want int64) Value {
	return e.equal(e.binary('%', v, by), want, 0)
}
