package worker

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatAFilterMayBe(t *testing.T) {
	p := newTestPool(t, Options{})
	for _, source := range []string{
		"e => e.seq === 2",
		"  e=>e.seq===2;  // a comment",
		"(e, params) => e.seq === params.two",
		"e.seq === params.two",
		"(e.seq) === (2)",
		"e.seq === 2;;",
		"function (e) { return e.seq === 2 }",
		"function named(e) { return e.seq === 2 }\n",
		"(function (e) { return e.seq === 2 })",
		"e => { for (const x of [1, 2, 3]) if (x === e.seq) return x === 2; }",
		"const two = 2;\nexport default e => e.seq === two;",
		"export default e => check(e)\nfunction check(e) { return e.seq === params.two }\nlet last = 1",
		"export default function (e) { return e.seq === 2 }",
		"// first\nexport default e => e.seq === 2 // then\n",
		"/* export default */ const s = 'export default'; export default e => s.length === 14 && e.seq === 2",
		"class C { is(e) { return e.seq === 2 } }; export default e => new C().is(e)",
		"'use strict'; export default (e) => /(?<=^)2$/.test(String(e.seq))",
		"eval('e.seq === 2')",
		"new Function('e', 'return e.seq === 2')(e)",
		"e => (e => e)(e.seq === 2)",
	} {
		f, err := p.Compile(context.Background(), "operator", "f", source, map[string]any{"two": 2.0})
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if got := answers(t, p, "operator", lights(3), []*Filter{f}, nil); len(got) != 1 || got[0] != "0:1=match" {
			t.Errorf("%s: got %v, want a match of the second event", source, got)
		}
	}
	for _, source := range []string{"{a: e.seq}", "({a: e.seq})", "{ a: e.seq };", "e => ({a: e.seq})"} {
		f, err := p.Compile(context.Background(), "operator", "f", source, nil)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if got := answers(t, p, "operator", lights(1), []*Filter{f}, nil); len(got) != 1 || got[0] != `0:0={"a":1}` {
			t.Errorf("%s: got %v, want a projection", source, got)
		}
	}
}

func TestWhatAFilterMayNotBe(t *testing.T) {
	p := newTestPool(t, Options{})
	for _, test := range []struct {
		source       string
		line, column int
		message      string
	}{
		{"", 1, 1, "empty"},
		{" // nothing\n", 1, 1, "empty"},
		{"e => e.", 1, 8, "syntax error"},
		{"e => {\n  return 'ü' + 'ö' +* 2\n}", 2, 21, "syntax error"},
		{"e => 'üüü' ++ 2", 1, 12, "syntax error"},
		{"1) + (2", 1, 2, "syntax error"},
		{"{a: 1}) || ({b: 2}", 1, 7, "syntax error"},
		{"e => true; e => false", 1, 12, "export default"},
		{"const a = 1", 1, 1, "export default"},
		{"\n function f(e) { return true }\n f(1)", 2, 2, "export default"},
		{"export const a = 1", 1, 1, "exports one thing"},
		{"export default e => 1; export default e => 2", 1, 24, "exports one thing"},
		{"import fs from 'fs'; export default e => 1", 1, 1, "can't import"},
		{"export default 'ü' +* 1", 1, 21, "syntax error"},
		{"export default 3", 1, 1, "function of the event"},
		{"let x = 1; let x = 2; export default e => x", 1, 16, "syntax error"},
		{"e => /(/.test(e.state)", 1, 6, "syntax error"},
		{"\n\n  nothing.at.all; export default e => 1", 3, 3, "ReferenceError"},
		{"const a = 'ü'; throw new TypeError('no'); export default e => 1", 1, 22, "TypeError: no"},
		{"x = 1; export default e => 1", 1, 1, "ReferenceError"},
		{"with (e) { state }", 1, 1, "export default"},
		{"e => { with (e) { return state } }", 1, 8, "syntax error"},
		{"await e", 1, 7, "syntax error"},
	} {
		f, err := p.Compile(context.Background(), "operator", "f", test.source, nil)
		got, ok := asRefusal(err)
		if !ok {
			t.Errorf("%q: got %v, %v, want a filter.Error", test.source, f, err)
			continue
		}
		if !strings.Contains(got.Message, test.message) || got.Line != test.line || got.Column != test.column {
			t.Errorf("%q: got %v, want %d:%d: …%s…", test.source, got, test.line, test.column, test.message)
		}
	}
	if s := p.Stats(); s.Started != 1 || s.Filters != 0 {
		t.Errorf("got %+v, want one process and no filters", s)
	}
}

// TestNoSourceMaps names source maps, for which goja would read files: none of
// them counts. Whether one does shows in the place of an error.
func TestNoSourceMaps(t *testing.T) {
	content := `{"version":3,"sources":["a.js"],"names":[],"mappings":"AAoGA;AAAA;AAAA;AAAA;AAAA"}`
	file := filepath.Join(t.TempDir(), "a.map")
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	server := newServer(io.Discard, 64<<20, false) // without limits: the file can be read
	for i, url := range []string{"data:application/json;base64," + base64.StdEncoding.EncodeToString([]byte(content)), "file://" + file, file} {
		line := "\nnothing.at.all\n//# sourceMappingURL=" + url
		for _, source := range []string{
			"e => {\n" + line + "\n}",
			fmt.Sprintf("e => eval(%q)", line),
			fmt.Sprintf("e => (0, eval)(%q)", line),
			fmt.Sprintf("e => new Function(%q)()", line),
		} {
			text := "\n\nexport default e => { try { return (" + source + ")(e) } catch (x) { return {stack: x.stack} } }\n//# sourceMappingURL=" + url
			id := uint32(i + 1)
			server.load(load{id: id, name: "f", source: text})
			d := &decoder{s: asString(appendEvent(nil, lights(1)[0]))}
			got := server.programs[id].decide(newView(server.values, d.event()))
			if !strings.Contains(got.data, "nothing is not defined") || strings.Contains(got.data, "a.js") {
				t.Errorf("%s: got %s %s, want a stack without the map's file", text, got.data, got.err)
			}
		}
	}
}

// TestNothingOfTheSystem looks for what a machine might have beside the
// language.
func TestNothingOfTheSystem(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret.js")
	if err := os.WriteFile(secret, []byte("export default e => true"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CARILLON_SECRET", "tell nobody")
	p := newTestPool(t, Options{})
	names := "require process module exports global window self fetch XMLHttpRequest WebSocket setTimeout setInterval setImmediate queueMicrotask Deno Bun read load print readFile Worker SharedArrayBuffer Atomics WeakRef FinalizationRegistry performance crypto exportDefault"
	filters := compileAll(t, p, "operator",
		fmt.Sprintf("e => ({found: %q.split(' ').filter(n => n in globalThis).join()})", names),
		fmt.Sprintf("e => require(%q)", secret),
		"e => { console.log(e); console.error('x'); return typeof console.log === 'function' }")
	got := answers(t, p, "operator", lights(1), filters, nil)
	want := []string{`0:0={"found":""}`, "1:0=ReferenceError: require is not defined", "2:0=match"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if _, err := p.Compile(context.Background(), "operator", "f", fmt.Sprintf("import(%q)", secret), nil); err == nil {
		t.Error("import(): got no error, want one")
	}
}
