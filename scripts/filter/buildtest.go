package filter

// compileTest returns the function that says whether x is true.
func compileTest(x *expr) func(*machine) bool {
	switch x.op {
	case opConst:
		b := x.constant.truthy()
		return func(*machine) bool { return b }
	case opNot:
		test := compileTest(x.kids[0])
		return func(m *machine) bool { return !test(m) }
	case opLogic:
		if x.name != "??" {
			return compileTests(x)
		}
	case opEqual:
		return compileEqual(x)
	case opLess:
		return compileLess(x)
	case opIn:
		return compileIn(x)
	case opCond:
		test, yes, no := compileTest(x.kids[0]), compileTest(x.kids[1]), compileTest(x.kids[2])
		return func(m *machine) bool {
			if test(m) {
				return yes(m)
			}
			return no(m)
		}
	case opLet:
		n, init, body := x.n, compileValue(x.kids[0]), compileTest(x.kids[1])
		return func(m *machine) bool {
			m.locals[n] = init(m)
			return body(m)
		}
	case opMethod:
		if test := compileMember(x); test != nil {
			return test
		}
	}
	v := compileValue(x)
	return func(m *machine) bool { return v(m).truthy() }
}

// compileTests is a && b && c or a || b || c where only the truth counts.
func compileTests(x *expr) func(*machine) bool {
	tests := make([]func(*machine) bool, len(x.kids))
	for i, k := range x.kids {
		tests[i] = compileTest(k)
	}
	and := x.name == "&&"
	if len(tests) == 2 {
		a, b := tests[0], tests[1]
		if and {
			return func(m *machine) bool { return a(m) && b(m) }
		}
		return func(m *machine) bool { return a(m) || b(m) }
	}
	return func(m *machine) bool {
		for _, test := range tests {
			if test(m) != and {
				return !and
			}
		}
		return and
	}
}

func compileEqual(x *expr) func(*machine) bool {
	a, b := x.kids[0], x.kids[1]
	if a.op == opConst {
		a, b = b, a
	}
	want := x.name[0] == '='
	strict := len(x.name) == 3
	if b.op == opConst {
		if test := compileEqualConst(a, b.constant, strict); test != nil {
			if want {
				return test
			}
			return func(m *machine) bool { return !test(m) }
		}
	}
	l, r := compileValue(x.kids[0]), compileValue(x.kids[1])
	if strict {
		return func(m *machine) bool {
			v := l(m)
			return strictEqual(v, r(m)) == want
		}
	}
	return func(m *machine) bool {
		v := l(m)
		return m.looseEqual(v, r(m)) == want
	}
}

// compileEqualConst compares x with a constant; nil if it has no quicker way.
func compileEqualConst(x *expr, c value, strict bool) func(*machine) bool {
	v := compileValue(x)
	switch {
	case c.nullish() && !strict:
		return func(m *machine) bool { return v(m).nullish() }
	case c.nullish():
		return func(m *machine) bool { return v(m).kind == c.kind }
	case c.kind == str && strict:
		s := c.text()
		if x.op == opField {
			f := eventField(x.n)
			return func(m *machine) bool {
				v := m.event.field(f)
				return v.kind == str && v.text() == s
			}
		}
		return func(m *machine) bool {
			v := v(m)
			return v.kind == str && v.text() == s
		}
	case c.kind == number && strict:
		n := c.num()
		return func(m *machine) bool {
			v := v(m)
			return v.kind == number && v.num() == n
		}
	case c.kind == boolean && strict:
		return func(m *machine) bool { return v(m) == c }
	}
	return nil
}

func (m *machine) looseEqual(a, b value) bool {
	if a.kind == list && !b.nullish() && !b.container() && !m.readable(a) || b.kind == list && !a.nullish() && !a.container() && !m.readable(b) {
		return false
	}
	equal, ok := looseEqual(a, b)
	if !ok {
		m.typeError(cannotConvert)
	}
	return equal
}

func compileLess(x *expr) func(*machine) bool {
	a, b := compileValue(x.kids[0]), compileValue(x.kids[1])
	name := x.name
	slow := func(m *machine, l, r value) bool { return m.compares(l, name, r) }
	if r := x.kids[1]; r.op == opConst && r.constant.kind == number {
		return compileLessConst(a, name, r.constant, slow)
	}
	switch name {
	case "<":
		return func(m *machine) bool {
			l := a(m)
			if r := b(m); l.kind != number || r.kind != number {
				return slow(m, l, r)
			} else {
				return l.num() < r.num()
			}
		}
	case ">":
		return func(m *machine) bool {
			l := a(m)
			if r := b(m); l.kind != number || r.kind != number {
				return slow(m, l, r)
			} else {
				return l.num() > r.num()
			}
		}
	}
	return func(m *machine) bool {
		l := a(m)
		return slow(m, l, b(m))
	}
}

// compileLessConst compares with a number.
func compileLessConst(a func(*machine) value, name string, r value, slow func(m *machine, l, r value) bool) func(*machine) bool {
	c := r.num()
	switch name {
	case "<":
		return func(m *machine) bool {
			l := a(m)
			return l.kind == number && l.num() < c || l.kind != number && slow(m, l, r)
		}
	case ">":
		return func(m *machine) bool {
			l := a(m)
			return l.kind == number && l.num() > c || l.kind != number && slow(m, l, r)
		}
	case "<=":
		return func(m *machine) bool {
			l := a(m)
			return l.kind == number && l.num() <= c || l.kind != number && slow(m, l, r)
		}
	}
	return func(m *machine) bool {
		l := a(m)
		return l.kind == number && l.num() >= c || l.kind != number && slow(m, l, r)
	}
}

// compares is l < r and its like. It converts the left side first.
func (m *machine) compares(l value, name string, r value) bool {
	l = m.primitive(l)
	r = m.primitive(r)
	o, ok := compare(l, r)
	if !ok {
		m.typeError(cannotConvert)
	}
	switch name {
	case "<":
		return o == below
	case ">":
		return o == above
	case "<=":
		return o == below || o == equal
	}
	return o == above || o == equal
}

// compileIn is the operator in, which finds what is inherited too.
func compileIn(x *expr) func(*machine) bool {
	key, of := compileValue(x.kids[0]), compileValue(x.kids[1])
	return func(m *machine) bool {
		k, v := key(m), of(m)
		if !v.container() {
			m.typeError("Value is not an object: " + m.shown(v))
			return false
		}
		name := m.toString(k)
		return v.has(name) || inherits(v.kind, name)
	}
}

// compileMember is [constants].includes(x) with one look; nil for other calls.
func compileMember(x *expr) func(*machine) bool {
	values, sought := memberOf(x)
	if values == nil {
		return nil
	}
	v := compileValue(sought)
	strings := map[string]bool{}
	var others []value
	for _, c := range values {
		if c.kind == str {
			strings[c.text()] = true
		} else {
			others = append(others, c)
		}
	}
	return func(m *machine) bool {
		v := v(m)
		if v.kind == str {
			return strings[v.text()]
		}
		for _, c := range others {
			if sameValueZero(c, v) {
				return true
			}
		}
		return false
	}
}

// memberOf returns the constants of [constants].includes(sought), nil if x is
// something else.
func memberOf(x *expr) (values []value, sought *expr) {
	if x.op != opMethod || x.name != "includes" || len(x.kids) != 2 || x.kids[1].op == opSpread || x.kids[0].op != opList {
		return nil, nil
	}
	for _, k := range x.kids[0].kids {
		if k.op != opConst || k.constant.container() {
			return nil, nil
		}
		values = append(values, k.constant)
	}
	return values, x.kids[1]
}
