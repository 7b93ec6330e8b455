package worker

import (
	"carillon/scripts/filter"
	"context"
	"fmt"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// attacks are what goja can't be protected from within a process. Each happens
// at the event 20.
var attacks = []struct {
	name, source string
	survives     bool // it is only an error: the filter goes on
}{
	{"fill", `new Array(1e9).fill(0)`, false},
	{"map recursion", `(function f() { return [1].map(f) })()`, true},
	{"sort recursion", `(function f() { return [2, 1].sort(f) })()`, true},
	{"toString recursion", `'' + (() => { const o = { toString() { return '' + o } }; return o })()`, true},
	{"toJSON recursion", `({ toJSON() { return JSON.stringify(this) } })`, true},
	{"lookahead", `/^(?=(a+)+b)/.test('a'.repeat(40))`, false},
	{"backreference", `/^(a+)+\1b$/.test('a'.repeat(40))`, false},
	{"sparse join", `(() => { const a = []; a[4294967294] = 1; return a.join() })()`, false},
	{"repeat", `'x'.repeat(2 ** 40)`, false},
	{"pad", `'x'.padEnd(2 ** 31)`, false},
	{"deep JSON", `JSON.parse('['.repeat(1e7))`, false},
	{"deep JSON object", `JSON.parse('{"a":'.repeat(1e6))`, false},
	{"array buffer", `new ArrayBuffer(2 ** 40)`, false},
	{"loop", `(() => { for (;;); })()`, false},
	{"growing loop", `(() => { const a = []; for (;;) a.push({ a }) })()`, false},
	{"doubling", `(() => { let s = 'x'; for (;;) s += s })()`, false},
	{"big integer", `2n ** 1000000000n`, false},
	{"promise loop", `(() => { const again = () => Promise.resolve().then(again); return again() && false })()`, false},
	{"huge projection", `({ a: 'x'.repeat(2e6) })`, true},
	{"huge message", `(() => { throw new Error('x'.repeat(1e6)) })()`, true},
	{"throwing text", `(() => { throw { toString() { throw 1 } } })()`, true},
	{"looping text", `(() => { throw { toString() { for (;;); } } })()`, false},
	{"eval", `eval("for (;;);")`, false},
	{"Function", `new Function("for (;;);")()`, false},
	{"many keys", `(() => { const o = {}; for (let i = 0; ; i++) o['k' + i] = i })()`, false},
	{"proxy", `(() => { const p = new Proxy({}, { get: (t, k, r) => r[k] }); return p.x })()`, true},
	{"spread", `Math.max(...new Array(1e8))`, false},
	{"split", `(() => { let s = 'a'; for (let i = 0; i < 26; i++) s += s; return s.split('') })()`, false},
}

func TestAttacks(t *testing.T) {
	for i, attack := range attacks {
		if raceEnabled && i%4 != 0 {
			continue // the workers have one goroutine that matters
		}
		t.Run(attack.name, func(t *testing.T) {
			o := Options{}
			if attack.survives {
				o.Deadline = 5 * time.Second // however busy this machine is
			}
			testAttack(t, newTestPool(t, o), "e => e.seq === 20 ? "+attack.source+" : true", attack.survives)
		})
	}
}

// testAttack has a hostile filter among others decide about events. The others
// decide about all of them as if it were not there, and nearly as soon.
func testAttack(t *testing.T, p *Pool, source string, survives bool) {
	const hostile = 2
	filters := compileAll(t, p, "operator", "e => e.seq % 2", "e => ({seq: e.seq})", source, "e => e.seq > 30", "e => e.state === 'on'")
	others := append(append([]*Filter{}, filters[:hostile]...), filters[hostile+1:]...)
	events := lights(40)
	want := answers(t, p, "operator", events, others, nil)

	before := hostMemory()
	var got []string
	var longest time.Duration
	last := time.Now()
	seen := 0
	err := p.Decide(context.Background(), "operator", events, filters, nil, func(f, e int, o filter.Outcome) {
		if f == hostile {
			seen = checkHostile(t, e, o, seen, survives)
			return
		}
		if f > hostile {
			f--
		}
		longest = max(longest, time.Since(last))
		last = time.Now()
		what := "match"
		if o.Data != nil {
			what = string(o.Data)
		} else if o.Err != "" {
			what = o.Err
		}
		got = append(got, fmt.Sprintf("%d:%d=%s", f, e, what))
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the others: got %v\nwant %v", got, want)
	}
	for i, f := range filters {
		reason, jailed := f.Quarantined()
		if jailed != (i == hostile && !survives) {
			t.Errorf("filter %d: got quarantine %v (%s), want %v", i, jailed, reason, !jailed)
		}
		if jailed {
			t.Logf("%s: %s; delay %v", t.Name(), reason, longest.Round(time.Millisecond))
		}
	}
	if limit := slowMachine * 100 * time.Millisecond; longest > limit {
		t.Errorf("the others waited: got %v, want at most %v", longest, limit)
	}
	if grown := hostMemory() - before; grown > 8<<20 {
		t.Errorf("this process grew: got %d bytes, want at most 8 MiB", grown)
	}
}

// checkHostile checks an outcome of the hostile filter, which has told of seen
// events: each event once, an error at the attack.
func checkHostile(t *testing.T, event int, o filter.Outcome, seen int, survives bool) int {
	if event != seen {
		t.Errorf("the hostile filter told of event %d, want %d", event, seen)
	}
	if event == 19 && o.Err == "" {
		t.Errorf("the attack: got %v, want an error", o)
	}
	if len(o.Err) > 700 {
		t.Errorf("its message: got %d bytes, want at most 700", len(o.Err))
	}
	if survives && (o.Err != "") != (event == 19) {
		t.Errorf("event %d: got error %q, want one at event 19 only", event, o.Err)
	}
	return event + 1
}

// slowMachine is how much longer than it should everything may take.
const slowMachine = 50

func hostMemory() int64 {
	goruntime.GC()
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	return int64(m.Sys - m.HeapReleased)
}

func TestAttacksWhileLoading(t *testing.T) {
	p := newTestPool(t, Options{})
	good := compileAll(t, p, "operator", "e => true")
	for _, source := range []string{"for (;;);", "new Array(1e9).fill(0);", "'x'.repeat(2 ** 40);"} {
		_, err := p.Compile(context.Background(), "operator", "bad", source+" export default e => true", nil)
		refused, ok := asRefusal(err)
		if !ok || !strings.Contains(refused.Message, "while it was loaded") {
			t.Errorf("%s: got %v, want an Error that says when", source, err)
		}
		began := p.Stats().Started
		_, err = p.Compile(context.Background(), "operator", "bad", source+" export default e => true", nil)
		if refused, ok = asRefusal(err); !ok || !strings.Contains(refused.Message, "quarantine") {
			t.Errorf("%s again: got %v, want an Error that names the quarantine", source, err)
		}
		if now := p.Stats().Started; now != began {
			t.Errorf("%s again: got %d processes started, want none", source, now-began)
		}
	}
	if got := answers(t, p, "operator", lights(2), good, nil); len(got) != 2 {
		t.Errorf("the other: got %v, want two matches", got)
	}
}
