package filter

import (
	"fmt"
	goruntime "runtime"
	"testing"

	"github.com/dop251/goja"

	"carillon/runtime"
)

const (
	typical   = `e => e.domain === 'light' && e.attributes.brightness > 100`
	lightJSON = `"on",{"brightness":200,"color_temp":370,"friendly_name":"Kitchen","icon":"mdi:x","supported_features":44}`
)

// BenchmarkPredicate is one predicate of two comparisons, one nested: on an
// event that is decoded, with the decoding, and in goja on an object that is
// made already.
func BenchmarkPredicate(b *testing.B) {
	ev := wire(1, "light.hall", `"off",{}`, lightJSON)
	p := must(b, typical)
	var e Event
	e.Reset(ev)
	b.Run("native", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !p.Eval(&e).Match {
				b.Fatal("no match")
			}
		}
	})
	b.Run("native with decoding", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.Reset(ev)
			if !p.Eval(&e).Match {
				b.Fatal("no match")
			}
		}
	})
	b.Run("goja", func(b *testing.B) {
		call := inGoja(b, typical, ev)
		b.ReportAllocs()
		for b.Loop() {
			if !call() {
				b.Fatal("no match")
			}
		}
	})
}

// inGoja returns the call of a predicate on an event, ready made.
func inGoja(b *testing.B, source string, ev *runtime.Event) func() bool {
	vm := goja.New()
	v, err := vm.RunString(source)
	if err != nil {
		b.Fatal(err)
	}
	f, _ := goja.AssertFunction(v)
	var e Event
	e.Reset(ev)
	text, _ := appendJSON(nil, e.root())
	object, err := vm.RunString("(" + string(text) + ")")
	if err != nil {
		b.Fatal(err)
	}
	return func() bool {
		v, err := f(nil, object)
		return err == nil && v.ToBoolean()
	}
}

// mixed returns predicate i of many, as a home's dashboards may have them:
// most follow entities, some places, ranges and kinds of events. One in fifty
// is found by no index.
func mixed(i int) string {
	if i%50 == 49 {
		return fmt.Sprintf(`e => e.state?.endsWith('.%d')`, i)
	}
	switch i % 10 {
	case 0, 1, 2, 3:
		return fmt.Sprintf(`e => e.entity_id === 'sensor.s%d' && e.number > 10`, i)
	case 4:
		return fmt.Sprintf(`e => ['sensor.s%d', 'light.l%d'].includes(e.entity_id)`, i, i)
	case 5:
		return fmt.Sprintf(`e => e.domain === 'sensor' && e.attributes?.room === 'r%d' && e.state !== 'off'`, i)
	case 6:
		return fmt.Sprintf(`e => e.entity_id?.startsWith('sensor.s%d_')`, i)
	case 7:
		return fmt.Sprintf(`e => e.type === 'pressed' && e.data.button === %d`, i)
	case 8:
		return fmt.Sprintf(`e => e.domain === 'climate' && e.number < %d`, i)
	}
	return fmt.Sprintf(`e => e.old && e.state !== e.old.state && e.entity_id === 'light.l%d'`, i)
}

// mixedEvents are events that the index finds two predicates for by turns, of
// which one or both match.
func mixedEvents(n int) (events []*runtime.Event) {
	for i := range n {
		i *= 10_000 / n
		events = append(events, wire(uint64(i+1), fmt.Sprintf("sensor.s%d", i), `"3",{}`, fmt.Sprintf(`"%d",{"room":"r%d","unit_of_measurement":"W"}`, 5+i/100%2*10, i+5)))
	}
	return events
}

// BenchmarkSet decides about events with 10,000 different predicates.
func BenchmarkSet(b *testing.B) {
	s := NewSet()
	for i := range 10_000 {
		s.Add(must(b, mixed(i)))
	}
	events := mixedEvents(100)
	matches := 0
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Decide(events[i%len(events)], func(_ *Entry, o Outcome) { matches += count(o.Match) })
	}
	b.ReportMetric(float64(matches)/float64(b.N), "matches/op")
}

// BenchmarkSetOfThresholds has 10,000 predicates that differ in a limit only.
func BenchmarkSetOfThresholds(b *testing.B) {
	s := NewSet()
	for i := range 10_000 {
		s.Add(must(b, fmt.Sprintf(`e => e.domain === 'sensor' && e.number > %d`, 10*i)))
	}
	ev := wire(1, "sensor.a", ``, `"5",{}`)
	b.ReportAllocs()
	for b.Loop() {
		s.Decide(ev, func(*Entry, Outcome) {})
	}
}

func BenchmarkSetAddRemove(b *testing.B) {
	s := NewSet()
	for i := range 10_000 {
		s.Add(must(b, mixed(i)))
	}
	p := must(b, `e => e.entity_id === 'light.new' && e.number > 10`)
	for b.Loop() {
		s.Remove(s.Add(p))
	}
}

// TestDecideAllocatesNothing holds for what is decoded, too, once the set's
// memory has grown.
func TestDecideAllocatesNothing(t *testing.T) {
	s := NewSet()
	for i := range 1000 {
		s.Add(must(t, mixed(i)))
	}
	s.Add(must(t, `e => e.attributes.room.startsWith('r')`))
	s.Add(must(t, `e => ['11', '21'].includes(e.state) || e.data.new_state.attributes.room > 'r9'`))
	events := mixedEvents(10)
	matches := 0
	decide := func() {
		for _, ev := range events {
			s.Decide(ev, func(_ *Entry, o Outcome) { matches += count(o.Match) })
		}
	}
	decide()
	if got := testing.AllocsPerRun(20, decide); got != 0 || matches == 0 {
		t.Errorf("got %v allocations and %d matches, want none and some", got, matches)
	}
}

// TestMemoryOfAFilter measures what a program and its entry take together.
func TestMemoryOfAFilter(t *testing.T) {
	const filters, most = 5000, 2048
	s := NewSet()
	before := heap()
	for i := range filters {
		s.Add(must(t, fmt.Sprintf(`e => e.domain === 'light' && e.attributes.brightness > %d && e.entity_id !== 'light.a%d'`, i, i)))
	}
	full := heap()
	if got := (full - before) / filters; got > most {
		t.Errorf("a filter takes %d bytes, want at most %d", got, most)
	} else {
		t.Logf("a filter takes %d bytes", got)
	}
	for _, e := range s.entries {
		s.Remove(e)
	}
	if left := heap() - before; left > 64<<10 {
		t.Errorf("%d bytes are left of %d once all filters are removed", left, full-before)
	}
	goruntime.KeepAlive(s)
}

func heap() int {
	goruntime.GC()
	goruntime.GC()
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
