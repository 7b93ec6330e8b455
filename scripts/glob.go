package scripts

import "strings"

// wild reports whether s matches pattern, where each * stands for any run of
// characters, none included.
func wild(pattern, s string) bool {
	head, rest, found := strings.Cut(pattern, "*")
	if !found {
		return pattern == s
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	for {
		head, after, found := strings.Cut(rest, "*")
		if !found {
			return strings.HasSuffix(s, rest)
		}
		i := strings.Index(s, head)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(head):], after
	}
}

// wildAny reports whether s matches one of patterns, or there are none.
func wildAny(patterns []string, s string) bool {
	for _, p := range patterns {
		if wild(p, s) {
			return true
		}
	}
	return len(patterns) == 0
}

// globPath reports whether an absolute path matches pattern: * stands for any
// run of characters but the slash, ** as a whole element for any number of
// elements. A pattern with more than two ** matches nothing: it would take too
// long to try.
func globPath(pattern, path string) bool {
	return strings.Count(pattern, "**") <= 2 && globElements(strings.Split(pattern, "/"), strings.Split(path, "/"))
}

func globElements(pattern, path []string) bool {
	for i, p := range pattern {
		if p == "**" {
			for skip := i; skip <= len(path); skip++ {
				if globElements(pattern[i+1:], path[skip:]) {
					return true
				}
			}
			return false
		}
		if i >= len(path) || !wild(p, path[i]) {
			return false
		}
	}
	return len(pattern) == len(path)
}
