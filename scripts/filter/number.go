package filter

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// parseNumber is StringToNumber of ECMA-262: white space around is nothing,
// nothing is 0, what is no number is NaN.
func parseNumber(s string) float64 {
	if f, ok := parseDigits(s); ok {
		return f
	}
	s = trimSpace(s)
	if s == "" {
		return 0
	}
	if len(s) > 2 && s[0] == '0' {
		switch s[1] {
		case 'x', 'X':
			return parseRadix(s[2:], 16)
		case 'o', 'O':
			return parseRadix(s[2:], 8)
		case 'b', 'B':
			return parseRadix(s[2:], 2)
		}
	}
	unsigned := s
	if s[0] == '+' || s[0] == '-' {
		unsigned = s[1:]
	}
	if unsigned == "Infinity" {
		if s[0] == '-' {
			return math.Inf(-1)
		}
		return math.Inf(1)
	}
	if !isDecimal(unsigned) {
		return math.NaN()
	}
	f, _ := strconv.ParseFloat(s, 64) // out of range gives ±Inf or 0, as it should
	return f
}

// parseDigits is the quick way for what most numbers are: up to 15 digits.
func parseDigits(s string) (f float64, ok bool) {
	if len(s) == 0 || len(s) > 15 {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + int64(c)
	}
	return float64(n), true
}

// isDecimal reports whether s is StrUnsignedDecimalLiteral but for Infinity:
// digits with at most one point, at least one digit, and an exponent.
func isDecimal(s string) bool {
	digits, rest := skipDigits(s)
	if rest != "" && rest[0] == '.' {
		more, after := skipDigits(rest[1:])
		digits, rest = digits+more, after
	}
	if digits == 0 {
		return false
	}
	if rest == "" {
		return true
	}
	if rest[0] != 'e' && rest[0] != 'E' {
		return false
	}
	if rest = rest[1:]; rest != "" && (rest[0] == '+' || rest[0] == '-') {
		rest = rest[1:]
	}
	digits, rest = skipDigits(rest)
	return digits > 0 && rest == ""
}

func skipDigits(s string) (n int, rest string) {
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n, s[n:]
}

// parseRadix reads digits of a base that is a power of two, to the nearest
// number, ties to even.
func parseRadix(digits string, base int) float64 {
	for i := range len(digits) {
		c := digits[i]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return math.NaN()
		}
		if int(c) >= base {
			return math.NaN()
		}
	}
	if n, err := strconv.ParseUint(digits, base, 53); err == nil {
		return float64(n)
	}
	n, ok := new(big.Int).SetString(digits, base)
	if !ok {
		return math.NaN()
	}
	f, _ := new(big.Float).SetInt(n).Float64()
	return f
}

// isSpace reports whether r is WhiteSpace or LineTerminator of ECMA-262: what
// trim removes and StringToNumber passes over.
func isSpace(r rune) bool {
	switch r {
	case '\t', '\n', '\v', '\f', '\r', ' ', 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000, 0xfeff:
		return true
	}
	return r >= 0x2000 && r <= 0x200a
}

// trimSpace is String.prototype.trim.
func trimSpace(s string) string { return strings.TrimFunc(s, isSpace) }

// formatNumber is Number::toString of ECMA-262 in base 10: the shortest digits
// that give the number back.
func formatNumber(f float64) string {
	if f == math.Trunc(f) && math.Abs(f) < 1e15 {
		return strconv.FormatInt(int64(f), 10)
	}
	return string(appendNumber(nil, f))
}

func appendNumber(dst []byte, f float64) []byte {
	switch {
	case f != f:
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	case f == 0:
		return append(dst, '0')
	case f == math.Trunc(f) && math.Abs(f) < 1e15:
		return strconv.AppendInt(dst, int64(f), 10)
	}
	var buf [32]byte
	e := strconv.AppendFloat(buf[:0], f, 'e', -1, 64) // [-]d[.ddd]e±dd
	if e[0] == '-' {
		dst, e = append(dst, '-'), e[1:]
	}
	mark := len(e) - 1
	for e[mark] != 'e' {
		mark--
	}
	exponent, _ := strconv.Atoi(string(e[mark+1:]))
	digits := append(e[:1:1], e[min(2, mark):mark]...)
	return appendDigits(dst, digits, exponent+1)
}

// appendDigits writes 0.digits × 10^n as ECMA-262 lays it out.
func appendDigits(dst, digits []byte, n int) []byte {
	k := len(digits)
	switch {
	case k <= n && n <= 21:
		dst = append(dst, digits...)
		for range n - k {
			dst = append(dst, '0')
		}
		return dst
	case 0 < n && n <= 21:
		dst = append(dst, digits[:n]...)
		dst = append(dst, '.')
		return append(dst, digits[n:]...)
	case -6 < n && n <= 0:
		dst = append(dst, "0."...)
		for range -n {
			dst = append(dst, '0')
		}
		return append(dst, digits...)
	}
	dst = append(dst, digits[0])
	if k > 1 {
		dst = append(dst, '.')
		dst = append(dst, digits[1:]...)
	}
	dst = append(dst, 'e')
	if n > 0 {
		dst = append(dst, '+')
	}
	return strconv.AppendInt(dst, int64(n-1), 10)
}

// arrayIndex reports whether a property name is an array index: an integer
// from 0 to 2^32-2, spelled as Number::toString does.
func arrayIndex(name string) (i uint32, ok bool) {
	if name == "" || len(name) > 10 || name[0] == '0' && len(name) > 1 {
		return 0, false
	}
	var n uint64
	for k := range len(name) {
		c := name[k] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + uint64(c)
	}
	return uint32(n), n < math.MaxUint32
}

// ascii reports whether s has only ASCII characters, so that bytes, characters
// and UTF-16 code units are the same.
func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
