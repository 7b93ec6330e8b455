package filter

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dop251/goja"
)

// FuzzDifferential compares programs and events that a generator makes of a
// seed with goja.
func FuzzDifferential(f *testing.F) {
	for i := range 40 {
		seed := make([]byte, 30+10*i)
		for j := range seed {
			seed[j] = byte(i*7919 + j*j*31 + j*i)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed []byte) {
		g := &generator{seed: seed[:min(len(seed), 2000)]}
		source := g.program()
		o, e := newOracle(t), &Event{}
		ev := g.event()
		e.Reset(ev)
		o.show(t, ev)
		var n tally
		compareOne(t, o, e, source, &n)
	})
}

// FuzzCompile compiles any text: it is refused or compiled soon, and what
// compiles says what goja says.
func FuzzCompile(f *testing.F) {
	for _, source := range []string{
		"e => e.domain === 'light' && e.attributes.brightness > 100",
		"({domain, attributes: {x = 1} = {}}, params) => { const [a] = 'ab'; if (x) return a; return {...e, a} }",
		"`a${e.state}`.slice(-2).padStart(3, '0').split('').map((c, i) => c + i).join()",
		"/^(?:a|[^b-d\\d]){2,}?$/i.test(e.state) || e.state?.match(/\\u00e4/)", "new Date(e.time).getUTCHours() >= 22 ** -1",
		"[1, ...e.attributes.list].reduce((a, b) => a + b, 0) ?? (() => void 0)()", "e.a?.[0]?.b.c", "(a=(b=1)=>2)=>3", "x:x:1", "({a, b: [c, , d]}) => c in d",
		"typeof !-+~e.time << 2 >>> 3 % 4 != null", "Object.fromEntries(Object.entries(e).filter(([k]) => k > 'm'))", "'\\u{1F600}\\ud83d'.at(0)", "0x1F + 0b1 + .5e-3 + 1_0",
	} {
		f.Add(source)
	}
	f.Fuzz(func(t *testing.T, source string) {
		began := time.Now()
		p, err := Compile(source, Options{Params: testParams})
		if took := time.Since(began); took > 5*time.Second {
			t.Fatalf("compiling took %v", took)
		}
		if err != nil {
			var refused *Error
			if !errors.As(err, &refused) || refused.Line < 1 || refused.Column < 1 || refused.Message == "" {
				t.Fatalf("got the error %#v, want one with a place and a message", err)
			}
			return
		}
		again, err := Compile(source, Options{Params: testParams})
		if err != nil || again.Key() != p.Key() || again.Cost() != p.Cost() {
			t.Fatalf("compiling twice differs: %v", err)
		}
		e := lamp(t)
		if got := p.Eval(e); strings.Contains(got.Err, "takes too long") {
			return
		}
		compareText(t, source, e)
	})
}

// compareText compares a text with goja where goja can be trusted with it.
func compareText(t *testing.T, source string, e *Event) {
	if _, err := goja.Compile("", "("+source+"\n)", false); err != nil {
		return // a second statement, or what only goja's compiler refuses
	}
	if strings.Contains(source, "<!--") || strings.Contains(source, "-->") || strings.Contains(source, "...") || strings.Contains(source, ",") {
		return // comments of HTML end differently in parentheses; goja mixes up spread arguments and sequences
	}
	o := newOracle(t)
	o.show(t, e.ev)
	got, gotThrown := runPlain(t, source, e)
	if strings.HasPrefix(gotThrown, "Error: ") {
		return
	}
	want, wantThrown, _, err := o.run(source, testParams)
	if err != nil {
		return
	}
	wantThrown = tidied(wantThrown, gotThrown)
	if (got != want || gotThrown != wantThrown) && !excused(source, got+gotThrown, want+wantThrown) && !doubtful(source) {
		t.Errorf("%s\ngot  %s %s\nwant %s %s", source, got, gotThrown, want, wantThrown)
	}
}

// doubtful reports whether a text has what TestBeyondGoja holds goja wrong in
// and random programs keep clear of.
func doubtful(source string) bool {
	for _, part := range []string{"|", "&", "^", "<<", ">>", "~", "==", "!=", "/i", "clz32", "imul", "\\u", "\\x", "NaN", "at(", "slice(", "Date"} {
		if strings.Contains(source, part) {
			return true
		}
	}
	for _, r := range source {
		if r >= 0x80 {
			return true
		}
	}
	return false
}
