package template

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

func methodTable() map[string]*builtin {
	return map[string]*builtin{
		"split":      textMethod("split", "s sep? maxsplit?", split),
		"rsplit":     textMethod("rsplit", "s sep? maxsplit?", rsplit),
		"strip":      textMethod("strip", "s chars?", func(e *env, s string, args []Value) Value { return e.strip(s, args[1], true, true) }),
		"lstrip":     textMethod("lstrip", "s chars?", func(e *env, s string, args []Value) Value { return e.strip(s, args[1], true, false) }),
		"rstrip":     textMethod("rstrip", "s chars?", func(e *env, s string, args []Value) Value { return e.strip(s, args[1], false, true) }),
		"upper":      textMethod("upper", "s", func(e *env, s string, _ []Value) Value { return e.upper(s) }),
		"lower":      textMethod("lower", "s", func(e *env, s string, _ []Value) Value { return e.lower(s) }),
		"capitalize": textMethod("capitalize", "s", func(e *env, s string, _ []Value) Value { return e.capitalize(s) }),
		"title": textMethod("title", "s", func(e *env, s string, _ []Value) Value {
			return e.titled(s, func(r rune) bool { return !unicode.IsLetter(r) })
		}),
		"replace":    {special: replaceIn},
		"format":     {params: []string{"s"}, rest: true, call: textMethod("format", "s", braced).call},
		"startswith": textMethod("startswith", "s prefix", func(e *env, s string, args []Value) Value { return e.affix(s, args[1], strings.HasPrefix) }),
		"endswith":   textMethod("endswith", "s suffix", func(e *env, s string, args []Value) Value { return e.affix(s, args[1], strings.HasSuffix) }),
		"removeprefix": textMethod("removeprefix", "s prefix", func(e *env, s string, args []Value) Value {
			return strings.TrimPrefix(s, e.text(args[1], "removeprefix"))
		}),
		"removesuffix": textMethod("removesuffix", "s suffix", func(e *env, s string, args []Value) Value {
			return strings.TrimSuffix(s, e.text(args[1], "removesuffix"))
		}),
		"find":      textMethod("find", "s sub", find),
		"join":      textMethod("join", "s iterable", joinMethod),
		"zfill":     textMethod("zfill", "s width", zfill),
		"isdigit":   textMethod("isdigit", "s", func(e *env, s string, _ []Value) Value { return e.digits(s) }),
		"isnumeric": textMethod("isnumeric", "s", func(e *env, s string, _ []Value) Value { return e.digits(s) }),
		"count":     define("of item", count),
		"index":     define("of item", index),
		"get":       dictMethod("get", "of key default?", get),
		"keys": dictMethod("keys", "of", func(e *env, d *Dict, _ []Value) Value {
			return &view{"dict_keys", e.iterate(d)}
		}),
		"values": dictMethod("values", "of", func(e *env, d *Dict, _ []Value) Value {
			e.step(len(d.entries))
			items := make(List, len(d.entries))
			for i := range d.entries {
				items[i] = d.entries[i].value
			}
			return &view{"dict_values", items}
		}),
		"items": dictMethod("items", "of", func(e *env, d *Dict, _ []Value) Value {
			return &view{"dict_items", e.pairs(d)}
		}),
		"cycle":   {params: []string{"loop"}, rest: true, call: cycle},
		"changed": {params: []string{"loop"}, rest: true, call: changed},
	}
}

// fromKeys is Home Assistant's dict.from_keys: a dict of pairs.
var fromKeys = define("pairs", func(e *env, args []Value) Value {
	d := &Dict{}
	e.fill(d, args[0])
	return d
})

func textMethod(name, params string, call func(e *env, s string, args []Value) Value) *builtin {
	return define(params, func(e *env, args []Value) Value {
		text, ok := args[0].(string)
		if !ok {
			e.noMethod(args[0], name)
		}
		e.step(len(text) / stepBytes)
		return call(e, text, args)
	})
}

func dictMethod(name, params string, call func(e *env, d *Dict, args []Value) Value) *builtin {
	return define(params, func(e *env, args []Value) Value {
		d, ok := args[0].(*Dict)
		if !ok {
			e.noMethod(args[0], name)
		}
		return call(e, d, args)
	})
}

// noMethod fails for a method that a value does not have, which Jinja2 takes as
// calling something undefined, unless a key has the name.
func (e *env) noMethod(of Value, name string) {
	switch v := e.attribute(of, name).(type) {
	case Undefined:
		e.undefined(v)
	case *method:
		e.failf("the method %s of a %s is not supported", name, typeName(of))
	default:
		e.failf("%s cannot be called: it is of type %s", name, typeName(v))
	}
}

func (e *env) text(v Value, what string) string {
	text, ok := v.(string)
	if !ok {
		e.failf("%s needs text: it is of type %s", what, typeName(v))
	}
	return text
}

func split(e *env, s string, args []Value) Value {
	most, ok := integer(orElse(args[2], int64(-1)))
	if !ok {
		e.failf("split needs a whole number: it is of type %s", typeName(args[2]))
	}
	sep := orElse(args[1], nil)
	if sep == nil {
		return e.fieldsOf(s, most)
	}
	by := e.text(sep, "split")
	if by == "" {
		e.failf("split needs a separator that is not empty")
	}
	n := -1
	if most >= 0 {
		n = int(min(most, maxItems)) + 1
	}
	if n < 0 {
		e.makes(strings.Count(s, by) + 1)
	}
	parts := strings.SplitN(s, by, n)
	e.makes(len(parts))
	return listOf(parts)
}

func listOf(parts []string) List {
	items := make(List, len(parts))
	for i, part := range parts {
		items[i] = part
	}
	return items
}

// rsplit is split from the end.
func rsplit(e *env, s string, args []Value) Value {
	most, ok := integer(orElse(args[2], int64(-1)))
	if !ok {
		e.failf("rsplit needs a whole number: it is of type %s", typeName(args[2]))
	}
	if most < 0 {
		most = maxItems
	}
	sep := orElse(args[1], nil)
	if sep == nil {
		return e.rsplitSpaces(s, most)
	}
	by := e.text(sep, "rsplit")
	if by == "" {
		e.failf("rsplit needs a separator that is not empty")
	}
	var items List
	for int64(len(items)) < most {
		i := strings.LastIndex(s, by)
		if i < 0 {
			break
		}
		items = append(items, s[i+len(by):])
		s = s[:i]
	}
	items = append(items, s)
	e.makes(len(items))
	slices.Reverse(items)
	return items
}

// rsplitSpaces splits at white space, most times from the end; what is left keeps its beginning.
func (e *env) rsplitSpaces(s string, most int64) List {
	var items List
	for s = strings.TrimRightFunc(s, isSpace); s != ""; s = strings.TrimRightFunc(s, isSpace) {
		begin := strings.LastIndexFunc(s, isSpace)
		if begin < 0 || int64(len(items)) >= most {
			items = append(items, s)
			break
		}
		_, size := utf8.DecodeRuneInString(s[begin:])
		items = append(items, s[begin+size:])
		s = s[:begin]
	}
	e.makes(len(items))
	slices.Reverse(items)
	return items
}

// fieldsOf splits at white space, most times; what is left keeps its end.
func (e *env) fieldsOf(s string, most int64) List {
	var items List
	for s = strings.TrimLeftFunc(s, isSpace); s != ""; s = strings.TrimLeftFunc(s, isSpace) {
		end := strings.IndexFunc(s, isSpace)
		if end < 0 || most >= 0 && int64(len(items)) >= most {
			items = append(items, s)
			break
		}
		items = append(items, s[:end])
		s = s[end:]
	}
	e.makes(len(items))
	return items
}

func replaceMethod(e *env, s string, args []Value) Value {
	count, ok := integer(orElse(args[3], int64(-1)))
	if !ok {
		e.failf("replace needs a whole number: it is of type %s", typeName(args[3]))
	}
	return e.replace(s, e.text(args[1], "replace"), e.text(args[2], "replace"), count)
}

// affix is startswith and endswith, which take one text or a tuple of them.
func (e *env) affix(s string, affixes Value, has func(string, string) bool) Value {
	tuple, ok := affixes.(Tuple)
	if !ok {
		return has(s, e.text(affixes, "startswith"))
	}
	e.step(len(tuple))
	for _, each := range tuple {
		if has(s, e.text(each, "startswith")) {
			return true
		}
	}
	return false
}

func find(e *env, s string, args []Value) Value {
	i := strings.Index(s, e.text(args[1], "find"))
	if i < 0 {
		return int64(-1)
	}
	return int64(utf8.RuneCountInString(s[:i]))
}

func joinMethod(e *env, s string, args []Value) Value {
	items := e.iterate(args[1])
	var text []byte
	for i, item := range items {
		if i > 0 {
			text = append(text, s...)
		}
		text = append(text, e.text(item, "join")...)
		if len(text) > maxString {
			break
		}
	}
	e.made(len(text))
	return string(text)
}

func zfill(e *env, s string, args []Value) Value {
	width, ok := integer(args[1])
	if !ok {
		e.failf("zfill needs a whole number: it is of type %s", typeName(args[1]))
	}
	missing := width - int64(utf8.RuneCountInString(s))
	if missing <= 0 {
		return s
	}
	e.made(int(min(missing, maxString+1)) + len(s))
	sign := ""
	if s != "" && (s[0] == '-' || s[0] == '+') {
		sign, s = s[:1], s[1:]
	}
	return sign + strings.Repeat("0", int(missing)) + s
}

func (e *env) digits(s string) Value {
	for _, r := range s {
		if r > unicode.MaxASCII && !unicode.IsLetter(r) && unicode.IsNumber(r) {
			e.failf("digits like %q are not supported", r)
		}
		if r > unicode.MaxASCII || !isDigit(byte(r)) {
			return false
		}
	}
	return s != ""
}

func count(e *env, args []Value) Value {
	if text, ok := args[0].(string); ok {
		e.step(len(text) / stepBytes)
		return int64(strings.Count(text, e.text(args[1], "count")))
	}
	n := int64(0)
	for _, item := range e.sequence(args[0], "count") {
		e.step(1)
		if e.equal(item, args[1], 0) {
			n++
		}
	}
	return n
}

func index(e *env, args []Value) Value {
	if text, ok := args[0].(string); ok {
		e.step(len(text) / stepBytes)
		if i := strings.Index(text, e.text(args[1], "index")); i >= 0 {
			return int64(utf8.RuneCountInString(text[:i]))
		}
		e.failf("index did not find the text")
	}
	i := slices.IndexFunc(e.sequence(args[0], "index"), func(item Value) bool {
		e.step(1)
		return e.equal(item, args[1], 0)
	})
	if i < 0 {
		e.failf("index did not find the item")
	}
	return int64(i)
}

func (e *env) sequence(v Value, name string) List {
	switch v := v.(type) {
	case List:
		return v
	case Tuple:
		return List(v)
	}
	e.noMethod(v, name)
	return nil
}

func get(e *env, d *Dict, args []Value) Value {
	if i := d.find(e.hash(args[1])); i >= 0 {
		return d.entries[i].value
	}
	return orElse(args[2], nil)
}

func cycle(e *env, args []Value) Value {
	l, ok := args[0].(*loop)
	if !ok {
		e.noMethod(args[0], "cycle")
	}
	if len(args) == 1 {
		e.failf("cycle needs an argument")
	}
	return args[1+l.i%(len(args)-1)]
}

func changed(e *env, args []Value) Value {
	l, ok := args[0].(*loop)
	if !ok {
		e.noMethod(args[0], "changed")
	}
	now := append(List{}, args[1:]...)
	if l.changed != nil && e.equalItems(l.changed, now, 0) {
		return false
	}
	l.changed = now
	return true
}
