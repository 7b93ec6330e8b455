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
