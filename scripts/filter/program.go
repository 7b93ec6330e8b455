package filter

// A Program is a compiled predicate. It is immutable and safe for concurrent
// use.
type Program struct {
	source    string // as it was given
	params    value
	name      string
	key       string
	cost      int
	projects  bool
	slots     int                  // locals that a machine needs
	run       func(*machine) value // of a program that projects
	test      func(*machine) bool  // of one that doesn't
	conjuncts []conjunct
}

// A conjunct is one term of the && that a program's body is at the top. A
// program takes an event only if all of its conjuncts are true of it; the
// value of the last one is what it returns.
type conjunct struct {
	key    string              // canonical text: equal for the same condition in another program
	throws bool                // it may throw where those before it are true
	test   func(*machine) bool // whether it is true; see machine.fault for what it throws
	shape  *shape              // nil for none
}

// A shape is what an index can use of a conjunct: it says of which values of
// one path it can be true. Of others it is false, or throws: path.startsWith
// of what is no string does.
type shape struct {
	kind   shapeKind
	path   string               // canonical text of the path
	read   func(*machine) value // its value, if it doesn't throw
	values []value              // byValue: it is true of these only; strings, numbers (neither NaN nor -0), booleans, null, undefined
	prefix string               // byPrefix: it is true of strings that begin so only; not empty
	limit  float64              // byAbove, byBelow; not NaN
}

type shapeKind uint8

const (
	noShape  shapeKind = iota
	byValue            // path === a, or one of several
	byPrefix           // path.startsWith(prefix)
	byAbove            // path > limit or path >= limit
	byBelow            // path < limit or path <= limit
)

// Key returns the program's canonical text: equal for predicates that differ
// only in formatting, comments, quotes, names of parameters and locals, and
// redundant parentheses. Parameters are in it as the constants that they are.
func (p *Program) Key() string { return p.key }

// Cost returns the weighted number of the program's nodes. Times the size of
// the event, it bounds the work of one Eval.
func (p *Program) Cost() int { return p.cost }

// Projects reports whether the program may return an object, which takes the
// event's place.
func (p *Program) Projects() bool { return p.projects }
