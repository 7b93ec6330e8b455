package filter

import (
	"fmt"
	"io"
	"regexp"

	"github.com/dop251/goja/ast"
)

// A pattern is a regular expression of which only whether it matches is asked.
// It takes time linear in the text: what needs backtracking is refused.
type pattern struct {
	re     *regexp.Regexp
	whole  bool // flag u: characters are matched, else UTF-16 code units
	weight int  // states, about
	key    string
}

// maxPattern bounds a pattern's states, repetitions counted.
const maxPattern = 1000

// pattern compiles a literal.
func (r *reader) pattern(n *ast.RegExpLiteral) *pattern {
	t := &translator{rest: n.Pattern, size: len(n.Pattern)}
	for _, flag := range n.Flags {
		switch flag {
		case 'i':
			t.fold = true
		case 's':
			t.dotAll = true
		case 'u':
			t.whole = true
		case 'm':
			t.lines = true
		default:
			r.fail(n, "flag "+string(flag), "the flag "+string(flag)+" of a regular expression is not in the subset; test needs no g")
		}
	}
	if t.fold && t.whole {
		r.fail(n, "flags i and u", "the flags i and u of a regular expression are not in the subset together")
	}
	text := t.translate()
	if t.problem != "" {
		at := r.place(n).start + 1 + t.failed
		panic(errorAt(r.source, at, t.problem, t.problem+" is not in the subset of regular expressions that match in linear time"))
	}
	if t.weight > maxPattern {
		r.fail(n, "", fmt.Sprintf("the regular expression has %d states, and at most %d are allowed", t.weight, maxPattern))
	}
	re, err := regexp.Compile(text)
	if err != nil {
		r.fail(n, "regular expression", "syntax error in the regular expression: "+err.Error())
	}
	return &pattern{re: re, whole: t.whole, weight: t.weight, key: "/" + text + "/"}
}

// match reports whether the pattern is found in s.
func (p *pattern) match(m *machine, s string) bool {
	if !m.spend(1 + len(s)*p.weight/32) {
		return false
	}
	if ascii(s) {
		return p.re.MatchString(s)
	}
	return p.re.MatchReader(&unitReader{rest: s, whole: p.whole})
}

// A unitReader reads a string by code units or whole characters, lone
// surrogates as what they are.
type unitReader struct {
	rest  string
	low   rune // the second unit of a character whose first was read
	whole bool
}

// ReadRune is that of io.RuneReader. Sizes are made up: nobody asks where a
// match is.
func (u *unitReader) ReadRune() (r rune, size int, err error) {
	if u.low != 0 {
		r, u.low = u.low, 0
		return r, 1, nil
	}
	if u.rest == "" {
		return 0, 0, io.EOF
	}
	r, n := decode(u.rest)
	u.rest = u.rest[n:]
	if !u.whole && r >= 0x10000 {
		first, second, _ := units(r)
		r, u.low = rune(first), rune(second)
	}
	return r, 1, nil
}
