package filter

import (
	"testing"
	"time"

	"carillon/runtime"
)

// A parameter is as good as the constant that it is: for the key, for the index,
// and for what else is known of it.
func TestParametersAreConstants(t *testing.T) {
	given := map[string]any{"domain": "light", "limit": 3.0, "on": true}
	for _, c := range []struct{ with, without, index string }{
		{"(e, params) => e.domain === params.domain && e.number > params.limit", "e => e.domain === 'light' && e.number > 3", `e.domain in ["light"]`},
		{"(e, {domain, limit = 5}) => e.domain === domain && e.number > limit", "e => e.domain === 'light' && e.number > 3", `e.domain in ["light"]`},
		{"(e, p) => { const wanted = p['domain']; return e.domain === wanted }", "e => e.domain === 'light'", `e.domain in ["light"]`},
		{"(e, p) => e.entity_id.startsWith(`${p.domain}.`)", "e => e.entity_id.startsWith('light.')", ""},
		{"(e, p) => e.x === p.missing", "e => e.x === undefined", ""},
		{"(e, p) => e.number > p.limit * 2 + 1", "e => e.number > 7", ""},
	} {
		a, err := Compile(c.with, Options{Params: given})
		if err != nil {
			t.Errorf("%s: got %v", c.with, err)
			continue
		}
		b, err := Compile(c.without, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if a.Key() != b.Key() {
			t.Errorf("%s: got key %s, want %s", c.with, a.Key(), b.Key())
		}
		if c.index != "" && a.IndexKey() != c.index {
			t.Errorf("%s: got index %s, want %s", c.with, a.IndexKey(), c.index)
		}
	}
}

// An explanation tells what a parameter is.
func TestExplainShowsParameters(t *testing.T) {
	p, err := Compile("(e, params) => e.seq > params.limit && e.type === 'x'", Options{Params: map[string]any{"limit": 20.0}})
	if err != nil {
		t.Fatal(err)
	}
	ev, err := runtime.Draft(runtime.NewEvent{Type: "x"}, 5, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	why := Explain(p, ev).Why
	if len(why) != 1 || len(why[0].Parts) != 2 || why[0].Parts[1] != (Part{"params.limit", "20"}) {
		t.Errorf("got %+v, want the value of params.limit", why)
	}
}
