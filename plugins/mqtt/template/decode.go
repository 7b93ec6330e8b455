package template

import (
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Decode reads JSON the way that Home Assistant does (orjson): whole numbers of
// 64 bits stay whole, longer ones become floats, NaN and lone surrogates are no
// JSON, and of equal keys the last one counts. It reports false for what is no
// JSON, and for what is nested deeper than 64.
func Decode(payload []byte) (Value, bool) {
	if !utf8.Valid(payload) {
		return nil, false
	}
	d := decoder{text: string(payload)}
	d.space()
	v, ok := d.value(0)
	d.space()
	if !ok || d.i != len(d.text) {
		return nil, false
	}
	return v, true
}

// A decoder reads one value. What it returns shares the memory of the text.
type decoder struct {
	text    string
	i       int
	entries []entry // of the dicts that are open
	items   []Value // of the lists that are open
}

func (d *decoder) space() {
	for d.i < len(d.text) {
		switch d.text[d.i] {
		case ' ', '\t', '\n', '\r':
			d.i++
		default:
			return
		}
	}
}

func (d *decoder) peek() byte {
	if d.i < len(d.text) {
		return d.text[d.i]
	}
	return 0
}

func (d *decoder) skip(c byte) bool {
	if d.peek() != c {
		return false
	}
	d.i++
	return true
}

func (d *decoder) value(depth int) (Value, bool) {
	switch c := d.peek(); {
	case c == '{' && depth < maxJSON:
		return d.object(depth + 1)
	case c == '[' && depth < maxJSON:
		return d.array(depth + 1)
	case c == '"':
		return boxed(d.str())
	case c == '-' || isDigit(c):
		return d.number()
	}
	switch {
	case d.word("true"):
		return true, true
	case d.word("false"):
		return false, true
	case d.word("null"):
		return nil, true
	}
	return nil, false
}

func boxed(text string, ok bool) (Value, bool) { return text, ok }

func (d *decoder) word(word string) bool {
	if len(d.text)-d.i < len(word) || d.text[d.i:d.i+len(word)] != word {
		return false
	}
	d.i += len(word)
	return true
}

func (d *decoder) object(depth int) (Value, bool) {
	d.i++
	d.space()
	if d.skip('}') {
		return &Dict{}, true
	}
	base := len(d.entries)
	for {
		d.space()
		if d.peek() != '"' {
			return nil, false
		}
		text, ok := d.str()
		if !ok {
			return nil, false
		}
		d.space()
		if !d.skip(':') {
			return nil, false
		}
		d.space()
		v, ok := d.value(depth)
		if !ok {
			return nil, false
		}
		key := Value(text)
		d.entries = append(d.entries, entry{key, v, key})
		d.space()
		if d.skip('}') {
			dict := dictOf(d.entries[base:])
			d.entries = d.entries[:base]
			return dict, true
		}
		if !d.skip(',') {
			return nil, false
		}
	}
}

// dictOf makes a dict of entries that it copies. Of equal keys the last one counts.
func dictOf(entries []entry) *Dict {
	dict := &Dict{entries: make([]entry, 0, len(entries))}
	for _, each := range entries {
		dict.put(each.key, each.hash, each.value)
	}
	return dict
}

func (d *decoder) array(depth int) (Value, bool) {
	d.i++
	d.space()
	if d.skip(']') {
		return List{}, true
	}
	base := len(d.items)
	for {
		d.space()
		v, ok := d.value(depth)
		if !ok {
			return nil, false
		}
		d.items = append(d.items, v)
		d.space()
		if d.skip(']') {
			items := append(List(nil), d.items[base:]...)
			d.items = d.items[:base]
			return items, true
		}
		if !d.skip(',') {
			return nil, false
		}
	}
}

func (d *decoder) number() (Value, bool) {
	start := d.i
	d.skip('-')
	if d.peek() == '0' {
		d.i++
	} else if !d.digits() {
		return nil, false
	}
	whole := true
	if d.skip('.') {
		whole = false
		if !d.digits() {
			return nil, false
		}
	}
	if c := d.peek(); c == 'e' || c == 'E' {
		whole = false
		d.i++
		if c := d.peek(); c == '+' || c == '-' {
			d.i++
		}
		if !d.digits() {
			return nil, false
		}
	}
	text := d.text[start:d.i]
	if whole {
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			return i, true
		}
		if u, err := strconv.ParseUint(text, 10, 64); err == nil {
			return u, true
		}
	}
	f, _ := strconv.ParseFloat(text, 64)
	return f, !math.IsInf(f, 0)
}

func (d *decoder) digits() bool {
	start := d.i
	for isDigit(d.peek()) {
		d.i++
	}
	return d.i > start
}

// str reads a string; d.i is at its opening quote.
func (d *decoder) str() (string, bool) {
	start := d.i + 1
	for i := start; i < len(d.text); i++ {
		switch c := d.text[i]; {
		case c == '"':
			d.i = i + 1
			return d.text[start:i], true
		case c == '\\':
			return d.escaped(start, i)
		case c < 0x20:
			return "", false
		}
	}
	return "", false
}

func (d *decoder) escaped(start, i int) (string, bool) {
	text := append(make([]byte, 0, 2*(i-start)+16), d.text[start:i]...)
	for i < len(d.text) {
		c := d.text[i]
		i++
		switch {
		case c == '"':
			d.i = i
			return string(text), true
		case c < 0x20:
			return "", false
		case c != '\\':
			text = append(text, c)
			continue
		}
		if i >= len(d.text) {
			return "", false
		}
		switch c := d.text[i]; c {
		case '"', '\\', '/':
			text = append(text, c)
		case 'b':
			text = append(text, '\b')
		case 'f':
			text = append(text, '\f')
		case 'n':
			text = append(text, '\n')
		case 'r':
			text = append(text, '\r')
		case 't':
			text = append(text, '\t')
		case 'u':
			r, size := hexRune(d.text[i+1:])
			if size == 0 {
				return "", false
			}
			text = utf8.AppendRune(text, r)
			i += size
		default:
			return "", false
		}
		i++
	}
	return "", false
}

// hexRune reads what follows \u, or two of them that are a pair; 0: it is no character.
func hexRune(text string) (r rune, size int) {
	r, ok := hex4(text)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 4
	}
	if len(text) < 10 || text[4] != '\\' || text[5] != 'u' {
		return 0, 0
	}
	low, ok := hex4(text[6:])
	if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
		return 0, 0
	}
	return r, 10
}

func hex4(text string) (rune, bool) {
	if len(text) < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(text[:4], 16, 16)
	return rune(n), err == nil
}
