package filter

import "math"

// appendJSON appends what JSON.stringify(v) says. Nothing is appended, and it
// is not ok, for undefined.
func appendJSON(dst []byte, v value) (out []byte, ok bool) {
	switch v.kind {
	case undefined:
		return dst, false
	case null:
		return append(dst, "null"...), true
	case boolean:
		if v.num() != 0 {
			return append(dst, "true"...), true
		}
		return append(dst, "false"...), true
	case number:
		if math.IsInf(v.num(), 0) || v.num() != v.num() {
			return append(dst, "null"...), true
		}
		return appendNumber(dst, v.num()), true
	case str:
		return appendQuoted(dst, v.text()), true
	case list:
		return appendList(dst, v.node().items), true
	}
	return appendObject(dst, v.node().fields), true
}

func appendList(dst []byte, items []value) []byte {
	dst = append(dst, '[')
	for i, item := range items {
		if i > 0 {
			dst = append(dst, ',')
		}
		var ok bool
		if dst, ok = appendJSON(dst, item); !ok {
			dst = append(dst, "null"...)
		}
	}
	return append(dst, ']')
}

func appendObject(dst []byte, fields []field) []byte {
	dst = append(dst, '{')
	empty := true
	for i := range fields {
		f := &fields[i]
		if f.value.kind == undefined {
			continue
		}
		if !empty {
			dst = append(dst, ',')
		}
		empty = false
		dst = append(appendQuoted(dst, f.key), ':')
		dst, _ = appendJSON(dst, f.value)
	}
	return append(dst, '}')
}

const lowerHex = "0123456789abcdef"

// appendQuoted is QuoteJSONString: control characters and lone surrogates are
// escaped, everything else stands as it is.
func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c != surrogateLead {
			i++
			continue
		}
		size := 1
		if c == surrogateLead {
			if size = 3; !isSurrogate(s[i:]) {
				i++
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		r, _ := decode(s[i:])
		dst = appendEscape(dst, r)
		i += size
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

func appendEscape(dst []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\b':
		return append(dst, '\\', 'b')
	case '\t':
		return append(dst, '\\', 't')
	case '\n':
		return append(dst, '\\', 'n')
	case '\f':
		return append(dst, '\\', 'f')
	case '\r':
		return append(dst, '\\', 'r')
	}
	return append(dst, '\\', 'u', lowerHex[r>>12&15], lowerHex[r>>8&15], lowerHex[r>>4&15], lowerHex[r&15])
}
