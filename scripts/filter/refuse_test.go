package filter

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestRefusals holds what is outside of the subset: where and how that is told.
func TestRefusals(t *testing.T) {
	for _, test := range []struct{ source, construct, place string }{
		{"e.state = 'on'", "assignment", "1:1"},
		{"e => {\n  e.state += 1\n}", "assignment", "2:3"},
		{"e => e.time++", "++", "1:6"},
		{"e => delete e.state", "delete", "1:6"},
		{"e => { for (;;); }", "for", "1:8"},
		{"e => { for (const x of e.list) return x }", "for", "1:8"},
		{"e => { while (true); }", "while", "1:8"},
		{"e => { do ; while (true) }", "do", "1:8"},
		{"e => { switch (e.state) {} }", "switch", "1:8"},
		{"e => { throw 1 }", "throw", "1:8"},
		{"e => { try {} catch {} }", "try", "1:8"},
		{"e => { var x = 1; }", "var", "1:8"},
		{"e => { x: ; }", "label", "1:8"},
		{"e => { debugger }", "debugger", "1:8"},
		{"const x = 1; x", "const", "1:1"},
		{"e; e", "", "1:4"},
		{"function f(e) { return true }", "function", "1:1"},
		{"(function (e) { return true })", "function", "1:2"},
		{"async e => true", "async", "1:1"},
		{"e => async () => 1", "async", "1:6"},
		{"e => this.x", "this", "1:6"},
		{"e => new Map()", "new", "1:6"},
		{"e => new Date()", "new Date", "1:6"},
		{"e => new Date(e.time)", "Date as a value", "1:6"},
		{"e => { const d = new Date(e.time); return d }", "Date as a value", "1:43"},
		{"e => new Date(e.time).getHours()", "Date.getHours", "1:6"},
		{"e => Date.now() > e.time", "Date.now", "1:6"},
		{"e => Math.random() > 0.5", "Math.random", "1:6"},
		{"e => Math.max", "Math.max", "1:6"},
		{"e => parseInt", "parseInt", "1:6"},
		{"e => eval('1')", "eval", "1:6"},
		{"e => globalThis", "globalThis", "1:6"},
		{"e => ev.state", "ev", "1:6"},
		{"ä => ä.state === b", "b", "1:18"},
		{"e => e instanceof Object", "instanceof", "1:6"},
		{"e => class {}", "class", "1:6"},
		{"e => 1n", "BigInt", "1:6"},
		{"e => 010", "octal literal", "1:6"},
		{"e => String.raw`x`", "tagged template", "1:16"},
		{"e => [1, , 2]", "hole in a list", "1:6"},
		{"e => ({ get x() { return 1 } })", "method or accessor in an object", "1:13"},
		{"e => ({ x() { return 1 } })", "method or accessor in an object", "1:9"},
		{"e => ({ __proto__: null })", "__proto__", "1:9"},
		{"e => e.constructor", "inherited property", "1:6"},
		{"e => e.state.replace('a', 'b')", "replace()", "1:6"},
		{"e => e.attributes.list.sort()", "sort()", "1:6"},
		{"e => e.attributes.f(1)", "f()", "1:6"},
		{"e => e.state[e.x]()", "call of a computed name", "1:6"},
		{"e => e.state?.()", "optional call", "1:6"},
		{"e => e()", "call of a value", "1:6"},
		{"e => e.attributes.list.map(e.state)", "callback", "1:28"},
		{"e => e.attributes.list.map(x => y => x)", "function as a value", "1:33"},
		{"e => e.attributes.list.some(x => x, this)", "some()", "1:6"},
		{"e => { const f = x => f(x); return f(1) }", "recursion", "1:23"},
		{"e => { const y = x; const x = 1; return y }", "use before declaration", "1:18"},
		{"(...e) => 1", "rest element", "1:5"},
		{"({...e}) => 1", "rest element", "1:6"},
		{"({[e]: x}) => 1", "computed key in a pattern", "1:4"},
		{"(a, b, c) => 1", "third parameter", "1:8"},
		{"e => 1 < e.time < 3", "comparison of a comparison", "1:6"},
		{"e => /x/.exec(e.state)", "exec()", "1:6"},
		{"e => /x/", "regular expression", "1:6"},
		{"e => e.state.match(/x/)", "match()", "1:6"},
		{"e => /x/g.test(e.state)", "flag g", "1:6"},
		{"e => /K/iu.test(e.state)", "flags i and u", "1:6"},
		{"e => /a(?=b)/.test(e.state)", "lookahead", "1:8"},
		{"e => /(?<!a)b/.test(e.state)", "lookbehind", "1:7"},
		{`e => /(a)\1/.test(e.state)`, "backreference", "1:11"},
		{`e => /\p{L}/u.test(e.state)`, `\p`, "1:8"},
		{"e => /^a/m.test(e.state)", "anchor with the flag m", "1:8"},
		{"e => /ä/i.test(e.state)", "letter beyond ASCII with the flag i", "1:8"},
		{"e => /a{/.test(e.state)", "unescaped {", "1:8"},
		{"e => /a**/.test(e.state)", "repetition of a repetition", "1:9"},
		{"e => /(?:(?:a{100}){100}){100}/.test(e.state)", "", "1:6"},
		{"e => e.state ===", "", "1:17"},
		{"", "", "1:1"},
		{"e => { const x = 1; const x = 2 }", "", "1:27"},
		{"e => { const x; }", "", "1:14"},
		{"e => JSON.stringify(e, null, 2)", "JSON.stringify", "1:6"},
		{"//# sourceMappingURL=file:///etc/passwd\nimport('x')", "", "2:1"},
	} {
		_, err := Compile(test.source, Options{})
		var refused *Error
		if !errors.As(err, &refused) {
			t.Errorf("%s: got %v, want an *Error", test.source, err)
			continue
		}
		if !strings.HasPrefix(err.Error(), test.place+": ") || refused.Construct != test.construct {
			t.Errorf("%s: got %q about %q, want it at %s about %q", test.source, err, refused.Construct, test.place, test.construct)
		}
	}
}

// TestHostileSources holds that no source takes long to refuse or to compile.
func TestHostileSources(t *testing.T) {
	repeat := strings.Repeat
	for name, source := range map[string]string{
		"parentheses":        repeat("(", 8000),
		"brackets":           repeat("[", 1000) + repeat("]", 1000),
		"nested parameters":  repeat("(a=", 100) + "1" + repeat(")=>1", 100),
		"nested patterns":    repeat("([", 12) + "1" + repeat("])=>1", 12),
		"not":                repeat("!", 16000) + "e",
		"minus":              repeat("- ", 8000) + "1",
		"sum":                "1" + repeat("+e", 8000),
		"ternaries":          repeat("e?e:", 4000) + "e",
		"dots":               "e" + repeat(".a", 8000),
		"powers":             "2" + repeat("**2", 5000),
		"assignments":        repeat("a=", 8000) + "1",
		"labels":             repeat("a:", 8000),
		"some labels":        repeat("a:", 600),
		"templates":          repeat("`${", 1000) + repeat("}`", 1000),
		"ifs":                "e=>{" + repeat("if(e.a){e.b()}", 100) + "}",
		"ifs that go on":     "e=>{" + repeat("if(e.a)if(e.b)return 1;", 300) + "}",
		"doubling functions": "e=>{const a=x=>x+x;" + repeat("const b=x=>a(a(a(a(x))));", 1) + "return b(b(b(b(1))))}",
		"long":               repeat("a", 20000),
		"big pattern":        "/(?:" + repeat("a{400}|", 1000) + "b)/.test(e.state)",
		"deep pattern":       "/" + repeat("(", 500) + repeat(")", 500) + "/.test(e.state)",
		"broken UTF-8":       "e => '\xff'",
	} {
		began := time.Now()
		_, err := Compile(source, Options{})
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
		if err == nil && name != "brackets" {
			t.Errorf("%s: compiled, and should be refused", name)
		}
	}
}

// TestHostileRuns holds that what compiles ends soon on any event.
func TestHostileRuns(t *testing.T) {
	e := bigEvent(t)
	for _, source := range []string{
		`e => e.attributes.list.some(a => e.attributes.list.some(b => a + b === "x"))`,
		`e => e.attributes.list.map(a => e.attributes.list).flat().map(a => e.attributes.list).flat().length > 1`,
		`e => { const a = e.attributes.text, b = a + a + a + a, c = b + b + b + b, d = c + c + c + c, f = d + d + d + d; return (f + f + f + f + f).length > 1 }`,
		`e => e.attributes.list.reduce((s, x) => s + s + x, "").length`,
		`e => e.attributes.list.reduce((s, x) => [...s, ...s, x], []).length`,
		`e => e.attributes.list.map(x => e.attributes.list.join("x".repeat(4000))).length`,
		`e => e.attributes.list.map(x => /^(a|b|ab)*c$/.test(e.attributes.text)).length`,
		`e => e.attributes.list.some(x => /(?:a?){200}a{200}b/.test(e.attributes.text))`,
		`e => e.attributes.list.map(x => JSON.stringify(e)).length`,
		`e => e.attributes.list.map(x => e.attributes.list.includes(x, 1)).length`,
		`e => e.attributes.list.map(x => e.attributes.text.split("")).length`,
		`e => e.attributes.list.map(x => e.attributes.text.lastIndexOf("\ud83d")).length`,
		`e => e.attributes.list.map(x => e.attributes.text + e.attributes.list).length`,
		`e => e.attributes.list.map(x => e.attributes.list == "a").length`,
		`e => e.attributes.list.map(x => e.attributes.text.toUpperCase()).length`,
		`e => ({a: e.data, b: e.attributes.list.map(x => e.attributes.list)})`,
	} {
		p, err := Compile(source, Options{})
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		began := time.Now()
		got := p.Eval(e)
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: took %v, want a few milliseconds", source, took)
		}
		if !strings.HasPrefix(got.Err, "RangeError: the filter takes too long") {
			t.Errorf("%s: got %.100v, want it to be stopped", source, got)
		}
	}
}

// TestLargeProjection holds that what a filter returns is no larger than what
// an event may have.
func TestLargeProjection(t *testing.T) {
	e := bigEvent(t)
	for source, want := range map[string]string{
		`e => ({a: e.attributes.text, b: e.attributes.text})`:                                 "",
		`e => ({a: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13].map(x => e.attributes.text)})`: "RangeError: the projection has 858046 bytes, and an event's data at most 786432",
	} {
		p, err := Compile(source, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Eval(e); got.Err != want || got.Match != (want == "") {
			t.Errorf("%s: got %v %q, want %q", source, got.Match, got.Err, want)
		}
	}
}

// bigEvent has a list of 8000 items and a text of 64 KiB.
func bigEvent(t *testing.T) *Event {
	t.Helper()
	data := `{"entity_id":"light.x","old_state":null,"new_state":{"entity_id":"light.x","state":"on","attributes":{"list":[1` + strings.Repeat(",2", 7999) +
		`],"text":"` + strings.Repeat("aä", 22000) + `"},"last_changed":"2026-01-01T00:00:00Z","last_reported":"2026-01-01T00:00:00Z",` +
		`"last_updated":"2026-01-01T00:00:00Z","context":{"id":"01","parent_id":null,"user_id":null}}}`
	var e Event
	e.Reset(eventOf("state_changed", "light.x", "light", "api", 1, time.UnixMilli(0), data))
	return &e
}
