package filter

// compileValue returns the function that computes x.
func compileValue(x *expr) func(*machine) value {
	switch x.op {
	case opConst:
		v := x.constant
		return func(*machine) value { return v }
	case opEvent:
		return func(m *machine) value { return m.event.root() }
	case opField:
		f := eventField(x.n)
		return func(m *machine) value { return m.event.field(f) }
	case opLocal:
		n := x.n
		return func(m *machine) value { return m.locals[n] }
	case opLet:
		return compileLet(x)
	case opThen:
		first, second := compileValue(x.kids[0]), compileValue(x.kids[1])
		return func(m *machine) value { first(m); return second(m) }
	case opGet:
		if x.kids[0].op == opField {
			return compileFieldGet(eventField(x.kids[0].n), x.name)
		}
		fallthrough
	case opIndex, opMethod, opLoop:
		base, apply := compileValue(x.kids[0]), compileLink(x)
		return func(m *machine) value { return apply(m, base(m)) }
	case opChain:
		return compileChain(x.kids[0])
	case opLogic:
		return compileLogic(x)
	case opNot, opEqual, opLess, opIn:
		test := compileTest(x)
		return func(m *machine) value { return boolValue(test(m)) }
	case opMatch:
		apply := compileLink(x)
		base := compileValue(x.kids[0])
		return func(m *machine) value { return apply(m, base(m)) }
	case opCond:
		test, yes, no := compileTest(x.kids[0]), compileValue(x.kids[1]), compileValue(x.kids[2])
		return func(m *machine) value {
			if test(m) {
				return yes(m)
			}
			return no(m)
		}
	}
	return compileOther(x)
}

// compileFieldGet is e.attributes.name, which most predicates have.
func compileFieldGet(f eventField, name string) func(*machine) value {
	if of, ok := oldFieldOf(name); ok && f == fieldOld { // without the rest of e.old
		return func(m *machine) value {
			if !m.event.hasOld() {
				return m.property(value{}, name)
			}
			return m.event.field(of)
		}
	}
	return func(m *machine) value {
		base := m.event.field(f)
		if base.kind == object {
			return base.node().get(name)
		}
		return m.property(base, name)
	}
}

func compileOther(x *expr) func(*machine) value {
	switch x.op {
	case opTypeof:
		v := compileValue(x.kids[0])
		return func(m *machine) value { return stringValue(v(m).typeOf()) }
	case opVoid:
		v := compileValue(x.kids[0])
		return func(m *machine) value { v(m); return value{} }
	case opUnary:
		return compileUnary(x)
	case opArith:
		return compileArith(x)
	case opText:
		return compileText(x)
	case opList:
		return compileList(x)
	case opObject:
		return compileObject(x)
	case opCall:
		f, args := functions[x.name].call, compileArguments(x.kids)
		return func(m *machine) value {
			top := len(m.stack)
			args(m)
			v := f(m, m.stack[top:])
			m.stack = m.stack[:top]
			return v
		}
	case opDate:
		v := compileValue(x.kids[0])
		return func(m *machine) value { return m.dateOf(v(m)) }
	case opIterate:
		v := compileValue(x.kids[0])
		return func(m *machine) value { return m.iterate(v(m)) }
	case opObjectOf:
		v := compileValue(x.kids[0])
		return func(m *machine) value {
			if v(m).nullish() {
				m.typeError("Value is not object coercible")
			}
			return value{}
		}
	}
	panic("filter: an expression that can't stand here")
}

func compileLet(x *expr) func(*machine) value {
	n, init, body := x.n, compileValue(x.kids[0]), compileValue(x.kids[1])
	return func(m *machine) value {
		m.locals[n] = init(m)
		return body(m)
	}
}

// compileLogic keeps the values: what a && b returns, not only its truth.
func compileLogic(x *expr) func(*machine) value {
	last := len(x.kids) - 1
	if x.name == "&&" && x.kinds == of(boolean) {
		test := compileTest(x)
		return func(m *machine) value { return boolValue(test(m)) }
	}
	terms := make([]func(*machine) value, last)
	for i := range terms {
		terms[i] = compileValue(x.kids[i])
	}
	end := compileValue(x.kids[last])
	var done func(value) bool
	switch x.name {
	case "&&":
		done = func(v value) bool { return !v.truthy() }
	case "||":
		done = value.truthy
	default:
		done = func(v value) bool { return !v.nullish() }
	}
	return func(m *machine) value {
		for _, term := range terms {
			if v := term(m); done(v) {
				return v
			}
		}
		return end(m)
	}
}

// compileArguments returns what pushes arguments on the stack.
func compileArguments(kids []*expr) func(*machine) {
	if len(kids) == 1 && kids[0].op != opSpread {
		v := compileValue(kids[0])
		return func(m *machine) { m.stack = append(m.stack, v(m)) }
	}
	type part struct {
		value  func(*machine) value
		spread bool
	}
	parts := make([]part, len(kids))
	for i, k := range kids {
		if parts[i].spread = k.op == opSpread; parts[i].spread {
			k = k.kids[0]
		}
		parts[i].value = compileValue(k)
	}
	return func(m *machine) {
		for i := range parts {
			v := parts[i].value(m)
			if !parts[i].spread {
				m.stack = append(m.stack, v)
			} else if v.kind == list && m.spend(len(v.node().items)) {
				m.stack = append(m.stack, v.node().items...)
			}
		}
	}
}

// compileText makes a template literal.
func compileText(x *expr) func(*machine) value {
	texts := x.texts
	kids := make([]func(*machine) value, len(x.kids))
	for i, k := range x.kids {
		kids[i] = compileValue(k)
	}
	return func(m *machine) value {
		s := texts[0]
		for i, kid := range kids {
			s = m.concat(s, m.toString(kid(m)))
			s = m.concat(s, texts[i+1])
		}
		return stringValue(s)
	}
}

func compileList(x *expr) func(*machine) value {
	args := compileArguments(x.kids)
	return func(m *machine) value {
		top := len(m.stack)
		args(m)
		items := append([]value(nil), m.stack[top:]...)
		m.stack = m.stack[:top]
		return listValue(items)
	}
}

func compileObject(x *expr) func(*machine) value {
	parts := make([]func(*machine, *builder), len(x.kids))
	for i, k := range x.kids {
		parts[i] = compileProperty(k)
	}
	return func(m *machine) value {
		b := builder{fields: make([]field, 0, len(parts))}
		for _, part := range parts {
			part(m, &b)
		}
		return b.object()
	}
}

func compileProperty(x *expr) func(*machine, *builder) {
	v := compileValue(x.kids[0])
	switch {
	case x.op == opSpread:
		return func(m *machine, b *builder) {
			if from := v(m); !from.nullish() {
				m.properties(from, b.set)
			}
		}
	case len(x.kids) > 1:
		key := compileValue(x.kids[1])
		return func(m *machine, b *builder) {
			name := m.toString(key(m))
			b.set(name, v(m))
		}
	}
	name := x.name
	return func(m *machine, b *builder) { b.set(name, v(m)) }
}
