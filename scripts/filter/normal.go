package filter

// folded is x as a constant, if that is all it is.
func folded(x *expr) *expr {
	switch x.op {
	case opNot, opTypeof, opUnary, opArith, opEqual, opLess, opText, opCall, opMethod:
	default:
		return x
	}
	for _, k := range x.kids {
		if k.op != opConst || k.constant.container() {
			return x
		}
	}
	if !x.kinds.only(primitive) {
		return x
	}
	var m machine
	m.begin(nil, 0)
	v := compileValue(x)(&m)
	if m.fault != nil || v.container() || v.kind == str && len(v.text()) > 256 {
		return x
	}
	c := &expr{op: opConst, at: x.at, constant: v}
	c.infer(nil)
	return c
}

// decision is x where only counts whether the filter takes the event, or what
// object it returns: other values may be exchanged for others of the same
// truth. It brings programs that decide the same way into the same form, in
// which conditions stand in a row.
func decision(x *expr) *expr {
	switch x.op {
	case opLet, opThen:
		return x.with(x.kids[0], decision(x.kids[1]))
	case opLogic:
		return decideLogic(x)
	case opCond:
		return decideCond(x)
	case opNot:
		return x.with(truth(x.kids[0])).unNot()
	case opCall:
		if x.name == "Boolean" && len(x.kids) == 1 && x.kids[0].op != opSpread && x.kids[0].kinds.only(primitive) {
			return truth(x.kids[0])
		}
	}
	return x
}

// truth is x where only its truth counts.
func truth(x *expr) *expr {
	switch x.op {
	case opNot:
		inner := x.kids[0]
		if inner.op == opNot {
			return truth(inner.kids[0])
		}
		if inner.op == opEqual {
			return negated(inner)
		}
	case opCall:
		if x.name == "Boolean" && len(x.kids) == 1 && x.kids[0].op != opSpread {
			return truth(x.kids[0])
		}
	case opLogic:
		if x.name != "??" {
			kids := make([]*expr, 0, len(x.kids))
			for _, k := range x.kids {
				kids = append(kids, truth(k))
			}
			return x.with(kids...).flat()
		}
	}
	return x
}

// unNot is !!a as a, and !(a === b) as a !== b.
func (x *expr) unNot() *expr {
	inner := x.kids[0]
	if inner.op == opNot && inner.kids[0].kinds.only(primitive) || inner.op == opEqual {
		return negated(inner)
	}
	return x
}

func decideLogic(x *expr) *expr {
	last := len(x.kids) - 1
	kids := make([]*expr, 0, last+1)
	for i, k := range x.kids {
		switch {
		case i == last:
			k = decision(k)
		case x.name == "&&":
			k = truth(k)
		case x.name == "||":
			k = decision(k)
		}
		kids = append(kids, k)
	}
	return x.with(kids...).flat()
}

// decideCond is c ? a : b as a row of conditions where one of the ways is
// false.
func decideCond(x *expr) *expr {
	test, yes, no := truth(x.kids[0]), decision(x.kids[1]), decision(x.kids[2])
	switch {
	case no.never() && yes.always():
		return primitiveTruth(test)
	case no.never():
		return chain("&&", x.at, test, yes)
	case yes.never():
		return chain("&&", x.at, negated(test), no)
	case yes.always():
		return chain("||", x.at, primitiveTruth(test), no)
	}
	return x.with(test, yes, no)
}

// primitiveTruth is what is as true as x, and no object.
func primitiveTruth(x *expr) *expr {
	if x.kinds.only(primitive) {
		return x
	}
	return negated(negated(x))
}

func (x *expr) never() bool { return x.op == opConst && !x.constant.truthy() }
func (x *expr) always() bool {
	return x.op == opConst && x.constant.kind == boolean && x.constant.truthy()
}

// negated is what is true where x is false.
func negated(x *expr) *expr {
	if x.op == opNot && x.kids[0].kinds.only(primitive) {
		return x.kids[0]
	}
	if x.op == opEqual {
		y := *x
		if x.name[0] == '!' {
			y.name = "=" + x.name[1:]
		} else {
			y.name = "!" + x.name[1:]
		}
		return &y
	}
	n := &expr{op: opNot, name: "!", at: x.at, kids: []*expr{x}}
	n.infer(nil)
	return n
}

// chain is a && b or a || b.
func chain(name string, at place, a, b *expr) *expr {
	n := &expr{op: opLogic, name: name, at: at, kids: []*expr{a, b}}
	n.infer(nil)
	return n.flat()
}

// with is x with other kids of the same kinds or fewer.
func (x *expr) with(kids ...*expr) *expr {
	y := *x
	y.kids = kids
	if y.op == opLogic || y.op == opCond || y.op == opLet || y.op == opThen {
		y.infer(nil)
	}
	return &y
}

// flat takes the terms of chains inside a chain of the same operator into it.
func (x *expr) flat() *expr {
	if x.op != opLogic {
		return x
	}
	var kids []*expr
	for _, k := range x.kids {
		if k.op == opLogic && k.name == x.name {
			kids = append(kids, k.kids...)
		} else {
			kids = append(kids, k)
		}
	}
	y := *x
	y.kids = kids
	return &y
}
