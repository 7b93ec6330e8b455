package filter

import "github.com/dop251/goja/ast"

// A scope is the names that a block declares.
type scope struct {
	outer *scope
	names map[string]*binding
}

// A binding is what a name stands for. One of its fields is set; none while
// its declaration has not been read yet.
type binding struct {
	value    *expr                     // what to read in its place: a local, or what costs no more
	function *ast.ArrowFunctionLiteral // a function, read anew where it is called
	home     *scope                    // of function: where it was declared
	running  bool                      // function is being read
	date     *expr                     // the time of a Date
	pattern  *ast.RegExpLiteral
}

func newScope(outer *scope) *scope {
	return &scope{outer: outer, names: map[string]*binding{}}
}

// find returns what a name stands for, nil if nothing declares it.
func (s *scope) find(name string) *binding {
	for ; s != nil; s = s.outer {
		if b := s.names[name]; b != nil {
			return b
		}
	}
	return nil
}

// declare makes a name known whose value is read later.
func (r *reader) declare(s *scope, id *ast.Identifier) *binding {
	name := text(id.Name)
	if s.names[name] != nil {
		r.fail(id, "", "syntax error: "+name+" is declared twice")
	}
	b := &binding{}
	s.names[name] = b
	return b
}

// declareAll makes the names of a pattern known.
func (r *reader) declareAll(s *scope, target ast.Expression) {
	switch t := target.(type) {
	case nil:
	case *ast.Identifier:
		r.declare(s, t)
	case *ast.ArrayPattern:
		r.noRest(t.Rest)
		for _, element := range t.Elements {
			r.declareAll(s, element)
		}
	case *ast.ObjectPattern:
		r.noRest(t.Rest)
		for _, property := range t.Properties {
			switch p := property.(type) {
			case *ast.PropertyShort:
				r.declare(s, &p.Name)
			case *ast.PropertyKeyed:
				r.declareAll(s, p.Value)
			}
		}
	case *ast.AssignExpression: // a default
		r.declareAll(s, t.Left)
	default:
		r.refuse(target, "destructuring")
	}
}

func (r *reader) noRest(rest ast.Expression) {
	if rest != nil {
		r.refuse(rest, "rest element")
	}
}
