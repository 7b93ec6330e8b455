package filter

import (
	"math"
	"math/big"

	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/token"
)

// expression reads x where a value is wanted.
func (r *reader) expression(s *scope, x ast.Expression) *expr {
	r.enter(x)
	defer r.leave()
	switch n := x.(type) {
	case *ast.BooleanLiteral:
		return r.constant(n, boolValue(n.Value))
	case *ast.NullLiteral:
		return r.constant(n, value{kind: null})
	case *ast.NumberLiteral:
		return r.constant(n, r.number(n))
	case *ast.StringLiteral:
		return r.constant(n, stringValue(text(n.Value)))
	case *ast.Identifier:
		return r.identifier(s, n)
	case *ast.UnaryExpression:
		return r.unary(s, n)
	case *ast.BinaryExpression:
		return r.binary(s, n)
	case *ast.ConditionalExpression:
		return r.node(opCond, n, r.condition(s, n.Test), r.expression(s, n.Consequent), r.expression(s, n.Alternate))
	case *ast.SequenceExpression:
		return r.sequence(s, n)
	case *ast.ArrayLiteral:
		return r.node(opList, n, r.elements(s, n, n.Value)...)
	case *ast.ObjectLiteral:
		return r.object(s, n)
	case *ast.TemplateLiteral:
		return r.template(s, n)
	case *ast.OptionalChain:
		return r.node(opChain, n, r.link(s, n.Expression))
	case *ast.DotExpression, *ast.BracketExpression, *ast.CallExpression:
		return r.link(s, x)
	case *ast.NewExpression:
		r.dateOf(s, n) // refuses what is no Date
		r.fail(n, "Date as a value", dateMessage)
	}
	r.refuse(x, constructOf(x))
	return nil
}

func (r *reader) number(n *ast.NumberLiteral) value {
	if l := n.Literal; len(l) > 1 && l[0] == '0' && l[1] >= '0' && l[1] <= '9' {
		r.refuse(n, "octal literal")
	}
	switch v := n.Value.(type) {
	case int64:
		return numberValue(float64(v))
	case float64:
		return numberValue(v)
	case *big.Int:
		r.refuse(n, "BigInt")
	}
	r.refuse(n, "number literal")
	return value{}
}

func (r *reader) identifier(s *scope, n *ast.Identifier) *expr {
	name := text(n.Name)
	if b := s.find(name); b != nil {
		switch {
		case b.function != nil:
			r.refuse(n, "function as a value")
		case b.date != nil:
			r.fail(n, "Date as a value", dateMessage)
		case b.pattern != nil:
			r.refuse(n, "regular expression as a value")
		case b.value == nil:
			r.fail(n, "use before declaration", name+" is used before it is declared")
		}
		x := *b.value // the same, at another place
		x.at = r.place(n)
		return &x
	}
	switch name {
	case "undefined":
		return r.constant(n, value{})
	case "NaN":
		return r.constant(n, numberValue(math.NaN()))
	case "Infinity":
		return r.constant(n, numberValue(math.Inf(1)))
	}
	if namespaces[name] || functions[name] != nil {
		r.fail(n, name, name+" can only be called here, not used as a value")
	}
	r.fail(n, name, name+" is not known: a filter sees its event, its params, and the functions that docs/filters.md lists")
	return nil
}

func (r *reader) unary(s *scope, n *ast.UnaryExpression) *expr {
	switch n.Operator {
	case token.NOT:
		return r.named(opNot, "!", n, r.condition(s, n.Operand))
	case token.TYPEOF:
		return r.named(opTypeof, "typeof", n, r.expression(s, n.Operand))
	case token.VOID:
		return r.node(opVoid, n, r.expression(s, n.Operand))
	case token.PLUS, token.MINUS, token.BITWISE_NOT:
		return r.named(opUnary, n.Operator.String(), n, r.numeric(s, n.Operand))
	}
	r.refuse(n, constructOf(n))
	return nil
}

// condition reads x where only its truth counts: there str.match(/…/) may
// stand too.
func (r *reader) condition(s *scope, x ast.Expression) *expr {
	switch n := x.(type) {
	case *ast.CallExpression:
		if m := r.match(s, n); m != nil {
			return m
		}
	case *ast.OptionalChain:
		if call, ok := n.Expression.(*ast.CallExpression); ok {
			if m := r.match(s, call); m != nil {
				return r.node(opChain, n, m)
			}
		}
	case *ast.BinaryExpression:
		if n.Operator == token.LOGICAL_AND || n.Operator == token.LOGICAL_OR {
			return r.logic(s, n, n.Operator.String(), r.condition)
		}
	}
	return r.expression(s, x)
}

func (r *reader) binary(s *scope, n *ast.BinaryExpression) *expr {
	name := n.Operator.String()
	switch n.Operator {
	case token.LOGICAL_AND, token.LOGICAL_OR, token.COALESCE:
		return r.logic(s, n, name, r.expression)
	case token.EQUAL, token.NOT_EQUAL, token.STRICT_EQUAL, token.STRICT_NOT_EQUAL:
		return r.named(opEqual, name, n, r.expression(s, n.Left), r.expression(s, n.Right))
	case token.LESS, token.GREATER, token.LESS_OR_EQUAL, token.GREATER_OR_EQUAL:
		r.notChained(n, n.Right)
		return r.named(opLess, name, n, r.numeric(s, n.Left), r.numeric(s, n.Right))
	case token.IN:
		r.notChained(n, n.Right)
		return r.named(opIn, name, n, r.expression(s, n.Left), r.expression(s, n.Right))
	case token.PLUS:
		return r.named(opArith, name, n, r.expression(s, n.Left), r.expression(s, n.Right))
	case token.MINUS, token.MULTIPLY, token.SLASH, token.REMAINDER, token.EXPONENT, token.AND, token.OR, token.EXCLUSIVE_OR,
		token.SHIFT_LEFT, token.SHIFT_RIGHT, token.UNSIGNED_SHIFT_RIGHT:
		return r.named(opArith, name, n, r.numeric(s, n.Left), r.numeric(s, n.Right))
	}
	r.refuse(n, constructOf(n))
	return nil
}

// notChained refuses a < b < c: goja's parser reads it as a < (b < c), against
// the language, and nobody means either.
func (r *reader) notChained(n ast.Node, right ast.Expression) {
	if b, ok := right.(*ast.BinaryExpression); ok && (b.Comparison || b.Operator == token.IN || b.Operator == token.INSTANCEOF) {
		r.fail(n, "comparison of a comparison", "comparison of a comparison: write a < b && b < c")
	}
}

// logic reads a chain of one operator as one node, so that hundreds of
// alternatives are no deep nesting. Grouping makes no difference. read reads a
// term.
func (r *reader) logic(s *scope, n *ast.BinaryExpression, name string, read func(*scope, ast.Expression) *expr) *expr {
	var left []ast.Expression
	var x ast.Expression = n
	for {
		b, ok := x.(*ast.BinaryExpression)
		if !ok || b.Operator != n.Operator {
			break
		}
		left, x = append(left, b.Right), b.Left
	}
	kids := terms(nil, read(s, x), name)
	for i := len(left) - 1; i >= 0; i-- {
		kids = terms(kids, read(s, left[i]), name)
	}
	return r.named(opLogic, name, n, kids...)
}

// terms appends a term of a chain, or the terms of one that was in parentheses.
func terms(kids []*expr, k *expr, name string) []*expr {
	if k.op == opLogic && k.name == name {
		return append(kids, k.kids...)
	}
	return append(kids, k)
}

func (r *reader) sequence(s *scope, n *ast.SequenceExpression) *expr {
	last := len(n.Sequence) - 1
	x := r.expression(s, n.Sequence[last])
	for i := last - 1; i >= 0; i-- {
		if first := r.expression(s, n.Sequence[i]); first.throws {
			x = r.node(opThen, n, first, x)
		}
	}
	return x
}

func (r *reader) template(s *scope, n *ast.TemplateLiteral) *expr {
	if n.Tag != nil {
		r.refuse(n, "tagged template")
	}
	var kids []*expr
	for _, x := range n.Expressions {
		kids = append(kids, r.expression(s, x))
	}
	x := r.node(opText, n, kids...)
	for _, element := range n.Elements {
		x.texts = append(x.texts, text(element.Parsed))
	}
	return folded(x)
}

// elements reads what stands between brackets or as arguments.
func (r *reader) elements(s *scope, n ast.Node, list []ast.Expression) []*expr {
	kids := make([]*expr, 0, len(list))
	for _, item := range list {
		switch item := item.(type) {
		case nil:
			r.refuse(n, "hole in a list")
		case *ast.SpreadElement:
			kids = append(kids, r.node(opSpread, item.Expression, r.node(opIterate, item.Expression, r.expression(s, item.Expression))))
		default:
			kids = append(kids, r.expression(s, item))
		}
	}
	return kids
}

func (r *reader) object(s *scope, n *ast.ObjectLiteral) *expr {
	var kids []*expr
	for _, property := range n.Value {
		switch p := property.(type) {
		case *ast.PropertyShort:
			if p.Initializer != nil {
				r.fail(p, "", "syntax error: = in an object literal")
			}
			kids = append(kids, r.named(opProp, text(p.Name.Name), &p.Name, r.identifier(s, &p.Name)))
		case *ast.SpreadElement:
			kids = append(kids, r.node(opSpread, p.Expression, r.expression(s, p.Expression)))
		case *ast.PropertyKeyed:
			kids = append(kids, r.property(s, p))
		}
	}
	return r.node(opObject, n, kids...)
}

func (r *reader) property(s *scope, p *ast.PropertyKeyed) *expr {
	if p.Kind != ast.PropertyKindValue {
		r.refuse(p.Key, "method or accessor in an object")
	}
	if p.Computed {
		key := r.expression(s, p.Key)
		return r.node(opProp, p.Key, r.expression(s, p.Value), key)
	}
	name := r.propertyName(p.Key)
	if name == "__proto__" {
		r.refuse(p.Key, "__proto__")
	}
	return r.named(opProp, name, p.Key, r.expression(s, p.Value))
}

// propertyName is the name that a literal key stands for.
func (r *reader) propertyName(key ast.Expression) string {
	switch k := key.(type) {
	case *ast.StringLiteral:
		return text(k.Value)
	case *ast.Identifier:
		return text(k.Name)
	case *ast.NumberLiteral:
		return formatNumber(r.number(k).num())
	}
	r.refuse(key, constructOf(key))
	return ""
}
