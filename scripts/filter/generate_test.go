package filter

import (
	"fmt"
	"strconv"
	"strings"
)

// A generator makes programs of the subset and events, as weird as it can. Its
// choices are the bytes of a seed, so that a fuzzer can steer it; behind their
// end every choice is the first, which is the simplest.
type generator struct {
	seed   []byte
	at     int
	locals []string
	names  int
}

// pick returns a number below n, at most 65536.
func (g *generator) pick(n int) int {
	if g.at >= len(g.seed) {
		return 0
	}
	c := int(g.seed[g.at])
	g.at++
	if n > 256 && g.at < len(g.seed) {
		c |= int(g.seed[g.at]) << 8
		g.at++
	}
	return c % n
}

func (g *generator) one(choices ...string) string { return choices[g.pick(len(choices))] }

var (
	wordPool = []string{"", "on", "off", " ", "light", "light.hall", "0", "1", "00", "0x1F", " 12 ", "1_000", "Infinity", "-Infinity",
		"null", "undefined", "true", "false", "length", "state", "ä", "ß", "ÄÖ", "ς", "ΑΣ", "日本", "😀", "a😀b", "😀😁", "e\u0301",
		"1.5.2", ".5", "+7", "--7", "12px", "9007199254740993", "2020-01-01", "2020-01-01T00:00:00Z", "2024-02-29T12:30:45.123+02:00",
		"2021-13-01", "2020-06-01T10:00", "x,y,z", "a,b", "\n", "\t", "abc", "ABC", "aBc", "abcabc", ",", "b", "constructor", "x", "brightness", "[object Object]",
		"-1", "0b11", "0o17", "1,2", "Z", "\uff5e", "\x00", "fahrenheit", "°C", "2", "10", "9"}
	figures = []string{"0", "1", "2", "3", "0.5", "1.5", "2.5", "7", "10", "100", "255", "256", "1e21", "1e-7", "123456789", "2147483647", "2147483648",
		"4294967295", "4294967296", "9007199254740991", "9007199254740992", "1e308", "5e-324", "1.7976931348623157e308", "0x10", "0b11", "0o17", "1e300",
		"1700000000123", ".1", "1_000", "0.1", "0.2", "1.005", "8.345", "10.235", "63", "31", "32", "33", "4e15", "1e15", "123.456", "1e20", "12345678901234567890",
		"21.5", "-0", "-1", "-2", "-0.5", "-1.5", "-7", "-1e21", "0.000001", "1e-6"}
	keys = []string{"brightness", "list", "nested", "name", "a b", "0", "1", "length", "tags", "toString", "unit_of_measurement", "x", "y", "state", "filter",
		"includes", "constructor", "10", "02", "ä", "valueOf", "at", "-1", "map", "join", "4294967294", "4294967295", "hasOwnProperty"}
	plainKeys = []string{"brightness", "list", "nested", "name", "length", "tags", "unit_of_measurement", "x", "y", "state", "filter", "missing"}
	fields    = []string{"state", "attributes", "domain", "type", "entity_id", "source", "time", "seq", "number", "unit", "old", "data", "last_changed", "last_updated", "nothing"}
)

// text returns a string literal.
func (g *generator) text() string {
	if g.pick(12) == 0 { // lone surrogates can only be escaped
		return g.one(`"\ud83d"`, `"\ude00"`, `"a\ud83d"`, `"\ude00b"`, `"\ud83d\ude00"`, `"\u{1F600}"`)
	}
	s := wordPool[g.pick(len(wordPool))]
	switch g.pick(3) {
	case 0:
		return string(appendQuoted(nil, s))
	case 1:
		return "'" + strings.NewReplacer("'", `\'`, "\n", `\n`, "\u2028", `\u2028`, "\x00", `\0`, "\t", `\t`).Replace(s) + "'"
	}
	return "`" + strings.NewReplacer("\x00", `\0`).Replace(s) + "`"
}

func (g *generator) number() string { return "(" + figures[g.pick(len(figures))] + ")" }

// program returns a filter.
func (g *generator) program() string {
	g.locals = nil
	switch g.pick(8) {
	case 0, 1, 2:
		return "e => " + g.body(5)
	case 3:
		return g.expr(5)
	case 4:
		return "(e, params) => " + g.body(5)
	case 5:
		return "({domain, attributes, number: z = 3, old: {state: w} = {state: 1}}) => " + g.one("domain === 'light' && attributes.brightness > z",
			"{ const {brightness: b = z, list: [c] = [], x: d = 2} = attributes; return domain && {b, c, d, w}; }", "attributes?.list?.some(x => x > z)", "w ?? z")
	case 6:
		return "event => { const e = event; " + g.statements(4, 3) + "}"
	}
	return "e => { " + g.statements(4, 4) + "}"
}

func (g *generator) body(depth int) string {
	if g.pick(6) == 0 {
		return "{ " + g.statements(depth, 3) + "}"
	}
	return g.expr(depth)
}

func (g *generator) fresh() string {
	g.names++
	return "v" + strconv.Itoa(g.names)
}

// statements returns a block's inside. What it declares is forgotten behind
// it.
func (g *generator) statements(depth, n int) string {
	var b strings.Builder
	before := len(g.locals)
	for range n {
		switch g.pick(6) {
		case 0:
			b.WriteString("return " + g.expr(depth) + "; ")
		case 1:
			fmt.Fprintf(&b, "if (%s) { %s} ", g.expr(depth-1), g.statements(depth-1, 2))
		case 2:
			fmt.Fprintf(&b, "if (%s) return %s; else { %s} ", g.expr(depth-1), g.expr(depth-1), g.statements(depth-1, 2))
		case 3:
			b.WriteString(g.pattern(depth))
		case 4:
			b.WriteString("[" + g.expr(depth-1) + "]; ")
		default:
			name := g.fresh()
			fmt.Fprintf(&b, "%s %s = %s; ", g.one("const", "let"), name, g.expr(depth-1))
			g.locals = append(g.locals, name)
		}
	}
	if g.pick(4) > 0 {
		b.WriteString("return " + g.expr(depth) + "; ")
	}
	g.locals = g.locals[:before]
	return b.String()
}

// pattern returns a destructuring declaration.
func (g *generator) pattern(depth int) string {
	a, b := g.fresh(), g.fresh()
	var s string
	switch g.pick(4) {
	case 0:
		s = fmt.Sprintf("const {%s: %s, %s: {%s: %s} = {}} = %s; ", plainKeys[g.pick(len(plainKeys))], a, plainKeys[g.pick(len(plainKeys))], plainKeys[g.pick(len(plainKeys))], b, g.expr(depth-1))
	case 1:
		s = fmt.Sprintf("const [%s, , %s = %s] = %s; ", a, b, g.expr(1), g.expr(depth-1))
	case 2:
		s = fmt.Sprintf("const {%s, 'a b': %s = %s} = %s; ", "x: "+a, b, g.expr(1), g.one("e.attributes", "e.data", "e", "e.old", g.expr(depth-1)))
	default:
		s = fmt.Sprintf("const %s = (%s) => %s, %s = %s; ", g.fresh(), g.fresh(), g.expr(1), a, g.expr(1))
		b = a
	}
	g.locals = append(g.locals, a, b)
	return s
}

func (g *generator) atom() string {
	switch g.pick(10) {
	case 0, 1:
		return "e." + fields[g.pick(len(fields))]
	case 2:
		return g.number()
	case 3:
		return g.text()
	case 4:
		return g.one("e.attributes", "e.data", "e.old") + g.one(".", "?.") + plainKeys[g.pick(len(plainKeys))]
	case 5:
		return g.one("true", "false", "null", "undefined", "NaN", "Infinity", "e", "[]", "({})")
	case 6:
		if len(g.locals) > 0 {
			return g.locals[g.pick(len(g.locals))]
		}
		return "e.state"
	case 7:
		return g.one("e.attributes.list", "e.attributes.tags", "e.attributes.nested", "e.old?.state", "e.old?.attributes", "e.data.new_state", "Object.keys(e)", "[1, 2, 3]", "['a', 'b']", "e.attributes.nested?.list")
	case 8:
		return g.one("Math.PI", "Number.MAX_SAFE_INTEGER", "Number.EPSILON", "Number.MIN_VALUE", "Math.E")
	}
	key := keys[g.pick(len(keys))]
	if inherits(object, key) {
		key = "a b"
	}
	return "e.attributes?.[" + string(appendQuoted(nil, key)) + "]"
}

// expr returns an expression that stands in parentheses where it has to.
func (g *generator) expr(depth int) string {
	if depth <= 0 || g.at >= len(g.seed) || g.pick(8) == 0 {
		return g.atom()
	}
	d := depth - 1
	switch g.pick(24) {
	case 0:
		if g.pick(2) == 0 {
			return "(" + g.small(d) + " " + g.one("&", "|", "^", "<<", ">>", ">>>") + " " + g.small(d) + ")"
		}
		return "(" + g.expr(d) + " " + g.one("+", "-", "*", "/", "%", "**") + " " + g.expr(d) + ")"
	case 1, 2:
		return "(" + g.expr(d) + " " + g.one("<", ">", "<=", ">=") + " " + g.expr(d) + ")"
	case 3, 4:
		return "(" + g.expr(d) + " " + g.one("===", "!==", "==", "!=") + " " + g.expr(d) + ")"
	case 5, 6:
		return "(" + g.expr(d) + " " + g.one("&&", "||", "??") + " " + g.expr(d) + ")"
	case 7:
		if g.pick(8) == 0 {
			return "(~" + g.small(d) + ")"
		}
		return "(" + g.one("!", "-", "+", "typeof ", "void ", "!!") + g.expr(d) + ")"
	case 8:
		return "(" + g.expr(d) + " ? " + g.expr(d) + " : " + g.expr(d) + ")"
	case 9:
		return "`a${" + g.expr(d) + "}" + g.one("", "b", "ä") + "${" + g.expr(d) + "}`"
	case 10:
		return g.listLiteral(d)
	case 11:
		return g.objectLiteral(d)
	case 12:
		return g.access(d)
	case 13, 14:
		return g.stringMethod(d)
	case 15:
		return g.listMethod(d)
	case 16, 17:
		return g.loop(d)
	case 18:
		return g.function(d)
	case 19:
		return g.mathFunction(d)
	case 20:
		return g.regexp(d)
	case 21:
		return g.date(d)
	case 22:
		return "(" + g.text() + " in " + g.expr(d) + ")"
	}
	return g.compound(d)
}

// small is what ToInt32 is right about in goja: beyond 63 bits it gives what the
// processor does.
func (g *generator) small(d int) string {
	if g.pick(4) == 0 {
		return g.one("null", "true", "undefined", "'12'", "e.state", "e.time", "NaN", "-1", "(2 ** 31)", "[]", "[5]")
	}
	return "(" + g.expr(d) + " % 1e15)"
}

func (g *generator) compound(d int) string {
	switch g.pick(4) {
	case 0:
		return "([" + g.expr(d) + "], " + g.expr(d) + ")" // in a list, since goja leaves (("" && x), y) on its stack
	case 1:
		name := g.fresh()
		s := "((" + name + ") => "
		g.locals = append(g.locals, name)
		s += g.wrapped(g.expr(d))
		g.locals = g.locals[:len(g.locals)-1]
		return s + ")(" + g.expr(d) + ")"
	case 2:
		return "(" + g.expr(d) + " " + g.one("===", "==", "<", "!==") + " " + g.one(g.text(), g.number(), "null", "undefined", "true") + ")"
	}
	return "[" + g.text() + ", " + g.number() + ", " + g.text() + ", null].includes(" + g.expr(d) + ")"
}

// wrapped keeps an object literal from being a block.
func (g *generator) wrapped(s string) string { return "(" + s + ")" }

func (g *generator) listLiteral(d int) string {
	var parts []string
	for range g.pick(4) {
		part := g.expr(d)
		if g.pick(5) == 0 {
			part = "..." + g.one("e.attributes.list", "'a😀'", "[1,,2]"[:1]+"1]", part)
		}
		parts = append(parts, part)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func (g *generator) objectLiteral(d int) string {
	var parts []string
	for range g.pick(4) {
		switch g.pick(5) {
		case 0:
			parts = append(parts, "..."+g.one("e.attributes", "e.data", "e", g.expr(d)))
		case 1:
			parts = append(parts, "["+g.expr(d)+"]: "+g.expr(d))
		case 2:
			parts = append(parts, g.one("0", "'a b'", "1e3", "x", "if", "length")+": "+g.expr(d))
		default:
			parts = append(parts, plainKeys[g.pick(len(plainKeys))]+": "+g.expr(d))
		}
	}
	return "({" + strings.Join(parts, ", ") + "})"
}

func (g *generator) access(d int) string {
	switch g.pick(5) {
	case 0:
		return g.expr(d) + "." + plainKeys[g.pick(len(plainKeys))]
	case 1:
		return g.expr(d) + "?." + plainKeys[g.pick(len(plainKeys))] + g.one("", ".x", "?.y", ".length", "[0]", "?.[1].x", ".slice(1)", "?.includes('a')", ".length.x")
	case 2:
		return g.expr(d) + "[" + g.expr(d) + "]"
	case 3:
		return g.expr(d) + g.one("?.", "") + "[" + g.one("0", "1", "-1", "0.5", "'0'", "'length'", "'01'", "1e3") + "]"
	}
	return g.expr(d) + ".length"
}

// subject is most often of the kind that a method is for.
func (g *generator) subject(d int, usual ...string) string {
	if g.pick(4) > 0 {
		return usual[g.pick(len(usual))]
	}
	return g.expr(d)
}

func (g *generator) arguments(d, most int) string {
	var parts []string
	for range g.pick(most + 1) {
		parts = append(parts, g.one(g.expr(d), g.number(), g.text()))
	}
	return strings.Join(parts, ", ")
}

// sought are the arguments of a method that looks for something, or is given
// positions.
func (g *generator) sought(d int, name string) string {
	switch name {
	case "includes", "startsWith", "endsWith", "indexOf", "lastIndexOf", "concat", "hasOwnProperty":
		return g.expr(d) + g.one("", "", ", "+g.position(d))
	}
	return g.one("", g.position(d), g.position(d)+", "+g.position(d))
}

// position is not the string NaN, which goja takes for the smallest integer.
func (g *generator) position(d int) string {
	switch g.pick(4) {
	case 0:
		return g.number()
	case 1:
		return g.text()
	case 2:
		return "(" + g.expr(d-1) + " - " + g.expr(d-1) + ")"
	}
	return g.one("undefined", "null", "true", "e.state", "e.number", "e.attributes.x", "[1]", "NaN", "e.state.length", "-2", "({})")
}

func (g *generator) stringMethod(d int) string {
	s := g.subject(d, g.text(), g.text(), "e.state", "e.entity_id", "`${"+g.expr(d)+"}`", "String("+g.expr(d)+")")
	name := g.one("includes", "startsWith", "endsWith", "indexOf", "lastIndexOf", "slice", "substring", "charAt", "at", "split", "toLowerCase", "toUpperCase",
		"trim", "trimStart", "trimEnd", "padStart", "padEnd", "repeat", "concat", "charCodeAt", "codePointAt", "substr", "toString", "hasOwnProperty")
	if name == "padStart" || name == "padEnd" || name == "repeat" {
		return s + "." + name + "(" + g.one("0", "1", "3", "5", "-1", "2.5", "'4'", "NaN", "12") + g.one("", ", 'ab'", ", '😀'", ", ''", ", undefined", ", 5") + ")"
	}
	if name == "split" {
		return s + ".split(" + g.one("''", "'b'", "','", "'😀'", `"\ud83d"`, "undefined", g.expr(d)) + g.one("", ", 2", ", 0", ", -1", ", 1.5", ", undefined") + ")"
	}
	return s + g.one(".", "?.") + name + "(" + g.sought(d, name) + ")"
}

func (g *generator) list(d int) string {
	return g.subject(d, "e.attributes.list", "e.attributes.tags", "[1, 2, 3]", "['b', 'a', 'b']", "Object.entries(e.attributes)", "Object.values(e.data)",
		"[NaN, 0, null, undefined]", "[[1, [2]], [3]]", g.listLiteral(d), "'a,b,c'.split(',')")
}

func (g *generator) listMethod(d int) string {
	name := g.one("includes", "indexOf", "lastIndexOf", "join", "at", "slice", "concat", "flat", "toString", "toReversed")
	args := g.sought(d, name)
	if name == "join" {
		args = g.one("", "'-'", "undefined", "null", "''", "0")
	}
	if name == "flat" {
		args = g.one("", "0", "1", "2", "Infinity", "'1'", "NaN")
	}
	return g.list(d) + g.one(".", "?.") + name + "(" + args + ")"
}

func (g *generator) loop(d int) string {
	name := g.one("some", "every", "find", "findIndex", "filter", "map", "findLast", "findLastIndex", "flatMap", "reduce", "reduceRight")
	l := g.list(d)
	if name != "reduce" && name != "reduceRight" {
		if g.pick(8) == 0 {
			return l + "." + name + "(" + g.one("Boolean", "Number", "String", "isNaN", "Number.isInteger", "Array.isArray", "parseFloat", "Math.abs") + ")"
		}
		a, b := g.fresh(), g.fresh()
		if g.pick(6) == 0 {
			g.locals = append(g.locals, a, b)
			s := l + "." + name + "(([" + a + ", " + b + "]) => " + g.wrapped(g.expr(d-1)) + ")"
			g.locals = g.locals[:len(g.locals)-2]
			return s
		}
		c := g.fresh()
		g.locals = append(g.locals, a, b, c)
		s := l + g.one(".", "?.") + name + "((" + a + ", " + b + ", " + c + ") => " + g.wrapped(g.expr(d-1)) + ")"
		g.locals = g.locals[:len(g.locals)-3]
		return s
	}
	a, b := g.fresh(), g.fresh()
	g.locals = append(g.locals, a, b)
	s := l + "." + name + "((" + a + ", " + b + ") => " + g.wrapped(g.one(a+" + "+b, g.expr(d-1)))
	g.locals = g.locals[:len(g.locals)-2]
	return s + g.one("", ", 0", ", ''", ", "+g.expr(d-1)) + ")"
}

func (g *generator) function(d int) string {
	switch g.pick(5) {
	case 0:
		return g.one("Number", "String", "Boolean", "isNaN", "isFinite", "parseFloat", "Number.isInteger", "Number.isSafeInteger", "Number.isNaN", "Number.isFinite", "Array.isArray") +
			"(" + g.arguments(d, 1) + ")"
	case 1:
		return g.one("parseInt", "Number.parseInt") + "(" + g.expr(d) + g.one("", ", 10", ", 16", ", 2", ", 0", ", 36", ", 37", ", '8'", ", "+g.small(d-1)) + ")"
	case 2:
		return "Object." + g.one("keys", "values", "entries") + "(" + g.one("e.attributes", "e.data", "e", g.expr(d)) + ")"
	case 3:
		return g.one("JSON.stringify("+g.expr(d)+")", "Object.hasOwn("+g.one("e.attributes", g.expr(d))+", "+g.expr(d)+")",
			"Object.fromEntries("+g.one("Object.entries(e.attributes)", "["+"['a', 1], ['b', "+g.expr(d)+"]]", g.expr(d))+")")
	}
	return "(" + g.expr(d) + ").toFixed(" + g.one("", "0", "1", "2", "3", "20", "-1", "101", "'2'") + ")"
}

func (g *generator) mathFunction(d int) string {
	name := g.one("abs", "ceil", "floor", "round", "trunc", "max", "min", "sqrt", "cbrt", "pow", "log", "log2", "log10", "log1p", "exp", "expm1", "sin", "cos", "tan",
		"atan2", "hypot", "imul", "clz32", "fround", "sinh", "cosh", "tanh", "asin", "acos", "atan", "asinh", "acosh", "atanh")
	if name == "imul" || name == "clz32" {
		return "Math." + name + "(" + g.small(d) + ", " + g.small(d) + ")"
	}
	if g.pick(16) == 0 { // a spread argument by itself: goja mixes up nested ones, and those in optional chains
		return "Math." + name + "(" + g.one("", "'7', ", "1, 2, ") + "..." + g.one("[1, 2]", "'34'", "[]") + ")"
	}
	return "Math." + name + "(" + g.arguments(d, 3) + ")"
}

var patternTexts = []string{"on", "^on$", "^(?:on|off)$", "[a-c]+", `\d+`, `^\w+\.\w+$`, `\bhall\b`, "a.c", "^.$", "^..$", `[^a-z]`, `\s`, `^\S+$`, "(a|b)*c", "a{2,3}", "[äö]",
	`\u00e4`, "^[^]*$", `\.`, "x?y+", `[\d.]+`, `^-?\d+(\.\d+)?$`, "😀", "[\\s\\S]", `\W`, `^$`, `[\w-]+`, `\B`, "a+?b", `\t|\n`, `[^\W\d]`, `^[😀]$`, `[\u0000-\u007f]`, `(?<n>a)b`}

func (g *generator) regexp(d int) string {
	p := "/" + patternTexts[g.pick(len(patternTexts))] + "/" + g.one("", "", "i", "s", "u")
	if strings.ContainsAny(p, "äö") || strings.Contains(p, "u00e4") {
		p = strings.TrimSuffix(p, "i")
	}
	s := g.subject(d, "e.state", g.text(), "e.entity_id", "e.attributes.name")
	if g.pick(5) == 0 {
		return "(" + s + g.one(".", "?.") + "match(" + p + ") ? 1 : 2)"
	}
	return p + ".test(" + s + ")"
}

func (g *generator) date(d int) string {
	t := g.subject(d, "e.time", "e.last_changed", g.number(), g.text(), "e.time - "+g.number(), "1e12 + "+g.number())
	switch g.pick(5) {
	case 0:
		return "Date.parse(" + t + ")"
	case 1:
		return "(new Date(" + t + ") " + g.one("<", ">", "-", "*", ">=", "%") + " " + g.one("new Date(e.time)", "e.time", g.expr(d)) + ")"
	case 2:
		return "(+new Date(" + t + "))"
	}
	return "new Date(" + t + ")." + g.one("getTime", "valueOf", "getUTCFullYear", "getUTCMonth", "getUTCDate", "getUTCDay", "getUTCHours", "getUTCMinutes", "getUTCSeconds",
		"getUTCMilliseconds", "toISOString") + "()"
}
