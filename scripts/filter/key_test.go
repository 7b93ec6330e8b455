package filter

import "testing"

// TestKeysAreEqual holds what makes no difference to a program's key, and what
// does.
func TestKeysAreEqual(t *testing.T) {
	key := func(source string, params map[string]any) string {
		t.Helper()
		p, err := Compile(source, Options{Params: params})
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		return p.Key()
	}
	for _, same := range [][]string{
		{
			`e => e.domain === 'light' && e.attributes.brightness > 100`,
			"event=>((event . domain)===\"light\")&&(event['attributes'].brightness>1e2) // bright",
			"e.domain === `light` && e.attributes.brightness > 100;",
			`e => { const d = e.domain; return d === "light" && e.attributes.brightness > 100 }`,
			`e => { if (e.domain !== 'light') return false; return e.attributes.brightness > 100; }`,
			`e => { if (e.domain === 'light') { return e.attributes.brightness > 100 } }`,
			`e => e.domain === 'light' ? e.attributes.brightness > 100 : false`,
			`e => !(e.domain !== 'light') && e.attributes.brightness > 10 * 10`,
		},
		{`e => e.attributes.list.some(x => x > 1)`, `a => a.attributes.list.some((b, c) => { const d = b; return d > 1 })`},
		{`e => (e.time, e.state) || (e.domain || e.unit)`, `e => { e.time; return e.state || e.domain || e.unit }`},
		{`({domain, attributes: {x}}) => x`, `({attributes: {x: y}}) => y`},
		{`e => Boolean(e.number)`, `e => !!e.number`, `e => e.number ? true : false`, `e => e.number`},
	} {
		for _, source := range same[1:] {
			if got, want := key(source, nil), key(same[0], nil); got != want {
				t.Errorf("%s: got the key %s, want %s as of %s", source, got, want, same[0])
			}
		}
	}
	different := []string{`e => e.state`, `e => e.unit`, `e => e.state == 1`, `e => e.state === 1`, `e => e.state === "1"`, `e => e.state === true`, `e => e.old.state`,
		`e => e.old?.state`, `e => [e.state]`, `e => ({state: e.state})`, `e => e.state === -0`, `e => /a/.test(e.state)`, `e => /a/i.test(e.state)`, `e => /a/u.test(e.state)`,
		`e => [1, 2].some((a, b) => a)`, `e => [1, 2].some((a, b) => b)`, `e => [1, 2].some((a, b, c) => c)`, "e => `${e.state}`", "e => `${e.state} `", `e => "a" + e.state`,
		`e => e.attributes["a.b"]`, `e => e.attributes.a.b`, `e => e.attributes?.a.b`, `e => (e.attributes?.a).b`}
	seen := map[string]string{}
	for _, source := range different {
		k := key(source, nil)
		if seen[k] != "" {
			t.Errorf("%s and %s have the same key %s", source, seen[k], k)
		}
		seen[k] = source
	}
	if a, b := key(`(e, p) => e.number > p.limit`, map[string]any{"limit": 20.0}), key(`e => e.number > 20`, nil); a != b {
		t.Errorf("with a parameter: got the key %s, want %s", a, b)
	}
}
