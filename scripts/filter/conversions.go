package filter

import (
	"math"
	"strconv"
)

// toNumber is ToNumber, with its throw.
func (m *machine) toNumber(v value) float64 {
	if v.kind == number {
		return v.num()
	}
	if !m.readable(v) {
		return 0
	}
	f, ok := v.toNumber()
	if !ok {
		m.typeError(cannotConvert)
	}
	return f
}

// toString is ToString, with its throw.
func (m *machine) toString(v value) string {
	if v.kind == str {
		return v.text()
	}
	if !m.readable(v) {
		return ""
	}
	s, ok := v.toString()
	if !ok {
		m.typeError(cannotConvert)
	}
	return s
}

// primitive is ToPrimitive, with its throw.
func (m *machine) primitive(v value) value {
	if !v.container() || !m.readable(v) {
		return v
	}
	p, ok := v.primitive()
	if !ok {
		m.typeError(cannotConvert)
	}
	return p
}

// readable spends what making a string of v takes, and reports whether that
// may be done.
func (m *machine) readable(v value) bool {
	return v.kind != list || m.spend(m.weight(v))
}

// weight is about what making a string of a list takes.
func (m *machine) weight(v value) int {
	units := 1
	for _, item := range v.node().items {
		switch item.kind {
		case str:
			units += 1 + len(item.text())/32
		case list:
			if units += m.weight(item); units > maxWork {
				return units
			}
		default:
			units++
		}
	}
	return units
}

// integer is ToIntegerOrInfinity of an argument; missing is what undefined
// means.
func (m *machine) integer(args []value, i, missing int) int {
	v := argument(args, i)
	if v.kind == undefined {
		return missing
	}
	return toInteger(m.toNumber(v))
}

func toNumberFunction(m *machine, args []value) value {
	if len(args) == 0 {
		return numberValue(0)
	}
	return numberValue(m.toNumber(args[0]))
}

func toStringFunction(m *machine, args []value) value {
	if len(args) == 0 {
		return stringValue("")
	}
	return stringValue(m.toString(args[0]))
}

// parseFloat is the global function: the longest decimal literal that s begins
// with.
func parseFloat(s string) float64 {
	s = trimSpace(s)
	n := 0
	if n < len(s) && (s[n] == '+' || s[n] == '-') {
		n++
	}
	if len(s)-n >= 8 && s[n:n+8] == "Infinity" {
		return parseNumber(s[:n+8])
	}
	digits, rest := skipDigits(s[n:])
	n += digits
	if rest != "" && rest[0] == '.' {
		more, _ := skipDigits(rest[1:])
		digits += more
		n += 1 + more
	}
	if digits == 0 {
		return math.NaN()
	}
	if n < len(s) && (s[n] == 'e' || s[n] == 'E') {
		e := n + 1
		if e < len(s) && (s[e] == '+' || s[e] == '-') {
			e++
		}
		if more, _ := skipDigits(s[e:]); more > 0 {
			n = e + more
		}
	}
	f, _ := strconv.ParseFloat(s[:n], 64) // out of range gives ±Inf or 0, as it should
	return f
}

func parseIntFunction(m *machine, args []value) value {
	s := m.toString(argument(args, 0))
	radix := 0
	if len(args) > 1 {
		radix = int(toInt32(m.toNumber(args[1])))
	}
	return numberValue(parseInt(trimSpace(s), radix))
}

// parseInt is the global function, of text without space before it.
func parseInt(s string, radix int) float64 {
	negative := false
	if s != "" && (s[0] == '+' || s[0] == '-') {
		negative, s = s[0] == '-', s[1:]
	}
	if radix != 0 && (radix < 2 || radix > 36) {
		return math.NaN()
	}
	if (radix == 0 || radix == 16) && len(s) >= 2 && s[0] == '0' && s[1]|0x20 == 'x' {
		radix, s = 16, s[2:]
	}
	if radix == 0 {
		radix = 10
	}
	n := 0
	for n < len(s) && digitOf(s[n]) < radix {
		n++
	}
	f := math.NaN()
	if n > 0 {
		f = digitsValue(s[:n], radix)
	}
	if negative {
		return -f
	}
	return f
}

func digitOf(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'z':
		return int(c|0x20-'a') + 10
	}
	return 99
}

// digitsValue is the number that digits of a radix are: exact up to 63 bits,
// beyond that rounded at each digit, as ECMA-262 leaves open and goja does.
func digitsValue(digits string, radix int) float64 {
	f, n, exact := 0.0, int64(0), true
	for i := range len(digits) {
		d := int64(digitOf(digits[i]))
		if exact && n > (math.MaxInt64-d)/int64(radix) {
			f, exact = float64(n), false
		}
		if exact {
			n = n*int64(radix) + d
		} else {
			f = f*float64(radix) + float64(d)
		}
	}
	if exact {
		return float64(n)
	}
	return f
}
