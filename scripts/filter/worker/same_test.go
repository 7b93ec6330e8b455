package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"carillon/runtime"
	"carillon/scripts/filter"
)

// shared are predicates that both tiers take. They look at an event from all
// sides; what JavaScript itself does is not their subject.
var shared = []string{
	"e => e",
	"e => ({type: e.type, id: e.entity_id, domain: e.domain, source: e.source, time: e.time, seq: e.seq})",
	"e => ({state: e.state, number: e.number, unit: e.unit, changed: e.last_changed, updated: e.last_updated})",
	"e => ({a: e.attributes, old: e.old, data: e.data})",
	"e => ({t: typeof e.state + typeof e.number + typeof e.unit + typeof e.attributes + typeof e.old + typeof e.data + typeof e.entity_id + typeof e.domain})",
	"e => ({s: e.old?.state, n: e.old?.number, u: e.old?.unit, a: e.old?.attributes, c: e.old?.last_changed, d: e.old?.last_updated})",
	"e => e.number > e.old.number",
	"e => e.attributes.brightness > 100",
	"e => e.attributes.list.includes(3)",
	"e => e.attributes.list.length === 3 && e.attributes.list[1] === e.data.new_state.attributes.list[1]",
	"e => e.attributes.a.b.c",
	"e => ({x: `${e.attributes?.list}`, y: `${e.data.words}`})",
	"e => e.data.nothing.at.all",
	"e => e.state.startsWith('2')",
	"e => e.attributes === e.attributes && e.data !== e.attributes",
	"e => ({s: e.data.text, n: e.data.text?.length})",
	"e => Number(e.number) === e.number",
	"e => e.attributes.list",
	"e => e.attributes?.list?.some(x => x > 2)",
	"e => ({l: e.attributes?.list?.filter(x => typeof x === 'number').map(x => x * 2)})",
	"e.seq % 3 === 0",
}

var sampleStates = []string{"on", "off", "21.5", " 12 ", "0x10", "", " ", "1e400", "-0", "1_0", "Infinity", "NaN", "+5", ".5", "5.", "0b11", "\u00a07", "\ufeff8", "\u00859", "ümlaut", "😀", "12px", "-", "1e3", "0x", "١"}

// sampleJSON is a random JSON value.
func sampleJSON(r *rand.Rand, depth int) string {
	switch n := r.IntN(12); {
	case n < 3:
		return fmt.Sprint(r.IntN(300))
	case n < 4:
		return []string{"1.5", "-0", "1e21", "1e-7", "123456789012345680000", "0.1", "-3", "5e-324", "9007199254740993"}[r.IntN(9)]
	case n < 7:
		return []string{`"on"`, `"°C"`, `"a\u0000b"`, `"\ud83d\ude00"`, `"\ud800"`, `"\ude00x\ud83d"`, `"ü"`, `""`, `"\"\\\/\b"`, `"W"`, `"0x1f"`, `"\u2028"`}[r.IntN(12)]
	case n < 8:
		return []string{"true", "false", "null"}[r.IntN(3)]
	case n < 10 && depth < 4:
		var items []string
		for range r.IntN(5) {
			items = append(items, sampleJSON(r, depth+1))
		}
		return "[" + strings.Join(items, ",") + "]"
	case depth < 4:
		return sampleObject(r, depth+1)
	}
	return "3"
}

func sampleObject(r *rand.Rand, depth int) string {
	names := []string{"brightness", "list", "unit_of_measurement", "a", "b", "c", "text", "words", "10", "9", "01", "__proto__", "toJSON", "length", "ü", "friendly_name", "4294967295", "constructor"}
	var fields []string
	for range r.IntN(18) {
		name := names[r.IntN(len(names))]
		value := sampleJSON(r, depth)
		switch name {
		case "list":
			value = "[" + sampleJSON(r, depth+1) + `,2,3]`
		case "unit_of_measurement":
			value = []string{`"W"`, `"°C"`, "3", "null"}[r.IntN(4)]
		case "toJSON":
			value = "1"
		}
		fields = append(fields, fmt.Sprintf("%q:%s", name, value))
	}
	return "{" + strings.Join(fields, ",") + "}"
}

func sampleEvent(r *rand.Rand, seq uint64) *runtime.Event {
	state := func() string {
		if r.IntN(5) == 0 {
			return ""
		}
		text, _ := json.Marshal(sampleStates[r.IntN(len(sampleStates))])
		return string(text) + "," + sampleObject(r, 0)
	}
	switch r.IntN(5) {
	case 0:
		return fired(seq, "pressed", "", sampleObject(r, 0))
	case 1:
		return fired(seq, "service_called", "light.hall", sampleObject(r, 0))
	}
	return change(seq, "light.hall", state(), state())
}

// sameWords is a message without what goja adds for the call of a method.
func sameWords(message string) string { return strings.TrimSuffix(message, " or null") }

// TestBothTiersSeeTheSame compares what the worker says with what package
// filter does, over random events.
func TestBothTiersSeeTheSame(t *testing.T) {
	p := newTestPool(t, Options{})
	var events []*runtime.Event
	r := rand.New(rand.NewPCG(4, 2))
	for seq := range 700 {
		events = append(events, sampleEvent(r, uint64(seq+1)))
	}
	var native []*filter.Program
	for _, source := range shared {
		program, err := filter.Compile(source, filter.Options{})
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		native = append(native, program)
	}
	filters := compileAll(t, p, "operator", shared...)
	got := make(map[[2]int]filter.Outcome)
	err := p.Decide(context.Background(), "operator", events, filters, nil, func(f, e int, o filter.Outcome) { got[[2]int{f, e}] = o })
	if err != nil {
		t.Fatal(err)
	}
	var e filter.Event
	wrong := 0
	matches, throws := make([]int, len(shared)), make([]int, len(shared))
	for i, ev := range events {
		e.Reset(ev)
		for k := range native {
			want := native[k].Eval(&e)
			o := got[[2]int{k, i}]
			if want.Match {
				matches[k]++
			}
			if want.Err != "" {
				throws[k]++
			}
			if o.Match != want.Match || string(o.Data) != string(want.Data) || sameWords(o.Err) != sameWords(want.Err) {
				if wrong++; wrong <= 10 {
					t.Errorf("%s of %s:\ngot  %v %s %s\nwant %v %s %s", shared[k], ev.JSON, o.Match, o.Data, o.Err, want.Match, want.Data, want.Err)
				}
			}
		}
	}
	if wrong > 10 {
		t.Errorf("%d differences in all", wrong)
	}
	for k, n := range matches {
		if n == 0 && throws[k] == 0 {
			t.Errorf("%s matched nothing and threw nothing: it compares nothing", shared[k])
		}
	}
}
