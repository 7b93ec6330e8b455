package runtime

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string. Bytes that are not UTF-8 become
// U+FFFD, and U+2028 and U+2029 are escaped, as encoding/json does it; '<', '>'
// and '&' stand as they are.
func AppendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			b = append(b, s[start:i]...)
			b = appendEscaped(b, c)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if (r == utf8.RuneError && size == 1) || r == '\u2028' || r == '\u2029' {
			b = append(b, s[start:i]...)
			b = append(b, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
			start = i + size
		}
		i += size
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

func appendEscaped(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// maxDepth bounds the nesting of JSON that comes from outside.
const maxDepth = 64

// CanonicalObject checks that text is one JSON object, at most 64 levels deep,
// and returns it compact, with sorted keys and the last of repeated keys, so
// that equal objects are equal bytes. Numbers keep their spelling. Nil and empty
// text stand for {}.
func CanonicalObject(text []byte) (json.RawMessage, error) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 || string(text) == "{}" {
		return json.RawMessage("{}"), nil
	}
	if text[0] != '{' {
		return nil, errors.New("must be a JSON object")
	}
	if err := checkDepth(text); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		return nil, describeJSON(text, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("has something behind the JSON object, at byte %d", d.InputOffset())
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(out.Bytes(), "\n"), nil
}

// compactObject checks that text is one JSON object and returns it compact,
// keys in their order.
func compactObject(text []byte) (json.RawMessage, error) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return json.RawMessage("{}"), nil
	}
	if text[0] != '{' {
		return nil, errors.New("must be a JSON object")
	}
	if err := checkDepth(text); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Compact(&out, text); err != nil {
		return nil, describeJSON(text, err)
	}
	if !utf8.Valid(out.Bytes()) {
		return bytes.ToValidUTF8(out.Bytes(), []byte("\uFFFD")), nil
	}
	return out.Bytes(), nil
}

// checkDepth refuses nesting that would cost a decoder stack without bound. It
// only counts brackets outside of strings; the decoder judges the rest.
func checkDepth(text []byte) error {
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return fmt.Errorf("is nested deeper than %d levels, at byte %d", maxDepth, i)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// describeJSON says where text stops being JSON.
func describeJSON(text []byte, err error) error {
	var whole json.RawMessage
	if again := json.Unmarshal(text, &whole); again != nil {
		err = again // it counts bytes, which Compact does not
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		if syntax.Offset >= int64(len(text)) {
			return fmt.Errorf("is no JSON: it ends too early, at byte %d", len(text))
		}
		return fmt.Errorf("is no JSON: %w, at byte %d of %d", err, syntax.Offset, len(text))
	}
	return fmt.Errorf("is no JSON: %w", err)
}
