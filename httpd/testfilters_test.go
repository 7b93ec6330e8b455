package httpd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"carillon/httpd/broadcast"
	"carillon/runtime"
)

// Rules are filters of a small language in memory. A rule is words that must all
// hold: "light." takes entities that begin so; "give" gives {"gave":<entity>};
// "throw" throws; "slow" is decided in a lane. "@name" is the rule of that name.
type rules struct {
	mu sync.Mutex
	// Guarded by mu.
	live  map[string]*rule
	named map[string]string
	turn  map[string]int // counts the versions of a name
	specs []FilterSpec   // what was asked for
	block chan struct{}  // if not nil: slow ones wait for it
}

type rule struct {
	text  string // for people
	key   string
	words []string
	name  string // empty for none
	turn  int
	users int  // guarded by rules.mu
	used  bool // by the hub; guarded by rules.mu
}

func (r *rule) String() string { return r.text }

func (r *rule) Lane() string {
	if slices.Contains(r.words, "slow") {
		return "slow"
	}
	return ""
}

// use gives a server rules for filters.
func (r *rules) use(s *Server) {
	r.live, r.turn = map[string]*rule{}, map[string]int{}
	s.Broadcast.Filters = r
	s.CompileFilter, s.ReleaseFilter, s.NextFilter = r.compile, r.release, r.next
	s.ListFilters = func(streams map[broadcast.Filter]int) any {
		counts := map[string]int{}
		for f, n := range streams {
			counts[f.String()] += n
		}
		return counts
	}
	s.ExplainFilter = func(_ context.Context, spec FilterSpec, events []*runtime.Event) (any, error) {
		var list []string
		for _, e := range events {
			state := "gone"
			if n := e.New(); n != nil {
				state = n.State
			}
			list = append(list, fmt.Sprint(e.Type, " ", e.EntityID, " ", state))
		}
		return map[string]any{"source": spec.Source, "full": spec.Full, "params": spec.Params, "events": list}, nil
	}
}

func (r *rules) compile(_ context.Context, spec FilterSpec) (broadcast.Filter, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.specs = append(r.specs, spec)
	source := spec.Source
	made := &rule{key: source, text: source}
	if name, ok := strings.CutPrefix(source, "@"); ok {
		source = r.named[name]
		made.name, made.turn = name, r.turn[name]
		made.text = fmt.Sprintf("@%s@%d", name, made.turn)
		made.key = fmt.Sprint(made.text, spec.Params)
	}
	if source == "" || strings.Contains(source, "wrong") {
		return nil, &FilterError{Line: 1, Column: strings.Index(source, "wrong") + 1, Construct: "wrong", Message: "wrong is not right"}
	}
	made.words = strings.Fields(source)
	if old := r.live[made.key]; old != nil {
		made = old
	}
	made.users++
	r.live[made.key] = made
	return made, nil
}

func (r *rules) release(f broadcast.Filter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leave(f.(*rule))
}

func (r *rules) leave(f *rule) {
	if f.users--; f.users == 0 {
		delete(r.live, f.key)
	}
}

// save makes a new version of a named rule.
func (r *rules) save(name, source string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.named == nil {
		r.named = map[string]string{}
	}
	r.named[name] = source
	r.turn[name]++
}

func (r *rules) next(ctx context.Context, f broadcast.Filter) (broadcast.Filter, string, error) {
	old := f.(*rule)
	r.mu.Lock()
	turn := r.turn[old.name]
	r.mu.Unlock()
	if turn == old.turn {
		return nil, "", nil
	}
	made, err := r.compile(ctx, FilterSpec{Source: "@" + old.name})
	if err != nil {
		return nil, "", err
	}
	return made, "filter " + made.String(), nil
}

// count returns how many rules there are.
func (r *rules) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.live)
}

func (r *rules) Add(f broadcast.Filter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.(*rule).users++
	f.(*rule).used = true
}

func (r *rules) Remove(f broadcast.Filter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.(*rule).used = false
	r.leave(f.(*rule))
}

func (r *rules) Match(ev *broadcast.Event, yield func(broadcast.Filter, broadcast.Decision)) {
	r.mu.Lock()
	var used []*rule
	for _, f := range r.live {
		if f.used && f.Lane() == "" {
			used = append(used, f)
		}
	}
	r.mu.Unlock()
	for _, f := range used {
		if d := f.decide(ev); d.Match || d.Err != "" {
			yield(f, d)
		}
	}
}

func (f *rule) decide(ev *broadcast.Event) (d broadcast.Decision) {
	d.Match = true
	for _, word := range f.words {
		switch {
		case word == "throw":
			return broadcast.Decision{Err: "thrown at " + ev.EntityID}
		case word == "give":
			d.Data = fmt.Appendf(nil, `{"gave":%q}`, ev.EntityID)
		case word != "slow" && !strings.HasPrefix(ev.EntityID, word):
			return broadcast.Decision{}
		}
	}
	return d
}

func (r *rules) Ask(ctx context.Context, _ string, events []*broadcast.Event, filters []broadcast.Filter, yield func(int, int, broadcast.Decision)) error {
	for i, f := range filters {
		if err := r.Decide(ctx, f, events, func(event int, d broadcast.Decision) { yield(i, event, d) }); err != nil {
			return err
		}
	}
	return nil
}

func (r *rules) Decide(ctx context.Context, f broadcast.Filter, events []*broadcast.Event, yield func(int, broadcast.Decision)) error {
	r.mu.Lock()
	block := r.block
	r.mu.Unlock()
	if block != nil && f.Lane() != "" {
		select {
		case <-block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for i, ev := range events {
		if d := f.(*rule).decide(ev); d.Match || d.Err != "" {
			yield(i, d)
		}
	}
	return nil
}
