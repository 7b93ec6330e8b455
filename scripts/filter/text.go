package filter

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// JavaScript's strings are sequences of UTF-16 code units; here they are UTF-8,
// which is what events are made of. A surrogate without its other half, which
// UTF-8 has no form for, stands in the three bytes that its number would have
// (WTF-8). Two strings are the same bytes if and only if they are the same code
// units, as long as two halves that come together become one character: join
// strings with concat only.

const surrogateLead = 0xed // the first byte of U+D000 to U+DFFF

// decode returns the character or lone surrogate at the start of s, and its
// bytes. s must not be empty.
func decode(s string) (r rune, size int) {
	if c := s[0]; c < utf8.RuneSelf {
		return rune(c), 1
	}
	if isSurrogate(s) {
		return rune(s[0]&0x0f)<<12 | rune(s[1]&0x3f)<<6 | rune(s[2]&0x3f), 3
	}
	return utf8.DecodeRuneInString(s)
}

// isSurrogate reports whether s begins with a lone surrogate.
func isSurrogate(s string) bool {
	return len(s) >= 3 && s[0] == surrogateLead && s[1] >= 0xa0 && s[1] <= 0xbf && s[2]&0xc0 == 0x80
}

// appendUnit appends one code unit. A low surrogate behind a high one makes one
// character of both.
func appendUnit(dst []byte, unit uint16) []byte {
	r := rune(unit)
	if !utf16.IsSurrogate(r) {
		return utf8.AppendRune(dst, r)
	}
	if n := len(dst) - 3; r >= 0xdc00 && n >= 0 && isSurrogate(string(dst[n:])) {
		if high, _ := decode(string(dst[n:])); high < 0xdc00 {
			return utf8.AppendRune(dst[:n], utf16.DecodeRune(high, r))
		}
	}
	return append(dst, surrogateLead, 0x80|byte(r>>6&0x3f), 0x80|byte(r&0x3f))
}

// fromUnits returns the string of these code units.
func fromUnits(units []uint16) string {
	b := make([]byte, 0, len(units)+8)
	for _, unit := range units {
		b = appendUnit(b, unit)
	}
	return string(b)
}

// units returns the one or two code units of a character.
func units(r rune) (first, second uint16, two bool) {
	if r < 0x10000 {
		return uint16(r), 0, false
	}
	high, low := utf16.EncodeRune(r)
	return uint16(high), uint16(low), true
}

// concat joins two strings.
func concat(a, b string) string {
	if len(a) >= 3 && a[len(a)-3] == surrogateLead && isSurrogate(b) {
		return joinSurrogates(a + b)
	}
	return a + b
}

// joinSurrogates makes one character of every two halves that stand side by
// side.
func joinSurrogates(s string) string {
	if strings.IndexByte(s, surrogateLead) < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for len(s) > 0 {
		if r, size := decode(s); isSurrogate(s) {
			b, s = appendUnit(b, uint16(r)), s[size:]
		} else {
			b, s = append(b, s[:size]...), s[size:]
		}
	}
	return string(b)
}

// length16 is the length of s in code units.
func length16(s string) int {
	n := 0
	for i := 0; i < len(s); i++ {
		// Continuation bytes count nothing; a character of four bytes is two units.
		if c := s[i]; c < 0x80 || c >= 0xc0 {
			n++
			if c >= 0xf0 {
				n++
			}
		}
	}
	return n
}

// slice16 returns the code units of s from start up to end, which must lie in
// it and in this order. A character that is cut leaves half of it.
func slice16(s string, start, end int) string {
	if ascii(s) {
		return s[start:end]
	}
	from, fromHalf := offset16(s, start)
	to, toHalf := offset16(s, end)
	if start == end {
		return ""
	}
	if !fromHalf && !toHalf {
		return s[from:to]
	}
	var b []byte
	if fromHalf {
		r, size := decode(s[from:])
		_, low, _ := units(r)
		b, from = appendUnit(b, low), from+size
	}
	if from < to {
		b = append(b, s[from:to]...)
	}
	if toHalf {
		r, _ := decode(s[to:])
		high, _, _ := units(r)
		b = appendUnit(b, high)
	}
	return string(b)
}

// offset16 returns where code unit i of s is, in bytes. half tells that it is
// the second unit of the character there.
func offset16(s string, i int) (offset int, half bool) {
	for n := 0; n < i; {
		r, size := decode(s[offset:])
		if n++; r >= 0x10000 {
			if n == i {
				return offset, true
			}
			n++
		}
		offset += size
	}
	return offset, false
}

// unitAt returns the code unit i of s as a string.
func unitAt(s string, i int) (unit string, ok bool) {
	if i < 0 || i >= len(s) { // there are never more units than bytes
		return "", false
	}
	if ascii(s) {
		return s[i : i+1], true
	}
	if i >= length16(s) {
		return "", false
	}
	return slice16(s, i, i+1), true
}

// index16 returns the place of sub in s at or behind unit from, in code units,
// or -1. from must lie in s.
func index16(s, sub string, from int) int {
	if ascii(s) {
		if i := strings.Index(s[from:], sub); i >= 0 {
			return from + i
		}
		return -1
	}
	if !halves(sub) {
		start, half := offset16(s, from)
		if half {
			_, size := decode(s[start:])
			start, from = start+size, from+1
			if sub == "" {
				return from - 1
			}
		}
		if i := strings.Index(s[start:], sub); i >= 0 {
			return from + length16(s[start:start+i])
		}
		return -1
	}
	if i := indexUnits(unitsOf(s)[from:], unitsOf(sub)); i >= 0 {
		return from + i
	}
	return -1
}

// indexUnits finds sub, which is not empty, in one pass over s (Knuth, Morris
// and Pratt's).
func indexUnits(s, sub []uint16) int {
	back := make([]int, len(sub)) // of each place, how many units before it are a prefix, too
	for i, n := 1, 0; i < len(sub); i++ {
		for n > 0 && sub[i] != sub[n] {
			n = back[n-1]
		}
		if sub[i] == sub[n] {
			n++
		}
		back[i] = n
	}
	n := 0
	for i, unit := range s {
		for n > 0 && unit != sub[n] {
			n = back[n-1]
		}
		if unit == sub[n] {
			n++
		}
		if n == len(sub) {
			return i + 1 - n
		}
	}
	return -1
}

func unitsOf(s string) []uint16 {
	units := make([]uint16, 0, len(s))
	for s != "" {
		units, s = nextUnits(units, s)
	}
	return units
}

// halves reports whether s has a lone surrogate, which may be half of a
// character of another string.
func halves(s string) bool {
	for i := strings.IndexByte(s, surrogateLead); i >= 0 && i < len(s); i++ {
		if isSurrogate(s[i:]) {
			return true
		}
	}
	return false
}

// replaceHalves returns s as UTF-8, with U+FFFD for every lone surrogate.
func replaceHalves(s string) string {
	if !halves(s) {
		return s
	}
	b := make([]byte, 0, len(s))
	for len(s) > 0 {
		r, size := decode(s)
		b, s = utf8.AppendRune(b, r), s[size:] // of a surrogate it makes U+FFFD
	}
	return string(b)
}

// contains is String.prototype.includes.
func contains(s, sub string) bool {
	if !halves(sub) {
		return strings.Contains(s, sub)
	}
	return index16(s, sub, 0) >= 0
}

// hasPrefix is String.prototype.startsWith.
func hasPrefix(s, prefix string) bool {
	if !halves(prefix) {
		return strings.HasPrefix(s, prefix)
	}
	n := length16(prefix)
	return n <= length16(s) && slice16(s, 0, n) == prefix
}

// hasSuffix is String.prototype.endsWith.
func hasSuffix(s, suffix string) bool {
	if !halves(suffix) {
		return strings.HasSuffix(s, suffix)
	}
	n, m := length16(s), length16(suffix)
	return m <= n && slice16(s, n-m, n) == suffix
}

// compare16 orders strings by their code units, which is not the order of their
// bytes: U+FF5E is above U+1F600 there.
func compare16(a, b string) int {
	n := min(len(a), len(b))
	i := 0
	for i < n && a[i] == b[i] {
		i++
	}
	if i == n {
		return len(a) - len(b)
	}
	if min(a[i], b[i]) < surrogateLead {
		return int(a[i]) - int(b[i])
	}
	return compareUnits(a[i:], b[i:])
}

// compareUnits is compare16 of strings that differ at their first character.
func compareUnits(a, b string) int {
	var x, y []uint16
	for range 2 { // two characters decide: a lone surrogate may be a pair's first half
		x, a = nextUnits(x, a)
		y, b = nextUnits(y, b)
	}
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return int(x[i]) - int(y[i])
		}
	}
	return len(x) - len(y)
}

func nextUnits(dst []uint16, s string) ([]uint16, string) {
	if s == "" {
		return dst, s
	}
	r, size := decode(s)
	first, second, two := units(r)
	if dst = append(dst, first); two {
		dst = append(dst, second)
	}
	return dst, s[size:]
}
