package filter

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"carillon/runtime"
)

// DefaultMaxCost is the cost that a program may have if Options don't say. It
// lets some hundred comparisons through, or three lists walked in one another.
const DefaultMaxCost = 5000

// Options of Compile. The zero value is fine.
type Options struct {
	Params  map[string]any // what params has: values are string, float64 or bool
	Name    string         // of the filter, for its owner; nothing here depends on it
	MaxCost int            // the highest Cost; 0 means DefaultMaxCost
}

// Compile compiles a predicate: an arrow function of one or two parameters, the
// event and params, or an expression over e and params. The error is an
// *Error: a syntax error, a construct that is not in the subset, or a bound
// that was passed.
func Compile(source string, o Options) (*Program, error) {
	params, err := paramsValue(o.Params)
	if err != nil {
		return nil, err
	}
	p := &Program{source: source, params: params, name: o.Name}
	body, slots, err := p.read()
	if err != nil {
		return nil, err
	}
	body, p.slots = decision(body), slots
	most := o.MaxCost
	if most == 0 {
		most = DefaultMaxCost
	}
	if p.cost = body.cost(); p.cost > most {
		return nil, &Error{Line: 1, Column: 1, Message: fmt.Sprintf("the filter costs %d, and at most %d is allowed: each part costs 1 and more, a function that is called back %d times that", p.cost, most, loopWeight)}
	}
	p.key = strings.Clone(canonical(body))
	p.projects = body.kinds&(of(list)|of(object)) != 0
	p.conjuncts = p.conjunctsOf(body)
	switch {
	case p.projects:
		p.run = compileValue(body)
	case body.op == opLet || body.op == opThen:
		p.test = compileTest(body)
	default:
		p.test = allOf(p.conjuncts)
	}
	return p, nil
}

// read returns the body as the source has it, and how many locals it needs. It
// is read again to be explained: a program doesn't keep it.
func (p *Program) read() (body *expr, slots int, err *Error) {
	syntax, err := parse(p.source)
	if err != nil {
		return nil, 0, err
	}
	return readProgram(p.source, syntax, p.params)
}

// allOf is a && b && c.
func allOf(conjuncts []conjunct) func(*machine) bool {
	switch a := conjuncts[0].test; len(conjuncts) {
	case 1:
		return a
	case 2:
		b := conjuncts[1].test
		return func(m *machine) bool { return a(m) && b(m) }
	}
	return func(m *machine) bool {
		for i := range conjuncts {
			if !conjuncts[i].test(m) {
				return false
			}
		}
		return true
	}
}

// paramsValue is the object that params is.
func paramsValue(params map[string]any) (value, *Error) {
	if len(params) == 0 {
		return nodeValue(object, &emptyNode), nil
	}
	fields := make([]field, 0, len(params))
	for _, name := range slices.Sorted(maps.Keys(params)) {
		f := field{key: name}
		switch v := params[name].(type) {
		case string:
			f.value = stringValue(v)
		case float64:
			f.value = numberValue(v)
		case bool:
			f.value = boolValue(v)
		default:
			return value{}, &Error{Line: 1, Column: 1, Message: fmt.Sprintf("the parameter %s is %T: only strings, numbers and booleans can be given", name, v)}
		}
		fields = append(fields, f)
	}
	return objectValue(fields), nil
}

// conjunctsOf takes the conditions of a body apart.
func (p *Program) conjunctsOf(body *expr) []conjunct {
	var found []conjunct
	var lets []*expr
	known := guards{}
	add := func(x *expr) {
		x = within(lets, x)
		c := conjunct{key: p.keyOf(x), throws: known.throws(x), test: compileTest(x)}
		if sh := shapeOf(x); sh.kind != noShape {
			c.shape = &sh
		}
		found = append(found, c)
		known.learn(x)
	}
	check := func(x *expr) { // that x can be computed is a condition of its own
		if x.throws {
			done := &expr{op: opConst, at: x.at, constant: boolValue(true)}
			done.infer(nil)
			then := &expr{op: opThen, at: x.at, kids: []*expr{x, done}}
			then.infer(nil)
			add(then)
		}
	}
	for x := body; ; {
		switch {
		case x.op == opLet:
			check(x.kids[0])
			lets = append(lets, x)
			x = x.kids[1]
		case x.op == opThen:
			check(x.kids[0])
			x = x.kids[1]
		case x.op == opLogic && x.name == "&&":
			last := len(x.kids) - 1
			for _, k := range x.kids[:last] {
				add(k)
			}
			x = x.kids[last]
		default:
			add(x)
			return slices.Clip(found)
		}
	}
}

// keyOf is the canonical text of a part of p, in the memory of p's own where it
// stands there.
func (p *Program) keyOf(x *expr) string {
	key := canonical(x)
	if i := strings.Index(p.key, key); i >= 0 {
		return p.key[i : i+len(key)]
	}
	return key
}

// within puts those of lets that x needs around it.
func within(lets []*expr, x *expr) *expr {
	for i := len(lets) - 1; i >= 0; i-- {
		if let := lets[i]; x.uses(let.n) {
			x = let.with(let.kids[0], x)
		}
	}
	return x
}

// uses reports whether x reads the local in a slot.
func (x *expr) uses(slot int) bool {
	if x.op == opLocal && x.n == slot {
		return true
	}
	for _, k := range x.kids {
		if k.uses(slot) {
			return true
		}
	}
	return false
}

// Outcome is what a program says of an event.
type Outcome struct {
	Match bool   // the subscriber gets the event
	Data  []byte // what it gets instead of the event's data: JSON, as JSON.stringify writes it, of at most runtime.MaxEventData bytes; nil for the event as it is
	Err   string // what was thrown, as String(error) says it; then there is no match
}

// Eval decides about an event. It blocks for no longer than a few
// milliseconds, whatever the program and the event are.
func (p *Program) Eval(e *Event) Outcome {
	m := &e.machine
	m.begin(e, p.slots)
	if !p.projects {
		match := p.test(m)
		if m.fault != nil {
			return Outcome{Err: m.fault.String()}
		}
		return Outcome{Match: match}
	}
	v := p.run(m)
	if v.kind == list && m.fault == nil {
		m.typeError("a filter returned an array; it may return an object, or anything that is true or false")
	}
	if m.fault == nil && v.kind == object && m.spend(m.size(v)) {
		data, _ := appendJSON(nil, v)
		if len(data) <= runtime.MaxEventData {
			return Outcome{Match: true, Data: data}
		}
		m.throw("RangeError", fmt.Sprintf("the projection has %d bytes, and an event's data at most %d", len(data), runtime.MaxEventData))
	}
	if m.fault != nil {
		return Outcome{Err: m.fault.String()}
	}
	return Outcome{Match: v.truthy()}
}
