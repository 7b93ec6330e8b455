package scripts

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dop251/goja"
	"github.com/dop251/goja/file"
	"github.com/dop251/goja/parser"
)

// An Error is what is wrong with a script, and where.
type Error struct {
	File    string `json:"file"`
	Line    int    `json:"line"`   // from 1; 0 when it concerns the file as a whole
	Column  int    `json:"column"` // from 1, in characters; 0 as above
	Message string `json:"message"`

	reason reason
	entity string // that another script has, if the reason is a conflict
	ranged bool   // a RangeError was thrown: of a command, its data are wrong
}

// Error returns "hall.js:3:7: what is wrong".
func (e *Error) Error() string {
	return e.place() + ": " + e.Message
}

// place returns "hall.js:3:7".
func (e *Error) place() string {
	if e.Line == 0 {
		return e.File
	}
	return fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column)
}

// A reason is why a load failed: a metric's label.
type reason string

const (
	reasonSyntax      reason = "syntax"
	reasonManifest    reason = "manifest"
	reasonException   reason = "exception"
	reasonTimeout     reason = "timeout"
	reasonConflict    reason = "conflict"
	reasonFile        reason = "file"
	reasonUnsupported reason = "unsupported"
	reasonInternal    reason = "internal"
	reasonStopped     reason = "stopped"
)

var (
	errTooLong   = errors.New("ran for too long and was interrupted")
	errEnded     = errors.New("the script's generation has ended")
	errTookOver  = errors.New("was interrupted: another version of the script takes over")
	errReloaded  = errors.New("the script was reloaded while the command ran")
	errStopped   = errors.New("the script is not running")
	errBusy      = fmt.Errorf("the script is busy: %d commands wait already", maxCommands)
	errMailFull  = errors.New("the script does not keep up")
	errStuck     = errors.New("can't be interrupted: a built-in function does not end, and nothing else of the script runs until it does (hint: save the script again, and restart Carillon to end it)")
	errAbandoned = errors.New("can't be interrupted and was left behind: a built-in function does not end")
)

// position is a place in a script's file.
type position struct{ line, column int }

// compile returns the program of a file and the place of its first statement, or where it
// is wrong. The parser must not look at source maps: it would read files that the source
// names.
func compile(name, source string) (program *goja.Program, first position, failed *Error) {
	tree, err := parser.ParseFile(nil, name, source, 0, parser.WithDisableSourceMaps)
	if err != nil {
		return nil, first, syntaxError(name, source, err)
	}
	if len(tree.Body) > 0 {
		p := tree.File.Position(int(tree.Body[0].Idx0()) - tree.File.Base())
		first = position{p.Line, p.Column}
	}
	if program, err = goja.CompileAST(tree, true); err != nil {
		return nil, first, syntaxError(name, source, err)
	}
	return program, first, nil
}

func syntaxError(name, source string, err error) *Error {
	e := &Error{File: name, Message: err.Error(), reason: reasonSyntax}
	var list parser.ErrorList
	var one *parser.Error
	var late *goja.CompilerSyntaxError
	switch {
	case errors.As(err, &list) && len(list) > 0:
		e.at(list[0].Position)
		e.Message = list[0].Message
	case errors.As(err, &one):
		e.at(one.Position)
		e.Message = one.Message
	case errors.As(err, &late) && late.File != nil:
		e.at(late.File.Position(late.Offset))
		e.Message = late.Message
	}
	e.Message = "SyntaxError: " + e.Message
	if word := firstWord(source, e.Line); word == "import" || word == "export" {
		e.Message += " (hint: scripts can't import or export yet; put all that a script needs into its file)"
	}
	return e
}

func (e *Error) at(p file.Position) { e.Line, e.Column = p.Line, p.Column }

func firstWord(source string, line int) string {
	n := 0
	for text := range strings.Lines(source) {
		if n++; n == line {
			word, _, _ := strings.Cut(strings.TrimSpace(text), " ")
			return word
		}
	}
	return ""
}

// describe says what err, which came from running JavaScript, is about, and
// where; at is the place to tell when err knows none. It may run the script's
// code (toString of what was thrown), so it is called within a run.
func (g *generation) describe(err error, at position) *Error {
	e := &Error{File: g.script, Line: at.line, Column: at.column, reason: reasonException}
	var stopped *goja.InterruptedError
	var deep *goja.StackOverflowError
	var thrown *goja.Exception
	switch {
	case errors.As(err, &stopped):
		e.reason = reasonTimeout
		e.Message = "interrupted"
		if cause, ok := stopped.Value().(error); ok {
			e.Message = cause.Error()
		}
		g.locate(e, stopped.Stack())
	case errors.As(err, &deep):
		e.Message = fmt.Sprintf("RangeError: more than %d calls within each other", maxCallStack)
		g.locate(e, deep.Stack())
	case errors.As(err, &thrown):
		e.Message = g.spell(thrown.Value())
		e.ranged = strings.HasPrefix(e.Message, "RangeError:")
		g.locate(e, thrown.Stack())
	default:
		e.Message = err.Error()
	}
	e.Message = clip(e.Message, maxMessage)
	return e
}

// describeValue is describe for what a promise was rejected with.
func (g *generation) describeValue(v goja.Value, at position) *Error {
	if ex := g.vm.Try(func() { panic(v) }); ex != nil {
		return g.describe(ex, at)
	}
	return &Error{File: g.script, Line: at.line, Column: at.column, Message: g.spell(v), reason: reasonException}
}

// locate takes the innermost place that is in the script's own file. What goja has no place
// for, such as a loop's jump before anything in it, it says is at the file's very beginning.
func (g *generation) locate(e *Error, stack []goja.StackFrame) {
	for i := range stack {
		if p := stack[i].Position(); p.Line > 0 && stack[i].SrcName() == g.script {
			if e.at(p); p.Line == 1 && p.Column == 1 && g.first != (position{}) {
				e.Line, e.Column = g.first.line, g.first.column
			}
			return
		}
	}
}

// spell returns a thrown value as text: "TypeError: x is not a function".
func (g *generation) spell(v goja.Value) string {
	if v == nil {
		return "undefined"
	}
	text, err := g.builtin.text(goja.Undefined(), v)
	if err != nil {
		return "something was thrown that can't be shown as text"
	}
	return text.String()
}

// here returns the place in the script's file that is being run.
func (g *generation) here() position {
	e := Error{}
	g.locate(&e, g.vm.CaptureCallStack(0, nil))
	return position{e.Line, e.Column}
}

// clip shortens s to at most n bytes of valid UTF-8, and shows that it did.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
