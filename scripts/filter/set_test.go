package filter

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"carillon/runtime"
)

// must compiles what a test says.
func must(t testing.TB, source string) *Program {
	t.Helper()
	p, err := Compile(source, Options{})
	if err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	return p
}

// decided returns what Decide yields, by key, and fails if an entry comes twice.
func decided(t testing.TB, s *Set, ev *runtime.Event) map[string]Outcome {
	t.Helper()
	got := map[string]Outcome{}
	s.Decide(ev, func(e *Entry, o Outcome) {
		if _, twice := got[e.Program.Key()]; twice {
			t.Errorf("%s came twice", e.Program.Key())
		}
		got[e.Program.Key()] = o
	})
	return got
}

// A chance makes random predicates and events that have to do with each other.
type chance struct{ *rand.Rand }

// TestSetBoundsWorkAsEvalDoes has programs that take about as much as they may:
// what each condition takes counts, whoever else has it.
func TestSetBoundsWorkAsEvalDoes(t *testing.T) {
	ev := fired(1, "x", "", `{"l":[`+strings.Repeat(`1,`, 120)+`2]}`)
	const heavy = `e.data.l.some(x => e.data.l.some(y => y > %d + x))`
	s := NewSet()
	var e Event
	var programs []*Program
	throws := 0
	for n := 1; n <= 6; n++ {
		var parts []string
		for i := range n {
			parts = append(parts, fmt.Sprintf("!"+heavy, i+5))
		}
		p := must(t, "e => "+strings.Join(parts, " && "))
		programs = append(programs, p)
		s.Add(p)
	}
	got := decided(t, s, ev)
	for _, p := range programs {
		e.Reset(ev)
		want := p.Eval(&e)
		if o := got[p.Key()]; o.Match != want.Match || o.Err != want.Err {
			t.Errorf("%s: got %+v, want %+v", p.Key(), o, want)
		}
		throws += count(want.Err != "")
	}
	if throws == 0 || throws == len(programs) {
		t.Errorf("%d of %d programs take too long, want some", throws, len(programs))
	}
}

// newChance tells the seed when the test fails.
func newChance(t *testing.T) chance {
	seed := rand.Uint64()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return chance{rand.New(rand.NewPCG(seed, 1))}
}

func (c chance) of(from ...string) string { return from[c.IntN(len(from))] }

var (
	someDomains = []string{"light", "sensor", "switch"}
	someValues  = []string{`"on"`, `"off"`, `3`, `20`, `-0`, `0`, `true`, `false`, `null`, `"20"`, `"😀x"`, `""`}
	somePaths   = []string{"e.state", "e.attributes.a", "e.attributes?.a", "e.old?.state", "e.data.v", "e.data.o.p", "e.data.o?.p", "e.unit", "e.number", "e.old.attributes.a", "e.entity_id", "e.old.state"}
)

func (c chance) conjunct() string {
	path, v := c.of(somePaths...), c.of(someValues...)
	switch c.IntN(18) {
	case 14:
		return c.of("e.old", "e.attributes", "e.data.o") + c.of("", " !== undefined", " != null", " !== null")
	case 15:
		return "e.old?.state " + c.of("!==", "===", "!=", "==") + " " + c.of("undefined", "null", v)
	case 16:
		return c.of("e.attributes.a.b", "e.data.o?.p.q", "e.old.attributes.a.length") + " === " + v
	case 17:
		return "typeof " + path + " === " + c.of("'string'", "'object'", "'undefined'")
	case 0:
		return path + " === " + v
	case 1:
		return v + " === " + path
	case 2:
		return path + " == " + v
	case 3:
		return "[" + v + ", " + c.of(someValues...) + ", " + c.of(someValues...) + "].includes(" + path + ")"
	case 4:
		return "(" + path + " === " + v + " || " + path + " === " + c.of(someValues...) + ")"
	case 5:
		return path + c.of(".", "?.") + "startsWith(" + c.of(`"o"`, `"😀"`, `"\ud83d"`, `"2"`, `""`) + ")"
	case 6:
		return path + c.of(" > ", " < ", " >= ", " <= ") + c.of("3", "20", "-1", "19.5", `"2"`)
	case 7:
		return c.of("3", "20") + c.of(" > ", " < ", " >= ", " <= ") + path
	case 8:
		return "e.domain === '" + c.of(someDomains...) + "'"
	case 9:
		return "e.entity_id.startsWith('" + c.of(someDomains...) + c.of(".", ".a", "") + "')"
	case 10:
		return "e.entity_id === '" + c.of(someDomains...) + "." + c.of("a", "b", "ab") + "'"
	case 11:
		return c.of("!", "!!") + path
	case 12:
		return "e.data.list.some(x => x === " + v + ")"
	}
	return "e.type " + c.of("===", "!==") + " 'state_changed'"
}

func (c chance) predicate() string {
	var parts []string
	for range 1 + c.IntN(4) {
		parts = append(parts, c.conjunct())
	}
	switch c.IntN(8) {
	case 0:
		parts = append(parts, "({s: e.state, v: e.data.v})")
	case 1:
		parts = append(parts, "[e.state]")
	}
	return "e => " + strings.Join(parts, " && ")
}

func (c chance) event() *runtime.Event {
	entity := c.of(someDomains...) + "." + c.of("a", "b", "ab")
	state := func() string {
		if c.IntN(4) == 0 {
			return ""
		}
		return c.of(`"on"`, `"off"`, `"20"`, `"3"`, `"😀x"`, `""`, `" "`) + `,{"a":` + c.of(append(someValues, `[20]`, `{}`, `{"toString":1}`)...) + `,"unit_of_measurement":` + c.of(`"on"`, `"W"`, `5`) + `}`
	}
	if c.IntN(3) > 0 {
		return wire(uint64(c.IntN(100)+1), entity, state(), state())
	}
	return fired(uint64(c.IntN(100)+1), c.of("pressed", "state_changed"), c.of("", entity), fmt.Sprintf(`{"v":%s,"o":%s,"list":%s}`,
		c.of(append(someValues, `["o"]`, `{"toString":1}`)...), c.of(`{"p":`+c.of(someValues...)+`}`, `null`, `{}`, `"text"`), c.of(`[]`, `[3,"on"]`, `null`, `"on"`)))
}

// TestSetDecidesAsEachProgramAlone compares Decide with every program by
// itself, on random programs and events, while programs come and go.
func TestSetDecidesAsEachProgramAlone(t *testing.T) {
	c := newChance(t)
	s := NewSet()
	var held []*Entry
	matches, throws := 0, 0
	for round := range 400 {
		for range 12 {
			if len(held) > 0 && c.IntN(5) < 2+round/200 {
				i := c.IntN(len(held))
				s.Remove(held[i])
				held[i] = held[len(held)-1]
				held = held[:len(held)-1]
			} else {
				held = append(held, s.Add(must(t, c.predicate())))
			}
		}
		ev := c.event()
		got := decided(t, s, ev)
		var e Event
		for _, entry := range held {
			e.Reset(ev)
			want := entry.Program.Eval(&e)
			o, yielded := got[entry.Program.Key()]
			if (want.Match || want.Err != "") != yielded || yielded && (o.Match != want.Match || o.Err != want.Err || string(o.Data) != string(want.Data)) {
				t.Fatalf("%s on %s:\ngot  %+v (yielded %v)\nwant %+v\nindex key %q", entry.Program.Key(), ev.JSON, o, yielded, want, entry.Program.IndexKey())
			}
			matches, throws = matches+count(want.Match), throws+count(want.Err != "")
		}
		for _, entry := range held {
			delete(got, entry.Program.Key())
		}
		if len(got) > 0 {
			t.Fatalf("decided about programs that are not in the set: %v", got)
		}
	}
	if matches < 100 || throws < 100 {
		t.Errorf("%d matches and %d throws: the programs have nothing to do with the events", matches, throws)
	}
	for _, entry := range held {
		s.Remove(entry)
	}
	checkEmpty(t, s)
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func checkEmpty(t *testing.T, s *Set) {
	t.Helper()
	if n := len(s.entries) + len(s.conditions) + len(s.index.entries) + len(s.index.paths); n != 0 {
		t.Errorf("an empty set holds %d things: %+v", n, s)
	}
}

func TestEqualProgramsAreOneEntry(t *testing.T) {
	s := NewSet()
	a := s.Add(must(t, `e => e.domain === 'light'`))
	b := s.Add(must(t, `(event) => ( "light" ===  event.domain /* same */ )`))
	c := s.Add(must(t, `event => (event.domain) === "light"`))
	if a != c {
		t.Error("programs that differ in names, quotes and brackets: got two entries, want one")
	}
	a.Value = 7
	s.Remove(a)
	if got := len(decided(t, s, wire(1, "light.a", ``, `"on",{}`))); got != s.Len() {
		t.Errorf("after one of two removals: got %d decisions, want %d", got, s.Len())
	}
	s.Remove(c)
	s.Remove(b)
	checkEmpty(t, s)
	again := s.Add(a.Program)
	s.Remove(a)
	if s.Len() != 1 || again.users != 1 {
		t.Errorf("a removal too many: got %d entries, want 1", s.Len())
	}
}

// TestConditionsInCommonAreEvaluatedOnce counts evaluations of a conjunct that
// a hundred programs have.
func TestConditionsInCommonAreEvaluatedOnce(t *testing.T) {
	s := NewSet()
	for i := range 100 {
		s.Add(must(t, fmt.Sprintf(`e => e.data.list.includes(7) && e.data.n > %d`, i)))
	}
	c := s.conditions[must(t, `e => e.data.list.includes(7)`).conjuncts[0].key]
	if c == nil || c.users != 100 {
		t.Fatalf("the common condition: got %+v, want one with 100 users", c)
	}
	ran, test := 0, c.test
	c.test = func(m *machine) bool { ran++; return test(m) }
	if got := len(decided(t, s, fired(1, "x", "", `{"list":[7],"n":30}`))); got != 30 || ran != 1 {
		t.Errorf("got %d matches and %d evaluations, want 30 and 1", got, ran)
	}
}

// judged counts the entries that Decide looked at.
func judged(s *Set, ev *runtime.Event) int {
	s.Decide(ev, func(*Entry, Outcome) {})
	n := 0
	for _, e := range s.entries {
		n += count(e.stamp == s.stamp)
	}
	return n
}

// TestIndexKeepsAway counts the programs that are looked at of 300 that differ
// in one constant.
func TestIndexKeepsAway(t *testing.T) {
	change := wire(1, "sensor.s7", `"1",{}`, `"70",{"room":"r7","n":7}`)
	press := fired(2, "pressed", "", `{"n":7}`)
	for _, test := range []struct {
		predicate     string
		change, press int // programs looked at
		key           string
	}{
		{`e => e.entity_id === 'sensor.s%d'`, 1, 0, `e.entity_id in ["sensor.s1"]`},
		{`e => e.domain === 'sensor' && e.entity_id === 'sensor.s%d' && e.number > 3`, 1, 0, `e.entity_id in ["sensor.s1"]`},
		{`e => e.number > %d`, 71, 0, `e.number from 1`},
		{`e => %d >= e.number`, 230, 0, `e.number up to 1`},
		{`e => e.domain === 'sensor' && e.number < %d`, 230, 0, `e.domain in ["sensor"]`},
		{`e => e.domain === 'sensor' && e.data.n === %d`, 0, 1, `e.data.n in [1]`},
		{`e => e.type === 'pressed' && e.data.n === %d`, 0, 1, `e.data.n in [1]`},
		{`e => e.entity_id?.startsWith('sensor.s%d')`, 1, 0, `e.entity_id starts with "sensor.s1"`},
		{`e => e.entity_id.startsWith('sensor.s%d')`, 1, 300, `e.entity_id starts with "sensor.s1"`},
		{`e => e.attributes.n === %d`, 1, 300, `e.attributes.n in [1]`},
		{`e => e.attributes?.n === %d`, 1, 0, `e.attributes?.n in [1]`},
		{`e => ['sensor.s%d', 'sensor.x'].includes(e.entity_id)`, 1, 0, `e.entity_id in ["sensor.s1", "sensor.x"]`},
		{`e => e.old && e.old.state !== e.state && e.old.state === '%d'`, 1, 0, `e.old.state in ["1"]`},
		{`e => e.old?.state === '1' && e.old.attributes.x !== 3 && e.data.n === %d`, 0, 1, `e.data.n in [1]`},
		{`e => e.attributes !== undefined && e.attributes.n === %d`, 1, 0, `e.attributes.n in [1]`},
		{`e => e.state !== '%d'`, 300, 300, ``},
		{`e => e.attributes.x + 1 > 3 && e.entity_id === 'sensor.s%d'`, 300, 300, ``},
	} {
		s := NewSet()
		for i := range 300 {
			s.Add(must(t, fmt.Sprintf(test.predicate, i)))
		}
		if got := judged(s, change); got != test.change {
			t.Errorf("%s: a change: looked at %d, want %d", test.predicate, got, test.change)
		}
		if got := judged(s, press); got != test.press {
			t.Errorf("%s: another event: looked at %d, want %d", test.predicate, got, test.press)
		}
		if got := must(t, fmt.Sprintf(test.predicate, 1)).IndexKey(); got != test.key {
			t.Errorf("%s: index key: got %q, want %q", test.predicate, got, test.key)
		}
	}
}

// TestDecideMayChangeTheSet adds and removes while Decide yields.
func TestDecideMayChangeTheSet(t *testing.T) {
	s := NewSet()
	first := s.Add(must(t, `e => e.domain === 'light'`))
	s.Decide(wire(1, "light.a", ``, `"on",{}`), func(e *Entry, _ Outcome) {
		s.Add(must(t, `e => true`))
		s.Remove(e)
	})
	if got := decided(t, s, wire(1, "light.a", ``, `"on",{}`)); len(got) != 1 || s.Len() != 1 || first.users != 0 {
		t.Errorf("got %v of %d entries, want the one that was added", got, s.Len())
	}
}

func TestSetIsSafeForConcurrentUse(t *testing.T) {
	s := NewSet()
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 200 {
				e := s.Add(must(t, fmt.Sprintf(`e => e.domain === 'light' && e.seq > %d`, i%(g+1))))
				s.Decide(wire(9, "light.a", ``, `"on",{}`), func(*Entry, Outcome) {})
				s.Remove(e)
			}
		})
	}
	all.Wait()
	checkEmpty(t, s)
}
