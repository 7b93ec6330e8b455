package filter

import "math"

// look judges the entries of b that could be true of the event at hand.
func (s *Set) look(b *branch) {
	if b == nil {
		return
	}
	s.judgeAll(b.entries)
	m := &s.event.machine
	for _, x := range b.paths {
		m.begin(&s.event, s.slots)
		v := x.read(m)
		if m.fault != nil {
			s.judgeAll(x.throwers)
			s.judgeAll(x.callers)
			continue
		}
		s.lookAt(x, v)
	}
}

// lookAt judges the entries that v leads to.
func (s *Set) lookAt(x *pathIndex, v value) {
	switch v.kind {
	case str:
		text := v.text()
		s.look(x.strings[text])
		for i := range x.prefixes {
			p := &x.prefixes[i]
			if p.length > len(text) {
				break
			}
			s.look(p.by[text[:p.length]])
		}
	case number:
		s.look(x.numbers[v.num()])
	case undefined, null, boolean:
		s.look(x.others[plainPlace(v)])
	}
	if v.kind != str {
		s.judgeAll(x.callers)
	}
	if len(x.above)+len(x.below) > 0 {
		s.lookAround(x, v)
	}
}

// lookAround judges the entries whose bounds v keeps. Lists and objects become
// numbers in ways that are left to each.
func (s *Set) lookAround(x *pathIndex, v value) {
	most, least := math.Inf(1), math.Inf(-1)
	if !v.container() {
		n, _ := v.toNumber()
		if n != n {
			return
		}
		most, least = n, n
	}
	for i := range x.above {
		if x.above[i].limit > most {
			break
		}
		s.judge(x.above[i].entry)
	}
	for i := len(x.below) - 1; i >= 0 && x.below[i].limit >= least; i-- {
		s.judge(x.below[i].entry)
	}
}
