package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"carillon/runtime/runtimetest"
)

// TestStories plays what devices say, and looks at what the home shows. The stories
// are in testdata/stories; README.md there says how they are written.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/stories/*.txt")
	if err != nil || len(files) < 30 {
		t.Fatalf("got %d stories and %v, want at least 30", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			playStory(t, file)
		})
	}
}

// A player plays a story.
type player struct {
	t    *testing.T
	m    *memory
	h    *runtimetest.Home
	line int
	seen int // events that were looked at
}

func playStory(t *testing.T, file string) {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := &player{t: t}
	p.m, p.h = start(t, `{"confirm":"0s"}`)
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		p.line++
		if text := lines.Text(); text != "" && !strings.HasPrefix(text, "#") {
			p.step(text)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

func (p *player) errorf(format string, args ...any) {
	p.t.Helper()
	p.t.Errorf("line %d: %s", p.line, fmt.Sprintf(format, args...))
}

// said are the words that make the devices speak: what they say takes effect
// together.
func (p *player) step(text string) {
	word, rest, _ := strings.Cut(text, " ")
	first, more, _ := strings.Cut(rest, " ")
	switch word {
	case "retained", "message":
		if strings.HasPrefix(more, "@repeat ") {
			more = repeated(more)
		}
		if word == "message" {
			p.m.quiet(p.h)
		}
		p.m.say(first, more, word == "retained")
		return
	}
	p.m.quiet(p.h)
	switch word {
	case "entity":
		p.entity(first, more)
	case "call":
		p.call(first, more)
	case "fails":
		p.fails(first, more)
	case "publishes", "publishes-retained":
		p.publishes(first, more, word == "publishes-retained")
	case "event":
		p.event(first, more)
	case "reported":
		p.reported(rest)
	case "quiet":
		if logged(p.h, rest) {
			p.errorf("%q is reported", rest)
		}
	case "removed":
		if _, there := p.h.Entity(first); there {
			p.errorf("%s is still there", first)
		}
	case "device":
		p.device(first, more)
	default:
		p.errorf("%q is no word of a story", word)
	}
}

// repeated makes "@repeat 1000 x" a thousand x.
func repeated(text string) string {
	var n int
	var what string
	fmt.Sscanf(text, "@repeat %d %s", &n, &what)
	return strings.Repeat(what, n)
}

func (p *player) entity(id, more string) {
	want, attrs, _ := strings.Cut(more, " ")
	if strings.HasPrefix(more, `"`) { // a state with spaces is quoted
		end := strings.Index(more[1:], `"`) + 2
		want, attrs = more[1:end-1], strings.TrimSpace(more[end:])
	}
	e, ok := p.h.Entity(id)
	if !ok {
		p.errorf("there is no %s; there are %v", id, p.h.Entities())
		return
	}
	if e.State != want && want != "*" {
		p.errorf("%s is %q, want %q; attributes %v", id, e.State, want, e.Attributes)
	}
	p.within(id, e.Attributes, attrs)
}

// within checks that an object has what a text says.
func (p *player) within(what string, got map[string]any, text string) {
	if text == "" {
		return
	}
	var want map[string]any
	if err := json.Unmarshal([]byte(text), &want); err != nil {
		p.errorf("%v in %s", err, text)
		return
	}
	for key, w := range want {
		if g, there := got[key]; !same(g, w) && !(w == nil && !there) {
			p.errorf("%s: %s is %v, want %v", what, key, g, w)
		}
	}
}

// same compares what JSON holds; numbers that come of colors need not be exact.
func same(got, want any) bool {
	switch w := want.(type) {
	case float64:
		g, ok := got.(float64)
		return ok && math.Abs(g-w) <= 0.0005+1e-9*math.Abs(w)
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for i := range w {
			if !same(g[i], w[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for k := range w {
			if !same(g[k], w[k]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(got, want)
}

func (p *player) call(service, rest string) {
	id, data, _ := strings.Cut(rest, " ")
	if _, err := p.h.Call(p.t.Context(), service, id, data); err != nil {
		p.errorf("%s of %s: %v", service, id, err)
	}
}

func (p *player) fails(service, rest string) {
	id, rest, _ := strings.Cut(rest, " ")
	d := json.NewDecoder(strings.NewReader(rest))
	var data json.RawMessage
	if err := d.Decode(&data); err != nil {
		p.errorf("%v in %s", err, rest)
		return
	}
	want := strings.TrimSpace(rest[d.InputOffset():])
	if _, err := p.h.Call(p.t.Context(), service, id, string(data)); err == nil || !strings.Contains(err.Error(), want) {
		p.errorf("%s of %s with %s: got error %v, want one with %q", service, id, data, err, want)
	}
}

func (p *player) publishes(topic, want string, retain bool) {
	o, ok := p.m.next()
	if !ok {
		p.errorf("nothing was published, want %s %s", topic, want)
		return
	}
	var g, w any
	equal := o.payload == want
	if json.Unmarshal([]byte(o.payload), &g) == nil && json.Unmarshal([]byte(want), &w) == nil {
		equal = same(g, w)
	}
	if o.topic != topic || !equal || o.retain != retain {
		p.errorf("published %s %s (retain %v)\nwant %s %s", o.topic, o.payload, o.retain, topic, want)
	}
}

func (p *player) event(typ, want string) {
	events := p.h.Events()
	for i := p.seen; i < len(events); i++ {
		if events[i].Type == typ {
			p.seen = i + 1
			p.within("event "+typ, events[i].Data, want)
			return
		}
	}
	p.errorf("no event %s came", typ)
}

// reported waits: logs have no order with states.
func (p *player) reported(want string) {
	p.h.Until(fmt.Sprintf("line %d: it is reported with %q", p.line, want), func() bool {
		return slices.ContainsFunc(p.h.Logs(), func(line string) bool { return strings.Contains(line, want) })
	})
}

func (p *player) device(id, want string) {
	d, ok := p.h.Device(id)
	if !ok {
		p.errorf("there is no device %s", id)
		return
	}
	p.within("device "+id, map[string]any{
		"name": d.Name, "manufacturer": d.Manufacturer, "model": d.Model, "serial": d.Serial, "software": d.Software, "sw_version": d.Software,
		"serial_number": d.Serial,
	}, want)
}
