package template

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

func textFilters() map[string]*builtin {
	return map[string]*builtin{
		"lower":      define("s", func(e *env, args []Value) Value { return like(args[0], e.lower(e.str(args[0]))) }),
		"upper":      define("s", func(e *env, args []Value) Value { return like(args[0], e.upper(e.str(args[0]))) }),
		"title":      define("s", titleFilter),
		"capitalize": define("s", func(e *env, args []Value) Value { return like(args[0], e.capitalize(e.str(args[0]))) }),
		"trim":       define("value chars?", func(e *env, args []Value) Value { return like(args[0], e.strip(e.str(args[0]), args[1], true, true)) }),
		"replace":    define("s old new count?", replaceFilter),
		"string":     define("s", func(e *env, args []Value) Value { return like(args[0], e.str(args[0])) }),
		"format": {params: []string{"value"}, rest: true, call: func(e *env, args []Value) Value {
			if is[markup](args[0]) {
				e.failf("format of what tojson gave is not supported")
			}
			return e.formatted(e.str(args[0]), append(Tuple(nil), args[1:]...))
		}},
	}
}

func (e *env) lower(text string) string {
	e.made(len(text))
	if isASCII(text) {
		return strings.ToLower(text)
	}
	return cases.Lower(language.Und).String(text)
}

func (e *env) upper(text string) string {
	e.made(len(text))
	if isASCII(text) {
		return strings.ToUpper(text)
	}
	text = cases.Upper(language.Und).String(text)
	e.made(len(text))
	return text
}

// firstUpper makes one character a capital.
func (e *env) firstUpper(r rune) string {
	if r > unicode.MaxASCII && (len([]rune(e.upper(string(r)))) != 1 || unicode.ToTitle(r) != unicode.ToUpper(r)) {
		e.failf("the capital of %q is not supported", r)
	}
	return string(unicode.ToUpper(r))
}

func (e *env) capitalize(text string) string {
	for i, r := range text {
		if i == 0 {
			return e.firstUpper(r) + e.lower(text[len(string(r)):])
		}
	}
	return ""
}

// titleFilter makes capitals where words begin: after spaces, - and brackets.
func titleFilter(e *env, args []Value) Value {
	return e.titled(e.str(args[0]), func(r rune) bool { return isSpace(r) || strings.ContainsRune("-({[<", r) })
}

// titled makes a capital of each character behind one that separates words.
func (e *env) titled(text string, separates func(rune) bool) string {
	text = e.lower(text)
	var b strings.Builder
	begins := true
	for _, r := range text {
		if begins {
			b.WriteString(e.firstUpper(r))
		} else {
			b.WriteRune(r)
		}
		begins = separates(r)
	}
	return b.String()
}

// strip is Python's strip, lstrip and rstrip.
func (e *env) strip(text string, chars Value, left, right bool) string {
	inSet := isSpace
	if given(chars) && chars != nil {
		set, ok := chars.(string)
		if !ok {
			e.typeError(chars, "strip needs characters as text")
		}
		e.made(len(set))
		inSet = func(r rune) bool { e.step(len(set) / stepBytes); return strings.ContainsRune(set, r) }
	}
	e.step(len(text) / stepBytes)
	if left {
		text = strings.TrimLeftFunc(text, inSet)
	}
	if right {
		text = strings.TrimRightFunc(text, inSet)
	}
	return text
}

func replaceFilter(e *env, args []Value) Value {
	count := orElse(args[3], nil)
	if count == nil {
		count = int64(-1)
	}
	n, ok := integer(count)
	if !ok {
		e.typeError(count, "replace needs a whole number as its count")
	}
	return e.replace(e.str(args[0]), e.str(args[1]), e.str(args[2]), n)
}

func (e *env) replace(text, old, with string, count int64) string {
	e.step(len(text) / stepBytes)
	n := int64(strings.Count(text, old))
	if count >= 0 {
		n = min(n, count)
	}
	e.made(len(text) + int(n)*(len(with)-len(old)))
	return strings.Replace(text, old, with, int(n))
}
