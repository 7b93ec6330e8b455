package adapter

import (
	"slices"
	"strings"
)

// Matches reports whether a name is one of a list's, as in a Selection: * stands for any
// characters, also for none, and an empty list takes all. It takes the product of the
// lengths at most.
func Matches(patterns []string, name string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool { return matches(p, name) })
}

// matches is Matches for one pattern. Only what follows its last * is tried in more than
// one place.
func matches(pattern, name string) bool {
	for {
		literal, rest, star := strings.Cut(pattern, "*")
		if !star {
			return name == pattern
		}
		if !strings.HasPrefix(name, literal) {
			return false
		}
		name = name[len(literal):]
		next, _, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(name, next)
		}
		at := strings.Index(name, next)
		if at < 0 {
			return false
		}
		pattern, name = rest, name[at:]
	}
}
