package template

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// braced is Python's str.format, with arguments by their places (docs.python.org, format string syntax).
func braced(e *env, s string, args []Value) Value {
	args = args[1:]
	e.step(len(s) / stepBytes)
	var b strings.Builder
	next, byPlace := 0, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		doubled := i+1 < len(s) && s[i+1] == c
		switch {
		case c != '{' && c != '}':
			b.WriteByte(c)
		case doubled:
			b.WriteByte(c)
			i++
		case c == '}':
			e.failf("a single } in a format")
		default:
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				e.failf("a { in a format has no end")
			}
			e.step(1)
			field := s[i+1 : i+end]
			i += end
			name, spec, _ := strings.Cut(field, ":")
			name, conversion, converts := strings.Cut(name, "!")
			if strings.ContainsRune(field, '{') {
				e.failf("a { within another is not supported in a format")
			}
			place := next
			if name != "" {
				n, isIndex := indexOrName(name).(int64)
				if !isIndex {
					e.failf("the name %.40q in a format is not supported: places are", name)
				}
				place = int(min(n, maxItems))
			}
			if next++; next > 1 && byPlace != (name != "") {
				e.failf("a format counts its places, or names them")
			}
			if byPlace = name != ""; place >= len(args) {
				e.failf("a format has a place %d, and %d arguments", place, len(args))
			}
			b.WriteString(e.inBraces(e.converted(args[place], conversion, converts), spec))
		}
		if b.Len() > maxString {
			break
		}
	}
	e.made(b.Len())
	return b.String()
}

// converted is !s and !r.
func (e *env) converted(v Value, conversion string, converts bool) Value {
	switch {
	case !converts:
		return v
	case conversion == "s":
		return e.str(v)
	case conversion == "r":
		return e.repr(v)
	}
	e.failf("the conversion !%.10s is not supported in a format", conversion)
	return nil
}

// A spec is what follows the colon: [[fill]align][sign][#][0][width][,][.precision][type].
type spec struct {
	fill             string
	align, sign      byte // 0: none was given
	alternate, comma bool
	zero             bool
	width, precision int // precision -1: none
	kind             byte
}

func (e *env) specOf(text string) spec {
	s := spec{fill: " ", precision: -1}
	_, size := utf8.DecodeRuneInString(text)
	isAlign := func(i int) bool { return i < len(text) && strings.IndexByte("<>=^", text[i]) >= 0 }
	switch {
	case text != "" && isAlign(size):
		s.fill, s.align, text = text[:size], text[size], text[size+1:]
	case isAlign(0):
		s.align, text = text[0], text[1:]
	}
	take := func(chars string) (c byte) {
		if text != "" && strings.IndexByte(chars, text[0]) >= 0 {
			c, text = text[0], text[1:]
		}
		return c
	}
	number := func() (n int) {
		for text != "" && isDigit(text[0]) {
			n = min(n*10+int(text[0]-'0'), maxString+1)
			text = text[1:]
		}
		e.made(n)
		return n
	}
	s.sign, s.alternate, s.zero = take("+- "), take("#") != 0, take("0") != 0
	s.width = number()
	s.comma = take(",") != 0
	if take(".") != 0 {
		if text == "" || !isDigit(text[0]) {
			e.failf("the precision is missing in a format")
		}
		s.precision = number()
	}
	if s.kind = take("sdxXobfFeEgG%"); text != "" {
		e.failf("%.20q is not supported in a format", text)
	}
	return s
}

// inBraces formats one value.
func (e *env) inBraces(v Value, text string) string {
	if text == "" {
		return e.str(v)
	}
	if m, ok := v.(moment); ok {
		return e.strftime(m, text)
	}
	s := e.specOf(text)
	if word, ok := plain(v).(string); ok {
		return e.textInBraces(s, word)
	}
	number := asNumber(v)
	if is[uint64](v) {
		e.overflow()
	}
	if number == nil || s.kind == 's' {
		e.failf("the format %.20q does not take a value of type %s", text, typeName(v))
	}
	sign, digits := e.digitsInBraces(s, number)
	if s.comma {
		digits = withCommas(digits)
	}
	switch {
	case sign != "":
	case s.sign == '+' || s.sign == ' ':
		sign = string(rune(s.sign))
	}
	if s.zero && s.align == 0 {
		if s.comma {
			e.failf("zeros and commas together are not supported in a format")
		}
		s.fill, s.align = "0", '='
	}
	if s.align == 0 {
		s.align = '>'
	}
	return e.filled(s, sign, digits)
}

func (e *env) textInBraces(s spec, text string) string {
	if s.kind != 0 && s.kind != 's' || s.sign != 0 || s.alternate || s.comma || s.align == '=' {
		e.failf("a format for a number does not take text")
	}
	if s.zero {
		e.failf("zeros for text are not supported in a format")
	}
	e.step(len(text) / stepBytes) // what is cut off is looked at, too
	if s.precision >= 0 && utf8.RuneCountInString(text) > s.precision {
		text = string([]rune(text)[:s.precision])
	}
	if s.align == 0 {
		s.align = '<'
	}
	return e.filled(s, "", text)
}

// digitsInBraces are a number's sign and the rest.
func (e *env) digitsInBraces(s spec, number Value) (sign, digits string) {
	n, isInt := number.(int64)
	if isInt && (s.kind == 0 || strings.IndexByte("dxXob", s.kind) >= 0) {
		return e.wholeInBraces(s, n)
	}
	f := asFloat(number)
	switch {
	case strings.IndexByte("dxXob", s.kind) >= 0 && s.kind != 0:
		e.failf("the format %c does not take a float", rune(s.kind))
	case s.alternate || s.kind == 0 && s.precision >= 0 || s.precision > 1000:
		e.failf("such a format of a float is not supported")
	}
	if math.Signbit(f) && !math.IsNaN(f) {
		sign = "-"
	}
	f = math.Abs(f)
	precision := s.precision
	if precision < 0 {
		precision = 6
	}
	percent := ""
	if s.kind == '%' {
		f, percent = f*100, "%"
	}
	switch {
	case math.IsNaN(f):
		digits = "nan"
	case math.IsInf(f, 0):
		digits = "inf"
	case s.kind == 0:
		digits = string(appendFloat(nil, f))
	case s.kind == 'g' || s.kind == 'G':
		digits = general(f, max(precision, 1))
	case s.kind == 'e' || s.kind == 'E':
		digits = strconv.FormatFloat(f, 'e', precision, 64)
	default:
		digits = strconv.FormatFloat(f, 'f', precision, 64)
	}
	if s.kind == 'E' || s.kind == 'F' || s.kind == 'G' {
		digits = strings.ToUpper(digits)
	}
	return sign, digits + percent
}

func (e *env) wholeInBraces(s spec, n int64) (sign, digits string) {
	base := map[byte]int{'x': 16, 'X': 16, 'o': 8, 'b': 2}[s.kind]
	switch {
	case s.precision >= 0:
		e.failf("a precision is for floats, not for whole numbers")
	case s.comma && base != 0:
		e.failf("commas are for decimal numbers")
	case base == 0:
		base = 10
	}
	if n < 0 {
		sign = "-"
	}
	digits = new(big.Int).Abs(big.NewInt(n)).Text(base)
	if s.kind == 'X' {
		digits = strings.ToUpper(digits)
	}
	if s.alternate && base != 10 {
		sign += "0" + string(rune(s.kind))
	}
	return sign, digits
}

// withCommas groups the digits before the point by three.
func withCommas(digits string) string {
	end := 0
	for end < len(digits) && isDigit(digits[end]) {
		end++
	}
	for i := end - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// filled fills up to the width.
func (e *env) filled(s spec, sign, text string) string {
	missing := s.width - utf8.RuneCountInString(sign+text)
	if missing <= 0 {
		return sign + text
	}
	e.made(missing*len(s.fill) + len(text))
	left, right := missing, 0
	switch s.align {
	case '<':
		left, right = 0, missing
	case '^':
		left, right = missing/2, missing-missing/2
	case '=':
		return sign + strings.Repeat(s.fill, missing) + text
	}
	return strings.Repeat(s.fill, left) + sign + text + strings.Repeat(s.fill, right)
}
