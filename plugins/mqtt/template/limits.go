package template

// The bounds. A template is a stranger's program: whoever may publish to the
// broker may send one.
const (
	maxText     = 64 << 10 // of a template, in bytes
	maxNesting  = 100      // of statements and expressions
	maxChain    = 500      // of operators, filters or subscriptions in a row
	maxSteps    = 50_000   // of one Render: nodes, items, and stepBytes of text each
	maxOutput   = 64 << 10 // of one Render, in bytes
	maxString   = 64 << 10 // of a string that a template makes, in bytes
	maxItems    = 10_000   // of a list that a template makes
	maxDepth    = 100      // of values in values, when they are printed or compared
	maxTupleKey = 100      // of a tuple that is a dict's key
	maxJSON     = 64       // of JSON, in depth
	maxPattern  = 1 << 10  // of a regular expression, in bytes

	stepBytes = 64
)
