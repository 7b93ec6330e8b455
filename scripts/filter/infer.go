package filter

// fieldKinds are what the properties of e and e.old may be.
var fieldKinds = func() (k [fieldCount]kinds) {
	for f, ks := range map[eventField]kinds{
		fieldType: of(str), fieldEntityID: of(str) | of(undefined), fieldDomain: of(str) | of(undefined), fieldSource: of(str),
		fieldTime: of(number), fieldSeq: of(number),
		fieldState: of(str) | of(undefined), fieldNumber: of(number) | of(undefined), fieldUnit: of(str) | of(undefined),
		fieldAttributes: of(object) | of(undefined), fieldOld: of(object) | of(undefined), fieldData: of(object),
		fieldLastChanged: of(number) | of(undefined), fieldLastUpdated: of(number) | of(undefined),
		// Where e.old is undefined, reading these throws.
		oldState: of(str), oldNumber: of(number) | of(undefined), oldUnit: of(str) | of(undefined),
		oldAttributes: of(object), oldLastChanged: of(number), oldLastUpdated: of(number),
		wholeEvent: of(object),
	} {
		k[f] = ks
	}
	return k
}()

// infer sets what x may be and whether it may throw, from what its kids may
// be and do. slots are the kinds of the locals.
func (x *expr) infer(slots []kinds) {
	x.throws = false
	for _, k := range x.kids {
		x.throws = x.throws || k.throws
	}
	x.kinds = x.result(slots)
	x.throws = x.throws || x.mayThrow()
}

// result says what x may be.
func (x *expr) result(slots []kinds) kinds {
	switch x.op {
	case opConst:
		return of(x.constant.kind)
	case opEvent:
		return of(object)
	case opField:
		return fieldKinds[x.n]
	case opLocal:
		return slots[x.n]
	case opLet, opThen:
		return x.kids[1].kinds
	case opGet, opChain:
		return x.linkKinds()
	case opLogic:
		return x.logicKinds()
	case opNot, opEqual, opLess, opIn, opMatch:
		return of(boolean)
	case opTypeof, opText:
		return of(str)
	case opVoid:
		return of(undefined)
	case opUnary, opDate:
		return of(number)
	case opArith:
		return x.arithKinds()
	case opCond:
		return x.kids[1].kinds | x.kids[2].kinds
	case opList, opIterate:
		return of(list)
	case opObject:
		return of(object)
	case opCall:
		if f := functions[x.name]; f != nil {
			return f.kinds
		}
	case opMethod:
		if m := methods[x.name]; m != nil {
			return m.kinds | x.skipped()
		}
	case opLoop:
		return x.loopKinds()
	}
	return anyKind
}

// skipped is undefined for a link that may end its chain.
func (x *expr) skipped() kinds {
	if x.optional && x.kids[0].kinds&nullish != 0 {
		return of(undefined)
	}
	return 0
}

func (x *expr) linkKinds() kinds {
	base := x.kids[0]
	switch {
	case x.op == opChain:
		return base.kinds | of(undefined)
	case base.op == opField && eventField(base.n) == fieldOld:
		if f, ok := oldFieldOf(x.name); ok {
			return fieldKinds[f] | x.skipped()
		}
		return of(undefined)
	case x.name == "length" && base.kinds.only(of(str)|of(list)|nullish):
		return of(number) | x.skipped()
	}
	return anyKind
}

func (x *expr) logicKinds() kinds {
	last := len(x.kids) - 1
	k := x.kids[last].kinds
	for _, kid := range x.kids[:last] {
		switch x.name {
		case "&&":
			k |= kid.kinds & falsy
		case "||":
			k |= kid.kinds &^ nullish
		default:
			k |= kid.kinds &^ nullish
		}
	}
	return k
}

func (x *expr) arithKinds() kinds {
	if x.name != "+" || len(x.kids) < 2 {
		return of(number)
	}
	a, b := x.kids[0].kinds, x.kids[1].kinds
	const text = kinds(1<<str | 1<<list | 1<<object) // what + makes strings of
	switch {
	case a.only(text) || b.only(text):
		return of(str)
	case (a|b)&text == 0:
		return of(number)
	}
	return of(str) | of(number)
}

func (x *expr) loopKinds() kinds {
	l := loops[x.name]
	if l == nil {
		return anyKind
	}
	if l.folds {
		k := x.kids[1].kinds
		if len(x.kids) > 2 {
			return k | x.kids[2].kinds
		}
		return anyKind
	}
	return l.kinds | x.skipped()
}

// mayThrow reports whether x itself may throw, beyond its kids.
func (x *expr) mayThrow() bool {
	const containers = kinds(1<<list | 1<<object) // which may not become primitive
	any := kinds(0)
	for _, k := range x.kids {
		any |= k.kinds
	}
	switch x.op {
	case opGet:
		base := x.kids[0].kinds
		if base&nullish != 0 && !x.optional {
			return true
		}
		for k := boolean; k <= object; k++ {
			if base&of(k) != 0 && inherits(k, x.name) {
				return true
			}
		}
		return false
	case opIndex:
		return x.kids[0].kinds&nullish != 0 && !x.optional || x.kids[1].kinds != of(number)
	case opUnary, opArith, opLess, opText:
		return any&containers != 0 || x.op == opText || x.name == "+" && any&of(str) != 0
	case opEqual:
		return len(x.name) == 2 && any&containers != 0 && !x.kids[0].kinds.only(nullish) && !x.kids[1].kinds.only(nullish)
	case opObjectOf:
		return any&nullish != 0
	case opMatch:
		return x.name == "match" && !any.only(of(str)) || any&containers != 0
	case opProp:
		return len(x.kids) > 1 && x.kids[1].kinds&containers != 0
	case opCall:
		f := functions[x.name]
		return f == nil || f.throws || any&containers != 0 && !f.takesAny
	case opMethod:
		m := methods[x.name]
		return m == nil || m.throws || !x.kids[0].kinds.only(m.receivers()|x.skipped()) || argumentsOf(x).kinds()&containers != 0 && !m.takesAny
	case opList, opObject, opSpread, opIterate, opIn, opLoop, opDate:
		return true
	}
	return false
}

// exprs are several of them.
type exprs []*expr

func argumentsOf(x *expr) exprs { return x.kids[1:] }

// kinds is what one of them may be.
func (xs exprs) kinds() (k kinds) {
	for _, x := range xs {
		k |= x.kinds
	}
	return k
}
