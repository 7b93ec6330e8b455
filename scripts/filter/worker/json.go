package worker

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dop251/goja"
)

// maxNesting bounds the depth of what is parsed, as package filter does:
// package runtime lets in 64 levels, which an event's data wraps in a few.
const maxNesting = 80

// usual is how many items there is room for at first.
const usual = 8

// A jsonParser makes what filters see of a JSON text.
type jsonParser struct {
	vm    *goja.Runtime // makes primitive values, which belong to no machine
	s     string
	pos   int
	depth int
}

// parseObject returns the object that text is, an empty one if it is none.
func parseObject(vm *goja.Runtime, text string) *nested {
	p := jsonParser{vm: vm, s: text}
	it, ok := p.value()
	if p.next(); !ok || p.pos < len(p.s) || it.nested == nil || it.nested.list {
		return &nested{}
	}
	return it.nested
}

// next passes over white space and returns the byte that follows, 0 at the end.
func (p *jsonParser) next() byte {
	for ; p.pos < len(p.s); p.pos++ {
		if c := p.s[p.pos]; c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return c
		}
	}
	return 0
}

func (p *jsonParser) accept(c byte) bool {
	if p.next() != c {
		return false
	}
	p.pos++
	return true
}

func (p *jsonParser) value() (it item, ok bool) {
	switch p.next() {
	case '{', '[':
		n, ok := p.container()
		return item{nested: n}, ok
	case '"':
		v, _, ok := p.string()
		return item{value: v}, ok
	case 't':
		return item{value: p.vm.ToValue(true)}, p.word("true")
	case 'f':
		return item{value: p.vm.ToValue(false)}, p.word("false")
	case 'n':
		return item{value: goja.Null()}, p.word("null")
	}
	return p.number()
}

func (p *jsonParser) word(w string) bool {
	if len(p.s)-p.pos < len(w) || p.s[p.pos:p.pos+len(w)] != w {
		return false
	}
	p.pos += len(w)
	return true
}

func (p *jsonParser) container() (n *nested, ok bool) {
	if p.depth++; p.depth > maxNesting {
		return nil, false
	}
	n = &nested{list: p.s[p.pos] == '[', items: make([]item, 0, usual)}
	if !n.list {
		n.keys = make([]string, 0, usual)
	}
	end := p.s[p.pos] + 2 // ']' is '[' + 2, and '}' is '{' + 2
	p.pos++
	if !p.accept(end) {
		for more := true; more; more = p.accept(',') {
			if !p.member(n) {
				return nil, false
			}
		}
		if !p.accept(end) {
			return nil, false
		}
	}
	p.depth--
	n.sortIndices()
	return n, true
}

// member reads an item of a list or a field of an object. Of repeated keys the
// last value counts, in the place of the first.
func (p *jsonParser) member(n *nested) bool {
	key := ""
	if !n.list {
		if p.next() != '"' {
			return false
		}
		var ok bool
		if _, key, ok = p.string(); !ok || !p.accept(':') {
			return false
		}
	}
	it, ok := p.value()
	if !ok {
		return false
	}
	if !n.list {
		if at := n.find(key); at >= 0 {
			n.items[at] = it
			return true
		}
		n.add(key)
	}
	n.items = append(n.items, it)
	return true
}

func (p *jsonParser) number() (it item, ok bool) {
	start := p.pos
	for p.pos < len(p.s) {
		c := p.s[p.pos]
		if (c < '0' || c > '9') && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' {
			break
		}
		p.pos++
	}
	f, err := strconv.ParseFloat(p.s[start:p.pos], 64)
	if err != nil && !math.IsInf(f, 0) {
		return item{}, false
	}
	return item{value: p.vm.ToValue(f)}, true
}

// string reads a string as a value and as a key; its quote comes next.
func (p *jsonParser) string() (v goja.Value, key string, ok bool) {
	p.pos++
	start := p.pos
	for ; p.pos < len(p.s); p.pos++ {
		switch p.s[p.pos] {
		case '"':
			p.pos++
			key = p.s[start : p.pos-1]
			return p.vm.ToValue(key), key, true
		case '\\':
			return p.escaped(start)
		}
	}
	return nil, "", false
}

var plainEscapes = [256]uint16{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escaped reads a string that begins at start and has an escape at p.pos. A
// value keeps halves of surrogate pairs, a key has U+FFFD instead.
func (p *jsonParser) escaped(start int) (v goja.Value, key string, ok bool) {
	units := utf16.Encode([]rune(p.s[start:p.pos]))
	for p.pos < len(p.s) {
		r, size := utf8.DecodeRuneInString(p.s[p.pos:])
		p.pos += size
		switch r {
		case '"':
			return goja.StringFromUTF16(units), string(utf16.Decode(units)), true
		case '\\':
			unit, ok := p.escape()
			if !ok {
				return nil, "", false
			}
			units = append(units, unit)
		default:
			units = utf16.AppendRune(units, r)
		}
	}
	return nil, "", false
}

// escape reads what follows a backslash.
func (p *jsonParser) escape() (unit uint16, ok bool) {
	if p.pos >= len(p.s) {
		return 0, false
	}
	c := p.s[p.pos]
	p.pos++
	if c != 'u' {
		return plainEscapes[c], plainEscapes[c] != 0
	}
	if len(p.s)-p.pos < 4 {
		return 0, false
	}
	u, err := strconv.ParseUint(p.s[p.pos:p.pos+4], 16, 16)
	p.pos += 4
	return uint16(u), err == nil
}

// sortIndices puts fields into the order of Object.keys: array indices first,
// by number, then the others as they came.
func (n *nested) sortIndices() {
	if !slices.ContainsFunc(n.keys, func(key string) bool { _, ok := arrayIndex(key); return ok }) {
		return
	}
	order := make([]int, len(n.keys))
	for i := range order {
		order[i] = i
	}
	rank := func(i int) uint64 {
		if index, ok := arrayIndex(n.keys[i]); ok {
			return index
		}
		return math.MaxUint64
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(rank(a), rank(b)) })
	sorted := &nested{}
	for _, i := range order {
		sorted.add(n.keys[i])
		sorted.items = append(sorted.items, n.items[i])
	}
	*n = *sorted
}

// arrayIndex reports whether a key is an array index: 0 to 2^32-2 as a number
// is written.
func arrayIndex(key string) (index uint64, ok bool) {
	if key == "" || key[0] < '0' || key[0] > '9' || key[0] == '0' && len(key) > 1 {
		return 0, false
	}
	index, err := strconv.ParseUint(key, 10, 32)
	return index, err == nil && index < math.MaxUint32
}
