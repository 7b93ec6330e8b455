package filter

import (
	"fmt"
	"strings"

	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/file"
	"github.com/dop251/goja/token"
	"github.com/dop251/goja/unistring"
)

// offset returns the byte of the source that a node's index stands for.
func offset(idx file.Idx) int { return int(idx) - 1 }

// constructOf names what is not in the subset, as an error calls it.
func constructOf(n ast.Node) string {
	switch n := n.(type) {
	case *ast.AssignExpression:
		return "assignment"
	case *ast.AwaitExpression:
		return "await"
	case *ast.YieldExpression:
		return "yield"
	case *ast.ThisExpression:
		return "this"
	case *ast.SuperExpression:
		return "super"
	case *ast.NewExpression:
		return "new"
	case *ast.MetaProperty:
		return "new.target"
	case *ast.ClassLiteral, *ast.ClassDeclaration:
		return "class"
	case *ast.FunctionLiteral, *ast.FunctionDeclaration:
		return "function"
	case *ast.ArrowFunctionLiteral:
		return arrowConstruct(n)
	case *ast.PrivateDotExpression, *ast.PrivateIdentifier:
		return "private name"
	case *ast.RegExpLiteral:
		return "regular expression"
	case *ast.SpreadElement:
		return "spread"
	case *ast.TemplateLiteral:
		return "tagged template"
	case *ast.UnaryExpression:
		return n.Operator.String()
	case *ast.BinaryExpression:
		return n.Operator.String()
	case *ast.ObjectPattern, *ast.ArrayPattern:
		return "destructuring"
	case ast.Statement:
		return statementConstruct(n)
	}
	return fmt.Sprintf("%T", n)
}

func arrowConstruct(f *ast.ArrowFunctionLiteral) string {
	if f.Async {
		return "async"
	}
	return "function as a value"
}

func statementConstruct(s ast.Statement) string {
	switch s := s.(type) {
	case *ast.ForStatement, *ast.ForInStatement, *ast.ForOfStatement:
		return "for"
	case *ast.WhileStatement:
		return "while"
	case *ast.DoWhileStatement:
		return "do"
	case *ast.SwitchStatement:
		return "switch"
	case *ast.ThrowStatement:
		return "throw"
	case *ast.TryStatement:
		return "try"
	case *ast.WithStatement:
		return "with"
	case *ast.DebuggerStatement:
		return "debugger"
	case *ast.LabelledStatement:
		return "label"
	case *ast.BranchStatement:
		return s.Token.String()
	case *ast.VariableStatement:
		return "var"
	case *ast.LexicalDeclaration:
		if s.Token == token.LET {
			return "let"
		}
		return "const"
	case *ast.IfStatement:
		return "if"
	case *ast.ReturnStatement:
		return "return"
	case *ast.BlockStatement:
		return "block"
	}
	return "statement"
}

// remedies say what to write instead of a construct.
var remedies = map[string]string{
	"var":                 "use const",
	"for":                 "use some, every, filter or find",
	"while":               "use some, every, filter or find",
	"do":                  "use some, every, filter or find",
	"switch":              "use if, or [a, b].includes(x)",
	"function":            "write an arrow function",
	"assignment":          "declare a const with another name",
	"++":                  "declare a const with another name",
	"--":                  "declare a const with another name",
	"instanceof":          "use typeof or Array.isArray",
	"new":                 "only new Date(x) is",
	"tagged template":     "leave the tag out",
	"match()":             "use /…/.test(x)",
	"search()":            "use /…/.test(x)",
	"replace()":           "use slice, or split and join",
	"replaceAll()":        "use split and join",
	"forEach()":           "use some, every, filter or map",
	"sort()":              "use Math.max and Math.min for the largest and the smallest",
	"localeCompare()":     "compare with <",
	"function as a value": "write it where it is called back, as in list.some(x => …)",
}

// refusal of a construct, with what to do instead if there is something.
func refusal(construct string) string {
	message := construct + " is not in the subset of JavaScript that filters are compiled from"
	if remedy := remedies[construct]; remedy != "" {
		message += "; " + remedy
	}
	return message
}

// text returns a parsed identifier or string as this package holds strings.
func text(s unistring.String) string {
	if units := s.AsUtf16(); units != nil {
		return fromUnits(units[1:])
	}
	return strings.Clone(string(s)) // the parser's is part of its copy of the source
}
