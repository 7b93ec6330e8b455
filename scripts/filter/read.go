package filter

import (
	"fmt"

	"github.com/dop251/goja/ast"
)

// Bounds of what is read.
const (
	maxDepth = 150  // of expressions in one another
	maxNodes = 4000 // of the program, where what is written once may be read several times
)

// A reader makes a program's expr of its syntax tree. It gives up by a panic
// with an *Error, which readProgram turns into its result.
type reader struct {
	source string
	params value
	nodes  int
	depth  int
	slots  []kinds // what each local may be
}

// readProgram returns the body of the predicate that x is, and how many locals
// it needs.
func readProgram(source string, x ast.Expression, params value) (body *expr, slots int, err *Error) {
	r := &reader{source: source, params: params}
	defer func() {
		switch p := recover().(type) {
		case nil:
		case *Error:
			body, err = nil, p
		default:
			panic(p)
		}
	}()
	body = r.predicate(x)
	return body, len(r.slots), nil
}

func (r *reader) predicate(x ast.Expression) *expr {
	s := newScope(nil)
	event, params := r.node(opEvent, x), r.constant(x, r.params)
	f, ok := x.(*ast.ArrowFunctionLiteral)
	if !ok {
		s.names["e"], s.names["params"] = &binding{value: event}, &binding{value: params}
		return r.expression(s, x)
	}
	if f.Async {
		r.refuse(f, "async")
	}
	list := f.ParameterList
	r.noRest(list.Rest)
	if len(list.List) > 2 {
		r.fail(list.List[2], "third parameter", "a filter gets two parameters, the event and params")
	}
	return r.function(s, f, []*expr{event, params})
}

// function reads the body of f with these arguments; parameters beyond them are
// undefined.
func (r *reader) function(outer *scope, f *ast.ArrowFunctionLiteral, arguments []*expr) *expr {
	if f.Async {
		r.refuse(f, "async")
	}
	r.noRest(f.ParameterList.Rest)
	s := newScope(outer)
	for _, p := range f.ParameterList.List {
		r.declareAll(s, p.Target)
	}
	var made []step
	for i, p := range f.ParameterList.List {
		argument := r.constant(p, value{})
		if i < len(arguments) {
			argument = arguments[i]
		}
		made = r.bind(s, p.Target, r.defaulted(s, argument, p.Initializer), made)
	}
	return r.steps(made, r.body(s, f))
}

func (r *reader) body(s *scope, f *ast.ArrowFunctionLiteral) *expr {
	switch b := f.Body.(type) {
	case *ast.ExpressionBody:
		return r.expression(s, b.Expression)
	case *ast.BlockStatement:
		// A body may not declare what a parameter is called.
		r.declareBlock(s, b.List)
		return r.statements(s, b.List, func() *expr { return r.constant(b, value{}) })
	}
	panic(fmt.Sprintf("arrow function with a body of %T", f.Body))
}

// fail gives up at n.
func (r *reader) fail(n ast.Node, construct, message string) {
	panic(errorAt(r.source, offset(n.Idx0()), construct, message))
}

// refuse gives up at a construct that is not in the subset.
func (r *reader) refuse(n ast.Node, construct string) { r.fail(n, construct, refusal(construct)) }

// enter counts one more level of nesting; call leave behind it.
func (r *reader) enter(n ast.Node) {
	if r.depth++; r.depth > maxDepth {
		r.fail(n, "", fmt.Sprintf("the filter is nested more than %d deep", maxDepth))
	}
}

func (r *reader) leave() { r.depth-- }

// node makes an expr that stands at n. Fields that are not given here must be
// set before finish.
func (r *reader) node(o op, n ast.Node, kids ...*expr) *expr {
	if r.nodes++; r.nodes > maxNodes {
		r.fail(n, "", fmt.Sprintf("the filter has more than %d parts, where what follows an if, and what a function is called for, counts each time", maxNodes))
	}
	x := &expr{op: o, at: r.place(n), kids: kids}
	x.infer(r.slots)
	return x
}

func (r *reader) place(n ast.Node) place {
	end := len(r.source)
	start := min(max(offset(n.Idx0()), 0), end)
	return place{start, min(max(offset(n.Idx1()), start), end)}
}

func (r *reader) constant(n ast.Node, v value) *expr {
	x := r.node(opConst, n)
	x.constant = v
	x.infer(r.slots)
	return x
}

// named is node with a name.
func (r *reader) named(o op, name string, n ast.Node, kids ...*expr) *expr {
	x := r.node(o, n, kids...)
	x.name = name
	x.infer(r.slots)
	return folded(x)
}

// slot makes room for a local that may be of these kinds.
func (r *reader) slot(k kinds) int {
	r.slots = append(r.slots, k)
	return len(r.slots) - 1
}

// local reads the local in a slot.
func (r *reader) local(n ast.Node, slot int) *expr {
	x := r.node(opLocal, n)
	x.n = slot
	x.infer(r.slots)
	return x
}
