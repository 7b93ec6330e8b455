package config

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// FuzzParse: whatever the text, Parse returns a valid configuration or errors
// that say where, or that they are about the whole file.
func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add(Template())
	mistakes, err := os.ReadFile("testdata/mistakes.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range strings.Split(string(mistakes), "\n== ") {
		_, text, _ := strings.Cut(c, "\n")
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		start := time.Now()
		c, err := Parse("c.yaml", text)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("took %s", took)
		}
		if err == nil {
			checkValid(t, c)
			return
		}
		var all Errors
		if c != nil || !errors.As(err, &all) || len(all) == 0 || len(all) > maxErrors {
			t.Fatalf("got %v and %v, want either a configuration or Errors", c, err)
		}
		lines := strings.Count(string(text), "\n") + 1
		for _, e := range all {
			wholeFile := strings.HasPrefix(e.Msg, "the file ") || strings.HasPrefix(e.Msg, "the YAML reader ")
			if e.Line < 1 && !wholeFile || e.Line > lines {
				t.Errorf("got line %d of %d in %q", e.Line, lines, e)
			}
			if e.Msg == "" || e.Hint == "" || strings.ContainsAny(e.Error(), "\n\r") || len(e.Error()) > 2000 {
				t.Errorf("got error %q, want one line with what is wrong and what to do", e)
			}
		}
	})
}

// checkValid checks that each value reads back from what it is written as.
func checkValid(t *testing.T, c *Config) {
	var text strings.Builder
	for _, k := range schema {
		text.WriteString(k.text(c))
	}
	if diff := c.Diff(c); len(diff) != 0 {
		t.Errorf("got a difference to itself in %v", diff)
	}
	if c.Stream.Beat <= 0 || c.Limits.Body <= 0 || c.Journal.MaxBytes <= 0 || c.Scripts.Timeout <= 0 || c.Server.Listen == "" {
		t.Errorf("got a value out of range: %+v", c)
	}
}
