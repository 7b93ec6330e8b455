package template

func selectFilters() map[string]*builtin {
	return map[string]*builtin{
		"map":        {special: parseMap},
		"select":     {special: func(p *parser, t *token, args []node, k []keyword) node { return p.selecting(t, args, k, false, false) }},
		"reject":     {special: func(p *parser, t *token, args []node, k []keyword) node { return p.selecting(t, args, k, false, true) }},
		"selectattr": {special: func(p *parser, t *token, args []node, k []keyword) node { return p.selecting(t, args, k, true, false) }},
		"rejectattr": {special: func(p *parser, t *token, args []node, k []keyword) node { return p.selecting(t, args, k, true, true) }},
	}
}

// An eachNode is map, select and their relatives.
type eachNode struct {
	over      node
	attribute node // nil without one
	otherwise node // map's default; nil without one
	inner     *applyNode
	selects   bool
	rejects   bool
	at        int
}

// parseMap takes map(attribute=…, default=…) or map('filter', …).
func parseMap(p *parser, t *token, args []node, keywords []keyword) node {
	n := &eachNode{over: args[0], at: t.at}
	if len(args) > 1 {
		n.inner = p.inner(t, p.known.filters, "filter", args[1], args[2:], keywords)
		return n
	}
	for _, k := range keywords {
		switch k.name {
		case "attribute":
			n.attribute = k.value
		case "default":
			n.otherwise = k.value
		default:
			p.fail(k.at, "the filter map has no argument %s", k.name)
		}
	}
	if n.attribute == nil {
		p.fail(t.at, "the filter map needs a filter or an attribute")
	}
	return n
}

func (p *parser) selecting(t *token, args []node, keywords []keyword, attribute, rejects bool) node {
	n := &eachNode{over: args[0], selects: true, rejects: rejects, at: t.at}
	args = args[1:]
	if attribute {
		if len(args) == 0 {
			p.fail(t.at, "the filter %s needs an attribute", t.text)
		}
		n.attribute, args = args[0], args[1:]
	}
	if len(args) > 0 {
		n.inner = p.inner(t, p.known.tests, "test", args[0], args[1:], keywords)
	} else if len(keywords) > 0 {
		p.fail(keywords[0].at, "the filter %s has no argument %s", t.text, keywords[0].name)
	}
	return n
}

// inner binds the filter or test that is called for each item.
func (p *parser) inner(t *token, table map[string]*builtin, what string, called node, args []node, keywords []keyword) *applyNode {
	constant, _ := called.(*constNode)
	if constant == nil {
		p.fail(t.at, "a %s that is not named in the template is not supported in %s", what, t.text)
	}
	name, _ := constant.value.(string)
	fn, ok := table[name]
	if !ok {
		p.fail(t.at, "the %s %.100q is not supported in %s", what, name, t.text)
	}
	bound := p.bind(fn, what, &token{text: name, at: t.at}, append([]node{&constNode{}}, args...), keywords)
	inner, ok := bound.(*applyNode)
	if !ok {
		p.fail(t.at, "the %s %s is not supported in %s", what, name, t.text)
	}
	return inner
}

func (n *eachNode) eval(e *env) Value {
	over := n.over.eval(e)
	var attribute, otherwise Value
	if n.attribute != nil {
		attribute = n.attribute.eval(e)
	}
	if n.otherwise != nil {
		otherwise = n.otherwise.eval(e)
	}
	var args []Value // of the inner filter or test; the first is the item
	if n.inner != nil {
		args = make([]Value, len(n.inner.args))
		for i, arg := range n.inner.args {
			args[i] = arg.eval(e)
		}
	}
	e.at = n.at
	e.step(1)
	if !truth(over) {
		return generated("generator", nil)
	}
	get := e.getter(attribute, otherwise)
	return &generator{"generator", n.each(e, e.iterator(over), get, args)}
}

// each returns what makes the items one by one, as they are asked for.
func (n *eachNode) each(e *env, next func() (Value, bool), get func(Value) Value, args []Value) func() (Value, bool) {
	return func() (Value, bool) {
		for {
			item, ok := next()
			if !ok {
				return nil, false
			}
			e.at = n.at
			result := get(item)
			if n.inner != nil {
				args[0] = result
				result = n.inner.fn.call(e, args)
			}
			if !n.selects {
				return result, true
			}
			if truth(result) != n.rejects {
				return item, true
			}
		}
	}
}
