package filter

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// class reads […].
func (t *translator) class() {
	t.rest = t.rest[1:]
	negated := t.take("^")
	items := ""
	for t.rest != "" && t.rest[0] != ']' {
		items += t.classItem()
	}
	if !t.take("]") {
		t.refuse("unclosed [")
	}
	switch {
	case items == "" && negated:
		t.out.WriteString(anything)
	case items == "":
		t.out.WriteString(nothing)
	case negated:
		t.out.WriteString("[^" + items + "]")
	default:
		t.out.WriteString("[" + items + "]")
	}
}

// classItem reads a character, a range or an escape like \d.
func (t *translator) classItem() string {
	if t.take(`\`) {
		if class := t.classEscape(true); class != "" {
			if len(t.rest) > 1 && t.rest[0] == '-' && t.rest[1] != ']' {
				t.refuse("range of a class")
			}
			return class
		}
		return t.classRange(t.classCharacter())
	}
	r, n := utf8.DecodeRuneInString(t.rest)
	t.rest = t.rest[n:]
	return t.classRange(r)
}

// classCharacter is escape with what may be escaped in a class too.
func (t *translator) classCharacter() rune {
	switch {
	case t.take("b"):
		return '\b'
	case t.take("-"):
		return '-'
	}
	return t.escape()
}

// classRange reads the rest of an item that begins with from.
func (t *translator) classRange(from rune) string {
	to := from
	if len(t.rest) > 1 && t.rest[0] == '-' && t.rest[1] != ']' {
		t.rest = t.rest[1:]
		if t.take(`\`) {
			if t.classEscape(true) != "" {
				t.refuse("range of a class")
				return ""
			}
			to = t.classCharacter()
		} else {
			r, n := utf8.DecodeRuneInString(t.rest)
			t.rest, to = t.rest[n:], r
		}
	}
	return t.ranged(from, to)
}

func (t *translator) ranged(from, to rune) string {
	if from > to {
		t.refuse("range out of order")
		return ""
	}
	if !t.whole && to >= 0x10000 {
		first, second, _ := units(to)
		if from != to {
			t.refuse("range of characters beyond U+FFFF without the flag u")
			return ""
		}
		return fmt.Sprintf(`\x{%X}\x{%X}`, first, second)
	}
	if t.fold {
		return t.folded(from, to)
	}
	return fmt.Sprintf(`\x{%X}-\x{%X}`, from, to)
}

// folded is a range with the other cases of its letters, without the flag u:
// there a letter beyond ASCII is never the other case of one in ASCII. Other
// letters that have cases are refused.
func (t *translator) folded(from, to rune) string {
	out := fmt.Sprintf(`\x{%X}-\x{%X}`, from, to)
	if to >= utf8.RuneSelf {
		if from != to || unicode.SimpleFold(from) != from || !(from > 0xffff || unicode.ToUpper(from) == from) {
			t.refuse("letter beyond ASCII with the flag i")
		}
		return out
	}
	for _, shift := range []rune{'a' - 'A', 'A' - 'a'} {
		low, high := max(from, 'A'), min(to, 'Z')
		if shift < 0 {
			low, high = max(from, 'a'), min(to, 'z')
		}
		if low <= high {
			out += fmt.Sprintf(`\x{%X}-\x{%X}`, low+shift, high+shift)
		}
	}
	return out
}
