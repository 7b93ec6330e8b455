package filter

import (
	"math/rand/v2"
	"testing"
)

// FuzzSet holds Set.Decide and Explain against each program alone, with the
// programs of the compiler's generator, and conjunctions of them.
func FuzzSet(f *testing.F) {
	for i := range uint64(30) {
		seed := make([]byte, 2000)
		r := rand.NewPCG(i, 7)
		for k := range seed {
			seed[k] = byte(r.Uint64())
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed []byte) {
		if len(seed) > 1<<14 {
			return
		}
		g := &generator{seed: seed}
		s := NewSet()
		var held []*Entry
		for range 8 {
			for range 5 {
				if p := g.conjunction(); p != nil {
					held = append(held, s.Add(p))
				}
			}
			ev := g.event()
			got := decided(t, s, ev)
			var e Event
			for _, entry := range held {
				e.Reset(ev)
				p := entry.Program
				want := p.Eval(&e)
				o, yielded := got[p.Key()]
				if (want.Match || want.Err != "") != yielded || o.Match != want.Match || o.Err != want.Err || string(o.Data) != string(want.Data) {
					t.Fatalf("%s on %s:\ngot  %+v (yielded %v)\nwant %+v", p.source, ev.JSON, o, yielded, want)
				}
				if x := Explain(p, ev); x.Match != want.Match || len(x.Why) == 0 != want.Match {
					t.Fatalf("%s on %s: explained as %+v, want %+v", p.source, ev.JSON, x, want)
				}
			}
			for len(held) > 0 && g.pick(2) == 1 {
				s.Remove(held[0])
				held = held[1:]
			}
		}
		for _, entry := range held {
			s.Remove(entry)
		}
		checkEmpty(t, s)
	})
}

// conjunction returns a program of several generated expressions, nil if the
// compiler refuses it.
func (g *generator) conjunction() *Program {
	source := g.program()
	if n := g.pick(4); n > 0 {
		g.locals = nil
		for source = g.expr(3); n > 0; n-- {
			source = "(" + g.expr(3) + ") && " + source
		}
	}
	p, err := Compile(source, Options{})
	if err != nil {
		return nil
	}
	return p
}
