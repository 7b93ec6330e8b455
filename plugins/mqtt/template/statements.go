package template

// A statement does something; flow says how it ended.
type statement interface{ exec(e *env) flow }

type flow uint8

const (
	goOn flow = iota
	breakLoop
	continueLoop
)

type (
	textStatement   struct{ text string }
	outputStatement struct {
		value node
		at    int
	}
	doStatement struct{ value node }
	branch      struct {
		test node
		body []statement
	}
	ifStatement struct {
		branches  []branch
		otherwise []statement
	}
	forStatement struct {
		targets   []string
		unpack    bool
		over      node
		test      node // nil without one
		body      []statement
		otherwise []statement
		at        int
	}
	setStatement struct {
		targets []string
		unpack  bool
		field   string // of a namespace; "" without one
		value   node
		at      int
	}
	jumpStatement flow
)

func (e *env) run(body []statement) flow {
	for _, s := range body {
		e.step(1)
		if f := s.exec(e); f != goOn {
			return f
		}
	}
	return goOn
}

func (s *textStatement) exec(e *env) flow {
	e.write(s.text)
	return goOn
}

func (s *outputStatement) exec(e *env) flow {
	v := s.value.eval(e)
	e.at = s.at
	if text, ok := v.(string); ok {
		e.write(text)
		return goOn
	}
	e.out = e.appendText(e.out, v)
	if len(e.out) > maxOutput {
		e.failf("more than %d bytes of output", maxOutput)
	}
	return goOn
}

func (s *doStatement) exec(e *env) flow {
	s.value.eval(e)
	return goOn
}

func (s jumpStatement) exec(*env) flow { return flow(s) }

func (s *ifStatement) exec(e *env) flow {
	for i := range s.branches {
		if truth(s.branches[i].test.eval(e)) {
			return e.run(s.branches[i].body)
		}
	}
	return e.run(s.otherwise)
}

// exec runs else the way that Jinja2 does: if no item was gone through to the
// end, be it for want of items or for break and continue.
func (s *forStatement) exec(e *env) flow {
	over := s.over.eval(e)
	e.at = s.at
	items := e.iterate(over)
	if s.test != nil {
		items = s.selected(e, items)
	}
	l := &loop{items: items}
	finished := false
	for l.i = range items {
		e.step(1)
		frame := e.push()
		e.set("loop", l)
		e.at = s.at
		e.assign(s.targets, s.unpack, items[l.i])
		f := e.run(s.body)
		e.pop(frame)
		if f == breakLoop {
			break
		}
		finished = finished || f == goOn
	}
	if !finished {
		frame := e.push()
		e.run(s.otherwise)
		e.pop(frame)
	}
	return goOn
}

func (s *forStatement) selected(e *env, items List) List {
	kept := make(List, 0, len(items))
	for _, item := range items {
		frame := e.push()
		e.at = s.at
		e.assign(s.targets, s.unpack, item)
		if truth(s.test.eval(e)) {
			kept = append(kept, item)
		}
		e.pop(frame)
	}
	return kept
}

// assign gives a value to a name, or its items to several.
func (e *env) assign(targets []string, unpack bool, value Value) {
	if !unpack {
		e.set(targets[0], value)
		return
	}
	if u, ok := value.(Undefined); ok {
		e.failf("%s, it has no %d items", u.why, len(targets))
	}
	items := e.iterate(value)
	if len(items) != len(targets) {
		e.failf("%d items for %d names", len(items), len(targets))
	}
	for i, name := range targets {
		e.set(name, items[i])
	}
}

func (s *setStatement) exec(e *env) flow {
	value := s.value.eval(e)
	e.at = s.at
	if s.field == "" {
		e.assign(s.targets, s.unpack, value)
		return goOn
	}
	of, _ := e.lookup(s.targets[0])
	ns, ok := of.(*namespace)
	if !ok {
		e.failKept("%s is no namespace", s.targets[0])
	}
	if ns.fields.Len() >= maxItems {
		e.failf("a namespace of more than %d names", maxItems)
	}
	ns.fields.put(s.field, s.field, value)
	return goOn
}

// A blockNode is what {% set x %}…{% endset %} gives.
type blockNode struct{ body []statement }

func (n *blockNode) eval(e *env) Value {
	start := len(e.out)
	frame := e.push()
	e.run(n.body)
	e.pop(frame)
	text := string(e.out[start:])
	e.out = e.out[:start]
	e.made(len(text))
	return text
}

// A loop is the variable of that name.
type loop struct {
	items   List
	i       int
	changed List // what changed() was last called with
}

func (l *loop) field(name string) (Value, bool) {
	switch name {
	case "index":
		return int64(l.i + 1), true
	case "index0":
		return int64(l.i), true
	case "revindex":
		return int64(len(l.items) - l.i), true
	case "revindex0":
		return int64(len(l.items) - l.i - 1), true
	case "first":
		return l.i == 0, true
	case "last":
		return l.i == len(l.items)-1, true
	case "length":
		return int64(len(l.items)), true
	case "previtem":
		if l.i == 0 {
			return Undefined{"there is no previous item"}, true
		}
		return l.items[l.i-1], true
	case "nextitem":
		if l.i == len(l.items)-1 {
			return Undefined{"there is no next item"}, true
		}
		return l.items[l.i+1], true
	}
	return nil, false
}
