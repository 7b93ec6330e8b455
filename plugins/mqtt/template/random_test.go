package template

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

// randomPrograms is how many random programs the real Jinja2 is asked about.
const randomPrograms = 1000

// TestRandomPrograms holds this package against the real Jinja2.
func TestRandomPrograms(t *testing.T) {
	n, seed := randomPrograms, uint64(1)
	if text := os.Getenv("TEMPLATE_PROGRAMS"); text != "" { // for longer searches: count and seed
		count, from, _ := strings.Cut(text, ",")
		n, _ = strconv.Atoi(count)
		seed, _ = strconv.ParseUint(from, 10, 64)
	}
	g := generatorOf(seed)
	programs := make([]program, n)
	for i := range programs {
		programs[i] = g.program()
	}
	answers := askJinja(t, programs)
	rendered, refused := 0, 0
	texts, errs := renderedAt2000(t, programs)
	for i := range programs {
		got, err := texts[i], errs[i]
		switch {
		case err == nil:
			rendered++
		case declined(err) && answers[i].Text != nil:
			refused++
			if testing.Verbose() {
				t.Logf("declined: %s: %v", programs[i].Template, err)
			}
		}
		programs[i].agrees(t, got, err, answers[i])
	}
	t.Logf("%d programs, %d rendered, %d that Jinja2 renders declined", n, rendered, refused)
	if rendered < n/2 || refused > n/10 {
		t.Errorf("got %d of %d rendered and %d declined, the generator makes too little sense", rendered, n, refused)
	}
}

// A programGenerator makes random templates of the subset.
type programGenerator struct {
	*rand.Rand
	depth int
	names []string // variables in scope
	loops int
}

func generatorOf(seed uint64) *programGenerator {
	return &programGenerator{Rand: rand.New(rand.NewPCG(seed, 2))}
}

func (g *programGenerator) of(choices ...string) string { return choices[g.IntN(len(choices))] }

// make takes one of several makers, so that only the chosen one runs.
func (g *programGenerator) make(makers ...func() string) string {
	g.depth++
	defer func() { g.depth-- }()
	return makers[g.IntN(len(makers))]()
}

func (g *programGenerator) program() program {
	g.depth, g.names, g.loops = 0, nil, 0
	payload := g.of(
		`{"n":21,"f":21.5,"s":"On","neg":-3,"b":true,"no":false,"nil":null,"l":[3,1,2],"d":{"k":"v","x":{"y":1.5}},"words":["b","A","c"],"objs":[{"id":1,"name":"x"},{"id":2,"name":"Y"}]}`,
		`{"n":0,"f":-0.25,"s":"a,b,,c","neg":-17,"b":false,"no":true,"nil":null,"l":[],"d":{},"words":["x y"," z "],"objs":[]}`,
		`{"n":1000000,"f":1e16,"s":" 12 ","neg":-1,"b":true,"no":false,"nil":null,"l":[1,2.5,"3",null],"d":{"1":1,"k":[1,2]},"words":["ß","Äö","'q\""],"objs":[{"id":"7"}]}`,
		`{"n":255,"f":0.1,"s":"12.50","neg":-2.5,"b":true,"no":false,"nil":null,"l":[true,1,1.0,0],"d":{"k":"on"},"words":["up","up_press","down"],"objs":[{"id":3,"name":null}]}`,
		`ON`, `12.5`, `[1,[2,3],{"a":"b"}]`)
	var b strings.Builder
	for range 1 + g.IntN(3) {
		b.WriteString(g.statement())
	}
	return program{Template: b.String(), Payload: &payload}
}

func (g *programGenerator) dash() string { return g.of("", "", "", "-") }

func (g *programGenerator) body() string {
	n := len(g.names)
	text := g.statement()
	if g.IntN(3) == 0 {
		text += g.statement()
	}
	g.names = g.names[:n]
	return text
}

func (g *programGenerator) statement() string {
	if g.depth > 2 {
		return "{{ " + g.scalar() + " }}"
	}
	output := func() string { return "{{" + g.dash() + " " + g.value() + " " + g.dash() + "}}" }
	return g.make(output, output, output, output,
		func() string { return g.of(" text ", "\n", "a{b}", "{# note #}", "{#- note -#} ") },
		func() string { return "{% if " + g.condition() + " " + g.dash() + "%} " + g.body() + g.ending("if") },
		func() string {
			return "{% if " + g.test() + " %}" + g.body() + "{% elif " + g.test() + " %}" + g.body() + "{% else %}" + g.body() + "{% endif %}"
		},
		g.set, g.loop, g.namespaced)
}

func (g *programGenerator) ending(word string) string {
	if g.IntN(2) == 0 {
		return "{" + "%" + g.dash() + " end" + word + " %}"
	}
	return "{% else %}" + g.body() + "{% end" + word + " " + g.dash() + "%}\n "
}

func (g *programGenerator) set() string {
	name := g.of("x", "y", "z")
	text := g.of("{% set "+name+" = "+g.value()+" %}", "{% set "+name+" %}"+g.body()+"{% endset %}", "{% set x, y = "+g.value()+", 2 %}")
	g.names = append(g.names, name)
	return text
}

func (g *programGenerator) loop() string {
	over := g.list()
	target := g.of("i", "i", "i", "k, i")
	if target != "i" {
		over = g.of("value_json.d.items()", "zip("+g.list()+", "+g.list()+")", "[(1, 2), ('a', 'b')]", over)
	}
	n := len(g.names)
	g.names = append(g.names, "i", "loop.index", "loop.last", "loop.revindex0", "loop.length")
	g.loops++
	test := ""
	if g.IntN(4) == 0 {
		test = " if " + g.of("i", "i != 2", "i is defined and i", "not i")
	}
	body := g.body()
	if g.IntN(3) == 0 {
		body += "{% if " + g.test() + " %}{% " + g.of("break", "continue") + " %}{% endif %}" + g.body()
	}
	g.loops--
	g.names = g.names[:n]
	return "{% for " + target + " in " + over + test + " %}" + body + g.ending("for")
}

func (g *programGenerator) namespaced() string {
	return "{% set ns = namespace(r=" + g.value() + ", n=0) %}{% for i in " + g.list() + " %}{% set ns.n = ns.n + 1 %}{% set ns.r = i %}" +
		"{% endfor %}{{ ns.n }} {{ ns.r }}"
}

func (g *programGenerator) value() string {
	if g.IntN(8) == 0 {
		return g.make(g.list, g.dict)
	}
	return g.scalar()
}

func (g *programGenerator) scalar() string {
	if g.depth > 4 {
		return g.of("1", "'a'", "value_json.n", "value")
	}
	return g.make(g.number, g.number, g.text, g.text, g.test, g.anything)
}

// anything may be of any type, or undefined.
func (g *programGenerator) anything() string {
	if len(g.names) > 0 && g.IntN(2) == 0 {
		return g.of(g.names...)
	}
	if g.loops > 0 && g.IntN(4) == 0 {
		return g.of("loop.cycle('a', 'b')", "loop.changed("+g.scalar()+")", "loop.previtem", "loop.nextitem")
	}
	return g.make(
		func() string {
			return g.of("value_json.n", "value_json['f']", "value_json.s", "value_json.nil", "value_json.missing", "value_json.d.k",
				"value_json.d.x.y", "value", "nothing", "value_json.l[0]", "value_json[0]", "value_json[1][-1]", "value_json.b", "None", "none")
		},
		func() string { return "(" + g.value() + " if " + g.test() + " else " + g.value() + ")" },
		func() string { return "(" + g.value() + " if " + g.test() + ")" },
		func() string { return "(" + g.scalar() + " " + g.of("and", "or") + " " + g.scalar() + ")" },
		func() string {
			return g.anything() + "|default(" + g.scalar() + g.of("", "", ", true", ", boolean=true") + ")"
		},
		func() string { return "(" + g.list() + ")[" + g.of("0", "-1", "5", "'a'", g.number()) + "]" },
		func() string {
			return "(" + g.list() + "|" + g.of("first", "last", "min", "max", "sum", "list|last") + ")"
		},
		func() string {
			return "(" + g.dict() + ")" + g.of(".a", "['a']", "[1]", ".get('k')", ".get('q', 5)", "["+g.scalar()+"]")
		},
		func() string {
			return "(" + g.text() + "|as_datetime" + g.of("", "(0)", "(none)") + ")"
		},
		func() string {
			return "(" + g.of(g.scalar(), "1764435875.25") + ")|" + g.of("timestamp_local", "timestamp_utc") + "(" + g.of("0", "none", "'-'") + ")"
		},
		func() string { return "iif(" + g.test() + ", " + g.scalar() + ", " + g.scalar() + ")" },
		func() string { return "(" + g.text() + "|from_json(default=" + g.scalar() + "))" },
		func() string {
			return "(" + g.text() + "|regex_findall_index('" + g.of(`\\d+`, "([a-z])(.)?", "^.") + "'" + g.of("", ", 0", ", index=-1") + "))"
		},
	)
}

func (g *programGenerator) number() string {
	if g.depth > 4 || g.IntN(3) == 0 {
		return g.of("0", "1", "2", "-3", "7", "10", "255", "0.5", "2.5", "-0.1", "1e3", "1e-7", "1_000", "0x1f", "100.0", "1e17",
			"value_json.n", "value_json.f", "value_json.neg", "value_json.d.x.y")
	}
	return g.make(
		func() string {
			return "(" + g.number() + " " + g.of("+", "-", "*", "/", "//", "%") + " " + g.number() + ")"
		},
		func() string { return g.number() + " " + g.of("+", "-", "*", "/", "//", "%") + " " + g.number() },
		func() string { return g.number() + " ** " + g.of("2", "3", "0", "-1", "0.5") },
		func() string {
			return "(" + g.number() + ")|round" + g.of("", "(1)", "(2)", "(0)", "(-1)", "(1, 'floor')", "(2, 'ceil')", "(0, 'half')")
		},
		func() string {
			return "(" + g.scalar() + ")|" + g.of("int", "float") + g.of("(0)", "(default=1)", "", "(none)")
		},
		func() string { return g.of("int", "float") + "(" + g.scalar() + g.of("", ", 0", ", default=-1") + ")" },
		func() string { return "(" + g.text() + ")|int(0, " + g.of("16", "2", "0", "36", "base=8") + ")" },
		func() string { return "(" + g.number() + ")|abs" },
		func() string { return "-" + g.of("1", "value_json.n", "2.5", "(3 + 1)|abs") },
		func() string { return "(" + g.value() + ")|" + g.of("length", "count") },
		func() string { return "(" + g.number() + ")|" + g.of("multiply", "add") + "(" + g.number() + ")" },
		func() string {
			return "(" + g.number() + "|int)|" + g.of("bitwise_and", "bitwise_or", "bitwise_xor") + "(" + g.of("1", "255", "-4", "true") + ")"
		},
		func() string { return g.of("max", "min") + "(" + g.number() + ", " + g.number() + ")" },
		func() string {
			return "((" + g.number() + ")|log" + g.of("", "(10)", "(2, 0)", "(default=-1)", "(0, 7)") + "|round(6))"
		},
		func() string {
			return "(" + g.moment() + ")." + g.of("timestamp()", "year", "month", "hour", "minute", "second", "microsecond", "day")
		},
		func() string {
			return "(" + g.of(g.moment(), g.scalar(), "'2026-11-29T18:00:00Z'", "'2026-11-29 18:00'") + "|as_timestamp" + g.of("", "(0)") + ")"
		},
		func() string {
			return "(" + g.lapse() + ")." + g.of("total_seconds()", "days", "seconds", "microseconds")
		},
		func() string { return "(" + g.lapse() + " / " + g.lapse() + ")" },
		func() string {
			return "(" + g.text() + ")." + g.of("find('a')", "count('a')", "index('O')", "find('')")
		},
	)
}

func (g *programGenerator) text() string {
	if g.depth > 4 || g.IntN(4) == 0 {
		return g.of("'a'", `"it's"`, `'x\ty\n'`, "'12'", "' 3.5 '", "'On'", "'1e3'", "'nan'", `'\u00e4\x41\101\q'`, "''", "'a,b,c'", "'key_press'",
			"value", "value_json.s", "value_json.words[0]", "'0x1F'", "'True'", "'ab' 'cd'", `'[1, {"a": null}]'`, "'ÄÖß ñ'", "'-7'")
	}
	return g.make(
		func() string { return "(" + g.scalar() + " ~ " + g.scalar() + ")" },
		func() string { return "(" + g.text() + " + " + g.text() + ")" },
		func() string { return "(" + g.text() + " * " + g.of("2", "0", "-1", g.number()) + ")" },
		func() string {
			return "(" + g.value() + ")|" + g.of("string", "lower", "upper", "title", "capitalize", "trim", "tojson", "to_json", "join", "urlencode")
		},
		func() string {
			return "(" + g.text() + ")." + g.of("upper()", "lower()", "strip()", "lstrip('a')", "rstrip(' b')", "title()", "capitalize()",
				"replace('a', 'bb')", "replace('', '-')", "replace('b', '', 1)", "zfill(5)", "zfill(-1)", "split(',')[0]", "split()[-1]", "split('b', 1)[1]")
		},
		func() string {
			return "(" + g.text() + ")[" + g.of("0:2", "1:", ":-1", "::2", "::-1", "-3:", "5:1", "0", "-1", "9", "1:9:3") + "]"
		},
		func() string { return "(" + g.list() + "|join('" + g.of(",", "", " - ") + "'))" },
		func() string {
			return "'" + g.of(",", "-", "") + "'.join(" + g.of("['a', 'b']", "value_json.words", "'abc'", g.list()) + ")"
		},
		func() string {
			return "'" + g.of("%d", "%s", "%05.1f", "%x", "%r", "%+d|%%", "%-6s|", "%6.2f", "%g", "%e", "%03d", "%X", "%o", "%i", "%.3s", "%5s", "%c", "% d", "%#x", "%.0f", "%G") + "'" +
				g.of(" % (", "|format(") + g.scalar() + ")"
		},
		func() string { return "'%s and %s'|format(" + g.scalar() + ", " + g.scalar() + ")" },
		func() string {
			return "'{" + g.of("", "0", "!r", "!s") + g.of("", ":", ":.2f", ":d", ":05d", ":,", ":,.1f", ":>8", ":*^9", ":+", ":08.3f", ":x", ":#X", ":e", ":.1%", ":g", ":5", ":<6s", ":.2", ":= 6d", ":b", ":%H") +
				"}" + g.of("", "|{{x}}", "}") + "'.format(" + g.scalar() + g.of("", ", 1") + ")"
		},
		func() string {
			return "(" + g.text() + ")." + g.of("rsplit(',')|last", "rsplit()|first", "rsplit(',', 1)[0]", "rsplit(none, 1)[-1]", "rsplit('b', 2)|join('-')", "removeprefix('a')", "removesuffix('n')", "removeprefix('key_')")
		},
		func() string {
			return "(" + g.of(g.number(), g.scalar(), "value_json.n", "1764435875", "'7'") + ")|" +
				g.of("timestamp_local", "timestamp_utc", "timestamp_custom", "timestamp_custom('%H:%M:%S.%f %z', false)", "timestamp_custom('%d.%m.%y %-I %p', default='')") + g.of("", "", "|string")
		},
		func() string {
			return "(" + g.moment() + ")." + g.of("isoformat()", "isoformat(' ')", "isoformat(timespec='seconds')", "strftime('%c|%A %a %B %b %j %y|%U %W %V %G %u %w|%Z %z')", "strftime('%-d.%-m. %-H %e %I%p %%')")
		},
		func() string { return "(" + g.of(g.moment(), g.lapse()) + ")|string" },
		func() string {
			return "(" + g.dict() + "|dictsort" + g.of("", "(true)", "(by='value')", "(reverse=true)", "(false, 'value', true)") + "|join(' '))"
		},
		func() string { return "(" + g.text() + "|replace(" + g.text() + ", 'z'))" },
		func() string {
			return "(" + g.text() + "|regex_replace('" + g.of(`\\d+`, "[a-c]", `(\\w)(\\w)`, `\\s+`) + "', '" + g.of("", "#", `<\\1>`, `\\g<0>`) + "'" + g.of("", ", true", ", ignorecase=true") + "))"
		},
		func() string { return "(" + g.text() + "|reverse)" },
		func() string {
			return "(" + g.scalar() + "|truncate(" + g.of("3", "5, true", "4, false, ''", "6, true, '', 0", "9, leeway=0", "2") + "))"
		},
	)
}

// test is in brackets: behind is and its test, if would be taken as an argument.
func (g *programGenerator) test() string { return "(" + g.condition() + ")" }

func (g *programGenerator) condition() string {
	if g.depth > 4 {
		return g.of("true", "False", "value_json.b", "value_json.no")
	}
	return g.make(
		func() string {
			return g.of("true", "false", "True", "value_json.b", "value_json.no", "value_json is defined", "value_json.missing is defined")
		},
		func() string { return "(" + g.scalar() + " " + g.of("==", "!=") + " " + g.scalar() + ")" },
		func() string { return "(" + g.number() + " " + g.of("<", "<=", ">", ">=") + " " + g.number() + ")" },
		func() string {
			return g.number() + " < " + g.number() + " " + g.of("<=", "!=", "==") + " " + g.number()
		},
		func() string {
			return "(" + g.scalar() + " " + g.of("in", "not in") + " " + g.make(g.list, g.text, g.dict) + ")"
		},
		func() string { return "(not " + g.scalar() + ")" },
		func() string {
			return "(" + g.moment() + " " + g.of("<", "<=", ">", ">=", "==", "!=") + " " + g.of(g.moment(), g.moment(), g.scalar()) + ")"
		},
		func() string { return "(" + g.lapse() + " " + g.of("<", ">=", "==") + " " + g.lapse() + ")" },
		func() string {
			return "(" + g.of(g.moment(), g.lapse(), g.scalar()) + ") is " + g.of("datetime", "iterable", "string", "number", "true", "defined")
		},
		func() string {
			return "(" + g.value() + ") is " + g.of("", "not ") + g.of("defined", "undefined", "none", "number", "integer", "float", "string", "mapping", "sequence",
				"iterable", "boolean", "true", "false", "lower", "upper", "is_number", "list", "tuple")
		},
		func() string {
			return "(" + g.number() + ") is " + g.of("odd", "even", "divisibleby 3", "divisibleby(2)", "gt 3", "le(2)", "eq 1")
		},
		func() string {
			return "(" + g.scalar() + ") is " + g.of("in [1, 'a', none]", "eq 'a'", "equalto(1)", "ne 1")
		},
		func() string {
			return "(" + g.text() + ") is " + g.of("match", "search") + "('" + g.of("^[a-z]", `\\d`, "(?i)on", "b$", ".") + "')"
		},
		func() string {
			return "(" + g.text() + "|" + g.of("regex_match", "regex_search") + "('" + g.of("A", "[0-9]+$", "x|y") + "', true))"
		},
		func() string {
			return "(" + g.text() + ")." + g.of("startswith('a')", "endswith(('n', 'c'))", "isdigit()", "isnumeric()")
		},
		func() string { return "(" + g.scalar() + ")|bool(" + g.of("false", "none", "") + ")" },
	)
}

func (g *programGenerator) list() string {
	if g.depth > 4 || g.IntN(4) == 0 {
		return g.of("[1, 2, 3]", "[]", "(1, 'a')", "(2,)", "value_json.l", "value_json.words", "value_json.objs", "range(3)", "['b', 'A', 'a']", "[none, true]", "value_json.d")
	}
	return g.make(
		func() string { return "[" + g.scalar() + ", " + g.scalar() + "]" },
		func() string { return "(" + g.list() + " + " + g.list() + ")" },
		func() string { return "(" + g.list() + ")[" + g.of("0:2", "1:", "::-1", "-2:", ":1") + "]" },
		func() string {
			return "(" + g.list() + "|" + g.of("list", "sort", "sort(reverse=true)", "unique|list", "reverse|list", "sort(case_sensitive=true)", "sort(attribute='id')") + ")"
		},
		func() string {
			return "(" + g.list() + "|map('" + g.of("int', 0)", "upper')", "string')", "float(0)')", "length')", "default', 1)", "replace', 'a', 'b')")[0:] + "|list)"
		},
		func() string {
			return "(value_json.objs|map(attribute='" + g.of("id", "name", "x.y") + "'" + g.of("", ", default=0") + ")|list)"
		},
		func() string {
			return "(" + g.list() + "|" + g.of("select", "reject") + "(" + g.of("", "'defined'", "'number'", "'in', [1, 'a']", "'eq', 1", "'string'", "'odd'") + ")|list)"
		},
		func() string {
			return "(value_json.objs|" + g.of("selectattr", "rejectattr") + "('" + g.of("id'", "id', 'eq', 1", "name', 'defined'", "id', 'gt', 1", "name', 'none'") + ")|list)"
		},
		func() string {
			return "(" + g.text() + ")." + g.of("split(',')", "split()", "split('_', 1)", "split(',', -1)", "split(none, 1)")
		},
		func() string {
			return "(" + g.dict() + ")." + g.of("keys()", "values()", "items()") + g.of("", "|list")
		},
		func() string { return "(" + g.text() + "|list)" },
		func() string {
			return "range(" + g.of("4", "1, 4", "10, 0, -3", "0", "value_json.n|int % 9") + ")" + g.of("", "|list")
		},
		func() string {
			return "(" + g.text() + "|regex_findall('" + g.of("[a-z]+", `(\\w)(\\d)?`, `\\d`, "(?P<n>[A-Z])") + "'))"
		},
		func() string { return "(" + g.list() + "|batch(" + g.of("2", "3, 'x'", "1", "2, none") + ")|list)" },
		func() string { return "(" + g.dict() + "|dictsort)" },
		func() string { return "(zip(" + g.list() + ", " + g.list() + ")|list)" },
		func() string { return "([1, 2] * " + g.of("2", "0", g.number()) + ")" },
	)
}

// moment is a point in time, or undefined, or no time at all.
func (g *programGenerator) moment() string {
	if g.depth > 4 || g.IntN(2) == 0 {
		return g.of("now()", "utcnow()", "as_datetime(value_json.n)", "as_datetime('2026-07-01T12:00:00Z')", "as_datetime('2026-11-29 18:05:00.25+01:00')", "as_datetime('2024-02-29 23:59')",
			"as_datetime('20241231')|as_local", "strptime('29.11.2026 18:05', '%d.%m.%Y %H:%M')", "strptime('Feb 3 26 11:59:01.5 pm', '%b %d %y %I:%M:%S.%f %p')", "strptime('2026-200 +0130', '%Y-%j %z')")
	}
	return g.make(
		func() string { return "(" + g.moment() + " " + g.of("+", "-") + " " + g.lapse() + ")" },
		func() string { return "as_local(" + g.moment() + ")" },
		func() string {
			return "(" + g.moment() + ").replace(" + g.of("minute=5", "microsecond=0", "second=59, hour=12", "day=28, month=2, year=2020") + ")"
		},
		func() string { return "as_datetime(" + g.scalar() + ", now())" },
		func() string {
			return "strptime(" + g.text() + ", " + g.of("'%Y'", "'%H:%M'", "'%f'", "'%d %B'", "'a%d'") + ", utcnow())"
		},
	)
}

// lapse is a time between two.
func (g *programGenerator) lapse() string {
	if g.depth > 4 || g.IntN(2) == 0 {
		return g.of("timedelta(1)", "timedelta(seconds=90061.0000005)", "timedelta(hours=-30, milliseconds=1.5)", "timedelta(0, 5, minutes=1.5)", "timedelta()", "timedelta(weeks=2)")
	}
	return g.make(
		func() string { return "(" + g.moment() + " - " + g.moment() + ")" },
		func() string { return "(" + g.lapse() + " " + g.of("+", "-") + " " + g.lapse() + ")" },
		func() string {
			return "(" + g.lapse() + " " + g.of("*", "/") + " " + g.of("2.5", "3", "-1", "value_json.f") + ")"
		},
		func() string {
			return "timedelta(" + g.of("days", "seconds", "minutes") + "=" + g.of("value_json.n", "value_json.f", "2.5", "value_json.missing") + ")"
		},
	)
}

func (g *programGenerator) dict() string {
	return g.make(
		func() string {
			return g.of("value_json.d", "{}", "{'a': 1, 'b': 'x'}", "{1: 'one', none: 2, 1.5: 3}", "{True: 1, (1, 2): 'pair'}", "value_json")
		},
		func() string { return fmt.Sprintf("{'a': %s, 'k': %s}", g.scalar(), g.value()) },
		func() string { return "dict(" + g.of("a=1", "{'x': 1}, y=2", "[('a', 1), ('b', 2)]", g.dict()) + ")" },
		func() string { return "dict.from_keys(" + g.of("[('a', 1)]", "zip(['x', 'y'], "+g.list()+")") + ")" },
	)
}
