package filter

import (
	"fmt"

	"github.com/dop251/goja/ast"
)

const dateMessage = "a Date can only be compared, subtracted, or asked for its UTC parts, getTime() or toISOString()"

// link reads a link of a chain of properties and calls.
func (r *reader) link(s *scope, x ast.Expression) *expr {
	r.enter(x)
	defer r.leave()
	switch n := x.(type) {
	case *ast.DotExpression:
		if c, ok := r.member(s, n); ok {
			return r.constant(n, c)
		}
		base, optional := r.base(s, n.Left)
		return r.get(n, base, text(n.Identifier.Name), optional)
	case *ast.BracketExpression:
		base, optional := r.base(s, n.Left)
		key := r.expression(s, n.Member)
		if key.op == opConst && key.constant.kind == str {
			return r.get(n, base, key.constant.text(), optional)
		}
		x := r.node(opIndex, n, base, key)
		x.optional = optional
		x.infer(r.slots)
		return x
	case *ast.CallExpression:
		return r.call(s, n)
	}
	return r.expression(s, x)
}

// base reads what stands before a link, and whether ?. stands between.
func (r *reader) base(s *scope, x ast.Expression) (base *expr, optional bool) {
	if o, ok := x.(*ast.Optional); ok {
		return r.link(s, o.Expression), true
	}
	return r.link(s, x), false
}

// get reads a property by name.
func (r *reader) get(n ast.Node, base *expr, name string, optional bool) *expr {
	if inherits(object, name) {
		r.fail(n, "inherited property", name+" is inherited by every object, and is not in the subset")
	}
	if base.op == opEvent {
		f, ok := eventFieldOf(name)
		if !ok {
			return r.constant(n, value{})
		}
		x := r.node(opField, n)
		x.n = int(f)
		x.infer(r.slots)
		return x
	}
	if base.op == opConst && base.constant.kind == object { // params
		return r.constant(n, base.constant.get(name))
	}
	x := r.node(opGet, n, base)
	x.name, x.optional = name, optional
	x.infer(r.slots)
	return x
}

// member returns the constant that a dotted name is: Math.PI.
func (r *reader) member(s *scope, n *ast.DotExpression) (value, bool) {
	name := r.globalName(s, n)
	if name == "" {
		return value{}, false
	}
	c, ok := constants[name]
	if !ok {
		message := refusal(name)
		if functions[name] != nil {
			message = name + " can only be called here, not used as a value"
		}
		r.fail(n, name, message)
	}
	return numberValue(c), true
}

// globalName returns the name of a global function or constant, such as
// Math.max; empty for anything else.
func (r *reader) globalName(s *scope, x ast.Expression) string {
	switch n := x.(type) {
	case *ast.Identifier:
		if name := text(n.Name); s.find(name) == nil {
			return name
		}
	case *ast.DotExpression:
		if id, ok := n.Left.(*ast.Identifier); ok && namespaces[text(id.Name)] && s.find(text(id.Name)) == nil {
			return text(id.Name) + "." + text(n.Identifier.Name)
		}
	}
	return ""
}

func (r *reader) call(s *scope, n *ast.CallExpression) *expr {
	switch callee := n.Callee.(type) {
	case *ast.Identifier:
		if b := s.find(text(callee.Name)); b != nil {
			return r.callBound(s, n, b)
		}
		return r.callGlobal(s, n, text(callee.Name))
	case *ast.ArrowFunctionLiteral:
		return r.inline(s, s, callee, n)
	case *ast.DotExpression:
		if name := r.globalName(s, callee); name != "" {
			return r.callGlobal(s, n, name)
		}
		return r.callMethod(s, n, callee.Left, text(callee.Identifier.Name))
	case *ast.BracketExpression:
		if key, ok := callee.Member.(*ast.StringLiteral); ok {
			return r.callMethod(s, n, callee.Left, text(key.Value))
		}
		r.refuse(n, "call of a computed name")
	case *ast.Optional:
		r.refuse(n, "optional call")
	}
	r.refuse(n, "call of a value")
	return nil
}

func (r *reader) callBound(s *scope, n *ast.CallExpression, b *binding) *expr {
	if b.function == nil {
		r.refuse(n, "call of a value")
	}
	return r.once(n, b, func() *expr { return r.inline(s, b.home, b.function, n) })
}

// once reads the body of a bound function, unless that is being read.
func (r *reader) once(n ast.Node, b *binding, read func() *expr) *expr {
	if b.running {
		r.refuse(n, "recursion")
	}
	b.running = true
	x := read()
	b.running = false
	return x
}

// inline reads a call of f, declared in home, as f's body.
func (r *reader) inline(s, home *scope, f *ast.ArrowFunctionLiteral, n *ast.CallExpression) *expr {
	var made []step
	var arguments []*expr
	for _, a := range n.ArgumentList {
		if _, spread := a.(*ast.SpreadElement); spread {
			r.refuse(a, "spread")
		}
		var x *expr
		x, made = r.keep(a, r.expression(s, a), made)
		arguments = append(arguments, x)
	}
	return r.steps(made, r.function(home, f, arguments))
}

func (r *reader) callGlobal(s *scope, n *ast.CallExpression, name string) *expr {
	f := functions[name]
	if f == nil {
		if f, ok := unlisted[name]; ok {
			r.fail(n, name, name+" is not in the subset: "+f)
		}
		r.refuse(n, name)
	}
	if name == "JSON.stringify" && len(n.ArgumentList) != 1 {
		r.fail(n, name, "JSON.stringify takes one argument here")
	}
	return r.named(opCall, name, n, r.elements(s, n, n.ArgumentList)...)
}

func (r *reader) callMethod(s *scope, n *ast.CallExpression, left ast.Expression, name string) *expr {
	if name == "test" {
		if p := r.patternOf(s, left); p != nil {
			return r.test(s, n, p)
		}
	}
	if t := r.dateOf(s, left); t != nil {
		return r.callDate(n, t, name)
	}
	if loops[name] != nil {
		return r.loop(s, n, left, name)
	}
	if methods[name] == nil {
		r.fail(n, name+"()", refusal(name+"()"))
	}
	base, optional := r.base(s, left)
	x := r.node(opMethod, n, append([]*expr{base}, r.elements(s, n, n.ArgumentList)...)...)
	x.name, x.optional = name, optional
	x.infer(r.slots)
	return folded(x)
}

// loop reads list.some(x => …) and its like.
func (r *reader) loop(s *scope, n *ast.CallExpression, left ast.Expression, name string) *expr {
	base, optional := r.base(s, left)
	arguments, most := n.ArgumentList, 1
	if loops[name].folds {
		most = 2
	}
	if len(arguments) == 0 || len(arguments) > most {
		r.fail(n, name+"()", fmt.Sprintf("%s takes a function%s here", name, map[bool]string{true: " and where to start", false: " and nothing else"}[most == 2]))
	}
	var start []*expr
	if len(arguments) == 2 {
		start = r.elements(s, n, arguments[1:])
	}
	var slots []*expr
	first := len(r.slots)
	if loops[name].folds {
		slots = append(slots, r.local(n, r.slot(anyKind)))
	}
	for _, k := range []kinds{anyKind, of(number), of(list)} {
		slots = append(slots, r.local(n, r.slot(k)))
	}
	body := r.callback(s, arguments[0], slots)
	x := r.node(opLoop, n, append([]*expr{base, body}, start...)...)
	x.name, x.n, x.optional = name, first, optional
	x.infer(r.slots)
	return x
}

// callback reads what is called back with these arguments.
func (r *reader) callback(s *scope, x ast.Expression, arguments []*expr) *expr {
	if f, ok := x.(*ast.ArrowFunctionLiteral); ok {
		return r.function(s, f, arguments)
	}
	if id, ok := x.(*ast.Identifier); ok {
		if b := s.find(text(id.Name)); b != nil && b.function != nil {
			return r.once(x, b, func() *expr { return r.function(b.home, b.function, arguments) })
		}
	}
	name := r.globalName(s, x)
	if f := functions[name]; f != nil && f.unary {
		return r.named(opCall, name, x, arguments[0])
	}
	r.fail(x, "callback", "a function is needed here, such as x => x > 1")
	return nil
}

// patternOf returns the regular expression that x is, or nil.
func (r *reader) patternOf(s *scope, x ast.Expression) *ast.RegExpLiteral {
	switch n := x.(type) {
	case *ast.RegExpLiteral:
		return n
	case *ast.Identifier:
		if b := s.find(text(n.Name)); b != nil {
			return b.pattern
		}
	}
	return nil
}

// test reads pattern.test(x).
func (r *reader) test(s *scope, n *ast.CallExpression, p *ast.RegExpLiteral) *expr {
	subject := r.constant(n, value{})
	if len(n.ArgumentList) > 0 {
		kids := r.elements(s, n, n.ArgumentList[:1])
		if len(n.ArgumentList) > 1 || kids[0].op == opSpread {
			r.fail(n, "test()", "test takes one argument here")
		}
		subject = kids[0]
	}
	x := r.named(opMatch, "test", n, subject)
	x.pattern = r.pattern(p)
	return x
}

// match reads x.match(pattern) as a condition; nil if n is something else.
func (r *reader) match(s *scope, n *ast.CallExpression) *expr {
	callee, ok := n.Callee.(*ast.DotExpression)
	if !ok || text(callee.Identifier.Name) != "match" || len(n.ArgumentList) != 1 {
		return nil
	}
	p := r.patternOf(s, n.ArgumentList[0])
	if p == nil {
		return nil
	}
	base, optional := r.base(s, callee.Left)
	x := r.node(opMatch, n, base)
	x.name, x.optional, x.pattern = "match", optional, r.pattern(p)
	x.infer(r.slots)
	return x
}

// dateOf returns the time of the Date that x is, or nil.
func (r *reader) dateOf(s *scope, x ast.Expression) *expr {
	switch n := x.(type) {
	case *ast.Identifier:
		if b := s.find(text(n.Name)); b != nil {
			return b.date
		}
	case *ast.NewExpression:
		if id, ok := n.Callee.(*ast.Identifier); !ok || text(id.Name) != "Date" || s.find("Date") != nil {
			r.refuse(n, "new")
		}
		if len(n.ArgumentList) != 1 {
			r.fail(n, "new Date", "new Date takes one argument here: a filter has no clock, and no time zone but UTC")
		}
		kids := r.elements(s, n, n.ArgumentList)
		if kids[0].op == opSpread {
			r.refuse(n, "spread")
		}
		return r.named(opDate, "Date", n, kids[0])
	}
	return nil
}

func (r *reader) callDate(n *ast.CallExpression, t *expr, name string) *expr {
	if functions["Date#"+name] == nil {
		r.fail(n, "Date."+name, name+" of a Date is not in the subset; "+dateMessage)
	}
	if len(n.ArgumentList) > 0 {
		r.fail(n, "Date."+name, name+" takes no argument")
	}
	return r.named(opCall, "Date#"+name, n, t)
}

// numeric reads x where a Date counts as its time.
func (r *reader) numeric(s *scope, x ast.Expression) *expr {
	if t := r.dateOf(s, x); t != nil {
		return t
	}
	return r.expression(s, x)
}
