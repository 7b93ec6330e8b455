package filter

import (
	"strconv"
	"unsafe"
)

// maxNesting bounds the depth of what is parsed. Package runtime lets in 64
// levels, which an event's data wraps in a few of its own.
const maxNesting = 80

// A tree makes values of JSON, in memory that it uses again after reset. Strings
// without escapes are the JSON's own bytes, which must not change meanwhile.
type tree struct {
	// Memory of finished nodes. When an arena is full another takes its place;
	// what was made keeps the old one.
	nodes  []node
	fields []field
	items  []value
	slots  []int32
	text   []byte // strings that had escapes

	// What open lists and objects hold so far, the innermost on top.
	openFields []field
	openItems  []value

	// Owned by parse.
	src   []byte
	pos   int
	depth int
}

// keep is how much of an arena, in elements, is kept for the next event. A rare
// event that needs more allocates it anew.
const keep = 4096

// reset lets go of everything that was parsed.
func (t *tree) reset() {
	t.nodes, t.fields, t.items = emptied(t.nodes), emptied(t.fields), emptied(t.items)
	t.slots, t.text = emptied(t.slots), emptied(t.text)
	t.openFields, t.openItems = emptied(t.openFields), emptied(t.openItems)
	t.src = nil
}

func emptied[T any](arena []T) []T {
	if cap(arena) > keep {
		return nil
	}
	return arena[:0]
}

// take returns n elements of an arena, which may hold old values.
func take[T any](arena *[]T, n int) []T {
	a := *arena
	if len(a)+n > cap(a) {
		a = make([]T, 0, max(32, n, 2*cap(a)))
	}
	*arena = a[:len(a)+n]
	return a[len(a) : len(a)+n : len(a)+n]
}

// parse returns the value of a JSON text. It is not ok, and undefined, if the
// text is no JSON or nested too deeply.
func (t *tree) parse(src []byte) (v value, ok bool) {
	t.src, t.pos, t.depth = src, 0, 0
	t.openFields, t.openItems = t.openFields[:0], t.openItems[:0]
	v, ok = t.value()
	if ok && t.next() == 0 && t.pos == len(t.src) {
		return v, true
	}
	return value{}, false
}

// next passes over white space and returns the byte that follows, 0 at the end.
func (t *tree) next() byte {
	for ; t.pos < len(t.src); t.pos++ {
		switch c := t.src[t.pos]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// accept passes over c if it comes next.
func (t *tree) accept(c byte) bool {
	if t.next() != c {
		return false
	}
	t.pos++
	return true
}

func (t *tree) value() (v value, ok bool) {
	switch c := t.next(); c {
	case '{':
		return t.object()
	case '[':
		return t.list()
	case '"':
		s, ok := t.string()
		return stringValue(s), ok
	case 't':
		return boolValue(true), t.word("true")
	case 'f':
		return boolValue(false), t.word("false")
	case 'n':
		return value{kind: null}, t.word("null")
	default:
		return t.number()
	}
}

func (t *tree) word(w string) bool {
	if len(t.src)-t.pos < len(w) || string(t.src[t.pos:t.pos+len(w)]) != w {
		return false
	}
	t.pos += len(w)
	return true
}

// enter begins a list or an object, whose bracket comes next.
func (t *tree) enter() bool {
	t.pos++
	t.depth++
	return t.depth <= maxNesting
}

func (t *tree) list() (value, bool) {
	start := len(t.openItems)
	if !t.enter() {
		return value{}, false
	}
	if !t.accept(']') {
		for more := true; more; more = t.accept(',') {
			v, ok := t.value()
			if !ok {
				return value{}, false
			}
			t.openItems = append(t.openItems, v)
		}
		if !t.accept(']') {
			return value{}, false
		}
	}
	t.depth--
	items := take(&t.items, len(t.openItems)-start)
	copy(items, t.openItems[start:])
	t.openItems = t.openItems[:start]
	n := &take(&t.nodes, 1)[0]
	*n = node{items: items}
	return nodeValue(list, n), true
}

func (t *tree) object() (value, bool) {
	start := len(t.openFields)
	if !t.enter() {
		return value{}, false
	}
	if !t.accept('}') {
		for more := true; more; more = t.accept(',') {
			if !t.field() {
				return value{}, false
			}
		}
		if !t.accept('}') {
			return value{}, false
		}
	}
	t.depth--
	v := t.closeObject(t.openFields[start:])
	t.openFields = t.openFields[:start]
	return v, true
}

func (t *tree) field() bool {
	if t.next() != '"' {
		return false
	}
	key, ok := t.string()
	if !ok || !t.accept(':') {
		return false
	}
	v, ok := t.value()
	t.openFields = append(t.openFields, field{key, v})
	return ok
}

// closeObject makes the object of what was read of it. Of repeated keys the
// last value counts, in the place of the first.
func (t *tree) closeObject(read []field) value {
	n := &take(&t.nodes, 1)[0]
	*n = node{}
	if size := indexSize(len(read)); size > 0 {
		n.index = take(&t.slots, size)
		clear(n.index)
	}
	fields := take(&t.fields, len(read))[:0]
	indices := false
	for i := range read {
		n.fields = fields
		if at := n.find(read[i].key); at >= 0 {
			fields[at].value = read[i].value
			continue
		}
		fields = append(fields, read[i])
		if n.index != nil {
			n.index[n.index.slot(fields[:len(fields)-1], read[i].key)] = int32(len(fields))
		}
		if _, ok := arrayIndex(read[i].key); ok {
			indices = true
		}
	}
	n.fields = fields
	if indices && sortIndices(fields) && n.index != nil {
		clear(n.index)
		n.index.fill(fields)
	}
	return nodeValue(object, n)
}

// number reads a number as JSON spells it.
func (t *tree) number() (value, bool) {
	start := t.pos
	for t.pos < len(t.src) {
		c := t.src[t.pos]
		if (c < '0' || c > '9') && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' {
			break
		}
		t.pos++
	}
	s := shared(t.src[start:t.pos])
	if f, ok := parseDigits(s); ok {
		return numberValue(f), true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && f == 0 {
		return value{}, false // no number; one out of range is ±Inf, as in JavaScript
	}
	return numberValue(f), true
}

// string reads a string; its quote comes next.
func (t *tree) string() (s string, ok bool) {
	t.pos++
	start := t.pos
	for ; t.pos < len(t.src); t.pos++ {
		switch t.src[t.pos] {
		case '"':
			t.pos++
			return shared(t.src[start : t.pos-1]), true
		case '\\':
			return t.escaped(start)
		}
	}
	return "", false
}

// escaped reads the rest of a string that has an escape at t.pos.
func (t *tree) escaped(start int) (s string, ok bool) {
	from := len(t.text)
	t.text = append(t.text, t.src[start:t.pos]...)
	for t.pos < len(t.src) {
		c := t.src[t.pos]
		t.pos++
		switch c {
		case '"':
			return shared(t.text[from:len(t.text):len(t.text)]), true
		case '\\':
			if !t.escape(from) {
				return "", false
			}
		default:
			t.text = append(t.text, c)
		}
	}
	return "", false
}

var plainEscapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escape reads what follows a backslash. The string began at t.text[from].
func (t *tree) escape(from int) bool {
	if t.pos >= len(t.src) {
		return false
	}
	c := t.src[t.pos]
	t.pos++
	if c != 'u' {
		t.text = append(t.text, plainEscapes[c])
		return plainEscapes[c] != 0
	}
	if len(t.src)-t.pos < 4 {
		return false
	}
	unit, err := strconv.ParseUint(shared(t.src[t.pos:t.pos+4]), 16, 16)
	if err != nil {
		return false
	}
	t.pos += 4
	whole := t.text[from:]
	whole = appendUnit(whole, uint16(unit))
	t.text = append(t.text[:from], whole...)
	return true
}

// shared returns b as a string without a copy.
func shared(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(unsafe.SliceData(b), len(b))
}
