package adapter

import (
	"strings"
	"testing"
)

func TestMatches(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"light.hall", "light.hall", true}, {"light.hall", "light.hal", false}, {"", "", true}, {"", "x", false},
		{"*", "", true}, {"**", "x", true}, {"light.*", "light.", true}, {"light.*", "alight.x", false},
		{"*.hall", "light.hall", true}, {"*.hall", "light.hall2", false}, {"a*a", "a", false}, {"a*a", "aa", true},
		{"a*b*c", "abc", true}, {"a*b*c", "axxbyyc", true}, {"a*b*c", "acb", false}, {"*b*", "abc", true}, {"a*b*b", "ab", false},
		{"*ab*ab", "ab", false}, {"*ab*ab", "abab", true}, {"*ab", "aab", true},
	} {
		if got := matches(test.pattern, test.name); got != test.want {
			t.Errorf("%q, %q: got %v, want %v", test.pattern, test.name, got, test.want)
		}
	}
}

func TestMatchesOfAList(t *testing.T) {
	if !Matches(nil, "light.hall") || !Matches([]string{"switch.*", "light.*"}, "light.hall") || Matches([]string{"switch.*"}, "light.hall") {
		t.Error("want all names for no list, and otherwise those of any pattern")
	}
}

// FuzzMatches holds matches against its definition, and to its bound.
func FuzzMatches(f *testing.F) {
	f.Add("a*b*c", "axxbyyc")
	f.Add("*", "")
	f.Add(strings.Repeat("*a", 100)+"b", strings.Repeat("a", 200))
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 64 || len(name) > 64 {
			matches(pattern, name)
			return
		}
		reach := make([]bool, len(name)+1) // which beginnings of the name the pattern's so far takes
		reach[0] = true
		for i := range len(pattern) {
			next := make([]bool, len(name)+1)
			for n := range reach {
				switch {
				case pattern[i] == '*':
					next[n] = reach[n] || n > 0 && next[n-1]
				case n > 0:
					next[n] = reach[n-1] && name[n-1] == pattern[i]
				}
			}
			reach = next
		}
		if got := matches(pattern, name); got != reach[len(name)] {
			t.Errorf("%q, %q: got %v, want %v", pattern, name, got, reach[len(name)])
		}
	})
}
