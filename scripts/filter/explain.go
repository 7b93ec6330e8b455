package filter

import (
	"encoding/json"

	"carillon/runtime"
)

// Bounds of an Explanation, in bytes of each text, and in reasons.
const (
	maxText    = 200
	maxValue   = 200
	maxMessage = 500
	maxData    = 16 << 10
	maxReasons = 16
	maxParts   = 8
)

// Bounds of one Explain: how many sub-expressions it evaluates, and the work
// that they take together. What would take more is not looked into.
const (
	maxLooks    = 256
	maxLookWork = 8 * maxWork
)

// An Explanation is what a program says of an event, and why.
type Explanation struct {
	Match    bool            `json:"match"`
	Data     json.RawMessage `json:"data,omitempty"`      // the projection, if it is one
	DataSize int             `json:"data_size,omitempty"` // its bytes, where they are too many to be shown
	Error    string          `json:"error,omitempty"`     // what was thrown
	Why      []Reason        `json:"why,omitempty"`       // of no match: what was false; of an error: what threw
}

// A Reason is a sub-expression that made a program false, or threw. Of a && it
// is the first that was false; of a || it is all of them, one by one.
type Reason struct {
	Line   int    `json:"line"` // where it stands in the source, from 1
	Column int    `json:"column"`
	Text   string `json:"text"`
	Value  string `json:"value,omitempty"` // as JSON shows it, or undefined, NaN, Infinity, -Infinity, -0; empty if it threw
	Throws string `json:"throws,omitempty"`
	Parts  []Part `json:"parts,omitempty"` // what of the event is in it
}

// A Part is something of the event, or a local, in a sub-expression.
type Part struct {
	Text  string `json:"text"`
	Value string `json:"value"`
}

// Explain evaluates p on ev and says why that came out as it did. It is for
// people: it takes a hundred times as long as Eval.
func Explain(p *Program, ev *runtime.Event) Explanation {
	var e Event
	e.Reset(ev)
	o := p.Eval(&e)
	x := Explanation{Match: o.Match, Error: clip(o.Err, maxMessage)}
	if x.Data = o.Data; len(o.Data) > maxData {
		x.Data, x.DataSize = nil, len(o.Data)
	}
	if o.Match && o.Err == "" {
		return x
	}
	body, slots, err := p.read()
	if err != nil {
		return x
	}
	l := &looker{source: p.source, lines: lineStarts(p.source), left: maxLooks, work: maxLookWork}
	l.machine.begin(&e, slots)
	switch _, ok := l.look(body); {
	case o.Err == "":
		l.blameFalse(body)
	case ok: // what it returned is the error
		l.add(l.result(body))
		l.reasons[0].Throws = x.Error
	default:
		l.blameThrow(body)
	}
	for i := range l.reasons {
		if r := &l.reasons[i]; o.Err != "" && r.Value == "" && r.Throws == "" {
			r.Throws = x.Error // there was no work left to see it
		}
	}
	x.Why = l.reasons
	return x
}

// A looker finds what made a program false.
type looker struct {
	source  string
	lines   []int // where each begins in source
	machine machine
	left    int // of maxLooks
	work    int // of maxLookWork
	reasons []Reason
}

// look evaluates n where it stands: with the locals around it. It is not ok if
// n threw, or nothing is left to look with.
func (l *looker) look(n *expr) (v value, ok bool) {
	m := &l.machine
	m.fault, m.work = nil, maxWork
	if l.left--; l.left < 0 || l.work < 0 {
		l.left = -1
		return value{}, false
	}
	v = compileValue(n)(m)
	l.work -= maxWork - m.work
	return v, m.fault == nil
}

// blameFalse gives the reasons for n, whose value is not true.
func (l *looker) blameFalse(n *expr) {
	switch n.op {
	case opLogic:
		l.blameLogic(n)
	case opCond:
		test, _ := l.look(n.kids[0])
		chosen := n.kids[2]
		if test.truthy() {
			chosen = n.kids[1]
		}
		if l.add(n.kids[0]); chosen.op != opConst {
			l.blameFalse(chosen)
		}
	case opLet:
		v, _ := l.look(n.kids[0])
		l.machine.locals[n.n] = v
		l.blameFalse(n.kids[1])
	case opThen:
		l.blameFalse(n.kids[1])
	default:
		l.add(n)
	}
}

func (l *looker) blameLogic(n *expr) {
	if n.name == "||" {
		for _, kid := range n.kids {
			l.blameFalse(kid)
		}
		return
	}
	last := len(n.kids) - 1
	for _, kid := range n.kids[:last] {
		v, ok := l.look(kid)
		if !ok || n.name == "&&" && !v.truthy() || n.name == "??" && !v.nullish() {
			l.blameFalse(kid)
			return
		}
	}
	l.blameFalse(n.kids[last])
}

// result returns the part of n whose value is n's.
func (l *looker) result(n *expr) *expr {
	switch n.op {
	case opCond:
		return l.result(l.met(n)[0])
	case opLogic:
		if one := l.met(n); len(one) > 0 {
			return l.result(one[0])
		}
		return l.result(n.kids[len(n.kids)-1])
	case opLet:
		v, _ := l.look(n.kids[0])
		l.machine.locals[n.n] = v
		return l.result(n.kids[1])
	case opThen:
		return l.result(n.kids[1])
	}
	return n
}

// blameThrow finds the innermost part of n that throws where n does.
func (l *looker) blameThrow(n *expr) {
	for _, kid := range l.met(n) {
		if _, ok := l.look(kid); !ok && l.left >= 0 {
			l.blameThrow(kid)
			return
		}
		if n.op == opLet && kid == n.kids[0] {
			v, _ := l.look(kid)
			l.machine.locals[n.n] = v
		}
	}
	l.add(n)
}

// met returns the kids of n that are evaluated when n is, in order.
func (l *looker) met(n *expr) []*expr {
	switch n.op {
	case opCond:
		test, ok := l.look(n.kids[0])
		switch {
		case !ok:
			return n.kids[:1]
		case test.truthy():
			return n.kids[1:2]
		}
		return n.kids[2:]
	case opLogic:
		for i, kid := range n.kids {
			v, ok := l.look(kid)
			if !ok || n.name == "&&" && !v.truthy() || n.name == "||" && v.truthy() || n.name == "??" && !v.nullish() {
				return n.kids[i : i+1]
			}
		}
		return nil
	case opLoop: // what it calls back has locals of its own
		return n.kids[:1]
	}
	return standing(nil, n.kids)
}

// standing appends kids, with what is in it for one that is no value by itself.
func standing(to, kids []*expr) []*expr {
	for _, kid := range kids {
		if kid.op == opSpread || kid.op == opProp {
			to = standing(to, kid.kids)
		} else {
			to = append(to, kid)
		}
	}
	return to
}

// add gives n as a reason.
func (l *looker) add(n *expr) {
	if len(l.reasons) == maxReasons {
		return
	}
	line, column := position(l.source, l.lines, n.at.start)
	r := Reason{Line: line, Column: column, Text: l.text(n)}
	if v, ok := l.look(n); ok {
		r.Value = shown(v, maxValue)
	} else if f := l.machine.fault; f != nil {
		r.Throws = clip(f.String(), maxMessage)
	}
	l.parts(n, &r)
	l.reasons = append(l.reasons, r)
}

func (l *looker) text(n *expr) string {
	return clip(l.source[n.at.start:n.at.end], maxText)
}

// parts collects the values of n's paths, the longest ones.
func (l *looker) parts(n *expr, r *Reason) {
	for _, kid := range n.kids {
		switch kid.op {
		case opField, opGet, opIndex, opChain, opLocal:
			l.part(kid, r)
		case opConst:
			if text := l.text(kid); text != shown(kid.constant, maxValue) && isName(text) {
				l.part(kid, r)
			}
		default:
			l.parts(kid, r)
		}
		if n.op == opLoop {
			return
		}
	}
}

// isName reports whether a constant is not written as one: params.limit.
func isName(text string) bool {
	return text != "" && (text[0] == '_' || text[0] == '$' || text[0]|0x20-'a' < 26)
}

func (l *looker) part(n *expr, r *Reason) {
	text := l.text(n)
	for _, p := range r.Parts {
		if p.Text == text {
			return
		}
	}
	if len(r.Parts) == maxParts {
		return
	}
	if v, ok := l.look(n); ok {
		r.Parts = append(r.Parts, Part{text, shown(v, maxValue)})
	} else {
		l.parts(n, r)
	}
}
