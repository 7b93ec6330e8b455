package template

import "strings"

// expression parses a conditional expression, the loosest of all.
func (p *parser) expression() node {
	p.enter()
	defer p.leave()
	value := p.or()
	for n := 0; p.cur().word("if"); n++ {
		at := p.next().at
		p.link(n)
		c := &condNode{test: p.or(), yes: value, at: at}
		if p.skipWord("else") {
			c.no = p.expression()
		}
		value = c
	}
	return value
}

// link bounds what stands in a row, and so how deep the tree gets.
func (p *parser) link(n int) {
	if n >= maxChain {
		p.fail(p.cur().at, "more than %d operators in a row", maxChain)
	}
}

func (p *parser) or() node {
	left := p.and()
	for n := 0; p.skipWord("or"); n++ {
		p.link(n)
		left = &orNode{left, p.and()}
	}
	return left
}

func (p *parser) and() node {
	left := p.not()
	for n := 0; p.skipWord("and"); n++ {
		p.link(n)
		left = &andNode{left, p.not()}
	}
	return left
}

func (p *parser) not() node {
	if p.skipWord("not") {
		p.enter()
		defer p.leave()
		return &notNode{p.not()}
	}
	return p.compare()
}

func (p *parser) compare() node {
	first := p.sum()
	var more []comparison
	for {
		t := p.cur()
		op := ""
		switch {
		case t.kind == operator && comparisons[t.text]:
			op = p.next().text
		case t.word("in"):
			op = p.next().text
		case t.word("not") && p.look().word("in"):
			p.i += 2
			op = "not in"
		}
		if op == "" {
			break
		}
		p.link(len(more))
		more = append(more, comparison{op, p.sum(), t.at})
	}
	if more == nil {
		return first
	}
	return &compareNode{first, more}
}

var comparisons = map[string]bool{"==": true, "!=": true, "<": true, "<=": true, ">": true, ">=": true}

func (p *parser) sum() node {
	left := p.concat()
	for n := 0; p.isOp("+") || p.isOp("-"); n++ {
		p.link(n)
		t := p.next()
		left = &binaryNode{t.text[0], left, p.concat(), t.at}
	}
	return left
}

func (p *parser) concat() node {
	first := p.product()
	if !p.isOp("~") {
		return first
	}
	c := &concatNode{[]node{first}, p.cur().at}
	for p.skipOp("~") {
		p.link(len(c.parts))
		c.parts = append(c.parts, p.product())
	}
	return c
}

func (p *parser) product() node {
	left := p.power()
	for n := 0; ; n++ {
		t := p.cur()
		op := byte(0)
		switch {
		case t.is("*"), t.is("/"), t.is("%"):
			op = t.text[0]
		case t.is("//"):
			op = '_'
		default:
			return left
		}
		p.next()
		p.link(n)
		left = &binaryNode{op, left, p.power(), t.at}
	}
}

func (p *parser) power() node {
	left := p.unary(true)
	for n := 0; p.isOp("**"); n++ {
		p.link(n)
		t := p.next()
		left = &binaryNode{'^', left, p.unary(true), t.at}
	}
	return left
}

func (p *parser) unary(filters bool) node {
	t := p.cur()
	var value node
	if t.is("-") || t.is("+") {
		p.enter()
		p.next()
		value = &signNode{t.text == "-", p.unary(false), t.at}
		p.leave()
	} else {
		value = p.primary()
	}
	value = p.postfix(value)
	if filters {
		value = p.filters(value)
	}
	return value
}

func (p *parser) primary() node {
	t := p.cur()
	switch {
	case t.kind == name:
		return p.nameOrConstant()
	case t.kind == literal:
		return p.literals()
	case t.is("("):
		p.next()
		if p.skipOp(")") {
			return &constNode{Tuple{}}
		}
		p.enter()
		value := p.tuple(true)
		p.leave()
		p.expectOp(")")
		return value
	case t.is("["):
		p.next()
		items := p.items("]")
		if values, ok := constants(items); ok {
			return &constNode{values}
		}
		return &listNode{items, t.at}
	case t.is("{"):
		p.next()
		return p.dict(t.at)
	}
	p.unexpected("expected a value")
	return nil
}

func (p *parser) nameOrConstant() node {
	t := p.next()
	switch t.text {
	case "true", "True":
		return &constNode{true}
	case "false", "False":
		return &constNode{false}
	case "none", "None":
		return &constNode{nil}
	}
	if reserved[t.text] {
		p.i--
		p.unexpected("expected a value")
	}
	if !p.stored[t.text] {
		if p.isOp("(") {
			return p.function(t)
		}
		if t.text == "dict" && p.isOp(".") {
			return p.fromKeys(t)
		}
		if _, ok := p.known.functions[t.text]; ok {
			p.fail(t.at, "the function %s is not supported as a value", t.text)
		}
		if elsewhere[t.text] {
			p.fail(t.at, "%s is not supported", t.text)
		}
	}
	p.names[t.text] = true
	return &nameNode{t.text, t.at}
}

// literals are one number, or strings one after the other, which are one string.
func (p *parser) literals() node {
	first := p.next()
	if _, ok := first.val.(string); !ok {
		return &constNode{first.val}
	}
	texts := []string{first.val.(string)}
	for p.cur().kind == literal {
		more, ok := p.cur().val.(string)
		if !ok {
			break
		}
		texts = append(texts, more)
		p.next()
	}
	return &constNode{strings.Join(texts, "")}
}

// items parses expressions between commas up to the bracket that closes them.
func (p *parser) items(closing string) (items []node) {
	for !p.isOp(closing) {
		if items != nil {
			p.expectOp(",")
			if p.isOp(closing) {
				break
			}
		}
		items = append(items, p.expression())
		if len(items) > maxItems {
			p.fail(p.cur().at, "more than %d items", maxItems)
		}
	}
	p.next()
	return items
}

func (p *parser) dict(at int) node {
	d := &dictNode{at: at}
	for !p.isOp("}") {
		if d.keys != nil {
			p.expectOp(",")
			if p.isOp("}") {
				break
			}
		}
		d.keys = append(d.keys, p.expression())
		p.expectOp(":")
		d.values = append(d.values, p.expression())
		if len(d.keys) > maxItems {
			p.fail(p.cur().at, "more than %d items", maxItems)
		}
	}
	p.next()
	keys, ok := constants(d.keys)
	values, ok2 := constants(d.values)
	if !ok || !ok2 {
		return d
	}
	made := &Dict{}
	for i, key := range keys {
		hash, ok := hashOf(key, 0)
		if !ok {
			return d
		}
		made.put(key, hash, values[i])
	}
	return &constNode{made}
}

// constants returns the values of nodes that are all constant. What is made of
// them is made once, as nothing can change it.
func constants(nodes []node) (List, bool) {
	values := make(List, len(nodes))
	for i, n := range nodes {
		constant, ok := n.(*constNode)
		if !ok {
			return nil, false
		}
		values[i] = constant.value
	}
	return values, true
}

// tuple parses an expression, or several between commas, which are a tuple.
func (p *parser) tuple(conditional bool) node {
	parse := p.expression
	if !conditional {
		parse = p.or
	}
	first := parse()
	if !p.isOp(",") {
		return first
	}
	t := &tupleNode{[]node{first}, p.cur().at}
	for p.skipOp(",") {
		c := p.cur()
		if c.kind == outputEnd || c.kind == blockEnd || c.is(")") || c.word("recursive") {
			break
		}
		t.items = append(t.items, parse())
		if len(t.items) > maxItems {
			p.fail(c.at, "more than %d items", maxItems)
		}
	}
	if values, ok := constants(t.items); ok {
		return &constNode{Tuple(values)}
	}
	return t
}
