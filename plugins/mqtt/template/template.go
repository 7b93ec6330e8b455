package template

import (
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"
)

// A Template is a compiled template. It is immutable: any number of goroutines
// may render it at once.
type Template struct {
	source
	body  []statement
	names map[string]bool
	plain bool // no tag in it: it is what it gives

	patterns patterns
}

// An Error says where in a template something is wrong, and what.
type Error struct {
	Line, Column int // from 1; columns are characters
	Message      string

	// KeepsPayload reports an error on which Home Assistant goes on with the
	// payload as it came, or with the default that the platform gives: something
	// undefined was used. All other errors end the message's handling.
	KeepsPayload bool

	// Skips reports that the filter is_defined found that something is not: the
	// message is not for this template, and nothing is wrong.
	Skips bool
}

func (e *Error) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}

// source is a template's text, with \n for each end of line.
type source struct{ text string }

func (s *source) errorAt(at int, format string, args ...any) *Error {
	before := s.text[:at]
	line := strings.Count(before, "\n")
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	return &Error{Line: line + 1, Column: column + 1, Message: fmt.Sprintf(format, args...)}
}

// fail ends Parse. Like text/template, this package panics inside with an error
// of its own, and recovers where it was called.
func (s *source) fail(at int, format string, args ...any) {
	panic(s.errorAt(at, format, args...))
}

func recovered(err *error) {
	switch failure := recover().(type) {
	case nil:
	case *Error:
		*err = failure
	default:
		panic(failure)
	}
}

// Parse compiles a template. Its error is an *Error that names what is wrong, or
// what this package does not support.
func Parse(text string) (t *Template, err error) {
	defer recovered(&err)
	if len(text) > maxText {
		return nil, &Error{Line: 1, Column: 1, Message: fmt.Sprintf("the template has %d bytes, %d is the most", len(text), maxText)}
	}
	if !utf8.ValidString(text) {
		return nil, &Error{Line: 1, Column: 1, Message: "the template is not UTF-8"}
	}
	if nextTag(text) < 0 {
		return &Template{source: source{strings.TrimFunc(text, isSpace)}, plain: true}, nil
	}
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	text = strings.TrimRightFunc(text, isSpace)
	t = &Template{source: source{text}, names: map[string]bool{}}
	lex := lexer{source: &t.source, i: len(text) - len(strings.TrimLeftFunc(text, isSpace))}
	p := parser{source: &t.source, known: known, tokens: lex.run(), names: t.names}
	t.body = p.template()
	return t, nil
}

// Uses reports whether the template names the variable. Names inside of strings
// don't count.
func (t *Template) Uses(name string) bool { return t.names[name] }

var envs = sync.Pool{New: func() any { return new(env) }}

// Render renders the template. What is in vars must not change meanwhile. Its
// error is an *Error.
func (t *Template) Render(vars map[string]Value) (text string, err error) {
	if t.plain {
		return t.text, nil
	}
	e := envs.Get().(*env)
	defer e.release()
	defer recovered(&err)
	e.t, e.vars = t, vars
	e.run(t.body)
	return string(trimBytes(e.out)), nil
}

func (e *env) release() {
	clear(e.stack[:cap(e.stack)])
	clear(e.locals[:cap(e.locals)])
	out, stack, locals := e.out[:0], e.stack[:0], e.locals[:0]
	if cap(out) > 4<<10 || cap(stack) > 256 || cap(locals) > 256 {
		return
	}
	*e = env{out: out, stack: stack, locals: locals}
	envs.Put(e)
}
