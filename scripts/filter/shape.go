package filter

// shapeOf says of which values of one path x can be true.
func shapeOf(x *expr) shape {
	switch x.op {
	case opEqual:
		return equalShape(x)
	case opLess:
		return boundShape(x)
	case opMethod, opChain:
		return callShape(x)
	case opLogic:
		if x.name == "||" {
			return anyShape(x)
		}
	}
	return shape{}
}

// pathShape is the start of a shape about x; ok is false if x is no path into
// the event.
func pathShape(x *expr) (s shape, ok bool) {
	if !x.isPath() {
		return shape{}, false
	}
	return shape{path: canonical(x), read: compileValue(x)}, true
}

func equalShape(x *expr) shape {
	path, c := x.kids[0], x.kids[1]
	if path.op == opConst {
		path, c = c, path
	}
	if c.op != opConst || c.constant.container() || isNumberNaN(c.constant) {
		return shape{}
	}
	s, ok := pathShape(path)
	if !ok {
		return shape{}
	}
	switch {
	case x.name == "===":
		s.values = []value{plusZero(c.constant)}
	case x.name == "==" && c.constant.nullish():
		s.values = []value{{}, {kind: null}}
	case x.name == "==" && path.kinds.only(of(c.constant.kind)|nullish):
		s.values = []value{plusZero(c.constant)}
	default:
		return shape{}
	}
	s.kind = byValue
	return s
}

func isNumberNaN(v value) bool { return v.kind == number && isNaN(v.num()) }

// plusZero is v with 0 for -0, which are equal.
func plusZero(v value) value {
	if v.kind == number {
		return numberValue(v.num() + 0)
	}
	return v
}

// callShape is that of [a, b].includes(path) and path.startsWith(prefix).
func callShape(x *expr) shape {
	call := x
	if x.op == opChain {
		if call = x.kids[0]; call.op != opMethod {
			return shape{}
		}
	}
	if values, sought := memberOf(call); values != nil {
		s, ok := pathShape(sought)
		if !ok {
			return shape{}
		}
		for _, v := range values {
			if isNumberNaN(v) {
				return shape{}
			}
			s.values = append(s.values, plusZero(v))
		}
		s.kind = byValue
		return s
	}
	if call.op != opMethod || call.name != "startsWith" || len(call.kids) != 2 {
		return shape{}
	}
	prefix := call.kids[1]
	if prefix.op != opConst || prefix.constant.kind != str || prefix.constant.text() == "" || halves(prefix.constant.text()) {
		return shape{}
	}
	path := call.kids[0]
	if x.op == opChain && path.isLink() { // what ends the chain is undefined: that begins with nothing
		path = x.with(path)
	}
	s, ok := pathShape(path)
	if !ok {
		return shape{}
	}
	s.kind, s.prefix = byPrefix, prefix.constant.text()
	return s
}

// anyShape is that of several equalities on one path.
func anyShape(x *expr) shape {
	var s shape
	for i, k := range x.kids {
		next := shapeOf(k)
		if next.kind != byValue || i > 0 && next.path != s.path {
			return shape{}
		}
		if i == 0 {
			s = next
		} else {
			s.values = append(s.values, next.values...)
		}
	}
	return s
}

// boundShape is that of comparisons with a number.
func boundShape(x *expr) shape {
	path, c := x.kids[0], x.kids[1]
	above := x.name[0] == '>'
	if path.op == opConst {
		path, c, above = c, path, !above
	}
	if c.op != opConst || c.constant.kind != number || isNumberNaN(c.constant) {
		return shape{}
	}
	s, ok := pathShape(path)
	if !ok {
		return shape{}
	}
	s.limit, s.kind = c.constant.num(), byBelow
	if above {
		s.kind = byAbove
	}
	return s
}
