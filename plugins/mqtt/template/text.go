package template

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// str is Python's str().
func (e *env) str(v Value) string {
	switch v := v.(type) {
	case string:
		return v
	case markup:
		return string(v)
	case int64:
		return strconv.FormatInt(v, 10)
	}
	text := e.appendText(nil, v)
	e.made(len(text))
	return string(text)
}

// repr is Python's repr().
func (e *env) repr(v Value) string {
	text := e.appendRepr(nil, v, 0)
	e.made(len(text))
	return string(text)
}

// appendText appends what Python's str() gives.
func (e *env) appendText(out []byte, v Value) []byte {
	switch v := v.(type) {
	case string:
		return append(out, v...)
	case markup:
		return append(out, v...)
	case Undefined:
		return out
	case moment:
		return append(out, v.iso(" ", true)...)
	case lapse:
		return append(out, v.text()...)
	}
	return e.appendRepr(out, v, 0)
}

func (e *env) appendRepr(out []byte, v Value, depth int) []byte {
	switch v := v.(type) {
	case nil:
		return append(out, "None"...)
	case bool:
		if v {
			return append(out, "True"...)
		}
		return append(out, "False"...)
	case int64:
		return strconv.AppendInt(out, v, 10)
	case uint64:
		return strconv.AppendUint(out, v, 10)
	case float64:
		return appendFloat(out, v)
	case string:
		e.made(len(v))
		return appendQuoted(out, v)
	case Undefined:
		return append(out, "Undefined"...)
	case List:
		return append(e.appendItems(append(out, '['), v, depth), ']')
	case Tuple:
		out = e.appendItems(append(out, '('), List(v), depth)
		if len(v) == 1 {
			out = append(out, ',')
		}
		return append(out, ')')
	case *Dict:
		return e.appendDict(out, v, depth)
	case *view:
		out = append(append(out, v.kind...), "(["...)
		return append(e.appendItems(out, v.items, depth), "])"...)
	case span:
		out = fmt.Appendf(out, "range(%d, %d", v.start, v.stop)
		if v.step != 1 {
			out = fmt.Appendf(out, ", %d", v.step)
		}
		return append(out, ')')
	}
	e.failf("printing a %s is not supported", typeName(v))
	return nil
}

// deeper bounds how deep values are walked, and how long what is made of them gets.
func (e *env) deeper(out []byte, depth int) {
	if depth > maxDepth {
		e.failf("values nested deeper than %d", maxDepth)
	}
	if len(out) > maxOutput+maxString {
		e.failf("more than %d bytes of output", maxOutput)
	}
	e.step(1)
}

func (e *env) appendItems(out []byte, items List, depth int) []byte {
	for i, item := range items {
		e.deeper(out, depth)
		if i > 0 {
			out = append(out, ", "...)
		}
		out = e.appendRepr(out, item, depth+1)
	}
	return out
}

func (e *env) appendDict(out []byte, d *Dict, depth int) []byte {
	out = append(out, '{')
	for i := range d.entries {
		e.deeper(out, depth)
		if i > 0 {
			out = append(out, ", "...)
		}
		out = e.appendRepr(out, d.entries[i].key, depth+1)
		out = append(out, ": "...)
		out = e.appendRepr(out, d.entries[i].value, depth+1)
	}
	return append(out, '}')
}

// appendFloat prints as Python's repr does: the shortest digits that give the
// number back, with an exponent below 1e-4 and from 1e16 on.
func appendFloat(out []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(out, "nan"...)
	case math.IsInf(f, 1):
		return append(out, "inf"...)
	case math.IsInf(f, -1):
		return append(out, "-inf"...)
	}
	if size := math.Abs(f); size != 0 && (size < 1e-4 || size >= 1e16) {
		return strconv.AppendFloat(out, f, 'e', -1, 64)
	}
	start := len(out)
	out = strconv.AppendFloat(out, f, 'f', -1, 64)
	for _, c := range out[start:] {
		if c == '.' {
			return out
		}
	}
	return append(out, ".0"...)
}

// appendQuoted prints as Python's repr of a string does.
func appendQuoted(out []byte, text string) []byte {
	quote := byte('\'')
	if strings.IndexByte(text, '\'') >= 0 && strings.IndexByte(text, '"') < 0 {
		quote = '"'
	}
	out = append(out, quote)
	for _, r := range text {
		switch {
		case r == rune(quote) || r == '\\':
			out = append(out, '\\', byte(r))
		case r == '\n':
			out = append(out, `\n`...)
		case r == '\r':
			out = append(out, `\r`...)
		case r == '\t':
			out = append(out, `\t`...)
		case unicode.IsPrint(r):
			out = utf8.AppendRune(out, r)
		case r < 0x100:
			out = fmt.Appendf(out, `\x%02x`, r)
		case r < 0x10000:
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			out = fmt.Appendf(out, `\U%08x`, r)
		}
	}
	return append(out, quote)
}
