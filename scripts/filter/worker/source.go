package worker

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/dop251/goja"
	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/parser"
)

// exported is the name under which `export default` keeps its value: with the
// sign behind it as long as what it stands for, so that columns stay.
const (
	exportDefault = "export default"
	exported      = "exportDefault"
)

// spaces may stand around a filter.
const spaces = " \t\r\n"

// compile makes a program of a filter's source, which is an arrow function or
// another function expression, or an expression over e and params, or a file
// with `export default` before one of these. Global says that the function is
// the value of the global `exported` once the program has run, instead of the
// program's value. The code is strict: an attempt to change the event throws,
// and there are no accidental globals.
func compile(name, source string) (program *goja.Program, global bool, err *loaded) {
	tree, text, err := parse(name, source)
	if err != nil {
		return nil, false, err
	}
	global = text != source
	if !global {
		if err := single(tree, source); err != nil {
			return nil, false, err
		}
	}
	program, cerr := goja.CompileAST(tree, true)
	if cerr != nil {
		return nil, false, compileError(source, cerr)
	}
	return program, global, nil
}

// parse returns the tree of a source and the text that it was made from, which
// is another one if there is `export default`.
func parse(name, source string) (tree *ast.Program, text string, failed *loaded) {
	read := func(text string) (*ast.Program, parser.ErrorList) {
		tree, err := parser.ParseFile(nil, name, text, 0, parser.WithDisableSourceMaps)
		var list parser.ErrorList
		if err != nil && !errors.As(err, &list) {
			list = parser.ErrorList{{Message: err.Error()}}
		}
		return tree, list
	}
	tree, problems := read(source)
	if len(problems) == 0 && !isDeclaration(tree) {
		return tree, source, nil
	}
	// What is no statement may be an expression: a function without a name, an
	// object. Then nothing but that is between the brackets.
	if tree, more := read("(" + strings.TrimRight(source, spaces+";") + "\n)"); len(more) == 0 && isWhole(tree, source) {
		return tree, source, nil
	}
	if len(problems) == 0 {
		return tree, source, nil
	}
	text = source
	if at := byteAt(source, problems[0].Position.Line, problems[0].Position.Column); strings.HasPrefix(source[at:], exportDefault) {
		text = source[:at] + exported + "=" + source[at+len(exportDefault):]
		if tree, problems = read(text); len(problems) == 0 {
			return tree, text, nil
		}
	}
	return nil, "", syntaxError(source, problems[0])
}

func syntaxError(source string, problem *parser.Error) *loaded {
	at := byteAt(source, problem.Position.Line, problem.Position.Column)
	message := "syntax error: " + strings.ToLower(problem.Message[:min(1, len(problem.Message))]) + problem.Message[min(1, len(problem.Message)):]
	switch rest := source[at:]; {
	case strings.HasPrefix(rest, "export"):
		message = "a filter exports one thing, its function: write `export default e => …` once, and nothing else is exported"
	case strings.HasPrefix(rest, "import"):
		message = "a filter can't import: it has to stand in one file"
	}
	return failedAt(source, at, message)
}

func compileError(source string, err error) *loaded {
	var syntax *goja.CompilerSyntaxError
	if errors.As(err, &syntax) && syntax.File != nil {
		return failedAt(source, syntax.Offset, "syntax error: "+syntax.Message)
	}
	return &loaded{line: 1, column: 1, message: "syntax error: " + err.Error()}
}

// isDeclaration reports whether a tree is one function declaration or block,
// which would be an expression if brackets were around it.
func isDeclaration(tree *ast.Program) bool {
	found := 0
	for _, s := range tree.Body {
		switch s.(type) {
		case *ast.EmptyStatement:
		case *ast.BlockStatement, *ast.FunctionDeclaration:
			found++
		default:
			return false
		}
	}
	return found == 1
}

// isWhole reports whether a tree, of the source in brackets, is one function or
// object that the whole source is.
func isWhole(tree *ast.Program, source string) bool {
	if len(tree.Body) != 1 {
		return false
	}
	statement, ok := tree.Body[0].(*ast.ExpressionStatement)
	if !ok {
		return false
	}
	switch statement.Expression.(type) {
	case *ast.FunctionLiteral, *ast.ObjectLiteral:
		from, to := int(statement.Expression.Idx0())-2, int(statement.Expression.Idx1())-2
		return to <= len(source) && strings.Trim(source[:from], spaces) == "" && strings.Trim(source[to:], spaces+";") == ""
	}
	return false
}

// single makes a tree that is one expression a tree whose value is a function.
func single(tree *ast.Program, source string) *loaded {
	var only *ast.ExpressionStatement
	for _, s := range tree.Body {
		switch s := s.(type) {
		case *ast.EmptyStatement:
			continue
		case *ast.ExpressionStatement:
			if only == nil {
				only = s
				continue
			}
		}
		return failedAt(source, int(s.Idx0())-1, "a filter is one expression or function, and this is more: write `export default` before what decides")
	}
	if only == nil {
		return &loaded{line: 1, column: 1, message: "the filter is empty"}
	}
	switch only.Expression.(type) {
	case *ast.ArrowFunctionLiteral, *ast.FunctionLiteral:
		return nil
	}
	// A function's body is put into another's tree, not into its text, so that
	// every place stays what it is.
	frame, err := parser.ParseFile(nil, "", "(e, params) => 0", 0, parser.WithDisableSourceMaps)
	if err != nil {
		return &loaded{line: 1, column: 1, message: err.Error()}
	}
	outer := frame.Body[0].(*ast.ExpressionStatement)
	outer.Expression.(*ast.ArrowFunctionLiteral).Body = &ast.ExpressionBody{Expression: only.Expression}
	tree.Body = []ast.Statement{outer}
	return nil
}

// byteAt returns the byte of source that the parser calls line and column.
func byteAt(source string, line, column int) int {
	at := 0
	for ; line > 1; line-- {
		end := strings.IndexAny(source[at:], "\n\r\u2028\u2029")
		if end < 0 {
			break
		}
		_, size := utf8.DecodeRuneInString(source[at+end:])
		if strings.HasPrefix(source[at+end:], "\r\n") {
			size = 2
		}
		at += end + size
	}
	return min(at+max(column-1, 0), len(source))
}

// failedAt is what is wrong at a byte of source.
func failedAt(source string, at int, message string) *loaded {
	before := source[:min(max(at, 0), len(source))]
	line, start := 1, 0
	for i, r := range before {
		if r == '\n' || r == '\u2028' || r == '\u2029' || r == '\r' && !strings.HasPrefix(source[i:], "\r\n") {
			line, start = line+1, i+utf8.RuneLen(r)
		}
	}
	return &loaded{line: line, column: utf8.RuneCountInString(before[start:]) + 1, message: message}
}
