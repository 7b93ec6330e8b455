package config

import (
	"fmt"
	"slices"
	"strings"
)

// Error is one mistake in a configuration file.
type Error struct {
	File string
	// Line and Column count from 1. They are 0 if the mistake is in no line: then
	// Msg is about the file as a whole.
	Line, Column int
	Key          string // dotted; empty if the mistake is in no key
	Msg          string // what is wrong
	Hint         string // what to do
}

// Error returns it as one line: file:line: key: what is wrong; what to do.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": ")
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Msg)
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	return b.String()
}

// Errors are all mistakes found in a file, by line; never empty.
type Errors []*Error

// Error returns one mistake per line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives each mistake to errors.As.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, err := range e {
		errs[i] = err
	}
	return errs
}

// maxErrors is how many mistakes are reported: more are not read by anyone, and
// a file of another kind would have thousands.
const maxErrors = 20

// sorted returns the mistakes as the caller gets them.
func (e Errors) sorted() error {
	if len(e) == 0 {
		return nil
	}
	slices.SortStableFunc(e, func(a, b *Error) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	if len(e) > maxErrors {
		last := e[maxErrors-1]
		last.Hint += fmt.Sprintf(" (and %d more mistakes)", len(e)-maxErrors)
		e = e[:maxErrors]
	}
	return e
}

// quote quotes what the user wrote, shortened.
func quote(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return fmt.Sprintf("%q", s)
}

// nearest returns the word that s probably is a misspelling of, or "".
func nearest(s string, words []string) string {
	best, least := "", len(s)/3+2
	if len(s) > 64 {
		return ""
	}
	for _, w := range words {
		if d := distance(strings.ToLower(s), w); d < least {
			best, least = w, d
		}
	}
	return best
}

// distance is how many letters have to be inserted, removed, replaced or
// swapped with their neighbour to make a of b (optimal string alignment).
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur, prev, before := rows[i%3], rows[(i+2)%3], rows[(i+1)%3]
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
	}
	return rows[len(a)%3][len(b)]
}
