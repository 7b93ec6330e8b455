package filter

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A translator writes a JavaScript pattern as one of package regexp, every
// class spelled out. What it is not sure of it refuses.
type translator struct {
	rest string
	size int // of the whole pattern

	fold, dotAll, whole, lines bool // flags i, s, u, m

	out     strings.Builder
	weight  int
	problem string // the construct that is refused, "" if there is none
	failed  int    // where it stands
}

const (
	digitClass = `0-9`
	wordClass  = `0-9A-Z_a-z`
	spaceClass = `\t-\r \x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}\x{FEFF}`
	anything   = `[\x{0}-\x{10FFFF}]`
	nothing    = `[^\x{0}-\x{10FFFF}]`
)

func (t *translator) translate() string {
	t.weight = t.alternatives(0)
	if t.rest != "" {
		t.refuse("unmatched )")
	}
	return t.out.String()
}

// refuse notes the first construct that is not in the subset.
func (t *translator) refuse(construct string) {
	if t.problem == "" {
		t.problem, t.failed = construct, t.size-len(t.rest)
	}
	t.rest = ""
}

// take passes over s if it comes next.
func (t *translator) take(s string) bool {
	rest, ok := strings.CutPrefix(t.rest, s)
	if ok {
		t.rest = rest
	}
	return ok
}

// alternatives reads up to the ) that ends them, and returns their weight.
func (t *translator) alternatives(depth int) (weight int) {
	if depth > 50 {
		t.refuse("deep nesting")
	}
	for t.rest != "" && t.rest[0] != ')' && t.problem == "" {
		if t.take("|") {
			t.out.WriteByte('|')
			weight++
			continue
		}
		weight = min(weight+t.term(depth), maxPattern+1)
	}
	return weight
}

// term reads an assertion, or an atom and how often it is repeated.
func (t *translator) term(depth int) (weight int) {
	for text, assertion := range map[string]string{"^": `\A`, "$": `\z`, `\b`: `\b`, `\B`: `\B`} {
		if t.take(text) {
			if t.lines && len(text) == 1 {
				t.refuse("anchor with the flag m")
			}
			if t.rest != "" && strings.IndexByte("*+?{", t.rest[0]) >= 0 {
				t.refuse("repeated assertion")
			}
			t.out.WriteString(assertion)
			return 1
		}
	}
	return t.atom(depth) * t.quantifier()
}

func (t *translator) atom(depth int) (weight int) {
	switch c := t.rest[0]; c {
	case '(':
		return t.group(depth)
	case '[':
		t.class()
	case '.':
		t.rest = t.rest[1:]
		if t.dotAll {
			t.out.WriteString(anything)
		} else {
			t.out.WriteString(`[^\n\r\x{2028}\x{2029}]`)
		}
	case '\\':
		t.rest = t.rest[1:]
		if class := t.classEscape(false); class != "" {
			t.out.WriteString(class)
			break
		}
		t.character(t.escape())
	case '*', '+', '?':
		t.refuse("repetition of nothing")
	case '{', '}', ']':
		t.refuse("unescaped " + string(c))
	default:
		r, n := utf8.DecodeRuneInString(t.rest)
		t.rest = t.rest[n:]
		t.character(r)
	}
	return 1
}

// character writes one character; without the flag u one beyond the basic
// plane is two, of which a repetition means the second.
func (t *translator) character(r rune) {
	if first, second, two := units(r); two && !t.whole {
		fmt.Fprintf(&t.out, `\x{%X}\x{%X}`, first, second)
		return
	}
	if t.fold {
		t.out.WriteString("[" + t.folded(r, r) + "]")
		return
	}
	fmt.Fprintf(&t.out, `\x{%X}`, r)
}

func (t *translator) group(depth int) (weight int) {
	for text, name := range map[string]string{"(?=": "lookahead", "(?!": "lookahead", "(?<=": "lookbehind", "(?<!": "lookbehind"} {
		if strings.HasPrefix(t.rest, text) {
			t.refuse(name)
			return 1
		}
	}
	switch {
	case t.take("(?:"):
	case t.take("(?<"):
		name, rest, ok := strings.Cut(t.rest, ">")
		if !ok || !simpleName(name) {
			t.refuse("group name")
			return 1
		}
		t.rest = rest
	case strings.HasPrefix(t.rest, "(?"):
		t.refuse("group modifier")
		return 1
	default:
		t.rest = t.rest[1:]
	}
	t.out.WriteString("(?:")
	weight = 1 + t.alternatives(depth+1)
	if !t.take(")") {
		t.refuse("unclosed (")
	}
	t.out.WriteByte(')')
	return weight
}

func simpleName(name string) bool {
	for i, r := range name {
		if r != '_' && !(r|0x20 >= 'a' && r|0x20 <= 'z') && !(i > 0 && r >= '0' && r <= '9') {
			return false
		}
	}
	return name != ""
}

// quantifier reads how often the atom before is repeated, and returns how many
// copies that makes of it.
func (t *translator) quantifier() (copies int) {
	copies = 1
	switch {
	case t.take("*"):
		t.out.WriteByte('*')
	case t.take("+"):
		t.out.WriteByte('+')
	case t.take("?"):
		t.out.WriteByte('?')
	case strings.HasPrefix(t.rest, "{"):
		copies = t.counted()
	default:
		return 1
	}
	if t.take("?") {
		t.out.WriteByte('?')
	}
	if t.rest != "" && strings.IndexByte("*+?{", t.rest[0]) >= 0 {
		t.refuse("repetition of a repetition")
	}
	return copies
}

func (t *translator) counted() (copies int) {
	inside, rest, ok := strings.Cut(t.rest[1:], "}")
	low, high, ranged := strings.Cut(inside, ",")
	from, err := strconv.Atoi(low)
	to := from
	if ranged && high != "" && err == nil {
		to, err = strconv.Atoi(high)
	}
	if !ok || err != nil || from < 0 || to < from || strings.ContainsAny(inside, "+- ") {
		t.refuse("unescaped {")
		return 1
	}
	if to > 500 {
		t.refuse("repetition of more than 500")
		return 1
	}
	t.rest = rest
	t.out.WriteString("{" + inside + "}")
	return max(to, 1) + 1
}

// classEscape reads \d and its like, behind the backslash; inside tells that
// it stands in a class.
func (t *translator) classEscape(inside bool) string {
	if t.rest == "" {
		return ""
	}
	class := map[byte]string{'d': digitClass, 'w': wordClass, 's': spaceClass}[t.rest[0]|0x20]
	if class == "" {
		return ""
	}
	negated := t.rest[0]&0x20 == 0
	t.rest = t.rest[1:]
	switch {
	case inside && negated:
		return complement(class)
	case inside:
		return class
	case negated:
		return "[^" + class + "]"
	}
	return "[" + class + "]"
}

// complement is what a class leaves out, spelled out.
func complement(class string) string {
	switch class {
	case digitClass:
		return `\x{0}-/:-\x{10FFFF}`
	case wordClass:
		return "\\x{0}-/:-@\\[-\\^`\\{-\\x{10FFFF}"
	}
	return `\x{0}-\x{8}\x{E}-\x{1F}!-\x{9F}\x{A1}-\x{167F}\x{1681}-\x{1FFF}\x{200B}-\x{2027}\x{202A}-\x{202E}\x{2030}-\x{205E}` +
		`\x{2060}-\x{2FFF}\x{3001}-\x{FEFE}\x{FF00}-\x{10FFFF}`
}

// escape reads the character that stands behind a backslash.
func (t *translator) escape() rune {
	if t.rest == "" {
		t.refuse("\\ at the end")
		return 0
	}
	c := t.rest[0]
	switch {
	case strings.IndexByte("tnvfr", c) >= 0:
		t.rest = t.rest[1:]
		return map[byte]rune{'t': '\t', 'n': '\n', 'v': '\v', 'f': '\f', 'r': '\r'}[c]
	case c == '0' && (len(t.rest) == 1 || t.rest[1] < '0' || t.rest[1] > '9'):
		t.rest = t.rest[1:]
		return 0
	case c >= '0' && c <= '9', c == 'k':
		t.refuse("backreference")
		return 0
	case c == 'x':
		t.rest = t.rest[1:]
		return t.hex(2)
	case c == 'u':
		t.rest = t.rest[1:]
		return t.unicodeEscape()
	case strings.IndexByte(`^$\.*+?()[]{}|/`, c) >= 0, !t.whole && c > ' ' && c < 0x7f && !isWord(c):
		t.rest = t.rest[1:]
		return rune(c)
	}
	t.refuse(`\` + string(rune(c)))
	return 0
}

func isWord(c byte) bool {
	return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
}

func (t *translator) hex(digits int) rune {
	if len(t.rest) < digits {
		t.refuse("incomplete escape")
		return 0
	}
	n, err := strconv.ParseUint(t.rest[:digits], 16, 32)
	if err != nil {
		t.refuse("incomplete escape")
		return 0
	}
	t.rest = t.rest[digits:]
	return rune(n)
}

func (t *translator) unicodeEscape() rune {
	if t.whole && t.take("{") {
		digits := strings.IndexByte(t.rest, '}')
		if digits < 1 || digits > 6 {
			t.refuse("incomplete escape")
			return 0
		}
		r := t.hex(digits)
		t.take("}")
		if r > unicode.MaxRune {
			t.refuse("character beyond U+10FFFF")
		}
		return r
	}
	r := t.hex(4)
	if t.whole && r >= 0xd800 && r < 0xdc00 && strings.HasPrefix(t.rest, `\u`) {
		before := t.rest
		t.rest = t.rest[2:]
		if low := t.hex(4); low >= 0xdc00 && low < 0xe000 {
			return (r-0xd800)<<10 | (low - 0xdc00) + 0x10000
		}
		t.rest = before
	}
	return r
}
