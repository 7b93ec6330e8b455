package template

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

type kind uint8

const (
	end kind = iota
	data
	outputBegin
	outputEnd
	blockBegin
	blockEnd
	name
	literal // a string or a number
	operator
)

type token struct {
	kind kind
	text string
	val  Value // of a literal
	at   int   // offset in the source
}

// A lexer splits a template the way Jinja2's does with Home Assistant's
// settings: no trim_blocks, no lstrip_blocks, no line statements.
type lexer struct {
	*source
	i      int
	tokens []token
	open   []byte // brackets that are not closed: in them }} ends nothing
}

func (l *lexer) add(k kind, text string, at int) {
	l.tokens = append(l.tokens, token{kind: k, text: text, at: at})
}

func (l *lexer) run() []token {
	for l.i < len(l.text) {
		l.outside()
	}
	l.add(end, "", len(l.text))
	return l.tokens
}

// outside takes text up to the next tag, and the tag.
func (l *lexer) outside() {
	start := l.i
	at := nextTag(l.text[start:])
	if at < 0 {
		l.add(data, l.text[start:], start)
		l.i = len(l.text)
		return
	}
	tag := start + at
	text := l.text[start:tag]
	l.i = tag + 2
	if l.i < len(l.text) && (l.text[l.i] == '-' || l.text[l.i] == '+') {
		if l.text[l.i] == '-' {
			text = strings.TrimRightFunc(text, isSpace)
		}
		l.i++
	}
	if text != "" {
		l.add(data, text, start)
	}
	switch l.text[tag+1] {
	case '#':
		l.comment(tag)
	case '{':
		l.inside(tag, outputBegin, outputEnd, "}}")
	default:
		l.inside(tag, blockBegin, blockEnd, "%}")
	}
}

func nextTag(text string) int {
	for from := 0; ; {
		i := strings.IndexByte(text[from:], '{')
		if i < 0 || from+i+1 >= len(text) {
			return -1
		}
		from += i
		switch text[from+1] {
		case '{', '%', '#':
			return from
		}
		from++
	}
}

func (l *lexer) comment(tag int) {
	at := strings.Index(l.text[l.i:], "#}")
	if at < 0 {
		l.fail(tag, "the comment has no end")
	}
	strip := at > 0 && l.text[l.i+at-1] == '-'
	l.i += at + 2
	if strip {
		l.skipSpace()
	}
}

func (l *lexer) skipSpace() {
	rest := strings.TrimLeftFunc(l.text[l.i:], isSpace)
	l.i = len(l.text) - len(rest)
}

// inside takes the tokens of one tag.
func (l *lexer) inside(tag int, begin, ending kind, closing string) {
	l.add(begin, "", tag)
	l.open = l.open[:0]
	for {
		l.skipSpace()
		if l.i >= len(l.text) {
			l.fail(tag, "the tag has no end, %s is missing", closing)
		}
		at := l.i
		if len(l.open) == 0 && l.closes(closing) {
			l.add(ending, closing, at)
			return
		}
		l.token()
	}
}

func (l *lexer) closes(closing string) bool {
	rest := l.text[l.i:]
	switch {
	case strings.HasPrefix(rest, closing):
		l.i += 2
	case strings.HasPrefix(rest, "-"+closing):
		l.i += 3
		l.skipSpace()
	case closing == "%}" && strings.HasPrefix(rest, "+"+closing):
		l.i += 3
	default:
		return false
	}
	return true
}

func (l *lexer) token() {
	start := l.i
	c := l.text[start]
	switch {
	case isDigit(c):
		l.number()
	case c == '\'' || c == '"':
		l.str()
	case c == '_' || c >= utf8.RuneSelf || isLetter(c):
		l.name()
	default:
		l.operator()
	}
}

func (l *lexer) name() {
	start := l.i
	for l.i < len(l.text) {
		r, size := utf8.DecodeRuneInString(l.text[l.i:])
		if r != '_' && !unicode.IsLetter(r) && !(l.i > start && unicode.IsDigit(r)) {
			break
		}
		l.i += size
	}
	if l.i == start {
		r, _ := utf8.DecodeRuneInString(l.text[l.i:])
		l.fail(start, "unexpected character %q", r)
	}
	l.add(name, l.text[start:l.i], start)
}

func (l *lexer) operator() {
	start := l.i
	if start+2 <= len(l.text) {
		switch two := l.text[start : start+2]; two {
		case "//", "**", "==", "!=", ">=", "<=":
			l.i += 2
			l.add(operator, two, start)
			return
		}
	}
	c := l.text[start]
	if strings.IndexByte("+-/*%~[](){}<>=.:|,;", c) < 0 {
		l.fail(start, "unexpected character %q", rune(c))
	}
	l.bracket(c)
	l.i++
	l.add(operator, l.text[start:l.i], start)
}

func (l *lexer) bracket(c byte) {
	switch c {
	case '(':
		l.open = append(l.open, ')')
	case '[':
		l.open = append(l.open, ']')
	case '{':
		l.open = append(l.open, '}')
	case ')', ']', '}':
		last := len(l.open) - 1
		if last < 0 {
			l.fail(l.i, "unexpected %q", rune(c))
		}
		if l.open[last] != c {
			l.fail(l.i, "unexpected %q, expected %q", rune(c), rune(l.open[last]))
		}
		l.open = l.open[:last]
	}
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// isSpace is Python's str.isspace for one character.
func isSpace(r rune) bool {
	return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f
}
