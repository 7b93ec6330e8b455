package filter

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/parser"
)

// MaxSource is the longest predicate that Compile takes, in bytes.
const MaxSource = 16 << 10

// Bounds of what is handed to the parser, which recurses, compares each label
// with all before it, and reads the parameters of an arrow function twice: nested
// ones double its work.
const (
	maxBrackets = 1200    // opening brackets, each of which may nest
	maxColons   = 600     // colons, each of which may end a label
	maxReading  = 4 << 20 // bytes that may be read, all repetitions counted
)

// An Error says why a predicate is refused. Its text is `line:column: message`.
type Error struct {
	Line, Column int    // of what is wrong, in lines and characters from 1
	Construct    string // what is not in the subset, such as "assignment"; empty for a syntax error or a bound
	Message      string // what is wrong and what to do about it
}

// Error returns the error with its place before it.
func (e *Error) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Message) }

// parse returns the only expression that source consists of.
func parse(source string) (x ast.Expression, err *Error) {
	if err := readable(source); err != nil {
		return nil, err
	}
	defer func() {
		if p := recover(); p != nil { // the parser's own mistake; there is no other way to go on
			x, err = nil, &Error{Line: 1, Column: 1, Message: "syntax error: the parser can't read this"}
		}
	}()
	program, perr := parser.ParseFile(nil, "", source, 0, parser.WithDisableSourceMaps)
	if perr != nil {
		return nil, syntaxError(source, perr)
	}
	for _, s := range program.Body {
		switch s := s.(type) {
		case *ast.EmptyStatement:
		case *ast.ExpressionStatement:
			if x != nil {
				return nil, errorAt(source, offset(s.Idx0()), "", "a filter is one expression or one arrow function, and this is a second one")
			}
			x = s.Expression
		default:
			return nil, errorAt(source, offset(s.Idx0()), constructOf(s),
				constructOf(s)+" outside of an arrow function: write e => { … } around it")
		}
	}
	if x == nil {
		return nil, &Error{Line: 1, Column: 1, Message: "the filter is empty"}
	}
	return x, nil
}

// readable refuses what the parser would take too long or too deep a recursion
// for.
func readable(source string) *Error {
	switch {
	case len(source) > MaxSource:
		return &Error{Line: 1, Column: 1, Message: fmt.Sprintf("the filter has %d bytes, and at most %d are allowed", len(source), MaxSource)}
	case !utf8.ValidString(source):
		return &Error{Line: 1, Column: 1, Message: "the filter is not UTF-8"}
	}
	if n := strings.Count(source, "(") + strings.Count(source, "[") + strings.Count(source, "{"); n > maxBrackets {
		return &Error{Line: 1, Column: 1, Message: fmt.Sprintf("the filter has %d opening brackets, and at most %d are allowed", n, maxBrackets)}
	}
	if n := strings.Count(source, ":"); n > maxColons {
		return &Error{Line: 1, Column: 1, Message: fmt.Sprintf("the filter has %d colons, and at most %d are allowed", n, maxColons)}
	}
	arrows := strings.Count(source, "=>")
	if arrows > 20 || len(source)<<arrows > maxReading {
		return &Error{Line: 1, Column: 1, Message: fmt.Sprintf("the filter has %d arrow functions, which are too many for its length", arrows)}
	}
	return nil
}

func syntaxError(source string, err error) *Error {
	var list parser.ErrorList
	if !errors.As(err, &list) || len(list) == 0 {
		return &Error{Line: 1, Column: 1, Message: "syntax error: " + err.Error()}
	}
	first := list[0]
	line, column := first.Position.Line, first.Position.Column
	starts := lineStarts(source)
	if line < 1 || line > len(starts) {
		line, column = 1, 1
	}
	text := source[starts[line-1]:]
	return &Error{Line: line, Column: characters(text, column-1) + 1, Message: "syntax error: " + lowerFirst(first.Message)}
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// errorAt is an Error at a byte of source.
func errorAt(source string, at int, construct, message string) *Error {
	line, column := position(source, lineStarts(source), at)
	return &Error{Line: line, Column: column, Construct: construct, Message: message}
}

// lineStarts returns where the lines of source begin.
func lineStarts(source string) []int {
	starts := []int{0}
	for i, r := range source {
		switch {
		case r == '\n', r == '\u2028', r == '\u2029', r == '\r' && !strings.HasPrefix(source[i:], "\r\n"):
			starts = append(starts, i+utf8.RuneLen(r))
		}
	}
	return starts
}

// position returns line and column, in characters from 1, of a byte of source.
func position(source string, starts []int, at int) (line, column int) {
	at = min(max(at, 0), len(source))
	for line = len(starts); starts[line-1] > at; line-- {
	}
	text := source[starts[line-1]:]
	return line, characters(text, at-starts[line-1]) + 1
}

// characters counts those in the first n bytes of text.
func characters(text string, n int) int {
	return utf8.RuneCountInString(text[:min(max(n, 0), len(text))])
}
