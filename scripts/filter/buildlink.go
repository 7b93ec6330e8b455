package filter

// compileLink returns what a link of a chain does to the value before it.
func compileLink(x *expr) func(m *machine, base value) value {
	switch x.op {
	case opGet:
		return compileGet(x)
	case opIndex:
		return compileIndex(x)
	case opMethod:
		return compileMethod(x)
	case opLoop:
		return compileLoop(x)
	}
	return compileMatch(x)
}

// isLink reports whether x goes on from the value of its first kid.
func (x *expr) isLink() bool {
	switch x.op {
	case opGet, opIndex, opMethod, opLoop:
		return true
	case opMatch:
		return x.name == "match"
	}
	return false
}

// compileChain computes links of which some are optional: where one of them
// finds nothing, the whole chain is undefined.
func compileChain(x *expr) func(*machine) value {
	var links []*expr
	base := x
	for base.isLink() {
		links = append(links, base)
		base = base.kids[0]
	}
	type step struct {
		apply    func(*machine, value) value
		optional bool
	}
	steps := make([]step, len(links))
	for i, l := range links {
		steps[len(links)-1-i] = step{compileLink(l), l.optional}
	}
	start := compileValue(base)
	return func(m *machine) value {
		v := start(m)
		for i := range steps {
			if steps[i].optional && v.nullish() {
				return value{}
			}
			v = steps[i].apply(m, v)
		}
		return v
	}
}

// cannotRead throws for a property of undefined or null.
func (m *machine) cannotRead(name string) value {
	return m.typeError("Cannot read property '" + name + "' of undefined")
}

// cannotCall throws for a method of undefined or null.
func (m *machine) cannotCall(name string) value {
	return m.typeError("Cannot read property '" + name + "' of undefined or null")
}

func compileGet(x *expr) func(*machine, value) value {
	name := x.name
	return func(m *machine, base value) value {
		if base.kind == object {
			return base.node().get(name)
		}
		return m.property(base, name)
	}
}

// property is base[name] with what that throws.
func (m *machine) property(base value, name string) value {
	if base.nullish() {
		return m.cannotRead(name)
	}
	if inherits(base.kind, name) && !base.has(name) {
		return m.throw("Error", name+" is an inherited property, which is not in the subset")
	}
	return base.get(name)
}

func compileIndex(x *expr) func(*machine, value) value {
	key := compileValue(x.kids[1])
	return func(m *machine, base value) value {
		k := key(m)
		if base.kind == list && k.kind == number {
			if i := int(k.num()); float64(i) == k.num() {
				return base.at(i)
			}
		}
		if base.nullish() {
			return m.cannotRead(m.shown(k))
		}
		return m.property(base, m.toString(k))
	}
}

// shown is v in a message.
func (m *machine) shown(v value) string {
	if s, ok := v.toString(); ok {
		return shortened(s)
	}
	return "object"
}

// compileMethod calls a method. As in JavaScript, what has no properties
// throws before the arguments are computed, what lacks the method behind.
func compileMethod(x *expr) func(*machine, value) value {
	name, d, args := x.name, methods[x.name], compileArguments(x.kids[1:])
	return func(m *machine, base value) value {
		if base.nullish() {
			return m.cannotCall(name)
		}
		top := len(m.stack)
		args(m)
		var v value
		if f := d.on[base.kind]; f != nil && !(base.kind == object && base.has(name)) {
			v = f(m, base, m.stack[top:])
		} else {
			v = m.noMethod(base, name)
		}
		m.stack = m.stack[:top]
		return v
	}
}

// noMethod throws for a call of what is no function.
func (m *machine) noMethod(base value, name string) value {
	if base.has(name) {
		if own := base.get(name); own.container() {
			return m.typeError("Not a function: " + m.shown(own))
		} else {
			return m.typeError("Value is not an object: " + m.shown(own))
		}
	}
	if inherits(base.kind, name) {
		return m.throw("Error", "the method "+name+" of "+kindNames[base.kind]+" is not in the subset")
	}
	return m.typeError("Object has no member '" + name + "'")
}

var kindNames = [...]string{"undefined", "null", "booleans", "numbers", "strings", "lists", "objects"}

func compileLoop(x *expr) func(*machine, value) value {
	name, l := x.name, loops[x.name]
	body := &loopBody{call: compileValue(x.kids[1]), slot: x.n, units: 1 + x.kids[1].cost()/4}
	place := x.n + 2
	if l.folds {
		place++
		if len(x.kids) > 2 {
			body.start = compileValue(x.kids[2])
		}
	}
	return func(m *machine, base value) value {
		if base.nullish() {
			return m.cannotCall(name)
		}
		top := len(m.stack)
		if body.start != nil {
			m.stack = append(m.stack, body.start(m))
		}
		var v value
		if base.kind == list {
			m.locals[place] = base
			v = l.run(m, base.node().items, body)
		} else {
			v = m.noMethod(base, name)
		}
		m.stack = m.stack[:top]
		return v
	}
}

func compileMatch(x *expr) func(*machine, value) value {
	p := x.pattern
	if x.name == "test" {
		return func(m *machine, base value) value { return boolValue(p.match(m, m.toString(base))) }
	}
	return func(m *machine, base value) value {
		switch base.kind {
		case undefined, null:
			return m.cannotCall("match")
		case str:
			return boolValue(p.match(m, base.text()))
		}
		return m.noMethod(base, "match")
	}
}
