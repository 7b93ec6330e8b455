package filter

import (
	"math"
	"unicode/utf8"
)

// shown writes a value for people, in about limit bytes: as JSON does, but for
// what JSON has no form for.
func shown(v value, limit int) string {
	return clip(string(appendShown(nil, v, limit)), limit)
}

// appendShown stops when dst is longer than limit.
func appendShown(dst []byte, v value, limit int) []byte {
	switch v.kind {
	case undefined:
		return append(dst, "undefined"...)
	case number:
		if v.num() == 0 && math.Signbit(v.num()) {
			return append(dst, "-0"...)
		}
		return appendNumber(dst, v.num())
	case str:
		return appendQuoted(dst, clip(v.text(), limit))
	case list:
		return appendShownList(dst, v.node().items, limit)
	case object:
		return appendShownObject(dst, v.node().fields, limit)
	}
	dst, _ = appendJSON(dst, v)
	return dst
}

func appendShownList(dst []byte, items []value, limit int) []byte {
	dst = append(dst, '[')
	for i, item := range items {
		if len(dst) > limit {
			return dst
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendShown(dst, item, limit)
	}
	return append(dst, ']')
}

func appendShownObject(dst []byte, fields []field, limit int) []byte {
	dst = append(dst, '{')
	for i := range fields {
		if len(dst) > limit {
			return dst
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendQuoted(dst, clip(fields[i].key, limit)), ':')
		dst = appendShown(dst, fields[i].value, limit)
	}
	return append(dst, '}')
}

// clip cuts text to about limit bytes, between characters.
func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit] + "…"
}
