package filter

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"carillon/runtime"
)

// told writes an explanation in short.
func told(x Explanation) string {
	s := fmt.Sprintf("%v", x.Match)
	if x.Data != nil {
		s += " " + string(x.Data)
	}
	if x.Error != "" {
		s += " " + x.Error
	}
	for _, r := range x.Why {
		s += fmt.Sprintf("\n%d:%d %s", r.Line, r.Column, r.Text)
		if r.Value != "" {
			s += " is " + r.Value
		}
		if r.Throws != "" {
			s += " throws " + r.Throws
		}
		for _, p := range r.Parts {
			s += fmt.Sprintf("; %s %s", p.Text, p.Value)
		}
	}
	return s
}

func TestExplain(t *testing.T) {
	hall := wire(1, "light.hall", `"off",{}`, `"on",{"brightness":57,"tags":["a","b"]}`)
	press := fired(2, "pressed", "", `{"n":1}`)
	for _, test := range []struct {
		predicate string
		event     *runtime.Event
		want      string
	}{
		{`e => e.domain === 'light'`, hall, `true`},
		{`e => ({b: e.attributes.brightness})`, hall, `true {"b":57}`},
		{`e => e.domain === 'light' && e.attributes.brightness > 100`, hall,
			"false\n1:30 e.attributes.brightness > 100 is false; e.attributes.brightness 57"},
		{`e => e.domain === 'light' && e.attributes.brightness > 100`, press,
			"false\n1:6 e.domain === 'light' is false; e.domain undefined"},
		{"e =>\n  e.state === 'on' &&\n  /* 😀 */ (e.domain === 'x' || e.old.state === 'on' || e.number > 1)", hall,
			"false\n3:12 e.domain === 'x' is false; e.domain \"light\"\n3:32 e.old.state === 'on' is false; e.old.state \"off\"\n3:56 e.number > 1 is false; e.number undefined"},
		{`e => !e.attributes.brightness`, hall, "false\n1:6 !e.attributes.brightness is false; e.attributes.brightness 57"},
		{`e => e.unit`, hall, "false\n1:6 e.unit is undefined"},
		{`e => e.attributes.tags.some(t => t === 'c')`, hall, "false\n1:6 e.attributes.tags.some(t => t === 'c') is false; e.attributes.tags [\"a\",\"b\"]"},
		{`e => { if (e.domain !== 'switch') return false; return e.state === 'on' }`, hall,
			"false\n1:12 e.domain !== 'switch' is true; e.domain \"light\""},
		{`e => { if (e.domain !== 'light') return false; return e.state === 'off' }`, hall,
			"false\n1:12 e.domain !== 'light' is false; e.domain \"light\"\n1:55 e.state === 'off' is false; e.state \"on\""},
	} {
		if got := told(Explain(must(t, test.predicate), test.event)); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.predicate, got, test.want)
		}
	}
	for _, test := range []struct{ predicate, text string }{
		{`e => e.type === 'pressed' && e.attributes.brightness > 100`, `1:30 e.attributes.brightness throws `},
		{`e => { const b = e.seq; return e.data.n > 0 ? b > 1 && e.attributes.brightness > b : e.old.state }`, `1:56 e.attributes.brightness throws `},
		{`e => ({a: e.seq, ...e.data, b: [...e.data.none.x]})`, `1:36 e.data.none.x throws `},
		{`e => Math.max(...e.data.none.x) > 1`, `1:18 e.data.none.x throws `},
		{`e => [e.seq]`, `1:6 [e.seq] is [2] throws `},
		{`e => e.seq && (e.data.n ? e.data.n && [e.seq] : 7)`, `1:39 [e.seq] is [2] throws `},
		{`e => e.old?.state || [1].some(x => e.data.none.x)`, `1:22 [1].some(x => e.data.none.x) throws `},
	} {
		got := Explain(must(t, test.predicate), press)
		if got.Match || !strings.HasPrefix(got.Error, "TypeError: ") || len(got.Why) != 1 || !strings.Contains(told(got), test.text+got.Error) {
			t.Errorf("%s: got %s, want %s", test.predicate, told(got), test.text)
		}
	}
}

// TestExplanationsAreBounded explains what is as large as it gets.
func TestExplanationsAreBounded(t *testing.T) {
	long := strings.Repeat("ä", 60_000)
	ev := fired(1, "x", "", `{"t":"`+long+`","l":[`+strings.Repeat(`{"k":[1]},`, 5000)+`1]}`)
	for _, predicate := range []string{
		`e => e.data.t === 'a' && ` + strings.Repeat(`e.data.l.length > 7 && `, 100) + `false`,
		`e => ` + strings.Repeat(`e.data.t === e.data.l || `, 100) + `false`,
		`e => ` + strings.Repeat(`!e.data.none && `, 100) + `e.data.l === e.data.t`,
		`e => e.data['` + strings.Repeat("x", 10_000) + `']`,
		`e => ({all: e.data, again: e.data})`,
		`e => e.data.none[e.data.t]`,
		`e => ` + strings.Repeat(`e.data.l.some(x => e.data.l.some(y => x === y && e.data.t === 7)) || `, 6) + `false`,
		`e => ` + strings.Repeat(`(e.data.x ? 1 : `, 100) + `0` + strings.Repeat(`)`, 100),
	} {
		p, start := must(t, predicate), time.Now()
		x := Explain(p, ev)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%.60s: explaining took %v", predicate, took)
		}
		text, err := json.Marshal(x)
		if err != nil || len(text) > 40<<10 {
			t.Errorf("%.60s: got %d bytes (%v), want at most 40 KiB", predicate, len(text), err)
		}
		if !x.Match && len(x.Why) == 0 {
			t.Errorf("%.60s: got no reason", predicate)
		}
		if x.Match && x.DataSize < 60_000 {
			t.Errorf("%.60s: got a projection of %d bytes, want its size told", predicate, x.DataSize)
		}
	}
}

// TestExplainAgreesWithEval explains random programs.
func TestExplainAgreesWithEval(t *testing.T) {
	c := newChance(t)
	for range 3000 {
		p, ev := must(t, c.predicate()), c.event()
		var e Event
		e.Reset(ev)
		o, x := p.Eval(&e), Explain(p, ev)
		if x.Match != o.Match || x.Error != o.Err || string(x.Data) != string(o.Data) {
			t.Fatalf("%s on %s: got %+v, want %+v", p.Key(), ev.JSON, x, o)
		}
		if !o.Match && len(x.Why) == 0 {
			t.Fatalf("%s on %s: no reason", p.Key(), ev.JSON)
		}
		for _, r := range x.Why {
			if o.Err != "" && r.Throws == "" {
				t.Fatalf("%s on %s threw %s: the reason is %+v", p.Key(), ev.JSON, o.Err, r)
			}
		}
	}
}
