package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"carillon/httpd"
	"carillon/httpd/broadcast"
	"carillon/internal/watch"
	"carillon/runtime"
	"carillon/scripts/filter/worker"
)

func testFilters(t *testing.T) *filters {
	t.Helper()
	f := newFilters(t.TempDir(), worker.Options{Command: filterWorkerArgv, Log: slog.New(slog.DiscardHandler)})
	f.named.tell, f.named.changed = func(context.Context, string, map[string]any) {}, func() {}
	t.Cleanup(f.close)
	return f
}

// save gives named filters a file's content.
func (f *filters) save(file, text string) {
	f.named.settle(context.Background(), []watch.Change{{Path: file, Content: []byte(text), Hash: [32]byte{byte(len(text)), text[0]}}})
}

func (f *filters) must(t *testing.T, spec httpd.FilterSpec) *liveFilter {
	t.Helper()
	made, err := f.take(t.Context(), spec)
	if err != nil {
		t.Fatalf("%s: %v", spec.Source, err)
	}
	return made
}

func testTick(t testing.TB, n int) *broadcast.Event {
	t.Helper()
	e, err := runtime.Draft(runtime.NewEvent{Type: "tick", Data: fmt.Appendf(nil, `{"n":%d}`, n)}, uint64(n), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &broadcast.Event{Seq: e.Seq, Type: e.Type, Value: e}
}

// Filters that do the same are one; a named one is one with its name, version
// and parameters, and still decides together with those that do the same.
func TestFiltersAreShared(t *testing.T) {
	f := testFilters(t)
	f.save("all.js", "e => e.type === 'tick'")
	inline := httpd.FilterSpec{Source: "e => e.type === 'tick'", Credential: "a"}
	a := f.must(t, inline)
	inline.Source, inline.Credential = "(event) => (event.type === \"tick\") // the same", "b"
	if b := f.must(t, inline); a != b {
		t.Errorf("got %v and %v, want one filter", a, b)
	}
	named, with := f.must(t, httpd.FilterSpec{Source: "@all"}), f.must(t, httpd.FilterSpec{Source: "@all", Params: map[string]any{"x": 1.0}})
	if named == a || named == with || with.String() != `@all@1 {"x":1}` {
		t.Errorf("got %v, %v and %v, want three filters", a, named, with)
	}
	for _, l := range []*liveFilter{a, named, with} {
		f.Add(l)
	}
	if n := f.set.Len(); n != 1 {
		t.Errorf("got %d programs, want 1", n)
	}
	takers := func() (names []string) {
		f.Match(testTick(t, 1), func(l broadcast.Filter, d broadcast.Decision) { names = append(names, l.String()) })
		slices.Sort(names)
		return names
	}
	if got := takers(); len(got) != 3 {
		t.Errorf("got %v, want all three", got)
	}
	f.Remove(named)
	if got := takers(); len(got) != 2 || slices.Contains(got, "@all@1") {
		t.Errorf("got %v, want the two that are left", got)
	}
	f.Remove(with)
	f.Remove(a)
	if got := takers(); len(got) != 0 || f.set.Len() != 0 {
		t.Errorf("got %v and %d programs, want none", got, f.set.Len())
	}
	for _, l := range []*liveFilter{a, a, named, with} {
		f.leave(l)
	}
	if len(f.live) != 0 {
		t.Errorf("got %v left, want none", f.live)
	}
}

// Workers of one domain run the same text once, whoever asks for it under
// whatever name.
func TestWorkersFiltersAreShared(t *testing.T) {
	f := testFilters(t)
	const text = "e => { let n = e.data.n; for (;;) return n % 2 === 1 }"
	f.save("odd.js", text)
	first := f.must(t, httpd.FilterSpec{Source: "@odd"})
	f.save("odd.js", "e => true")
	f.save("odd.js", text)
	again := f.must(t, httpd.FilterSpec{Source: "@odd"})
	mine := f.must(t, httpd.FilterSpec{Source: text, Credential: "me", Full: true})
	if first == again || first.full != again.full || mine.full == first.full {
		t.Errorf("got %v, %v and %v, want two names for one filter and one of another domain", first, again, mine)
	}
	events := []*broadcast.Event{testTick(t, 1), testTick(t, 2), testTick(t, 3)}
	var got []string
	err := f.Ask(t.Context(), operator, events, []broadcast.Filter{first, again}, func(filter, event int, d broadcast.Decision) {
		got = append(got, fmt.Sprint(filter, event, d.Match, d.Err))
	})
	if want := []string{"0 0 true", "1 0 true", "0 2 true", "1 2 true"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q and %v, want %q", got, err, want)
	}
	if _, err := f.take(t.Context(), httpd.FilterSpec{Source: text, Credential: "me"}); err == nil || !strings.Contains(err.Error(), "let") && !strings.Contains(err.Error(), "for") {
		t.Errorf("without the right: got %v, want the construct", err)
	}
	for _, l := range []*liveFilter{first, again, mine} {
		f.leave(l)
	}
	if stats := f.pool.Stats(); len(f.live) != 0 || stats.Filters != 0 {
		t.Errorf("got %v and %d of the workers left, want none", f.live, stats.Filters)
	}
}

// A named filter's successor: the next version, itself once it is removed, and
// none if it is the present one.
func TestNextFilter(t *testing.T) {
	f := testFilters(t)
	next := func(of *liveFilter) (*liveFilter, string) {
		t.Helper()
		l, comment, err := f.named.next(t.Context(), of)
		if err != nil {
			t.Fatal(err)
		}
		if l == nil {
			return nil, comment
		}
		return l.(*liveFilter), comment
	}
	f.save("it.js", "(e, p) => e.data.n > p.n")
	inline, a := f.must(t, httpd.FilterSpec{Source: "e.x"}), f.must(t, httpd.FilterSpec{Source: "@it", Params: map[string]any{"n": 2.0}})
	for _, l := range []*liveFilter{inline, a} {
		if l, comment := next(l); l != nil || comment != "" {
			t.Errorf("got %v %s, want none", l, comment)
		}
	}
	f.save("it.js", "(e, p) => e.data.n >> > p.n")
	if l, _ := next(a); l != nil {
		t.Errorf("behind a broken save: got %v, want none", l)
	}
	f.save("it.js", "(e, p) => e.data.n > 2 * p.n")
	b, comment := next(a)
	if b == nil || b.String() != `@it@2 {"n":2}` || comment != "filter @it@2" {
		t.Fatalf("got %v %s, want the second version", b, comment)
	}
	f.named.settle(t.Context(), []watch.Change{{Path: "it.js", Gone: true}})
	c, comment := next(b)
	if c == nil || c.String() != `@it@2 {"n":2} (removed)` || c.program != b.program || comment != "filter @it is removed; this stream keeps @it@2" {
		t.Fatalf("got %v %s, want the last version", c, comment)
	}
	if l, _ := next(c); l != nil {
		t.Errorf("got %v behind the last, want none", l)
	}
	f.save("it.js", "(e, p) => e.data.n.x.y > p.n")
	d, comment := next(c)
	if d == nil || comment != "filter @it@3" {
		t.Errorf("got %v %s, want the third version", d, comment)
	}
	for _, l := range []*liveFilter{inline, a, b, c, d} {
		f.leave(l)
	}
	if len(f.live) != 0 {
		t.Errorf("got %v left, want none", f.live)
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	f := testFilters(t)
	for i := range 100 {
		f.Add(f.must(t, httpd.FilterSpec{Source: fmt.Sprintf("e => e.data.n %% 2 === 1 && e.data.n > %d", i-50)}))
	}
	event, taken := testTick(t, 7), 0
	yield := func(broadcast.Filter, broadcast.Decision) { taken++ }
	f.Match(event, yield)
	if taken != 57 {
		t.Errorf("got %d filters that take the event, want 57", taken)
	}
	if n := testing.AllocsPerRun(100, func() { f.Match(event, yield) }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

func TestWithoutExport(t *testing.T) {
	for text, want := range map[string]string{
		"export default e => e":                        "               e => e",
		"// a\n/* export */ export\n\tdefault(e => e)": "// a\n/* export */       \n\t       (e => e)",
		"export /* x */ default function (e) {}":       "       /* x */         function (e) {}",
		"export defaults":                              "export defaults",
		"exportdefault":                                "exportdefault",
		"export const a = 1":                           "export const a = 1",
		"e => e // export default":                     "e => e // export default",
		"/* never ends":                                "/* never ends",
		"//":                                           "//",
		"":                                             "",
		"export":                                       "export",
		"const a = 1\nexport default e => e.seq === a": "const a = 1\nexport default e => e.seq === a",
	} {
		if got := withoutExport(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestNamesOfFilters(t *testing.T) {
	f := testFilters(t)
	for _, name := range []string{"a b", "ü", "a@1", strings.Repeat("x", 101), "a.b"} {
		f.save(name+".js", "e => true")
		if _, err := f.take(t.Context(), httpd.FilterSpec{Source: "@" + name}); err == nil || !strings.Contains(err.Error(), "rename the file") {
			t.Errorf("%s: got %v, want to be told to rename the file", name, err)
		}
	}
	for _, file := range []string{"_a.js", "a.txt", "a.d", "a"} {
		if isFilter(file) {
			t.Errorf("%s is taken for a filter", file)
		}
	}
}
