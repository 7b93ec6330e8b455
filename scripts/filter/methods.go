package filter

import "math"

// A method is what x.name(…) does, by the kind of x. JavaScript has it for no
// other kinds, unless inherits says so.
type method struct {
	on       [object + 1]func(m *machine, this value, args []value) value
	kinds    kinds // what it may return
	throws   bool  // it may throw whatever it is called on and with
	takesAny bool  // it converts no argument
}

// receivers are the kinds that have the method.
func (d *method) receivers() (k kinds) {
	for i, f := range d.on {
		if f != nil {
			k |= of(kind(i))
		}
	}
	return k
}

var methods = func() map[string]*method {
	ms := map[string]*method{}
	add := func(on kind, k kinds, fs map[string]func(m *machine, this value, args []value) value) {
		for name, f := range fs {
			if ms[name] == nil {
				ms[name] = &method{}
			}
			ms[name].on[on] = f
			ms[name].kinds |= k
		}
	}
	add(str, of(boolean), stringTests)
	add(str, of(number), stringNumbers)
	add(str, of(str), stringTexts)
	add(str, of(str)|of(undefined), map[string]func(m *machine, this value, args []value) value{"at": stringAt})
	add(str, of(number)|of(undefined), map[string]func(m *machine, this value, args []value) value{"codePointAt": stringCodePointAt})
	add(str, of(list), map[string]func(m *machine, this value, args []value) value{"split": stringSplit})
	add(list, of(boolean), map[string]func(m *machine, this value, args []value) value{"includes": listIncludes})
	add(list, of(number), map[string]func(m *machine, this value, args []value) value{"indexOf": listIndexOf, "lastIndexOf": listLastIndexOf})
	add(list, of(str), map[string]func(m *machine, this value, args []value) value{"join": listJoin, "toString": plainToString})
	add(list, anyKind, map[string]func(m *machine, this value, args []value) value{"at": listAt})
	add(list, of(list), listLists)
	add(number, of(str), map[string]func(m *machine, this value, args []value) value{"toFixed": numberToFixed, "toString": numberToString})
	add(boolean, of(str), map[string]func(m *machine, this value, args []value) value{"toString": plainToString})
	add(object, of(str), map[string]func(m *machine, this value, args []value) value{"toString": plainToString})
	for _, k := range []kind{boolean, number, str, list, object} {
		add(k, of(boolean), map[string]func(m *machine, this value, args []value) value{"hasOwnProperty": hasOwnProperty})
	}
	for _, name := range []string{"toFixed", "toString", "split", "padStart", "padEnd", "repeat"} {
		ms[name].throws = true
	}
	return ms
}()

func plainToString(m *machine, this value, args []value) value { return stringValue(m.toString(this)) }

func hasOwnProperty(m *machine, this value, args []value) value {
	return boolValue(this.has(m.toString(argument(args, 0))))
}

func numberToString(m *machine, this value, args []value) value {
	if radix := m.integer(args, 0, 10); radix != 10 {
		if radix < 2 || radix > 36 {
			return m.throw("RangeError", "toString() radix argument must be between 2 and 36")
		}
		return m.throw("Error", "numbers can only be written in base 10 here")
	}
	return stringValue(formatNumber(this.num()))
}

// numberToFixed is Number.prototype.toFixed: halves are rounded away from zero,
// of the exact number.
func numberToFixed(m *machine, this value, args []value) value {
	digits, x := m.integer(args, 0, 0), this.num()
	if digits < 0 || digits > 100 {
		return m.throw("RangeError", "toFixed() precision must be between 0 and 100")
	}
	if !(math.Abs(x) < 1e21) {
		return stringValue(formatNumber(x))
	}
	return stringValue(fixed(x, digits))
}

// inherited are the properties that values inherit, by kind: objects from
// Object.prototype, the others also from the prototype of their kind.
var inherited = func() (of [object + 1]map[string]bool) {
	all := []string{"constructor", "__defineGetter__", "__defineSetter__", "hasOwnProperty", "__lookupGetter__", "__lookupSetter__",
		"isPrototypeOf", "propertyIsEnumerable", "toString", "valueOf", "__proto__", "toLocaleString"}
	for k, names := range map[kind][]string{
		boolean: {},
		object:  {},
		number:  {"toExponential", "toFixed", "toPrecision"},
		str: {"at", "charAt", "charCodeAt", "codePointAt", "concat", "endsWith", "includes", "indexOf", "isWellFormed", "lastIndexOf", "localeCompare",
			"match", "matchAll", "normalize", "padEnd", "padStart", "repeat", "replace", "replaceAll", "search", "slice", "split", "startsWith",
			"substr", "substring", "toLocaleLowerCase", "toLocaleUpperCase", "toLowerCase", "toUpperCase", "toWellFormed", "trim", "trimEnd", "trimLeft",
			"trimRight", "trimStart", "anchor", "big", "blink", "bold", "fixed", "fontcolor", "fontsize", "italics", "link", "small", "strike", "sub", "sup"},
		list: {"at", "concat", "copyWithin", "entries", "every", "fill", "filter", "find", "findIndex", "findLast", "findLastIndex", "flat", "flatMap",
			"forEach", "includes", "indexOf", "join", "keys", "lastIndexOf", "map", "pop", "push", "reduce", "reduceRight", "reverse", "shift", "slice",
			"some", "sort", "splice", "toReversed", "toSorted", "toSpliced", "unshift", "values", "with"},
	} {
		of[k] = map[string]bool{}
		for _, name := range append(names, all...) {
			of[k][name] = true
		}
	}
	return of
}()

// inherits reports whether values of a kind have a property of that name that
// is not their own.
func inherits(k kind, name string) bool { return inherited[k][name] }
