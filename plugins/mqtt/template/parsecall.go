package template

// postfix parses .name, [key] and calls.
func (p *parser) postfix(value node) node {
	for n := 0; ; n++ {
		p.link(n)
		t := p.cur()
		switch {
		case t.is("."):
			value = p.attribute(value)
		case t.is("["):
			value = p.subscription(value)
		case t.is("("):
			p.fail(t.at, "calling the result of an expression is not supported")
		default:
			return value
		}
	}
}

func (p *parser) attribute(of node) node {
	dot := p.next()
	t := p.next()
	if t.kind == literal {
		if index, ok := t.val.(int64); ok {
			return &itemNode{of, &constNode{index}, dot.at}
		}
	}
	if t.kind != name {
		p.i--
		p.unexpected("expected a name or a number")
	}
	if len(t.text) > 1 && t.text[:2] == "__" {
		p.fail(t.at, "the attribute %s is not supported", t.text)
	}
	if !p.isOp("(") {
		return &attributeNode{of, t.text, t.at}
	}
	m, ok := p.known.methods[t.text]
	if !ok {
		p.fail(t.at, "the method %s is not supported", t.text)
	}
	return p.apply(m, "method", t, of)
}

func (p *parser) subscription(of node) node {
	at := p.next().at
	var from, to, step node
	if !p.isOp(":") {
		from = p.expression()
		if p.skipOp("]") {
			return &itemNode{of, from, at}
		}
		if p.isOp(",") {
			p.fail(p.cur().at, "several keys in one subscription are not supported")
		}
	}
	p.expectOp(":")
	if !p.isOp(":") && !p.isOp("]") {
		to = p.expression()
	}
	if p.skipOp(":") && !p.isOp("]") {
		step = p.expression()
	}
	p.expectOp("]")
	return &sliceNode{of, from, to, step, at}
}

// filters parses | filter and is test.
func (p *parser) filters(value node) node {
	for n := 0; ; n++ {
		p.link(n)
		t := p.cur()
		switch {
		case t.is("|"):
			p.next()
			f := p.expectName()
			fn, ok := p.known.filters[f.text]
			if !ok {
				p.fail(f.at, "the filter %s is not supported", f.text)
			}
			value = p.apply(fn, "filter", f, value)
		case t.word("is"):
			value = p.test(value)
		case t.is("("):
			p.fail(t.at, "calling the result of an expression is not supported")
		default:
			return value
		}
	}
}

func (p *parser) test(value node) node {
	p.next()
	negated := p.skipWord("not")
	t := p.expectName()
	fn, ok := p.known.tests[t.text]
	if !ok {
		p.fail(t.at, "the test %s is not supported", t.text)
	}
	var result node
	c := p.cur()
	switch {
	case c.is("("):
		result = p.apply(fn, "test", t, value)
	case c.kind == literal, c.is("["), c.is("{"),
		c.kind == name && c.text != "else" && c.text != "or" && c.text != "and":
		if c.word("is") {
			p.fail(c.at, "tests cannot follow each other")
		}
		p.enter()
		arg := p.postfix(p.primary())
		p.leave()
		result = p.bind(fn, "test", t, []node{value, arg}, nil)
	default:
		result = p.bind(fn, "test", t, []node{value}, nil)
	}
	if negated {
		return &notNode{result}
	}
	return result
}

func (p *parser) function(t *token) node {
	fn, ok := p.known.functions[t.text]
	if !ok {
		p.fail(t.at, "the function %s is not supported", t.text)
	}
	return p.apply(fn, "function", t)
}

// fromKeys parses dict.from_keys(…), which Zigbee2MQTT's templates use.
func (p *parser) fromKeys(t *token) node {
	p.next()
	m := p.expectName()
	if m.text != "from_keys" || !p.isOp("(") {
		p.fail(t.at, "dict.%s is not supported", m.text)
	}
	return p.apply(fromKeys, "function", m)
}

// A keyword is a named argument.
type keyword struct {
	name  string
	value node
	at    int
}

// apply parses the arguments, if there are any, and binds them.
func (p *parser) apply(fn *builtin, what string, t *token, first ...node) node {
	args := first
	var keywords []keyword
	if p.skipOp("(") {
		p.enter()
		defer p.leave()
		for n := 0; !p.isOp(")"); n++ {
			if n > 0 {
				p.expectOp(",")
				if p.isOp(")") {
					break
				}
			}
			p.link(n)
			p.argument(&args, &keywords)
		}
		p.next()
	}
	return p.bind(fn, what, t, args, keywords)
}

func (p *parser) argument(args *[]node, keywords *[]keyword) {
	t := p.cur()
	switch {
	case t.is("*"), t.is("**"):
		p.fail(t.at, "%s in a call is not supported", t.text)
	case t.kind == name && p.look().is("="):
		p.i += 2
		*keywords = append(*keywords, keyword{t.text, p.expression(), t.at})
	case len(*keywords) > 0:
		p.fail(t.at, "an argument without a name follows one with a name")
	default:
		*args = append(*args, p.expression())
	}
}

// bind puts arguments into the places of a builtin's parameters.
func (p *parser) bind(fn *builtin, what string, t *token, args []node, keywords []keyword) node {
	if fn.special != nil {
		return fn.special(p, t, args, keywords)
	}
	places := args
	if len(args) > len(fn.params) && !fn.rest {
		p.fail(t.at, "the %s %s takes no more than %d arguments", what, t.text, len(fn.params))
	}
	for len(places) < len(fn.params) {
		places = append(places, nil)
	}
	for _, k := range keywords {
		i := fn.place(k.name)
		if i < 0 {
			p.fail(k.at, "the %s %s has no argument %s", what, t.text, k.name)
		}
		if places[i] != nil {
			p.fail(k.at, "the %s %s has the argument %s twice", what, t.text, k.name)
		}
		places[i] = k.value
	}
	for i := range fn.params[:fn.required()] {
		if places[i] == nil {
			p.fail(t.at, "the %s %s needs the argument %s", what, t.text, fn.params[i])
		}
	}
	for i := range places {
		if places[i] == nil {
			places[i] = notGiven
		}
	}
	n := &applyNode{fn: fn, args: places, method: what == "method", at: t.at}
	if fn.check != nil {
		fn.check(p, t, places)
	}
	return n
}

var notGiven = &constNode{missing{}}
