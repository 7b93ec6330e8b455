package typescript

import (
	"errors"
	"strings"
	"testing"
)

func TestStrip(t *testing.T) {
	for _, c := range []struct{ source, want string }{
		{"export default (e: Event): boolean => e.x! > 3;", "export default (e) => e.x > 3;"},
		{"import type { Event } from './types';\ninterface Lamp { on: boolean }\n(e: Lamp) => (e as any).a?.b ?? 2", "(e) => e.a?.b ?? 2;"},
		{"type A = 1;", ""},
		{"(e) => `ünï ${e.x}` !== '💡' && e.y ** 2 > 1n", "(e) => `ünï ${e.x}` !== \"💡\" && e.y ** 2 > 1n;"},
	} {
		got, err := Strip(c.source)
		if err != nil {
			t.Errorf("%s: got %v", c.source, err)
			continue
		}
		if text := strings.TrimSpace(got.Text); text != c.want {
			t.Errorf("%s: got %s, want %s", c.source, text, c.want)
		}
	}
}

// Each word of the JavaScript is found where it stands in the TypeScript.
func TestPlace(t *testing.T) {
	const source = "interface Lamp { a: string }\n\n" +
		"export default (e: Lamp, params: { limit: number }) =>\n" +
		"\t  '💡💡' !== e.a && first(e as any)\n\n\n   && second(params)"
	s, err := Strip(source)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"e.a", "first", "second", "params)"} {
		line, column := place(s.Text, word)
		wantLine, wantColumn := place(source, word)
		if line == wantLine && column == wantColumn {
			t.Errorf("%s is in its old place: the test shows nothing", word)
		}
		if gotLine, gotColumn := s.Place(line, column); gotLine != wantLine || gotColumn != wantColumn {
			t.Errorf("%s: got %d:%d, want %d:%d", word, gotLine, gotColumn, wantLine, wantColumn)
		}
	}
	for _, odd := range [][2]int{{0, 0}, {-1, 5}, {1000, 1}, {1, 1000}} {
		s.Place(odd[0], odd[1]) // must not panic
	}
}

// place returns line and character of the last place of a word.
func place(text, word string) (line, column int) {
	before := text[:strings.LastIndex(text, word)]
	line = strings.Count(before, "\n") + 1
	return line, len([]rune(before[strings.LastIndex(before, "\n")+1:])) + 1
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		source       string
		line, column int
		message      string
	}{
		{"export default (e: Event) =>\n  '💡' + e.x >", 2, 14, "Unexpected end of file"},
		{"(e: ) => e", 1, 5, `Unexpected ")"`},
		{"type A = {\n  a: string\n", 3, 1, "Unexpected end of file"},
	} {
		_, err := Strip(c.source)
		var failed *Error
		if !errors.As(err, &failed) {
			t.Errorf("%s: got %v, want an *Error", c.source, err)
			continue
		}
		if failed.Line != c.line || failed.Column != c.column || failed.Message != c.message {
			t.Errorf("%s: got %v, want %d:%d: %s", c.source, failed, c.line, c.column, c.message)
		}
	}
}
