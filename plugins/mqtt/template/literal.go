package template

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Jinja2's forms of numbers (jinja2/lexer.py, integer_re and float_re).
var (
	floatForm = regexp.MustCompile(`^(?i)(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?e[+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)`)
	intForm   = regexp.MustCompile(`^(?i)(?:0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*)`)
)

func (l *lexer) number() {
	start := l.i
	rest := l.text[start:]
	afterDot := start > 0 && l.text[start-1] == '.'
	if text := floatForm.FindString(rest); text != "" && !afterDot {
		l.i += len(text)
		f, _ := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64) // too large is inf, as in Python
		l.tokens = append(l.tokens, token{kind: literal, text: text, val: f, at: start})
		return
	}
	text := intForm.FindString(rest)
	l.i += len(text)
	digits := strings.ReplaceAll(text, "_", "")
	if strings.Trim(digits, "0") == "" {
		digits = "0"
	}
	n, err := strconv.ParseInt(digits, 0, 64)
	if err != nil {
		l.fail(start, "whole numbers beyond 64 bits are not supported")
	}
	l.tokens = append(l.tokens, token{kind: literal, text: text, val: n, at: start})
}

func (l *lexer) str() {
	start := l.i
	quote := l.text[start]
	for l.i++; ; l.i++ {
		if l.i >= len(l.text) {
			l.fail(start, "the string has no end")
		}
		if l.text[l.i] == '\\' {
			l.i++
			continue
		}
		if l.text[l.i] == quote {
			break
		}
	}
	l.i++
	raw := l.text[start+1 : l.i-1]
	if strings.IndexByte(raw, '\\') >= 0 {
		raw = l.unescape(raw, start+1)
	}
	l.tokens = append(l.tokens, token{kind: literal, text: l.text[start:l.i], val: raw, at: start})
}

// unescape is Python's unicode-escape: an escape that it does not know stays.
func (l *lexer) unescape(raw string, at int) string {
	var b strings.Builder
	for i := 0; i < len(raw); {
		if raw[i] != '\\' || i+1 >= len(raw) {
			b.WriteByte(raw[i])
			i++
			continue
		}
		c := raw[i+1]
		switch {
		case strings.IndexByte("abfnrtv", c) >= 0:
			b.WriteByte("\a\b\f\n\r\t\v"[strings.IndexByte("abfnrtv", c)])
			i += 2
		case c == '\\' || c == '\'' || c == '"':
			b.WriteByte(c)
			i += 2
		case c == '\n':
			i += 2
		case c >= '0' && c <= '7':
			i += l.octal(&b, raw[i:])
		case c == 'x' || c == 'u' || c == 'U':
			i += l.hex(&b, raw[i:], at+i)
		case c == 'N':
			l.fail(at+i, `the escape \N is not supported`)
		default:
			b.WriteByte('\\')
			i++
		}
	}
	return b.String()
}

func (l *lexer) octal(b *strings.Builder, raw string) int {
	n, i := rune(0), 1
	for ; i < len(raw) && i < 4 && raw[i] >= '0' && raw[i] <= '7'; i++ {
		n = n*8 + rune(raw[i]-'0')
	}
	b.WriteRune(n)
	return i
}

func (l *lexer) hex(b *strings.Builder, raw string, at int) int {
	size := map[byte]int{'x': 2, 'u': 4, 'U': 8}[raw[1]]
	if len(raw) < 2+size {
		l.fail(at, `the escape \%c needs %d hexadecimal digits`, raw[1], size)
	}
	n, err := strconv.ParseUint(raw[2:2+size], 16, 32)
	if err != nil {
		l.fail(at, `the escape \%c needs %d hexadecimal digits`, raw[1], size)
	}
	if n > utf8.MaxRune || !utf8.ValidRune(rune(n)) {
		l.fail(at, `the escape \%c gives no character`, raw[1])
	}
	b.WriteRune(rune(n))
	return 2 + size
}
