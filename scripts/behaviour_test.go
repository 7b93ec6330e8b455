package scripts

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"carillon/runtime"
)

// The helpers that test scripts may use. They stand behind the script, on its
// last line, and are hoisted.
const testHelpers = `
function eq(got, want) { got = JSON.stringify(got); want = JSON.stringify(want); if (got !== want) throw new Error('got ' + got + ', want ' + want); }
function throws(fn, part) { try { fn(); } catch (e) { if (!String(e).includes(part)) throw new Error('got ' + e + ', want ' + part); return; } throw new Error('nothing thrown, want ' + part); }
`

// A chunk is one script of a test file.
type chunk struct {
	line   int // of the file
	source string
	want   map[int]*regexp.Regexp // by line: what goes wrong there
	ends   bool                   // the script emits 'done'
}

var expectation = regexp.MustCompile("/// (.*)$")

// chunks splits a test file at the lines ---. Each chunk is padded with empty
// lines, so that its lines have the numbers of the file's.
func chunks(t *testing.T, file string) (list []chunk) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := chunk{line: 1, want: map[int]*regexp.Regexp{}}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if strings.TrimSpace(line) == "---" {
			list = append(list, c)
			c = chunk{line: n + 1, source: strings.Repeat("\n", n), want: map[int]*regexp.Regexp{}}
			continue
		}
		if m := expectation.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			c.want[n] = regexp.MustCompile(m[1])
		}
		c.source += line
		c.ends = c.ends || strings.Contains(line, "emit('done')")
	}
	return append(list, c)
}

// TestBehaviour runs the scripts in testdata. What a line expects behind ///
// must go wrong in that line, and nothing else.
func TestBehaviour(t *testing.T) {
	files, err := filepath.Glob("testdata/*.js")
	if err != nil || len(files) == 0 {
		t.Fatalf("test files: got %v, %v", files, err)
	}
	for _, file := range files {
		for _, c := range chunks(t, file) {
			t.Run(fmt.Sprintf("%s:%d", filepath.Base(file), c.line), func(t *testing.T) {
				t.Parallel()
				c.run(t)
			})
		}
	}
}

func (c *chunk) run(t *testing.T) {
	if len(c.want) == 0 && !c.ends {
		t.Fatal("the chunk expects nothing and does not emit('done')")
	}
	b := prepare(t)
	b.host.Limits = Limits{Handler: 300e6, Load: 2e9}
	b.start()
	b.set("sensor.outside", "20", `{"unit":"°C"}`)
	b.write("test.js", c.source+testHelpers)
	var got []*runtime.Event
	b.await("the chunk is done", func() bool {
		failed := b.find(runtime.ScriptFailed)
		got = append(failed, b.find(ScriptError)...)
		if len(got) > len(c.want) || len(failed) > 0 {
			return true
		}
		return len(got) == len(c.want) && (!c.ends || len(b.find("done")) > 0)
	})
	var lines []int
	for _, e := range got {
		var line int
		fmt.Sscan(field(e, "line"), &line)
		lines = append(lines, line)
		want := c.want[line]
		switch message := field(e, "message"); {
		case want == nil:
			t.Errorf("line %d: got %s, want nothing wrong", line, message)
		case !want.MatchString(message):
			t.Errorf("line %d: got %s, want %s", line, message, want)
		}
	}
	for line, want := range c.want {
		if !slices.Contains(lines, line) {
			t.Errorf("line %d: got nothing, want %s", line, want)
		}
	}
}
