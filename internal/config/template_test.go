package config

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// withStarter is what a new home is configured as.
func withStarter() *Config {
	c := Default()
	c.Scripts.Permissions = map[string]Permission{"host.js": {Read: []string{
		"/proc/loadavg", "/proc/meminfo", "/proc/uptime", "/sys/class/thermal/*/temp", "/sys/class/hwmon/*/temp*_input"}}}
	return c
}

func TestTemplateIsTheDefaultWithTheStarter(t *testing.T) {
	c := mustParse(t, string(Template()))
	if want := withStarter(); !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

var commentedKey = regexp.MustCompile(`(?m)^  # ( *[a-z0-9_]+:)`)

// A user who removes every "# " before a key gets the defaults, too: that is, every
// key is there, in its group, and with its default.
func TestTemplateHasEveryKey(t *testing.T) {
	text := commentedKey.ReplaceAllString(string(Template()), "  $1")
	if c := mustParse(t, text); !reflect.DeepEqual(c, withStarter()) {
		t.Errorf("got  %+v\nwant %+v", c, withStarter())
	}
	p := &parser{file: "carillon.yaml"}
	tokens, _ := p.tokens([]byte(text))
	root, _ := p.tree(tokens)
	p.section(Default(), "", at{node: root})
	for _, k := range schema {
		if p.lines[k.path] == nil {
			t.Errorf("%s is not in the template", k.path)
		}
	}
}

func TestTemplateIsReadable(t *testing.T) {
	for i, line := range strings.Split(string(Template()), "\n") {
		if len(line) > 130 || strings.TrimRight(line, " ") != line || strings.Contains(line, "\t") {
			t.Errorf("line %d is too long or has stray spaces: %q", i+1, line)
		}
	}
}
