package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestMistakes checks every error against the text beside its line.
func TestMistakes(t *testing.T) {
	all, err := os.ReadFile("testdata/mistakes.txt")
	if err != nil {
		t.Fatal(err)
	}
	cases := strings.Split(string(all), "\n== ")[1:]
	if len(cases) < 30 {
		t.Fatalf("got %d cases, want all of them", len(cases))
	}
	for _, c := range cases {
		name, text, _ := strings.Cut(c, "\n")
		t.Run(name, func(t *testing.T) {
			var want []string
			for i, line := range strings.Split(text, "\n") {
				if _, msg, ok := strings.Cut(line, "#! "); ok {
					want = append(want, fmt.Sprintf("carillon.yaml:%d: %s", i+1, msg))
				} else if msg, ok := strings.CutPrefix(line, "#!^ "); ok {
					want = append(want, fmt.Sprintf("carillon.yaml:%d: %s", i, msg))
				}
			}
			got := "no error"
			if _, err := Parse("carillon.yaml", []byte(text)); err != nil {
				got = err.Error()
			}
			if want := strings.Join(want, "\n"); got != want {
				t.Errorf("got errors\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestErrorsAreFoundByErrorsAs(t *testing.T) {
	_, err := Parse("x.yaml", []byte("log:\n  level: 1\n  format: 2\n"))
	var all Errors
	if !errors.As(fmt.Errorf("reading: %w", err), &all) || len(all) != 2 {
		t.Fatalf("got %v, want two Errors", err)
	}
	var one *Error
	if !errors.As(err, &one) || one.File != "x.yaml" || one.Line != 2 || one.Column != 10 || one.Key != "log.level" {
		t.Errorf("got %+v, want log.level in x.yaml, line 2, column 10", one)
	}
}

func TestWholeFileMistakes(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"too long": {strings.Repeat("# 10 MB\n", 10<<20/8),
			"c.yaml: the file has 10485760 bytes, more than 1 MiB is not read; is it the right file?"},
		"not UTF-8": {"log:\n  level: \xff\xfe\n", "c.yaml:2: is not UTF-8 text; save the file as UTF-8"},
		"UTF-16":    {"\xff\xfel\x00o\x00g\x00", "c.yaml:1: is not UTF-8 text; save the file as UTF-8"},
		"NUL":       {"log:\n  level: in\x00fo\n", "c.yaml:2: has the invisible character '\\x00'; remove it"},
		"long value": {"log:\n  level: " + strings.Repeat("x", 2000),
			"c.yaml:2: log.level: \"" + strings.Repeat("x", 60) + "…\" is longer than 1024 bytes; make it shorter"},
		"long key": {strings.Repeat("k", 2000) + ": 1",
			"c.yaml:1: " + strings.Repeat("k", 100) + "…: unknown key; known here: server, auth, limits, stream, journal, scripts, plugins, filters, log"},
		"too much": {strings.Repeat("log: {}\n", 20000),
			"c.yaml:10001: the file has too much in it up to here to be a configuration; use patterns instead of long lists"},
		"carriage return": {"log:\r  level: info\n", "c.yaml:1: has the invisible character '\\r'; remove it"},
	} {
		_, err := Parse("c.yaml", []byte(c.text))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: got error %v, want %s", name, err, c.want)
		}
	}
}

func TestManyMistakesAreCut(t *testing.T) {
	var text strings.Builder
	for i := range 500 {
		fmt.Fprintf(&text, "key%d: 1\n", i)
	}
	_, err := Parse("c.yaml", []byte(text.String()))
	var all Errors
	if !errors.As(err, &all) || len(all) != maxErrors {
		t.Fatalf("got %d errors, want %d", len(all), maxErrors)
	}
	if got, want := all[maxErrors-1].Error(), "(and 480 more mistakes)"; !strings.HasSuffix(got, want) {
		t.Errorf("got last error %q, want it to end with %q", got, want)
	}
}

func TestNearest(t *testing.T) {
	words := []string{"listen", "tls", "cors", "drain"}
	for word, want := range map[string]string{
		"lisen": "listen", "litsen": "listen", "LISTEN": "listen", "tsl": "tls", "corse": "cors", "rain": "drain",
		"beat": "", "x": "", "permissions": "", "": "", strings.Repeat("listen", 1000): "",
	} {
		if got := nearest(word, words); got != want {
			t.Errorf("nearest(%.20q): got %q, want %q", word, got, want)
		}
	}
}
