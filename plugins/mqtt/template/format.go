package template

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A formatter is Python's % for text (docs.python.org, printf-style formatting).
type formatter struct {
	*env
	format string
	i      int
	out    []byte
	args   List
	single bool // args is one value that is no tuple
	used   int
}

// A directive is one % of a format.
type directive struct {
	minus, plus, space, alternate, zero bool
	width, precision                    int // precision -1: none
}

func (e *env) formatted(format string, args Value) Value {
	f := formatter{env: e, format: format}
	e.made(len(format))
	if tuple, ok := args.(Tuple); ok {
		f.args = List(tuple)
	} else {
		f.args, f.single = List{args}, true
	}
	for f.i < len(format) {
		c := format[f.i]
		f.i++
		if c != '%' {
			f.out = append(f.out, c)
			continue
		}
		f.directive()
		e.made(len(f.out))
	}
	if f.used < len(f.args) && !(f.single && is[*Dict](args) || f.single && is[List](args)) {
		e.failf("not all arguments of the format are used")
	}
	e.made(len(f.out))
	return string(f.out)
}

func (f *formatter) next() Value {
	if f.used >= len(f.args) {
		f.failf("the format needs more arguments")
	}
	f.used++
	return f.args[f.used-1]
}

func (f *formatter) peek() byte {
	if f.i >= len(f.format) {
		f.failf("the format is incomplete")
	}
	return f.format[f.i]
}

func (f *formatter) directive() {
	d := directive{precision: -1}
	var arg Value = missing{}
	if f.peek() == '(' {
		arg = f.named()
	}
	f.flags(&d)
	d.width = f.size(&d)
	if f.peek() == '.' {
		f.i++
		d.precision = max(f.size(nil), 0)
	}
	for strings.IndexByte("hlL", f.peek()) >= 0 {
		f.i++
	}
	c := f.peek()
	f.i++
	if c == '%' {
		f.out = append(f.out, '%')
		return
	}
	if strings.IndexByte("srdiufFeEgGxXoca", c) < 0 {
		f.failf("the format %%%c is not supported", rune(c))
	}
	if !given(arg) {
		arg = f.next()
	}
	f.convert(c, d, arg)
}

// named takes %(name)s from a dict.
func (f *formatter) named() Value {
	end := strings.IndexByte(f.format[f.i:], ')')
	var d *Dict
	if f.single {
		d, _ = f.args[0].(*Dict)
	}
	if end < 0 || d == nil {
		f.failf("a format with names needs a dict")
	}
	name := f.format[f.i+1 : f.i+end]
	f.i += end + 1
	v, ok := d.Get(name)
	if !ok {
		f.failf("the format's name %.40q is not in the dict", name)
	}
	return v
}

func (f *formatter) flags(d *directive) {
	for ; ; f.i++ {
		switch f.peek() {
		case '-':
			d.minus = true
		case '+':
			d.plus = true
		case ' ':
			d.space = true
		case '#':
			d.alternate = true
		case '0':
			d.zero = true
		default:
			return
		}
	}
}

// size reads a width or a precision, which * takes from the arguments.
func (f *formatter) size(d *directive) int {
	n := int64(0)
	if f.peek() == '*' {
		f.i++
		i, ok := f.next().(int64)
		if !ok {
			f.failf("* in a format needs a whole number")
		}
		if n = i; n < 0 && d != nil {
			d.minus, n = true, -n
		}
	}
	for isDigit(f.peek()) {
		n = min(n*10+int64(f.peek()-'0'), 1<<40)
		f.i++
	}
	if n > maxString || n < -maxString {
		f.failf("a string of more than %d bytes", maxString)
	}
	return int(n)
}

func (f *formatter) convert(c byte, d directive, arg Value) {
	switch c {
	case 's', 'r', 'a':
		f.text(c, d, arg)
	case 'c':
		f.character(d, arg)
	case 'd', 'i', 'u':
		f.whole(d, arg)
	case 'x', 'X', 'o':
		f.based(c, d, arg)
	default:
		f.float(c, d, arg)
	}
}

func (f *formatter) text(c byte, d directive, arg Value) {
	text := ""
	switch c {
	case 's':
		text = f.str(arg)
	case 'r':
		text = f.repr(arg)
	default:
		f.failf("the format %%a is not supported")
	}
	if d.precision >= 0 && utf8.RuneCountInString(text) > d.precision {
		text = string([]rune(text)[:d.precision])
	}
	d.zero = false
	f.pad(d, "", text)
}

func (f *formatter) character(d directive, arg Value) {
	text, ok := arg.(string)
	if i, isInt := integer(arg); isInt {
		text, ok = string(rune(i)), i >= 0 && i <= utf8.MaxRune && utf8.ValidRune(rune(i))
	}
	if !ok || utf8.RuneCountInString(text) != 1 {
		f.failf("the format %%c needs one character")
	}
	d.zero = false
	f.pad(d, "", text)
}

func (f *formatter) sign(d directive, negative bool) string {
	switch {
	case negative:
		return "-"
	case d.plus:
		return "+"
	case d.space:
		return " "
	}
	return ""
}

// whole formats %d, which cuts floats off.
func (f *formatter) whole(d directive, arg Value) {
	var n *big.Int
	switch number := asNumber(arg).(type) {
	case int64:
		n = big.NewInt(number)
	case float64:
		if math.IsNaN(number) || math.IsInf(number, 0) {
			f.failf("the format %%d needs a finite number")
		}
		n, _ = big.NewFloat(number).Int(nil)
	default:
		if u, ok := arg.(Undefined); ok {
			f.undefined(u)
		}
		f.failf("the format %%d needs a number: it is of type %s", typeName(arg))
	}
	digits := new(big.Int).Abs(n).String()
	f.number(d, f.sign(d, n.Sign() < 0), digits)
}

func (f *formatter) based(c byte, d directive, arg Value) {
	n, ok := integer(arg)
	if !ok {
		f.failf("the format %%%c needs a whole number: it is of type %s", rune(c), typeName(arg))
	}
	base := 16
	if c == 'o' {
		base = 8
	}
	size := uint64(n)
	if n < 0 {
		size = -size
	}
	digits := strconv.FormatUint(size, base)
	sign := f.sign(d, n < 0)
	if d.alternate {
		sign += "0" + string(rune(c))
	}
	if c == 'X' {
		digits = strings.ToUpper(digits)
	}
	f.number(d, sign, digits)
}

// number pads a whole number's digits to the precision, then all to the width.
func (f *formatter) number(d directive, sign, digits string) {
	if missing := d.precision - len(digits); missing > 0 {
		f.made(missing)
		digits = strings.Repeat("0", missing) + digits
	}
	f.pad(d, sign, digits)
}

func (f *formatter) float(c byte, d directive, arg Value) {
	number := asNumber(arg)
	if number == nil {
		if u, ok := arg.(Undefined); ok {
			f.undefined(u)
		}
		f.failf("the format %%%c needs a number: it is of type %s", rune(c), typeName(arg))
	}
	if d.alternate {
		f.failf("the format %%#%c is not supported", rune(c))
	}
	precision := d.precision
	if precision < 0 {
		precision = 6
	}
	if precision > 1000 {
		f.failf("a precision of more than 1000 in a format is not supported")
	}
	v := asFloat(number)
	sign := f.sign(d, math.Signbit(v) && !math.IsNaN(v))
	v = math.Abs(v)
	text := ""
	switch {
	case math.IsNaN(v):
		text = "nan"
	case math.IsInf(v, 0):
		text = "inf"
	case c == 'g' || c == 'G':
		text = general(v, max(precision, 1))
	default:
		text = strconv.FormatFloat(v, c|0x20, precision, 64)
	}
	if c < 'a' {
		text = strings.ToUpper(text)
	}
	f.pad(d, sign, text)
}

// general is C's %g: an exponent below 1e-4 and from the precision on, no zeros
// at the end.
func general(v float64, precision int) string {
	text := strconv.FormatFloat(v, 'e', precision-1, 64)
	exponent, _ := strconv.Atoi(text[strings.IndexByte(text, 'e')+1:])
	if exponent >= -4 && exponent < precision {
		text = strconv.FormatFloat(v, 'f', precision-1-exponent, 64)
		if strings.IndexByte(text, '.') >= 0 {
			text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
		}
		return text
	}
	digits, power, _ := strings.Cut(text, "e")
	if strings.IndexByte(digits, '.') >= 0 {
		digits = strings.TrimRight(strings.TrimRight(digits, "0"), ".")
	}
	return digits + "e" + power
}

// pad fills up to the width, with zeros behind the sign or with spaces.
func (f *formatter) pad(d directive, sign, text string) {
	missing := d.width - len(sign) - utf8.RuneCountInString(text)
	if missing <= 0 {
		f.out = append(append(f.out, sign...), text...)
		return
	}
	f.made(missing + len(text))
	switch {
	case d.minus:
		f.out = append(append(append(f.out, sign...), text...), strings.Repeat(" ", missing)...)
	case d.zero:
		f.out = append(append(append(f.out, sign...), strings.Repeat("0", missing)...), text...)
	default:
		f.out = append(append(append(f.out, strings.Repeat(" ", missing)...), sign...), text...)
	}
}
