package template

// A parser makes statements of tokens, by the grammar of jinja2/parser.py.
type parser struct {
	*source
	known  *builtins
	tokens []token
	i      int
	depth  int
	loops  int
	names  map[string]bool // variables that are read
	stored map[string]bool // variables that the template sets
}

func (p *parser) cur() *token { return &p.tokens[p.i] }

func (p *parser) look() *token {
	return &p.tokens[min(p.i+1, len(p.tokens)-1)]
}

func (p *parser) next() *token {
	t := &p.tokens[p.i]
	if t.kind != end {
		p.i++
	}
	return t
}

func (t *token) is(op string) bool   { return t.kind == operator && t.text == op }
func (t *token) word(w string) bool  { return t.kind == name && t.text == w }
func (p *parser) isOp(o string) bool { return p.cur().is(o) }

func (p *parser) skipOp(op string) bool {
	if p.isOp(op) {
		p.i++
		return true
	}
	return false
}

func (p *parser) skipWord(w string) bool {
	if p.cur().word(w) {
		p.i++
		return true
	}
	return false
}

func (p *parser) expectOp(op string) {
	if !p.skipOp(op) {
		p.unexpected("expected " + op)
	}
}

func (p *parser) expectName() *token {
	if p.cur().kind != name {
		p.unexpected("expected a name")
	}
	return p.next()
}

func (p *parser) expectEnd(k kind) {
	if p.cur().kind != k {
		p.unexpected("expected the end of the tag")
	}
	p.next()
}

func (p *parser) unexpected(hint string) {
	t := p.cur()
	what := t.text
	if t.kind == end {
		what = "the end of the template"
	}
	p.fail(t.at, "unexpected %s: %s", what, hint)
}

func (p *parser) enter() {
	if p.depth++; p.depth > maxNesting {
		p.fail(p.cur().at, "nested deeper than %d", maxNesting)
	}
}

func (p *parser) leave() { p.depth-- }

func (p *parser) template() []statement {
	p.stored = map[string]bool{}
	for i := 1; i < len(p.tokens); i++ { // a name that is set anywhere may be read as a variable
		if t := &p.tokens[i]; p.tokens[i-1].kind == blockBegin && (t.word("set") || t.word("for")) {
			p.noteTargets(i + 1)
		}
	}
	return p.statements()
}

func (p *parser) noteTargets(i int) {
	for ; i < len(p.tokens); i++ {
		switch t := &p.tokens[i]; {
		case t.word("in") || t.is("=") || t.kind == blockEnd || t.kind == end:
			return
		case t.kind == name:
			p.stored[t.text] = true
		}
	}
}

// statements parses until a block that begins with one of the words, which stays
// the current token, or without words until the end.
func (p *parser) statements(until ...string) (body []statement) {
	p.enter()
	defer p.leave()
	for {
		t := p.next()
		switch t.kind {
		case data:
			body = append(body, &textStatement{t.text})
		case outputBegin:
			value := p.tuple(true)
			body = append(body, &outputStatement{value, t.at})
			p.expectEnd(outputEnd)
		case blockBegin:
			for _, word := range until {
				if p.cur().word(word) {
					return body
				}
			}
			if s := p.statement(); s != nil {
				body = append(body, s)
			}
			p.expectEnd(blockEnd)
		default:
			if until != nil {
				p.fail(t.at, "{%% %s %%} is missing", until[len(until)-1])
			}
			return body
		}
	}
}

func (p *parser) statement() statement {
	word := p.cur()
	if word.kind != name {
		p.unexpected("expected a statement")
	}
	switch word.text {
	case "if":
		return p.ifStatement()
	case "for":
		return p.forStatement()
	case "set":
		return p.setStatement()
	case "continue", "break":
		p.next()
		if p.loops == 0 {
			p.fail(word.at, "%s outside of a loop", word.text)
		}
		if word.text == "break" {
			return jumpStatement(breakLoop)
		}
		return jumpStatement(continueLoop)
	case "do":
		p.next()
		return &doStatement{p.tuple(true)}
	case "else", "elif", "endif", "endfor", "endset":
		p.fail(word.at, "%s without its beginning", word.text)
	}
	p.fail(word.at, "the statement %q is not supported", word.text)
	return nil
}

// body parses what is between a block's head and the block that ends it.
func (p *parser) body(until ...string) []statement {
	p.skipOp(":")
	p.expectEnd(blockEnd)
	return p.statements(until...)
}

func (p *parser) ifStatement() statement {
	s := &ifStatement{}
	for {
		p.next() // if, elif
		test := p.tuple(false)
		s.branches = append(s.branches, branch{test, p.body("elif", "else", "endif")})
		if len(s.branches) > maxChain {
			p.fail(p.cur().at, "more than %d branches", maxChain)
		}
		if p.cur().word("elif") {
			continue
		}
		if p.next().text == "else" {
			s.otherwise = p.body("endif")
			p.next()
		}
		return s
	}
}

func (p *parser) forStatement() statement {
	s := &forStatement{at: p.next().at}
	s.targets, s.unpack = p.targets()
	if !p.skipWord("in") {
		p.unexpected("expected in")
	}
	s.over = p.tuple(false)
	if p.skipWord("if") {
		s.test = p.expression()
	}
	if p.cur().word("recursive") {
		p.fail(p.cur().at, "recursive loops are not supported")
	}
	p.loops++
	s.body = p.body("endfor", "else")
	p.loops--
	if p.next().text == "else" {
		loops := p.loops
		p.loops = 0
		s.otherwise = p.body("endfor")
		p.loops = loops
		p.next()
	}
	return s
}

// targets parses the names that a for or a set gives values to.
func (p *parser) targets() (names []string, unpack bool) {
	parens := p.skipOp("(")
	for {
		t := p.expectName()
		if reserved[t.text] {
			p.fail(t.at, "cannot assign to %s", t.text)
		}
		names = append(names, t.text)
		if len(names) > maxNesting {
			p.fail(t.at, "more than %d names", maxNesting)
		}
		if !p.skipOp(",") {
			break
		}
		unpack = true
		if p.cur().kind != name || p.cur().word("in") {
			break
		}
	}
	if parens {
		p.expectOp(")")
	}
	return names, unpack
}

func (p *parser) setStatement() statement {
	at := p.next().at
	s := &setStatement{at: at}
	if p.cur().kind == name && p.look().is(".") {
		s.targets = []string{p.next().text}
		p.next()
		s.field = p.expectName().text
		p.names[s.targets[0]] = true
	} else {
		s.targets, s.unpack = p.targets()
	}
	if p.skipOp("=") {
		s.value = p.tuple(true)
		return s
	}
	if p.isOp("|") {
		p.fail(p.cur().at, "filters on a set block are not supported")
	}
	loops := p.loops
	p.loops = 0
	s.value = &blockNode{p.body("endset")}
	p.loops = loops
	p.next()
	return s
}

// reserved are the words that are no variables.
var reserved = map[string]bool{
	"true": true, "True": true, "false": true, "False": true, "none": true, "None": true,
	"and": true, "or": true, "not": true, "in": true, "is": true, "if": true, "else": true,
}
