package template

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

func encodingFilters() map[string]*builtin {
	return map[string]*builtin{
		"tojson":        define("value indent?", toJSONFilter),
		"to_json":       define("value ensure_ascii? pretty_print? sort_keys?", homeJSON),
		"from_json":     define("value default?", fromJSON),
		"base64_encode": define("value", encodeBase64),
		"base64_decode": define("value", decodeBase64),
		"urlencode":     define("value", encodeURL),
		"ord":           define("value", ordinal),
	}
}

// A markup is the text that tojson gives. It is text, but that Jinja2 escapes
// what + and % and methods join it with: those are not supported.
type markup string

// plain makes plain text of a markup.
func plain(v Value) Value {
	if m, ok := v.(markup); ok {
		return string(m)
	}
	return v
}

// like makes a markup of what was made of one.
func like(v Value, text string) Value {
	if is[markup](v) {
		return markup(text)
	}
	return text
}

func toJSONFilter(e *env, args []Value) Value {
	w := jsonWriter{env: e, ascii: true, html: true, sorted: true}
	if indent := orElse(args[1], nil); indent != nil {
		n, ok := integer(indent)
		if !ok || n < 1 || n > 16 {
			e.failf("tojson supports indents from 1 to 16")
		}
		w.indent = int(n)
	}
	w.value(args[0], 0)
	e.made(len(w.out))
	return markup(w.out)
}

func homeJSON(e *env, args []Value) Value {
	ascii := truth(orElse(args[1], false))
	w := jsonWriter{env: e, compact: !ascii, ascii: ascii, sorted: truth(orElse(args[3], false))}
	if truth(orElse(args[2], false)) {
		w.indent = 2
	}
	w.value(args[0], 0)
	e.made(len(w.out))
	return string(w.out)
}

func fromJSON(e *env, args []Value) Value {
	text, ok := plain(args[0]).(string)
	if ok {
		e.step(len(text) / 4)
		if v, ok := Decode([]byte(text)); ok {
			return v
		}
	}
	return e.fallback("from_json", args[0], args[1])
}

func encodeBase64(e *env, args []Value) Value {
	text := e.text(plain(args[0]), "base64_encode")
	e.made(base64.StdEncoding.EncodedLen(len(text)))
	return base64.StdEncoding.EncodeToString([]byte(text))
}

func decodeBase64(e *env, args []Value) Value {
	text := e.text(args[0], "base64_decode")
	e.made(len(text))
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err != nil || !utf8.Valid(decoded) || strings.ContainsAny(text, "\r\n") {
		e.failf("base64_decode cannot read %.100q", text)
	}
	return string(decoded)
}

// encodeURL is Jinja2's urlencode of text: / stays.
func encodeURL(e *env, args []Value) Value {
	if !is[string](plain(args[0])) && asNumber(args[0]) == nil {
		e.failf("urlencode supports text and numbers: it is of type %s", typeName(args[0]))
	}
	text := e.str(args[0])
	e.made(len(text))
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		if isDigit(c) || isLetter(c) || strings.IndexByte("_.-~/", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte("0123456789ABCDEF"[c>>4])
		b.WriteByte("0123456789ABCDEF"[c&15])
	}
	e.made(b.Len())
	return b.String()
}

func ordinal(e *env, args []Value) Value {
	text := e.text(plain(args[0]), "ord")
	r, size := utf8.DecodeRuneInString(text)
	if size == 0 || size != len(text) {
		e.failf("ord needs one character")
	}
	return int64(r)
}
