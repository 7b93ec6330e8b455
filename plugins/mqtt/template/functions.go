package template

func functionTable() map[string]*builtin {
	return map[string]*builtin{
		"range":     define("start stop? step?", rangeFunction),
		"int":       define("value default? base?", toIntFilter),
		"float":     define("value default?", toFloatFilter),
		"bool":      define("value default?", toBoolFilter),
		"is_number": define("value", isNumber),
		"iif":       define("value if_true? if_false? if_none?", iif),
		"namespace": {special: func(p *parser, t *token, args []node, k []keyword) node { return p.namedDict(t, args, k, true) }},
		"dict":      {special: func(p *parser, t *token, args []node, k []keyword) node { return p.namedDict(t, args, k, false) }},
		"zip":       {rest: true, call: zip},
		"min":       {rest: true, call: func(e *env, args []Value) Value { return e.extremeOf(args, true) }},
		"max":       {rest: true, call: func(e *env, args []Value) Value { return e.extremeOf(args, false) }},

		"log": define("value base? default?", logarithm),

		"bitwise_and": define("first_value second_value", func(e *env, args []Value) Value { return e.bitwise('&', args) }),
		"bitwise_or":  define("first_value second_value", func(e *env, args []Value) Value { return e.bitwise('|', args) }),
		"bitwise_xor": define("first_value second_value", func(e *env, args []Value) Value { return e.bitwise('^', args) }),
	}
}

func rangeFunction(e *env, args []Value) Value {
	var bounds [3]int64
	for i, arg := range args {
		if !given(arg) {
			continue
		}
		n, ok := integer(arg)
		if !ok {
			e.failf("range needs whole numbers: it is of type %s", typeName(arg))
		}
		bounds[i] = n
	}
	if !given(args[1]) {
		bounds[0], bounds[1] = 0, bounds[0]
	}
	if !given(args[2]) {
		bounds[2] = 1
	}
	if bounds[2] == 0 {
		e.failf("the step of a range is 0")
	}
	s := newSpan(bounds[0], bounds[1], bounds[2])
	if uint64(s.length) > maxItems {
		e.failf("a range of more than %d items", maxItems)
	}
	e.step(int(s.length))
	return s
}

func zip(e *env, args []Value) Value {
	lists := make([]List, len(args))
	length := maxItems
	for i, arg := range args {
		lists[i] = e.iterate(arg)
		length = min(length, len(lists[i]))
	}
	if len(lists) == 0 {
		length = 0
	}
	e.makes(length)
	e.step(length * len(lists))
	items := make(List, length)
	for i := range items {
		item := make(Tuple, len(lists))
		for j := range lists {
			item[j] = lists[j][i]
		}
		items[i] = item
	}
	return generated("zip", items)
}

// extremeOf is the functions min and max: of one iterable, or of the arguments.
func (e *env) extremeOf(args []Value, least bool) Value {
	var over Value
	switch len(args) {
	case 0:
		e.failf("min and max need an argument")
	case 1:
		over = args[0]
	default:
		over = append(List(nil), args...)
	}
	return e.extreme([]Value{over, missing{}, missing{}}, least)
}

// A namedDictNode is dict(…) or namespace(…): of a dict or pairs, and of names.
type namedDictNode struct {
	of        node // nil without one
	names     []string
	values    []node
	namespace bool
	at        int
}

func (p *parser) namedDict(t *token, args []node, keywords []keyword, isNamespace bool) node {
	n := &namedDictNode{namespace: isNamespace, at: t.at}
	if len(args) > 1 {
		p.fail(t.at, "%s takes no more than one argument without a name", t.text)
	}
	if len(args) == 1 {
		n.of = args[0]
	}
	for _, k := range keywords {
		n.names = append(n.names, k.name)
		n.values = append(n.values, k.value)
	}
	return n
}

func (n *namedDictNode) eval(e *env) Value {
	d := &Dict{}
	if n.of != nil {
		of := n.of.eval(e)
		e.at = n.at
		e.fill(d, of)
	}
	for i, name := range n.names {
		d.put(name, name, n.values[i].eval(e))
	}
	e.at = n.at
	e.step(1 + len(n.names))
	if n.namespace {
		return &namespace{d}
	}
	return d
}

// fill puts a dict's entries, or pairs, into a new dict.
func (e *env) fill(d *Dict, of Value) {
	if from, ok := of.(*Dict); ok {
		e.step(len(from.entries))
		for _, each := range from.entries {
			d.put(each.key, each.hash, each.value)
		}
		return
	}
	if u, ok := of.(Undefined); ok {
		e.undefined(u)
	}
	for _, pair := range e.iterate(of) {
		items := e.iterate(pair)
		if len(items) != 2 {
			e.failf("a dict needs pairs, one has %d items", len(items))
		}
		d.put(items[0], e.hash(items[0]), items[1])
	}
}
