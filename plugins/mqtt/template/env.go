package template

import (
	"strings"
	"unicode/utf8"
)

// env is one Render. Its methods panic with an *Error, which Render recovers.
type env struct {
	t      *Template
	vars   map[string]Value
	out    []byte
	stack  []Value   // arguments of builtins that are running
	locals []binding // what set and for made, the innermost last
	frame  int       // where the innermost scope begins in locals
	steps  int
	at     int // where in the source the running operation is
}

type binding struct {
	name  string
	value Value
}

func (e *env) failf(format string, args ...any) {
	panic(e.t.errorAt(e.at, format, args...))
}

// failKept fails with what is one of Jinja2's own errors there.
func (e *env) failKept(format string, args ...any) {
	err := e.t.errorAt(e.at, format, args...)
	err.KeepsPayload = true
	panic(err)
}

// undefined fails the way that Jinja2's UndefinedError does.
func (e *env) undefined(u Undefined) {
	e.failKept("%s", u.why)
}

// typeError fails where a value has the wrong type, or is undefined.
func (e *env) typeError(v Value, what string) {
	if u, ok := v.(Undefined); ok {
		e.undefined(u)
	}
	e.failf("%s: it is of type %s", what, typeName(v))
}

// step counts n steps.
func (e *env) step(n int) {
	if e.steps += n; e.steps > maxSteps {
		e.failf("more than %d steps", maxSteps)
	}
}

// made counts a string that the template made, and bounds it. To be called
// before a string is made that may be longer than its parts.
func (e *env) made(length int) {
	if length > maxString {
		e.failf("a string of more than %d bytes", maxString)
	}
	e.step(length / stepBytes)
}

// makes counts a list that the template makes.
func (e *env) makes(length int) {
	if length > maxItems {
		e.failf("a list of more than %d items", maxItems)
	}
	e.step(length)
}

func (e *env) lookup(name string) (Value, bool) {
	e.step(len(e.locals) / 16)
	for i := len(e.locals) - 1; i >= 0; i-- {
		if e.locals[i].name == name {
			return e.locals[i].value, true
		}
	}
	v, ok := e.vars[name]
	return v, ok
}

// set sets a variable of the innermost scope.
func (e *env) set(name string, value Value) {
	e.step((len(e.locals) - e.frame) / 16)
	for i := len(e.locals) - 1; i >= e.frame; i-- {
		if e.locals[i].name == name {
			e.locals[i].value = value
			return
		}
	}
	e.locals = append(e.locals, binding{name, value})
}

// push opens a scope; the result closes it.
func (e *env) push() (frame int) {
	frame = e.frame
	e.frame = len(e.locals)
	return frame
}

func (e *env) pop(frame int) {
	e.locals = e.locals[:e.frame]
	e.frame = frame
}

// iterate returns what a for loop over the value would see.
func (e *env) iterate(v Value) List {
	if g, ok := v.(*generator); ok {
		return e.drained(g)
	}
	items, ok := itemsOf(v)
	if !ok {
		if text, isText := plain(v).(string); isText {
			return e.characters(text)
		}
		e.failf("a value of type %s cannot be iterated over", typeName(v))
	}
	e.step(len(items))
	return items
}

func (e *env) drained(g *generator) (items List) {
	for {
		item, ok := g.next()
		if !ok {
			return items
		}
		items = append(items, item)
		e.step(1)
		if len(items) > maxItems {
			e.makes(len(items))
		}
	}
}

// iterator returns what takes the items of a value one by one.
func (e *env) iterator(v Value) func() (Value, bool) {
	if g, ok := v.(*generator); ok {
		return g.next
	}
	return each(e.iterate(v))
}

// itemsOf returns the items of what can be iterated over, but for strings and
// generators.
func itemsOf(v Value) (List, bool) {
	switch v := v.(type) {
	case List:
		return v, true
	case Tuple:
		return List(v), true
	case *Dict:
		keys := make(List, len(v.entries))
		for i := range v.entries {
			keys[i] = v.entries[i].key
		}
		return keys, true
	case *view:
		return v.items, true
	case span:
		return v.items(), true
	case Undefined:
		return nil, true
	}
	return nil, false
}

func (e *env) characters(text string) List {
	n := utf8.RuneCountInString(text)
	e.makes(n)
	items := make(List, 0, n)
	for _, r := range text {
		items = append(items, string(r))
	}
	return items
}

// write appends to the output.
func (e *env) write(text string) {
	if len(e.out)+len(text) > maxOutput {
		e.failf("more than %d bytes of output", maxOutput)
	}
	e.out = append(e.out, text...)
}

func trimBytes(b []byte) []byte {
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if !isSpace(r) {
			break
		}
		b = b[size:]
	}
	for len(b) > 0 {
		r, size := utf8.DecodeLastRune(b)
		if !isSpace(r) {
			break
		}
		b = b[:len(b)-size]
	}
	return b
}

func isASCII(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func trim(text string) string { return strings.TrimFunc(text, isSpace) }
