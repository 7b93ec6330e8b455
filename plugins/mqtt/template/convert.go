package template

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
)

// An outcome says how a conversion went. Home Assistant gives the default only
// for values that it cannot read; what does not fit always fails.
type outcome uint8

const (
	fine outcome = iota
	unreadable
	tooLarge
)

// toFloat is Python's float().
func (e *env) toFloat(v Value) (float64, outcome) {
	if u, ok := v.(Undefined); ok {
		e.undefined(u)
	}
	if number := asNumber(v); number != nil {
		return asFloat(number), fine
	}
	switch v := plain(v).(type) {
	case uint64:
		return float64(v), fine
	case string:
		return e.parseFloat(v)
	}
	return 0, unreadable
}

func (e *env) parseFloat(text string) (float64, outcome) {
	e.step(len(text) / stepBytes)
	text = e.plainDigits(trim(text))
	body := strings.TrimLeft(text, "+-")
	if len(text)-len(body) > 1 || body == "" {
		return 0, unreadable
	}
	switch strings.ToLower(body) {
	case "nan", "inf", "infinity":
	default:
		if !isDigit(body[0]) && body[0] != '.' || strings.ContainsAny(body, "xXpP") {
			return 0, unreadable
		}
		if body, ok := withoutUnderscores(text); ok {
			text = body
		} else {
			return 0, unreadable
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil && !math.IsInf(f, 0) {
		return 0, unreadable
	}
	return f, fine
}

// withoutUnderscores removes underscores, which must stand between digits.
func withoutUnderscores(text string) (string, bool) {
	if strings.IndexByte(text, '_') < 0 {
		return text, true
	}
	for i := range len(text) {
		if text[i] == '_' && (i == 0 || i == len(text)-1 || !isDigit(text[i-1]) || !isDigit(text[i+1])) {
			return "", false
		}
	}
	return strings.ReplaceAll(text, "_", ""), true
}

// plainDigits fails for digits of other scripts, which Python would read.
func (e *env) plainDigits(text string) string {
	for _, r := range text {
		if r > unicode.MaxASCII && unicode.Is(unicode.Nd, r) {
			e.failf("digits like %q are not supported", r)
		}
	}
	return text
}

// toInt is Jinja2's int filter: int(value, base), and int(float(value)) where
// that cannot be read.
func (e *env) toInt(v Value, base Value) (int64, outcome) {
	switch v := plain(v).(type) {
	case Undefined:
		e.undefined(v)
	case int64:
		return v, fine
	case bool:
		return intOf(v), fine
	case uint64:
		e.overflow()
	case float64:
		return e.truncate(v)
	case string:
		if n, ok := integer(base); ok {
			if i, how := e.parseInt(v, n); how != unreadable {
				return i, how
			}
		}
		f, how := e.parseFloat(v)
		if how != fine {
			return 0, how
		}
		return e.truncate(f)
	}
	return 0, unreadable
}

func (e *env) truncate(f float64) (int64, outcome) {
	switch {
	case math.IsNaN(f):
		return 0, unreadable
	case math.IsInf(f, 0):
		return 0, tooLarge
	}
	f = math.Trunc(f)
	if f < -1<<63 || f >= 1<<63 {
		e.overflow()
	}
	return int64(f), fine
}

// parseInt is Python's int(text, base).
func (e *env) parseInt(text string, base int64) (int64, outcome) {
	if base != 0 && (base < 2 || base > 36) {
		return 0, unreadable
	}
	e.step(len(text) / stepBytes)
	text = e.plainDigits(trim(text))
	sign, body := "", text
	if strings.HasPrefix(body, "+") || strings.HasPrefix(body, "-") {
		sign, body = body[:1], body[1:]
	}
	body, base, ok := withoutPrefix(body, base)
	if !ok {
		return 0, unreadable
	}
	for i := range len(body) { // an underscore stands between digits
		if body[i] == '_' && (i == 0 || i == len(body)-1 || body[i-1] == '_') {
			return 0, unreadable
		}
	}
	body = strings.ReplaceAll(body, "_", "")
	if body == "" || body[0] == '+' || body[0] == '-' {
		return 0, unreadable
	}
	i, err := strconv.ParseInt(sign+body, int(base), 64)
	if err == nil {
		return i, fine
	}
	if len(body) > 4000 {
		return 0, unreadable // Python reads no more than 4,300 digits
	}
	if _, ok := new(big.Int).SetString(body, int(base)); ok {
		e.overflow()
	}
	return 0, unreadable
}

// withoutPrefix takes 0x and the like from a number that may have it.
func withoutPrefix(body string, base int64) (string, int64, bool) {
	prefixed := int64(0)
	if len(body) > 2 && body[0] == '0' {
		switch body[1] | 0x20 {
		case 'x':
			prefixed = 16
		case 'o':
			prefixed = 8
		case 'b':
			prefixed = 2
		}
	}
	switch {
	case prefixed != 0 && (base == 0 || base == prefixed):
		return strings.TrimPrefix(body[2:], "_"), prefixed, true
	case base != 0:
		return body, base, true
	case len(body) > 1 && body[0] == '0':
		return body, 10, strings.Trim(body, "0_") == ""
	}
	return body, 10, true
}

// roundTo is Python's round(f, digits): to the nearest, and where two are as near,
// to the even one, of the exact value.
func roundTo(f float64, digits int64) float64 {
	switch {
	case f == 0 || math.IsNaN(f) || math.IsInf(f, 0) || digits > 330:
		return f
	case digits < -310:
		return math.Copysign(0, f)
	case digits >= 0:
		rounded, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'f', int(digits), 64), 64)
		return rounded
	}
	text := strconv.FormatFloat(f, 'e', 17, 64)
	exponent, _ := strconv.Atoi(text[strings.IndexByte(text, 'e')+1:])
	if exponent < int(-digits)-1 {
		return math.Copysign(0, f)
	}
	if exponent == int(-digits)-1 { // below one unit: it is one or none
		unit, _ := strconv.ParseFloat("1e"+strconv.FormatInt(-digits, 10), 64)
		if math.Abs(f) > unit/2 {
			return math.Copysign(unit, f)
		}
		return math.Copysign(0, f)
	}
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'e', exponent+int(digits), 64), 64)
	return rounded
}

// toBool is Home Assistant's boolean (helpers/config_validation.py).
func toBool(v Value) (value, ok bool) {
	switch v := plain(v).(type) {
	case bool:
		return v, true
	case int64:
		return v != 0, true
	case float64:
		return v != 0, true
	case string:
		switch strings.ToLower(trim(v)) {
		case "1", "true", "yes", "on", "enable":
			return true, true
		case "0", "false", "no", "off", "disable":
			return false, true
		}
	}
	return false, false
}
