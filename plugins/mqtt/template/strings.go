package template

import (
	"strings"
	"unicode"
	"unicode/utf8"

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
		"truncate":   define("s length? killwords? end? leeway?", truncate),
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

// truncate cuts a text off at a length, by default at the end of a word. What
// is longer by no more than the leeway stays.
func truncate(e *env, args []Value) Value {
	length, ok := integer(orElse(args[1], int64(255)))
	leeway, ok2 := integer(orElse(args[4], int64(5)))
	if args[4] == nil {
		leeway, ok2 = 5, true
	}
	text, ok3 := args[0].(string)
	end, ok4 := orElse(args[3], "...").(string)
	if u, isUndefined := args[0].(Undefined); isUndefined {
		if ok && ok2 && ok4 && length >= int64(utf8.RuneCountInString(end)) && leeway >= 0 {
			return u
		}
	}
	if !ok || !ok2 || !ok3 || !ok4 {
		e.failf("truncate supports text and whole numbers: what to cut is of type %s", typeName(args[0]))
	}
	e.made(len(text))
	runes, ending := []rune(text), int64(len([]rune(end)))
	switch {
	case length < ending || leeway < 0:
		e.failf("truncate needs a length for its end and a leeway that is not negative")
	case int64(len(runes)) <= length+leeway:
		return text
	}
	cut := string(runes[:length-ending])
	if !truth(orElse(args[2], false)) {
		if space := strings.LastIndexByte(cut, ' '); space >= 0 {
			cut = cut[:space]
		}
	}
	return cut + end
}
