package filter

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// The methods of strings. Positions are UTF-16 code units.

type methods1 = map[string]func(m *machine, this value, args []value) value

var stringTests = methods1{
	"includes": func(m *machine, this value, args []value) value {
		s, sub := this.text(), m.searched(this, args)
		if len(args) < 2 {
			return boolValue(contains(s, sub))
		}
		return boolValue(index16(s, sub, m.clamped(args, 1, 0, length16(s))) >= 0)
	},
	"startsWith": func(m *machine, this value, args []value) value {
		s, sub := this.text(), m.searched(this, args)
		if len(args) > 1 {
			n := length16(s)
			s = slice16(s, m.clamped(args, 1, 0, n), n)
		}
		return boolValue(hasPrefix(s, sub))
	},
	"endsWith": func(m *machine, this value, args []value) value {
		s, sub := this.text(), m.searched(this, args)
		if len(args) > 1 {
			n := length16(s)
			s = slice16(s, 0, m.clamped(args, 1, n, n))
		}
		return boolValue(hasSuffix(s, sub))
	},
}

// searched is the string that a method looks for.
func (m *machine) searched(this value, args []value) string {
	sub := m.toString(argument(args, 0))
	m.spend(1 + len(this.text())/32)
	return sub
}

// clamped is an integer argument, brought into 0 to most.
func (m *machine) clamped(args []value, i, missing, most int) int {
	return min(max(m.integer(args, i, missing), 0), most)
}

// relative is clamped where negative numbers count from the end.
func (m *machine) relative(args []value, i, missing, length int) int {
	n := m.integer(args, i, missing)
	if n < 0 {
		n += length
	}
	return min(max(n, 0), length)
}

var stringNumbers = methods1{
	"indexOf": func(m *machine, this value, args []value) value {
		s, sub := this.text(), m.searched(this, args)
		return numberValue(float64(index16(s, sub, m.clamped(args, 1, 0, length16(s)))))
	},
	"lastIndexOf": func(m *machine, this value, args []value) value {
		s, sub := this.text(), m.searched(this, args)
		from := length16(s)
		if p := m.toNumber(argument(args, 1)); p == p {
			from = min(max(toInteger(p), 0), from)
		}
		return numberValue(float64(m.lastIndex16(s, sub, from)))
	},
	"charCodeAt": func(m *machine, this value, args []value) value {
		unit, ok := unitAt(this.text(), m.integer(args, 0, 0))
		if !ok {
			return numberValue(math.NaN())
		}
		r, _ := decode(unit)
		return numberValue(float64(r))
	},
}

// lastIndex16 returns the last place of sub in s that is not behind from.
func (m *machine) lastIndex16(s, sub string, from int) int {
	n := length16(sub)
	if ascii(s) {
		return strings.LastIndex(s[:min(len(s), from+n)], sub)
	}
	for i := min(from, length16(s)-n); i >= 0; i-- {
		if !m.spend(1 + len(s)/32) {
			break
		}
		if slice16(s, i, i+n) == sub {
			return i
		}
	}
	return -1
}

func stringAt(m *machine, this value, args []value) value {
	i := m.integer(args, 0, 0)
	if i < 0 {
		i += length16(this.text())
	}
	return this.at(i)
}

func stringCodePointAt(m *machine, this value, args []value) value {
	i, s := m.integer(args, 0, 0), this.text()
	unit, ok := unitAt(s, i)
	if !ok {
		return value{}
	}
	r, _ := decode(unit)
	if next, ok := unitAt(s, i+1); ok && r >= 0xd800 && r < 0xdc00 {
		if whole := concat(unit, next); len(whole) == 4 {
			r, _ = utf8.DecodeRuneInString(whole)
		}
	}
	return numberValue(float64(r))
}

var stringTexts = methods1{
	"slice": func(m *machine, this value, args []value) value {
		n := length16(this.text())
		return m.cut(this, m.relative(args, 0, 0, n), m.relative(args, 1, n, n))
	},
	"substring": func(m *machine, this value, args []value) value {
		n := length16(this.text())
		from := m.clamped(args, 0, 0, n)
		to := m.clamped(args, 1, n, n)
		return m.cut(this, min(from, to), max(from, to))
	},
	"substr": func(m *machine, this value, args []value) value {
		n := length16(this.text())
		from := m.relative(args, 0, 0, n)
		return m.cut(this, from, from+m.clamped(args, 1, n, n-from))
	},
	"charAt": func(m *machine, this value, args []value) value {
		unit, _ := unitAt(this.text(), m.integer(args, 0, 0))
		return stringValue(unit)
	},
	"concat": func(m *machine, this value, args []value) value {
		s := this.text()
		for _, a := range args {
			s = m.concat(s, m.toString(a))
		}
		return stringValue(s)
	},
	"toString": plainToString,
	"trim":     func(m *machine, this value, args []value) value { return stringValue(trimSpace(this.text())) },
	"trimStart": func(m *machine, this value, args []value) value {
		return stringValue(strings.TrimLeftFunc(this.text(), isSpace))
	},
	"trimEnd": func(m *machine, this value, args []value) value {
		return stringValue(strings.TrimRightFunc(this.text(), isSpace))
	},
	"toLowerCase": func(m *machine, this value, args []value) value {
		return m.cased(this, strings.ToLower, toLower)
	},
	"toUpperCase": func(m *machine, this value, args []value) value {
		return m.cased(this, strings.ToUpper, cases.Upper(language.Und).String)
	},
	"padStart": func(m *machine, this value, args []value) value { return m.pad(this, args, true) },
	"padEnd":   func(m *machine, this value, args []value) value { return m.pad(this, args, false) },
	"repeat":   stringRepeat,
}

// cut returns the units from up to to, nothing if they cross.
func (m *machine) cut(this value, from, to int) value {
	m.spend(1 + len(this.text())/32)
	if from >= to {
		return stringValue("")
	}
	return stringValue(slice16(this.text(), from, to))
}

// concat joins two strings, and spends what the new one takes.
func (m *machine) concat(a, b string) string {
	switch {
	case a == "":
		return b
	case b == "":
		return a
	case !m.spend(1 + (len(a)+len(b))/32):
		return ""
	}
	return concat(a, b)
}

// cased changes letters: plain is for ASCII, any for the rest of Unicode. Lone
// surrogates stay as they are.
func (m *machine) cased(this value, plain, any func(string) string) value {
	s := this.text()
	if !m.spend(1 + len(s)/32) {
		return value{}
	}
	if ascii(s) {
		return stringValue(plain(s))
	}
	if !m.spend(len(s)) {
		return value{}
	}
	var b strings.Builder
	for s != "" {
		n := 0
		for n < len(s) && !isSurrogate(s[n:]) {
			n++
		}
		b.WriteString(any(s[:n]))
		if s = s[n:]; s != "" {
			b.WriteString(s[:3])
			s = s[3:]
		}
	}
	return stringValue(b.String())
}

// toLower is the lower case of ECMA-262 and goja, which differ from Go's in
// what a sigma behind an iota subscript becomes.
func toLower(s string) string {
	s = cases.Lower(language.Und).String(s)
	if !strings.Contains(s, "\u0345\u03c2") {
		return s
	}
	r := []rune(s)
	for i := 0; i < len(r)-1; i++ {
		if (i == 0 || r[i-1] != 0x3b1) && r[i] == 0x345 && r[i+1] == 0x3c2 {
			i++
			r[i] = 0x3c3
		}
	}
	return string(r)
}

// maxPadded bounds what padStart, padEnd and repeat make, in code units.
const maxPadded = 4096

func (m *machine) pad(this value, args []value, start bool) value {
	s := this.text()
	length := toInteger(m.toNumber(argument(args, 0)))
	n := length16(s)
	if length <= n {
		return this
	}
	filler := " "
	if f := argument(args, 1); f.kind != undefined {
		filler = m.toString(f)
	}
	if filler == "" {
		return this
	}
	if length > maxPadded {
		return m.throw("Error", "padding to more than "+strconv.Itoa(maxPadded)+" characters")
	}
	m.spend(length)
	fill := filled(filler, length-n)
	if start {
		return stringValue(concat(fill, s))
	}
	return stringValue(concat(s, fill))
}

// filled repeats filler to n code units.
func filled(filler string, n int) string {
	one := length16(filler)
	s := joinSurrogates(strings.Repeat(filler, n/one))
	return concat(s, slice16(filler, 0, n%one))
}

func stringRepeat(m *machine, this value, args []value) value {
	n := m.integer(args, 0, 0)
	if n < 0 || math.IsInf(m.toNumber(argument(args, 0)), 0) {
		return m.throw("RangeError", "Invalid count value")
	}
	s := this.text()
	if s == "" || n == 0 {
		return stringValue("")
	}
	if n > maxPadded || n*length16(s) > maxPadded {
		return m.throw("Error", "repeating to more than "+strconv.Itoa(maxPadded)+" characters")
	}
	m.spend(n * len(s) / 8)
	return stringValue(joinSurrogates(strings.Repeat(s, n)))
}

func stringSplit(m *machine, this value, args []value) value {
	s := this.text()
	limit := math.MaxUint32
	if l := argument(args, 1); l.kind != undefined {
		limit = int(uint32(toInt32(m.toNumber(l))))
	}
	separator := m.toString(argument(args, 0))
	if limit == 0 || !m.spend(1+len(s)) {
		return listValue(nil)
	}
	if argument(args, 0).kind == undefined {
		return listValue([]value{this})
	}
	if separator == "" {
		items := m.units(this)
		return listValue(items[:min(len(items), limit)])
	}
	var items []value
	for limit > len(items) {
		before, after, found := cut16(s, separator)
		items = append(items, stringValue(before))
		if !found {
			break
		}
		s = after
	}
	return listValue(items)
}

// cut16 is strings.Cut, where a separator may be half of a character.
func cut16(s, separator string) (before, after string, found bool) {
	if !halves(separator) {
		return strings.Cut(s, separator)
	}
	i := index16(s, separator, 0)
	if i < 0 {
		return s, "", false
	}
	return slice16(s, 0, i), slice16(s, i+length16(separator), length16(s)), true
}

// fixed writes x with that many digits behind the point.
func fixed(x float64, digits int) string {
	sign := ""
	if x < 0 {
		sign, x = "-", -x
	}
	// A number is half way between two such texts if its last bit is worth
	// 2^-(digits+1). Go would round it to even.
	if x > 0 && fractionBits(x) == digits+1 {
		x = math.Nextafter(x, math.Inf(1))
	}
	return sign + strconv.FormatFloat(math.Abs(x), 'f', digits, 64)
}

// fractionBits is how many bits behind the binary point x needs.
func fractionBits(x float64) int {
	n := 0
	for x != math.Trunc(x) && n <= 101 {
		x *= 2
		n++
	}
	return n
}
