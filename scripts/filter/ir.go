package filter

// An op says what an expr does.
type op uint8

const (
	opConst    op = iota // constant
	opEvent              // e, the whole event
	opField              // e.<name>: one of the event's own fields (n says which)
	opLocal              // the local in slot n
	opLet                // slot n = kids[0]; then kids[1]
	opThen               // kids[0] for what it throws; then kids[1]
	opGet                // kids[0].name
	opIndex              // kids[0][kids[1]]
	opChain              // kids[0], in which an optional link that finds nothing ends everything: a?.b.c
	opLogic              // all kids by &&, || or ??, as name says
	opNot                // !kids[0]
	opTypeof             // typeof kids[0]
	opVoid               // void kids[0]
	opUnary              // + - ~, as name says, of kids[0]
	opArith              // kids[0] name kids[1], a number but for +
	opEqual              // === !== == != of two kids
	opLess               // < > <= >= of two kids
	opIn                 // kids[0] in kids[1]
	opCond               // kids[0] ? kids[1] : kids[2]
	opText               // template literal: texts, and kids between them
	opList               // [kids]; a spread is an opSpread
	opObject             // {…}: opProp and opSpread
	opProp               // name: kids[0], or [kids[1]]: kids[0]
	opSpread             // ...kids[0]
	opCall               // a global function by name: Math.max(kids)
	opMethod             // kids[0].name(kids[1:])
	opLoop               // kids[0].name(callback): the callback's parameters are slots n, n+1, n+2; its body is kids[1]; reduce's start is kids[2]
	opMatch              // pattern.test(kids[0]); name is match for kids[0].match(pattern) as a condition
	opDate               // the time of new Date(kids[0])
	opIterate            // kids[0] as a list, for an array pattern
	opObjectOf           // kids[0], which must not be undefined or null: for an object pattern
)

// A place is where a piece of source stands: bytes from start to end.
type place struct {
	start, end int
}

// An expr is a node of a program: always an expression, since in a language
// without side effects a body of statements is one too. It is immutable once
// the program is compiled. Parts that were written once may occur several
// times, where several ways of an if lead to them.
type expr struct {
	op       op
	at       place // where it stands in Program.source
	kids     []*expr
	name     string   // operator, property or function
	n        int      // field or slot
	constant value    // of an opConst
	texts    []string // of an opText: one more than kids
	optional bool     // of opGet, opIndex, opMethod and opLoop: it is a ?. link
	pattern  *pattern // of an opMatch

	kinds  kinds // what its value may be
	throws bool  // whether it may throw
}

// kinds is a set of kinds.
type kinds uint16

const (
	anyKind   = kinds(1<<undefined | 1<<null | 1<<boolean | 1<<number | 1<<str | 1<<list | 1<<object)
	nullish   = kinds(1<<undefined | 1<<null)
	primitive = anyKind &^ (1<<list | 1<<object)
)

// of returns the set of one kind.
func of(k kind) kinds { return 1 << k }

// only reports whether s holds nothing but members of t.
func (s kinds) only(t kinds) bool { return s&^t == 0 }

// falsy are the kinds that have a value that is not true.
const falsy = kinds(1<<undefined | 1<<null | 1<<boolean | 1<<number | 1<<str)
