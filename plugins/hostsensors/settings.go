package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"carillon/plugins/adapter"
)

// settings are the adapter's configuration. Lists that are not there stand for
// everything that is of use.
type settings struct {
	Interval   string   `json:"interval"`   // between two rounds: "10s"
	Include    []string `json:"include"`    // of what can be read
	Prefix     string   `json:"prefix"`     // of the entities' ids
	Name       string   `json:"name"`       // of the device
	Disks      []string `json:"disks"`      // mount points, with * and ? as in path.Match
	Interfaces []string `json:"interfaces"` // network interfaces, likewise

	every time.Duration // Interval
}

const (
	minInterval = 500 * time.Millisecond
	maxInterval = time.Hour
	maxPrefix   = 64
)

const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "interval": {"type": "string", "default": "10s",
      "description": "Time between two rounds of reading, 500ms to 1h."},
    "include": {"type": "array", "uniqueItems": true,
      "items": {"enum": ["cpu", "memory", "disks", "network", "temperatures", "batteries"]},
      "description": "What is read; everything by default."},
    "prefix": {"type": "string", "pattern": "^[a-z0-9]+(_[a-z0-9]+)*$", "maxLength": 64, "default": "machine",
      "description": "How the ids begin: sensor.machine_cpu_use."},
    "name": {"type": "string", "maxLength": 100,
      "description": "The device's name; the machine's host name by default."},
    "disks": {"type": "array", "items": {"type": "string"},
      "description": "Mount points, * stands for any characters but /; by default each file system on a device of its own."},
    "interfaces": {"type": "array", "items": {"type": "string"},
      "description": "Network interfaces, * stands for any characters; by default all that are up, but loopback."}
  }
}`

var prefixPattern = regexp.MustCompile(`^[a-z0-9]+(_[a-z0-9]+)*$`)

// readSettings returns the configuration, or adapter.FieldErrors.
func readSettings(c adapter.Config) (settings, error) {
	s := settings{Interval: "10s", Prefix: "machine"}
	var wrong adapter.FieldErrors
	if err := c.Decode(&s); errors.As(err, &wrong) {
		for i := range wrong {
			if w := &wrong[i]; w.Field == "/interval" { // YAML takes 10 for a number
				w.Message = "must be a duration with its unit, such as 10s"
			}
		}
		return s, wrong
	} else if err != nil {
		return s, err
	}
	complain := func(field, format string, args ...any) {
		wrong = append(wrong, adapter.FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	var err error
	s.every, err = time.ParseDuration(s.Interval)
	if err != nil || s.every < minInterval || s.every > maxInterval {
		complain("/interval", "must be a duration from 500ms to 1h, such as 10s, and is %.60q", s.Interval)
	}
	for i, kind := range s.Include {
		if !slices.Contains(kinds, kind) {
			complain(fmt.Sprintf("/include/%d", i), "must be one of %s, and is %.60q", strings.Join(kinds, ", "), kind)
		}
	}
	if len(s.Prefix) > maxPrefix || !prefixPattern.MatchString(s.Prefix) {
		complain("/prefix", "must be 1 to %d lower-case letters and digits, with single underscores between them, and is %.100q", maxPrefix, s.Prefix)
	}
	if len(s.Name) > 100 {
		complain("/name", "must have 100 bytes at most, and has %d", len(s.Name))
	}
	for field, patterns := range map[string][]string{"disks": s.Disks, "interfaces": s.Interfaces} {
		for i, pattern := range patterns {
			if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
				complain(fmt.Sprintf("/%s/%d", field, i), "is no pattern: %.100q", pattern)
			}
		}
	}
	slices.SortFunc(wrong, func(a, b adapter.FieldError) int { return strings.Compare(a.Field, b.Field) })
	if wrong != nil {
		return s, wrong
	}
	return s, nil
}

// includes reports whether a kind is to be read.
func (s *settings) includes(kind string) bool {
	return s.Include == nil || slices.Contains(s.Include, kind)
}

// matches reports whether a name is one of those that are asked for.
func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	})
}

// missing returns the patterns that stand for one name, which none of what there is has. Others
// may be there for what comes and goes.
func missing[T any](patterns []string, there []T, name func(T) string) (names []string) {
	for _, pattern := range patterns {
		if !strings.ContainsAny(pattern, `*?[\`) && !slices.ContainsFunc(there, func(one T) bool { return name(one) == pattern }) {
			names = append(names, pattern)
		}
	}
	return names
}

// version can be set by the linker: -ldflags "-X main.version=1.2.3".
var version = "1.0.0"

// Describe is the Adapter's.
func (m *machine) Describe() adapter.Description {
	return adapter.Description{
		Name: "hostsensors", Version: version, Schema: json.RawMessage(schema),
		Summary: "CPU, memory, disks, network, temperatures and batteries of this machine.",
	}
}

// Configure is the Adapter's.
func (m *machine) Configure(_ context.Context, c adapter.Config) error {
	s, err := readSettings(c)
	if err == nil && !c.ValidateOnly {
		m.settings = s
	}
	return err
}
