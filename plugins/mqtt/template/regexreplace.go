package template

import (
	"strconv"
	"strings"
)

// A piece of a replacement is text, or what a group took.
type piece struct {
	group int // -1: text
	text  string
}

// replacement reads what Python's sub takes: \1, \g<1>, \g<name>, \n and the like.
func (e *env) replacement(p *pattern, with string) (pieces []piece) {
	text := func(s string) { pieces = append(pieces, piece{-1, s}) }
	for with != "" {
		i := strings.IndexByte(with, '\\')
		if i < 0 || i+1 >= len(with) {
			if i >= 0 {
				e.failf("the replacement ends in a backslash")
			}
			text(with)
			break
		}
		if i > 0 {
			text(with[:i])
		}
		c := with[i+1]
		rest := with[i+2:]
		switch {
		case c == '\\':
			text(`\`)
		case strings.IndexByte("abfnrtv", c) >= 0:
			text(string("\a\b\f\n\r\t\v"[strings.IndexByte("abfnrtv", c)]))
		case c >= '1' && c <= '9':
			digits := 1
			if rest != "" && isDigit(rest[0]) {
				if len(rest) > 1 && isDigit(rest[1]) {
					e.failf("octal escapes in a replacement are not supported")
				}
				digits = 2
			}
			pieces = append(pieces, piece{group: e.group(p, with[i+1:i+1+digits])})
			rest = with[i+1+digits:]
		case c == 'g':
			name, after, ok := strings.Cut(rest, ">")
			if !ok || name == "" || name[0] != '<' {
				e.failf(`\g in a replacement needs a name`)
			}
			pieces = append(pieces, piece{group: e.group(p, name[1:])})
			rest = after
		case isLetter(c) || isDigit(c):
			e.failf(`\%c in a replacement is not supported`, rune(c))
		default:
			text(with[i : i+2])
		}
		with = rest
		e.makes(len(pieces))
	}
	return pieces
}

func (e *env) group(p *pattern, name string) int {
	n, err := strconv.Atoi(name)
	if err != nil {
		n = p.re.SubexpIndex(name)
	}
	if n < 0 || n > p.re.NumSubexp() {
		e.failf("the regular expression has no group %.40s", name)
	}
	return n
}
