package template

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ToJSON writes a value as Home Assistant's to_json does (orjson): without
// spaces, not only ASCII, NaN and the infinities as null.
func ToJSON(v Value) (text []byte, err error) {
	e := &env{t: &Template{}}
	defer recovered(&err)
	w := jsonWriter{env: e, compact: true}
	w.value(v, 0)
	return w.out, nil
}

// A jsonWriter writes JSON as orjson does, or as Python's json does.
type jsonWriter struct {
	*env
	out     []byte
	compact bool // orjson's: no spaces, its floats, null for NaN
	ascii   bool // other characters as \u
	html    bool // <, >, & and ' as \u: Jinja2's tojson
	sorted  bool
	indent  int // 0: all in one line
}

func (w *jsonWriter) value(v Value, depth int) {
	w.deeper(w.out, depth)
	switch v := v.(type) {
	case nil:
		w.out = append(w.out, "null"...)
	case bool:
		w.out = strconv.AppendBool(w.out, v)
	case int64:
		w.out = strconv.AppendInt(w.out, v, 10)
	case uint64:
		w.out = strconv.AppendUint(w.out, v, 10)
	case float64:
		w.float(v)
	case string:
		w.str(v)
	case List:
		w.list(v, depth)
	case Tuple:
		w.list(List(v), depth)
	case *Dict:
		w.dict(v, depth)
	default:
		w.failf("JSON has no values of type %s", typeName(v))
	}
}

func (w *jsonWriter) float(f float64) {
	switch {
	case !w.compact && math.IsNaN(f):
		w.out = append(w.out, "NaN"...)
	case !w.compact && math.IsInf(f, 0):
		w.out = append(w.out, map[bool]string{true: "Infinity", false: "-Infinity"}[f > 0]...)
	case !w.compact:
		w.out = appendFloat(w.out, f)
	case math.IsNaN(f) || math.IsInf(f, 0):
		w.out = append(w.out, "null"...)
	default:
		w.out = appendCompactFloat(w.out, f)
	}
}

// appendCompactFloat prints a float as orjson does: with an exponent without a
// plus sign or zeros, below 1e-5 and from 1e16 on.
func appendCompactFloat(out []byte, f float64) []byte {
	size := math.Abs(f)
	if size >= 1e-5 && size < 1e-4 {
		return strconv.AppendFloat(out, f, 'f', -1, 64)
	}
	if size == 0 || size >= 1e-5 && size < 1e16 {
		return appendFloat(out, f)
	}
	text := strconv.FormatFloat(f, 'e', -1, 64)
	digits, exponent, _ := strings.Cut(text, "e")
	n, _ := strconv.Atoi(exponent)
	return strconv.AppendInt(append(append(out, digits...), 'e'), int64(n), 10)
}

func (w *jsonWriter) str(text string) {
	w.made(len(text))
	w.out = append(w.out, '"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			w.out = append(w.out, '\\', byte(r))
		case r < 0x20:
			w.control(r)
		case w.html && (r == '<' || r == '>' || r == '&' || r == '\''), w.ascii && r >= 0x7f && r < 0x10000 && (r != 0x7f):
			w.out = fmt.Appendf(w.out, `\u%04x`, r)
		case w.ascii && r >= 0x10000:
			high, low := utf16.EncodeRune(r)
			w.out = fmt.Appendf(w.out, `\u%04x\u%04x`, high, low)
		default:
			w.out = utf8.AppendRune(w.out, r)
		}
	}
	w.out = append(w.out, '"')
}

func (w *jsonWriter) control(r rune) {
	if i := strings.IndexRune("\b\t\n\f\r", r); i >= 0 {
		w.out = append(w.out, '\\', "btnfr"[i])
		return
	}
	w.out = fmt.Appendf(w.out, `\u%04x`, r)
}

// between writes what separates items, and ends the last one.
func (w *jsonWriter) between(first bool, depth int) {
	if !first {
		w.out = append(w.out, ',')
	}
	switch {
	case w.indent > 0:
		w.made(w.indent * depth)
		w.out = append(w.out, '\n')
		w.out = append(w.out, strings.Repeat(" ", w.indent*depth)...)
	case !first && !w.compact:
		w.out = append(w.out, ' ')
	}
}

func (w *jsonWriter) list(items List, depth int) {
	if len(items) == 0 {
		w.out = append(w.out, "[]"...)
		return
	}
	w.out = append(w.out, '[')
	for i, item := range items {
		w.between(i == 0, depth+1)
		w.value(item, depth+1)
	}
	w.close(']', depth)
}

func (w *jsonWriter) close(bracket byte, depth int) {
	if w.indent > 0 {
		w.between(true, depth)
	}
	w.out = append(w.out, bracket)
}

func (w *jsonWriter) dict(d *Dict, depth int) {
	if d.Len() == 0 {
		w.out = append(w.out, "{}"...)
		return
	}
	w.out = append(w.out, '{')
	for i, each := range w.entries(d) {
		w.between(i == 0, depth+1)
		w.str(w.key(each.key))
		w.out = append(w.out, ':')
		if !w.compact || w.indent > 0 {
			w.out = append(w.out, ' ')
		}
		w.value(each.value, depth+1)
	}
	w.close('}', depth)
}

// entries are a dict's in the order in which they are written. orjson sorts by
// the text of the keys, Python by the keys.
func (w *jsonWriter) entries(d *Dict) []entry {
	if !w.sorted {
		return d.entries
	}
	entries := slices.Clone(d.entries)
	slices.SortStableFunc(entries, func(a, b entry) int {
		w.step(1)
		if w.compact {
			return strings.Compare(w.key(a.key), w.key(b.key))
		}
		switch {
		case w.less(a.key, b.key, false, 0):
			return -1
		case w.less(b.key, a.key, false, 0):
			return 1
		}
		return 0
	})
	return entries
}

func (w *jsonWriter) key(key Value) string {
	switch key := key.(type) {
	case string:
		return key
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(key)
	case int64:
		return strconv.FormatInt(key, 10)
	case uint64:
		return strconv.FormatUint(key, 10)
	case float64:
		inner := jsonWriter{env: w.env, compact: w.compact}
		inner.float(key)
		return string(inner.out)
	}
	w.failf("JSON has no keys of type %s", typeName(key))
	return ""
}
