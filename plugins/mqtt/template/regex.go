package template

import (
	"regexp"
	"strings"
	"sync"
)

// A pattern is a Python pattern, compiled.
type pattern struct {
	translated string
	re         *regexp.Regexp
	anchored   *regexp.Regexp // at the beginning, for match
	cost       int            // instructions, about
	dollar     bool           // has $, which Python takes before a last \n, too
	boundary   bool           // has \b, which RE2 knows for ASCII only
	empty      bool           // may match the empty text
}

func regexFilters() map[string]*builtin {
	return map[string]*builtin{
		"regex_match":         regexBuiltin(regexMatch, "value find? ignorecase?"),
		"regex_search":        regexBuiltin(regexSearch, "value find? ignorecase?"),
		"regex_findall":       regexBuiltin(regexFindAll, "value find? ignorecase?"),
		"regex_findall_index": regexBuiltin(regexFindAllIndex, "value find? index? ignorecase?"),
		"regex_replace":       regexBuiltin(regexReplace, "value find? replace? ignorecase?"),
	}
}

// regexBuiltin checks patterns that are constant when the template is parsed.
func regexBuiltin(call func(e *env, args []Value) Value, params string) *builtin {
	b := define(params, call)
	b.check = func(p *parser, t *token, args []node) {
		constant, ok := args[1].(*constNode)
		if !ok {
			return
		}
		text, ok := constant.value.(string)
		if !ok {
			return
		}
		if _, err := parsePattern(text, false); err != nil {
			p.fail(t.at, "%s: %v", t.text, err)
		}
	}
	return b
}

// patterns keeps what a template compiled. It is bounded: a template that makes
// patterns of payloads compiles them each time.
type patterns struct {
	mu   sync.Mutex
	kept map[patternKey]*pattern
}

type patternKey struct {
	text       string
	ignoreCase bool
}

const maxPatterns = 32

func (e *env) pattern(v, ignoreCase Value) *pattern {
	text := ""
	if given(v) {
		text = e.text(v, "a regular expression")
	}
	key := patternKey{text, truth(orElse(ignoreCase, false))}
	kept := &e.t.patterns
	kept.mu.Lock()
	p := kept.kept[key]
	kept.mu.Unlock()
	if p != nil {
		return p
	}
	e.step(10 + len(text))
	p, err := compilePattern(key.text, key.ignoreCase)
	if err != nil {
		e.failf("%v", err)
	}
	e.step(p.cost)
	kept.mu.Lock()
	defer kept.mu.Unlock()
	if len(kept.kept) < maxPatterns {
		if kept.kept == nil {
			kept.kept = map[patternKey]*pattern{}
		}
		kept.kept[key] = p
	}
	return p
}

// prepare returns a pattern and the text to look at, with the steps counted.
func (e *env) prepare(value, find, ignoreCase Value) (*pattern, string) {
	p := e.pattern(find, ignoreCase)
	text := e.str(orElse(value, ""))
	e.step(1 + p.cost*len(text)/256)
	if p.dollar && strings.HasSuffix(text, "\n") {
		e.failf("$ in a regular expression on text that ends a line is not supported")
	}
	if p.boundary && !isASCII(text) {
		e.failf(`\b in a regular expression on text that is not ASCII is not supported`)
	}
	return p, text
}

func regexMatch(e *env, args []Value) Value {
	p, text := e.prepare(args[0], args[1], args[2])
	return p.anchored.MatchString(text)
}

func regexSearch(e *env, args []Value) Value {
	p, text := e.prepare(args[0], args[1], args[2])
	return p.re.MatchString(text)
}

func regexFindAll(e *env, args []Value) Value {
	return e.findAll(args[0], args[1], args[2])
}

func regexFindAllIndex(e *env, args []Value) Value {
	found := e.findAll(args[0], args[1], args[3])
	i, ok := integer(orElse(args[2], int64(0)))
	if !ok {
		e.failf("regex_findall_index needs a whole number: it is of type %s", typeName(args[2]))
	}
	v, ok := at(found, i)
	if !ok {
		e.failf("regex_findall_index found %d, not number %d", len(found), i)
	}
	return v
}

// findAll is Python's findall: what the groups took, or all where there are none.
func (e *env) findAll(value, find, ignoreCase Value) List {
	p, text := e.prepare(value, find, ignoreCase)
	matches := e.found(p, text)
	e.makes(len(matches))
	found := make(List, len(matches))
	for i, m := range matches {
		found[i] = matched(text, m)
	}
	return found
}

func matched(text string, m []int) Value {
	group := func(i int) string {
		if m[2*i] < 0 {
			return ""
		}
		return text[m[2*i]:m[2*i+1]]
	}
	switch groups := len(m)/2 - 1; groups {
	case 0:
		return group(0)
	case 1:
		return group(1)
	default:
		tuple := make(Tuple, groups)
		for i := range tuple {
			tuple[i] = group(i + 1)
		}
		return tuple
	}
}

func regexReplace(e *env, args []Value) Value {
	p, text := e.prepare(args[0], args[1], args[3])
	with := ""
	if given(args[2]) {
		with = e.text(args[2], "regex_replace")
	}
	parts := e.replacement(p, with)
	var out []byte
	from := 0
	for _, m := range e.found(p, text) {
		out = append(out, text[from:m[0]]...)
		for _, part := range parts {
			if len(out) > maxString {
				break
			}
			if part.group < 0 {
				out = append(out, part.text...)
			} else if m[2*part.group] >= 0 {
				out = append(out, text[m[2*part.group]:m[2*part.group+1]]...)
			}
		}
		from = m[1]
		e.step(len(parts))
		if len(out) > maxString {
			break
		}
	}
	out = append(out, text[from:]...)
	e.made(len(out))
	return string(out)
}
