package scripts

import "carillon/runtime"

// A story is what a run of JavaScript belongs to: all that it sets, emits and
// calls carries one context, which is made when first needed.
type story struct {
	parent  string // the id of the context that caused it, or empty
	context runtime.Context
}

func (s *story) get() runtime.Context {
	if s.context.ID == "" {
		s.context = runtime.NewContext(s.parent, "")
	}
	return s.context
}

// stories keeps the story across promises: what follows an await belongs to
// the run that awaited.
type stories generation

// Grab implements goja.AsyncContextTracker.
func (g *stories) Grab() any { return g.story }

// Resumed implements goja.AsyncContextTracker.
func (g *stories) Resumed(v any) {
	if s, ok := v.(*story); ok {
		g.story = s
	}
}

// Exited implements goja.AsyncContextTracker.
func (g *stories) Exited() { g.story = g.root }
