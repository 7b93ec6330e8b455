package worker

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"carillon/scripts/filter"
)

// TestOneFilterCannotChangeAnother has filters try at everything that others
// could notice.
func TestOneFilterCannotChangeAnother(t *testing.T) {
	p := newTestPool(t, Options{})
	honest := "e => [e.state, e.attributes.brightness, e.data.new_state.state, Object.keys(e).length, [1].includes(1), 'ab'.startsWith('a'), JSON.stringify({a: 1}), e.attributes instanceof Object, typeof stolen].join()"
	const want = "on,0,on,14,true,true,{\"a\":1},true,undefined"
	check := "e => ({is: (" + honest + ")(e)})"
	hostile := []string{
		"e => { e.state = 'changed' }",
		"e => { e.attributes.brightness = 7 }",
		"e => { delete e.attributes.brightness }",
		"e => { delete e.state }",
		"e => { e.added = 1 }",
		"e => { e.data.new_state.state = 'x' }",
		"e => { e.attributes.list.push(1) }",
		"e => { e.attributes.list[0] = 5 }",
		"e => { e.attributes.list.length = 0 }",
		"e => { e.attributes.list.sort((a, b) => b - a) }",
		"e => { Object.defineProperty(e, 'state', {value: 'y'}) }",
		"e => { Object.assign(e.attributes, {brightness: 9}) }",
		"e => { Reflect.set(e, 'state', 'z') }",
		"e => { Object.freeze(e) }",
	}
	quiet := []string{
		"e => { Object.setPrototypeOf(e, {state: 'q'}); Object.setPrototypeOf(e.attributes, null); return false }",
		"e => { Object.prototype.state = 'p'; Array.prototype.includes = () => false; return false }",
		"e => { String.prototype.startsWith = () => false; JSON.stringify = () => 'no'; return false }",
		"e => { globalThis.stolen = e; return false }",
		"e => { Object.keys = () => []; Array.prototype.join = () => 'bad'; return false }",
		"e => { Object.defineProperty(Object.prototype, 'brightness', {configurable: true, get() { return 3 }}); return false }",
	}
	sources := slices.Concat([]string{check}, hostile, quiet, []string{check})
	filters := compileAll(t, p, "operator", sources...)
	event := change(1, "light.a", "", `"on",{"brightness":0,"list":[3,1,2]}`)
	for round := range 3 {
		told := make(map[int]filter.Outcome)
		err := p.Decide(context.Background(), "operator", lightsOf(event), filters, nil, func(f, _ int, o filter.Outcome) { told[f] = o })
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range []int{0, len(sources) - 1} {
			if got := string(told[i].Data); got != fmt.Sprintf(`{"is":%q}`, want) {
				t.Errorf("round %d: got %s %s, want %q", round, got, told[i].Err, want)
			}
		}
		for i := range hostile {
			if o := told[1+i]; o.Err == "" {
				t.Errorf("%s: got %v, want an error", hostile[i], o)
			}
		}
		for i := range quiet {
			if o, some := told[1+len(hostile)+i]; some {
				t.Errorf("%s: got %v, want no match", quiet[i], o)
			}
		}
	}
}

// TestListsAreLists uses the event's lists and objects in all the ways that
// real ones can be used.
func TestListsAreLists(t *testing.T) {
	p := newTestPool(t, Options{})
	event := change(1, "light.a", "", `"on",{"l":[3,1,2],"o":{"b":1,"a":[{"x":1}]},"n":null,"e":[],"2":"two","1":"one"}`)
	for source, want := range map[string]string{
		"e => ({r: [...e.attributes.l].sort()})":                                                                         `{"r":[1,2,3]}`,
		"e => ({r: e.attributes.l.map(x => x + 1).filter(x => x > 2)})":                                                  `{"r":[4,3]}`,
		"e => ({r: e.attributes.l.concat([4]).length})":                                                                  `{"r":4}`,
		"e => ({r: [0].concat(e.attributes.l)})":                                                                         `{"r":[0,3,1,2]}`,
		"e => ({r: Array.isArray(e.attributes.l)})":                                                                      `{"r":true}`,
		"e => ({r: e.attributes.l.slice(1), j: e.attributes.l.join('-')})":                                               `{"r":[1,2],"j":"3-1-2"}`,
		"e => { let n = 0; for (const x of e.attributes.l) n += x; return {n} }":                                         `{"n":6}`,
		"e => { let n = ''; for (const k in e.attributes) n += k; return {n} }":                                          `{"n":"12lone"}`,
		"e => { const {l: [a, ...rest], o} = e.attributes; return {a, rest, o} }":                                        `{"a":3,"rest":[1,2],"o":{"b":1,"a":[{"x":1}]}}`,
		"e => ({...e.attributes.o})":                                                                                     `{"b":1,"a":[{"x":1}]}`,
		"e => e.attributes.o":                                                                                            `{"b":1,"a":[{"x":1}]}`,
		"e => ({r: Object.entries(e.attributes.o)})":                                                                     `{"r":[["b",1],["a",[{"x":1}]]]}`,
		"e => ({r: 'b' in e.attributes.o, s: 'z' in e.attributes.o, t: 'old' in e})":                                     `{"r":true,"s":false,"t":true}`,
		"e => ({r: e.attributes.o.hasOwnProperty('a'), s: Object.hasOwn(e, 'x')})":                                       `{"r":true,"s":false}`,
		"e => ({r: e.attributes.l[-1] === undefined, s: e.attributes.l.at(-1), t: e.attributes.l[9] === undefined})":     `{"r":true,"s":2,"t":true}`,
		"e => ({r: new Set(e.attributes.l).size, m: Math.max(...e.attributes.l), q: e.attributes.n})":                    `{"r":3,"m":3,"q":null}`,
		"e => ({r: e.attributes.l.indexOf(1), s: e.attributes.l.reduce((a, b) => a + b), t: e.attributes.e.length})":     `{"r":1,"s":6,"t":0}`,
		"e => ({r: e.attributes.o.a === e.attributes.o.a, s: e.attributes.o === e.data.new_state.attributes.o})":         `{"r":true,"s":false}`,
		"e => ({r: `${e.attributes.l}`, s: `${e.attributes.o}`, t: JSON.stringify(e.attributes.l)})":                     `{"r":"3,1,2","s":"[object Object]","t":"[3,1,2]"}`,
		"e => ({r: new WeakMap([[e, 1]]).get(e), s: structureOf(e.attributes.l)}); function structureOf(l) { return 1 }": "",
	} {
		f, err := p.Compile(context.Background(), "operator", "f", source, nil)
		if err != nil {
			if want != "" {
				t.Errorf("%s: %v", source, err)
			}
			continue
		}
		if got := answers(t, p, "operator", lightsOf(event), []*Filter{f}, nil); len(got) != 1 || got[0] != "0:0="+want {
			t.Errorf("%s: got %v, want %s", source, got, want)
		}
	}
}

// TestTheSameOnReplay asks filters that look at clock and chance twice, in two
// processes.
func TestTheSameOnReplay(t *testing.T) {
	sources := []string{
		"e => ({now: Date.now() - e.time, date: new Date().toISOString(), text: Date(), hour: new Date(e.time).getHours(), zone: new Date().getTimezoneOffset()})",
		"e => ({a: Math.random(), b: Math.random()})",
		"e => Math.random() < 0.5",
		"const started = Date.now(), r = Math.random(); export default e => ({started, r})",
	}
	events := lights(200)
	ask := func() []string {
		p := newTestPool(t, Options{})
		return answers(t, p, "operator", events, compileAll(t, p, "operator", sources...), nil)
	}
	first := ask()
	if second := ask(); !slices.Equal(first, second) {
		t.Errorf("a replay: got %v, want what was said before: %v", second[:6], first[:6])
	}
	if want := `0:0={"now":0,"date":"2026-01-01T00:00:05.678Z","text":"Thu Jan 01 2026 00:00:05 GMT+0000 (UTC)","hour":0,"zone":0}`; first[0] != want {
		t.Errorf("the clock: got %s, want %s", first[0], want)
	}
	chosen, random := 0, map[string]bool{}
	for _, a := range first {
		switch a[0] {
		case '1':
			random[a[len("1:"):]] = true
		case '2':
			chosen++
		}
	}
	if chosen < 70 || chosen > 130 || len(random) != 200 {
		t.Errorf("chance: got %d of 200 and %d different, want about half and 200", chosen, len(random))
	}
}

func TestParameters(t *testing.T) {
	p := newTestPool(t, Options{})
	params := map[string]any{"text": "x\u00fc", "limit": 2.5, "yes": true}
	f, err := p.Compile(context.Background(), "operator", "f", "(e, p) => ({p, same: p === params, kept: (() => { try { p.limit = 1 } catch (x) { return x.name } })()})", params)
	if err != nil {
		t.Fatal(err)
	}
	want := `0:0={"p":{"limit":2.5,"text":"xü","yes":true},"same":true,"kept":"TypeError"}`
	if got := answers(t, p, "operator", lights(1), []*Filter{f}, nil); got[0] != want {
		t.Errorf("got %s, want %s", got[0], want)
	}
	if _, err := p.Compile(context.Background(), "operator", "f", "e => 1", map[string]any{"f": func() {}}); err == nil {
		t.Error("a function as a parameter: got no error, want one")
	}
}
