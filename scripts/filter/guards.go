package filter

// guards is what the conjuncts so far say of paths, by canonical text: the kinds
// that a path is not, where all of them are true. In `e.old && e.old.state ===
// 'on'`, the second can't throw.
type guards map[string]kinds

// learn takes in that x is true.
func (g guards) learn(x *expr) {
	switch {
	case x.isPath():
		g.exclude(x, nullish)
	case x.op == opEqual:
		path, c := x.kids[0], x.kids[1]
		if path.op == opConst {
			path, c = c, path
		}
		if c.op == opConst && path.isPath() {
			g.exclude(path, excluded(x.name, c.constant))
		}
	}
}

// excluded is what a path is not that compares so with a constant.
func excluded(operator string, c value) kinds {
	switch {
	case operator == "===":
		return anyKind &^ of(c.kind)
	case operator == "!==" && c.nullish():
		return of(c.kind)
	case operator == "!=" && c.nullish(), operator == "==" && !c.nullish():
		return nullish
	}
	return 0
}

// exclude notes that path is not of these kinds. Where that rules out that an
// optional link found nothing, what stands before each link is there.
func (g guards) exclude(path *expr, not kinds) {
	g[canonical(path)] |= not
	if path.op != opChain || not&of(undefined) == 0 {
		return
	}
	for link := path.kids[0]; link.isLink(); link = link.kids[0] {
		g[canonical(link.kids[0])] |= nullish
	}
}

// throws reports whether x may throw where the guards hold.
func (g guards) throws(x *expr) bool {
	return x.throws && (len(g) == 0 || g.narrowed(x).throws)
}

// narrowed is x with what the guards say of its parts.
func (g guards) narrowed(x *expr) *expr {
	if !x.throws && !x.isPath() || x.op == opLocal {
		return x
	}
	y := *x
	y.kids = make([]*expr, len(x.kids))
	for i, k := range x.kids {
		y.kids[i] = g.narrowed(k)
	}
	y.infer(nil)
	if x.isPath() {
		y.kinds &= x.kinds &^ g[canonical(x)]
	}
	return &y
}

// isPath reports whether x reads something of the event by names alone.
func (x *expr) isPath() bool {
	if x.op == opChain {
		x = x.kids[0]
	}
	for x.op == opGet {
		x = x.kids[0]
	}
	return x.op == opField
}
