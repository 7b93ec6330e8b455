package filter

import (
	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/token"
)

// declareBlock makes known what a block declares, so that an inner name hides
// an outer one from the block's start.
func (r *reader) declareBlock(s *scope, list []ast.Statement) {
	for _, statement := range list {
		if d, ok := statement.(*ast.LexicalDeclaration); ok {
			for _, b := range d.List {
				r.declareAll(s, b.Target)
			}
		}
	}
}

// statements reads list as one expression. rest reads what comes behind it
// when it ends without a return.
func (r *reader) statements(s *scope, list []ast.Statement, rest func() *expr) *expr {
	if len(list) == 0 {
		return rest()
	}
	r.enter(list[0])
	defer r.leave()
	behind := func() *expr { return r.statements(s, list[1:], rest) }
	switch n := list[0].(type) {
	case *ast.EmptyStatement:
		return behind()
	case *ast.ReturnStatement:
		if n.Argument == nil {
			return r.constant(n, value{})
		}
		return r.expression(s, n.Argument)
	case *ast.ExpressionStatement:
		x := r.expression(s, n.Expression)
		if !x.throws {
			return behind()
		}
		return r.node(opThen, n, x, behind())
	case *ast.LexicalDeclaration:
		return r.declaration(s, n, behind)
	case *ast.BlockStatement:
		inner := newScope(s)
		r.declareBlock(inner, n.List)
		return r.statements(inner, n.List, behind)
	case *ast.IfStatement:
		return r.branches(s, n, behind)
	}
	r.refuse(list[0], constructOf(list[0]))
	return nil
}

func (r *reader) branches(s *scope, n *ast.IfStatement, behind func() *expr) *expr {
	test := r.condition(s, n.Test)
	yes := r.branch(s, n.Consequent, behind)
	no := behind
	if n.Alternate != nil {
		no = func() *expr { return r.branch(s, n.Alternate, behind) }
	}
	return r.node(opCond, n, test, yes, no())
}

func (r *reader) branch(s *scope, n ast.Statement, behind func() *expr) *expr {
	if _, ok := n.(*ast.LexicalDeclaration); ok {
		r.fail(n, "", "syntax error: a declaration needs braces here")
	}
	return r.statements(s, []ast.Statement{n}, behind)
}

func (r *reader) declaration(s *scope, n *ast.LexicalDeclaration, behind func() *expr) *expr {
	var made []step
	for _, b := range n.List {
		id, simple := b.Target.(*ast.Identifier)
		switch {
		case b.Initializer == nil && (n.Token == token.CONST || !simple):
			r.fail(b, "", "syntax error: the declaration has no value")
		case b.Initializer == nil:
			s.names[text(id.Name)].value = r.constant(b, value{})
		case simple && r.special(s, s.names[text(id.Name)], b.Initializer):
		default:
			made = r.declared(s, b, made)
		}
	}
	return r.steps(made, behind())
}

// declared binds what a declaration names to its value.
func (r *reader) declared(s *scope, b *ast.Binding, made []step) []step {
	id, simple := b.Target.(*ast.Identifier)
	if simple {
		if t := r.dateOf(s, b.Initializer); t != nil {
			s.names[text(id.Name)].date, made = r.keep(b, t, made)
			return made
		}
	}
	return r.bind(s, b.Target, r.expression(s, b.Initializer), made)
}

// special binds a name to what is no value here: a function, a Date or a
// regular expression.
func (r *reader) special(s *scope, b *binding, x ast.Expression) bool {
	switch x := x.(type) {
	case *ast.ArrowFunctionLiteral:
		b.function, b.home = x, s
		return true
	case *ast.RegExpLiteral:
		r.pattern(x)
		b.pattern = x
		return true
	}
	return false
}

// A step is what a declaration does: it keeps a value in a local, or (slot -1)
// only makes sure that one can be had.
type step struct {
	slot int
	init *expr
	at   ast.Node
}

// steps puts them before body.
func (r *reader) steps(made []step, body *expr) *expr {
	for i := len(made) - 1; i >= 0; i-- {
		m := made[i]
		if m.slot < 0 {
			body = r.node(opThen, m.at, m.init, body)
			continue
		}
		body = r.node(opLet, m.at, m.init, body)
		body.n = m.slot
	}
	return body
}

// keep returns what reads x again: x itself if that costs no more than a
// local, else a local that a step fills.
func (r *reader) keep(n ast.Node, x *expr, made []step) (*expr, []step) {
	switch x.op {
	case opConst, opEvent, opField, opLocal:
		return x, made
	}
	slot := r.slot(x.kinds)
	return r.local(n, slot), append(made, step{slot, x, n})
}

// bind lets the names of a target stand for x or parts of it.
func (r *reader) bind(s *scope, target ast.Expression, x *expr, made []step) []step {
	switch t := target.(type) {
	case *ast.Identifier:
		s.names[text(t.Name)].value, made = r.keep(t, x, made)
		return made
	case *ast.ObjectPattern:
		return r.bindObject(s, t, x, made)
	case *ast.ArrayPattern:
		x, made = r.keep(t, r.node(opIterate, t, x), made)
		for i, element := range t.Elements {
			if element != nil {
				item := r.node(opIndex, element, x, r.constant(element, numberValue(float64(i))))
				made = r.bindElement(s, element, item, made)
			}
		}
		return made
	}
	r.refuse(target, "destructuring")
	return nil
}

func (r *reader) bindObject(s *scope, t *ast.ObjectPattern, x *expr, made []step) []step {
	x, made = r.keep(t, x, made)
	if check := r.node(opObjectOf, t, x); check.throws {
		made = append(made, step{-1, check, t})
	}
	for _, property := range t.Properties {
		switch p := property.(type) {
		case *ast.PropertyShort:
			part := r.defaulted(s, r.get(&p.Name, x, text(p.Name.Name), false), p.Initializer)
			made = r.bind(s, &p.Name, part, made)
		case *ast.PropertyKeyed:
			if p.Computed {
				r.refuse(p.Key, "computed key in a pattern")
			}
			made = r.bindElement(s, p.Value, r.get(p.Key, x, r.propertyName(p.Key), false), made)
		}
	}
	return made
}

// bindElement binds a part of a pattern, which may have a default.
func (r *reader) bindElement(s *scope, element ast.Expression, x *expr, made []step) []step {
	if a, ok := element.(*ast.AssignExpression); ok {
		return r.bind(s, a.Left, r.defaulted(s, x, a.Right), made)
	}
	return r.bind(s, element, x, made)
}

// defaulted is x, or what initializer says if x is undefined.
func (r *reader) defaulted(s *scope, x *expr, initializer ast.Expression) *expr {
	if initializer == nil || x.kinds&of(undefined) == 0 {
		return x
	}
	kept, made := r.keep(initializer, x, nil)
	test := r.named(opEqual, "===", initializer, kept, r.constant(initializer, value{}))
	return r.steps(made, r.node(opCond, initializer, test, r.expression(s, initializer), kept))
}
