package template

// A node is an expression.
type node interface{ eval(e *env) Value }

type (
	constNode struct{ value Value }
	nameNode  struct {
		name string
		at   int
	}
	listNode struct {
		items []node
		at    int
	}
	tupleNode struct {
		items []node
		at    int
	}
	dictNode struct {
		keys, values []node
		at           int
	}
	condNode struct {
		test, yes, no node // no is nil without an else
		at            int
	}
	orNode     struct{ left, right node }
	andNode    struct{ left, right node }
	notNode    struct{ of node }
	comparison struct {
		op    string
		right node
		at    int
	}
	compareNode struct {
		first node
		more  []comparison
	}
	concatNode struct {
		parts []node
		at    int
	}
	binaryNode struct {
		op          byte // _ is //, ^ is **
		left, right node
		at          int
	}
	signNode struct {
		minus bool
		of    node
		at    int
	}
	// An applyNode calls a builtin.
	applyNode struct {
		fn     *builtin
		args   []node
		method bool
		at     int
	}
)

func (n *constNode) eval(*env) Value { return n.value }

func (n *nameNode) eval(e *env) Value {
	e.step(1)
	v, ok := e.lookup(n.name)
	if !ok {
		return Undefined{"'" + n.name + "' is undefined"}
	}
	return v
}

func (e *env) all(nodes []node, at int) List {
	e.at = at
	e.makes(len(nodes))
	items := make(List, len(nodes))
	for i, n := range nodes {
		items[i] = n.eval(e)
	}
	return items
}

func (n *listNode) eval(e *env) Value  { return e.all(n.items, n.at) }
func (n *tupleNode) eval(e *env) Value { return Tuple(e.all(n.items, n.at)) }

func (n *dictNode) eval(e *env) Value {
	d := &Dict{}
	for i := range n.keys {
		key := n.keys[i].eval(e)
		value := n.values[i].eval(e)
		e.at = n.at
		e.step(1)
		d.put(key, e.hash(key), value)
	}
	return d
}

// hash returns a key's hash, and fails for what cannot be a key.
func (e *env) hash(key Value) any {
	hash, ok := e.tryHash(key)
	if !ok {
		e.failf("a value of type %s cannot be a key", typeName(key))
	}
	return hash
}

func (e *env) tryHash(key Value) (any, bool) {
	hash, ok := hashOf(key, 0)
	switch hash := hash.(type) {
	case string:
		e.step(len(hash) / stepBytes)
	case tupleHash:
		e.step(len(hash) / stepBytes)
	}
	return hash, ok
}

func (n *condNode) eval(e *env) Value {
	e.step(1)
	if truth(n.test.eval(e)) {
		return n.yes.eval(e)
	}
	if n.no == nil {
		return Undefined{"the inline if is false and has no else"}
	}
	return n.no.eval(e)
}

func (n *orNode) eval(e *env) Value {
	if left := n.left.eval(e); truth(left) {
		return left
	}
	return n.right.eval(e)
}

func (n *andNode) eval(e *env) Value {
	if left := n.left.eval(e); !truth(left) {
		return left
	}
	return n.right.eval(e)
}

func (n *notNode) eval(e *env) Value { return !truth(n.of.eval(e)) }

// eval compares as Python does: a < b < c is a < b and b < c.
func (n *compareNode) eval(e *env) Value {
	left := n.first.eval(e)
	for i := range n.more {
		c := &n.more[i]
		right := c.right.eval(e)
		e.at = c.at
		e.step(1)
		if !e.compare(c.op, left, right) {
			return false
		}
		left = right
	}
	return true
}

func (e *env) compare(op string, left, right Value) bool {
	switch op {
	case "==":
		return e.equal(left, right, 0)
	case "!=":
		return !e.equal(left, right, 0)
	case "in":
		return e.contains(right, left)
	case "not in":
		return !e.contains(right, left)
	case "<":
		return e.less(left, right, false, 0)
	case "<=":
		return e.less(left, right, true, 0)
	case ">":
		return e.less(right, left, false, 0)
	default:
		return e.less(right, left, true, 0)
	}
}

func (n *concatNode) eval(e *env) Value {
	var text []byte
	for _, part := range n.parts {
		v := part.eval(e)
		e.at = n.at
		text = e.appendText(text, v)
		if len(text) > maxString {
			break
		}
	}
	e.made(len(text))
	return string(text)
}

func (n *binaryNode) eval(e *env) Value {
	left := n.left.eval(e)
	right := n.right.eval(e)
	e.at = n.at
	e.step(1)
	return e.binary(n.op, left, right)
}

func (n *signNode) eval(e *env) Value {
	v := n.of.eval(e)
	e.at = n.at
	switch number := asNumber(v).(type) {
	case int64:
		if !n.minus {
			return number
		}
		return e.binary('-', int64(0), number)
	case float64:
		if !n.minus {
			return number
		}
		return -number
	}
	e.typeError(v, "a sign needs a number")
	return nil
}

func (n *applyNode) eval(e *env) Value {
	base := len(e.stack)
	for i, arg := range n.args {
		v := arg.eval(e)
		if u, ok := v.(Undefined); ok && i == 0 && n.method {
			e.at = n.at
			e.undefined(u) // before its arguments, as in Jinja2
		}
		e.stack = append(e.stack, v)
	}
	e.at = n.at
	e.step(1)
	v := n.fn.call(e, e.stack[base:len(e.stack):len(e.stack)])
	e.stack = e.stack[:base]
	return v
}
