package template

import "unicode/utf8"

type (
	attributeNode struct {
		of   node
		name string
		at   int
	}
	itemNode struct {
		of, key node
		at      int
	}
	sliceNode struct {
		of             node
		from, to, step node // nil without one
		at             int
	}
)

func (n *attributeNode) eval(e *env) Value {
	of := n.of.eval(e)
	e.at = n.at
	e.step(1)
	return e.attribute(of, n.name)
}

// attribute is a.name: Python's attributes come first, then the keys.
func (e *env) attribute(of Value, name string) Value {
	switch of := of.(type) {
	case *Dict:
		if dictAttributes[name] {
			return methodOf(of, name)
		}
		if v, ok := of.Get(name); ok {
			return v
		}
	case Undefined:
		e.undefined(of)
	case *namespace:
		if v, ok := of.fields.Get(name); ok {
			return v
		}
	case moment, lapse:
		return e.momentAttribute(of, name)
	case *loop:
		if v, ok := of.field(name); ok {
			return v
		}
		e.failf("loop.%s is not supported", name)
	default:
		if hasAttribute(of, name) {
			return methodOf(of, name)
		}
	}
	return Undefined{"'" + typeName(of) + " object' has no attribute '" + name + "'"}
}

func (n *itemNode) eval(e *env) Value {
	of := n.of.eval(e)
	key := n.key.eval(e)
	e.at = n.at
	e.step(1)
	return e.item(of, key)
}

// item is a[key]: the keys come first, then Python's attributes.
func (e *env) item(of, key Value) Value {
	switch of := of.(type) {
	case Undefined:
		e.undefined(of)
	case *Dict:
		if v, ok := e.entry(of, key); ok {
			return v
		}
	case markup:
		if index, ok := integer(key); ok {
			if v, ok := at(string(of), index); ok {
				return markup(v.(string))
			}
		}
	case string, List, Tuple, span:
		if text, ok := of.(string); ok {
			e.step(len(text) / stepBytes)
		}
		if index, ok := integer(key); ok {
			if v, ok := at(of, index); ok {
				return v
			}
		}
	}
	name, ok := key.(string)
	switch {
	case !ok:
	case hasAttribute(of, name):
		return methodOf(of, name)
	case isLoopOrNamespace(of), is[moment](of), is[lapse](of):
		return e.attribute(of, name)
	}
	return Undefined{"'" + typeName(of) + " object' has no element " + e.repr(key)}
}

// methodOf is a method that is not called. Those that would change a value are
// undefined in Jinja2's sandbox.
func methodOf(of Value, name string) Value {
	switch of.(type) {
	case *Dict:
		if dictMutators[name] {
			return Undefined{"access to attribute '" + name + "' of 'dict' object is unsafe"}
		}
	case List:
		if listMutators[name] {
			return Undefined{"access to attribute '" + name + "' of 'list' object is unsafe"}
		}
	}
	return &method{name}
}

func isLoopOrNamespace(v Value) bool {
	switch v.(type) {
	case *loop, *namespace:
		return true
	}
	return false
}

func (e *env) entry(d *Dict, key Value) (Value, bool) {
	hash, ok := e.tryHash(key)
	if !ok {
		return nil, false
	}
	if i := d.find(hash); i >= 0 {
		return d.entries[i].value, true
	}
	return nil, false
}

// at is a sequence's item; a negative index counts from the end.
func at(of Value, index int64) (Value, bool) {
	n, _ := lengthOf(of)
	if index < 0 {
		index += int64(n)
	}
	if index < 0 || index >= int64(n) {
		return nil, false
	}
	switch of := of.(type) {
	case string:
		return character(of, int(index)), true
	case List:
		return of[index], true
	case Tuple:
		return of[index], true
	case span:
		return of.start + index*of.step, true
	}
	return nil, false
}

func character(text string, index int) string {
	for range index {
		_, size := utf8.DecodeRuneInString(text)
		text = text[size:]
	}
	_, size := utf8.DecodeRuneInString(text)
	return text[:size]
}

func (n *sliceNode) eval(e *env) Value {
	of := n.of.eval(e)
	from, to, step := n.bound(e, n.from), n.bound(e, n.to), n.bound(e, n.step)
	e.at = n.at
	e.step(1)
	length, ok := lengthOf(of)
	if _, isUndefined := of.(Undefined); isUndefined || !ok {
		e.typeError(of, "it cannot be sliced")
	}
	indices := e.indices(int64(length), from, to, step)
	switch of := of.(type) {
	case string:
		return e.sliceText(of, indices)
	case markup:
		return markup(e.sliceText(string(of), indices))
	case List:
		return e.pick(of, indices)
	case Tuple:
		return Tuple(e.pick(List(of), indices))
	case span:
		e.failf("slices of a range are not supported")
	}
	e.typeError(of, "it cannot be sliced")
	return nil
}

func (n *sliceNode) bound(e *env, of node) *int64 {
	if of == nil {
		return nil
	}
	v := of.eval(e)
	e.at = n.at
	if v == nil {
		return nil
	}
	i, ok := integer(v)
	if !ok {
		e.failf("a slice needs whole numbers: it is of type %s", typeName(v))
	}
	return &i
}

// indices are Python's slice.indices as a span.
func (e *env) indices(length int64, from, to, by *int64) span {
	step := int64(1)
	if by != nil {
		step = *by
	}
	if step == 0 {
		e.failf("the step of a slice is 0")
	}
	low, high := int64(0), length
	start, stop := low, high
	if step < 0 {
		low, high = -1, length-1
		start, stop = high, low
	}
	clip := func(i *int64, otherwise int64) int64 {
		if i == nil {
			return otherwise
		}
		if *i < 0 {
			return max(*i+length, low)
		}
		return min(*i, high)
	}
	start, stop = clip(from, start), clip(to, stop)
	return newSpan(start, stop, max(step, -1<<62))
}

// newSpan is Python's range; step is not 0.
func newSpan(start, stop, step int64) span {
	s := span{start: start, stop: stop, step: step}
	switch {
	case step > 0 && start < stop:
		s.length = int64((uint64(stop-start)-1)/uint64(step)) + 1
	case step < 0 && start > stop:
		s.length = int64((uint64(start-stop)-1)/uint64(-step)) + 1
	}
	return s
}

func (e *env) pick(items List, which span) List {
	e.step(int(which.length))
	picked := make(List, which.length)
	for i := range picked {
		picked[i] = items[which.start+int64(i)*which.step]
	}
	return picked
}

func (e *env) sliceText(text string, which span) string {
	if isASCII(text) && which.step == 1 {
		if which.length == 0 {
			return ""
		}
		return text[which.start : which.start+which.length]
	}
	e.made(len(text))
	runes := []rune(text)
	picked := make([]rune, which.length)
	for i := range picked {
		picked[i] = runes[which.start+int64(i)*which.step]
	}
	return string(picked)
}

// integer returns what Python takes as an index.
func integer(v Value) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case bool:
		return intOf(v), true
	}
	return 0, false
}
