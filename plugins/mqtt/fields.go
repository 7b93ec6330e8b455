package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"carillon/plugins/mqtt/template"
)

// fields are the options of one discovered component, by their full names. Whoever
// builds the entity takes what it knows; what is left over is not supported.
type fields struct {
	values map[string]any
	used   map[string]bool
	errs   []error
}

// parseObject reads a JSON object; numbers stay as they are written.
func parseObject(text []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("is no JSON: %w", err)
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("is no JSON object")
	}
	if d.More() {
		return nil, errors.New("is no JSON: there is more behind the object")
	}
	return m, nil
}

func newFields(values map[string]any) *fields {
	return &fields{values: values, used: map[string]bool{}}
}

func (f *fields) fail(key, format string, args ...any) {
	f.errs = append(f.errs, fmt.Errorf("%s %s", key, fmt.Sprintf(format, args...)))
}

// take returns an option; nil if it is not there or null.
func (f *fields) take(key string) any {
	f.used[key] = true
	return f.values[key]
}

// has reports whether an option is there and not null.
func (f *fields) has(key string) bool { return f.take(key) != nil }

// str returns a text. Numbers and truth values are written as Python does, as
// Home Assistant makes texts of them.
func (f *fields) str(key, otherwise string) string {
	switch v := f.take(key).(type) {
	case nil:
		return otherwise
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return map[bool]string{false: "False", true: "True"}[v]
	}
	f.fail(key, "must be a text")
	return otherwise
}

func (f *fields) flag(key string, otherwise bool) bool {
	switch v := f.take(key).(type) {
	case nil:
		return otherwise
	case bool:
		return v
	case json.Number:
		return v.String() != "0"
	case string:
		switch strings.ToLower(v) {
		case "true", "yes", "on", "1", "enable":
			return true
		case "false", "no", "off", "0", "disable":
			return false
		}
	}
	f.fail(key, "must be true or false")
	return otherwise
}

func (f *fields) num(key string, otherwise float64) float64 {
	v := f.take(key)
	if v == nil {
		return otherwise
	}
	if x, ok := asNumber(v); ok {
		return x
	}
	f.fail(key, "must be a number")
	return otherwise
}

// asNumber makes a finite number of what JSON holds.
func asNumber(v any) (float64, bool) {
	var text string
	switch v := v.(type) {
	case json.Number:
		text = v.String()
	case string:
		text = strings.TrimSpace(v)
	case float64:
		return v, !math.IsNaN(v) && !math.IsInf(v, 0)
	default:
		return 0, false
	}
	return parseNumber(text)
}

// strs returns a list of texts; a lone text is a list of one.
func (f *fields) strs(key string, otherwise ...string) []string {
	switch v := f.take(key).(type) {
	case nil:
		return otherwise
	case string:
		return []string{v}
	case []any:
		one := newFields(map[string]any{})
		list := make([]string, 0, len(v))
		for _, item := range v {
			one.values["item"] = item
			list = append(list, one.str("item", ""))
		}
		if len(one.errs) == 0 {
			return list
		}
	}
	f.fail(key, "must be a list of texts")
	return otherwise
}

// oneOf returns a text that must be one of a few.
func (f *fields) oneOf(key, otherwise string, all ...string) string {
	s := f.str(key, otherwise)
	if s != otherwise && !slices.Contains(all, s) {
		f.fail(key, "must be one of %s, and is %.60q", strings.Join(all, ", "), s)
	}
	return s
}

// template returns a compiled template; nil if there is none.
func (f *fields) template(key string) *template.Template {
	text := f.str(key, "")
	if text == "" {
		return nil
	}
	t, err := template.Parse(text)
	if err != nil {
		f.fail(key, "is no template that is supported: %v", err)
		return nil
	}
	return t
}

// in returns a topic to subscribe to; empty if there is none.
func (f *fields) in(key string) string { return f.topic(key, validFilter) }

// out returns a topic to publish to; empty if there is none.
func (f *fields) out(key string) string { return f.topic(key, validTopic) }

func (f *fields) topic(key string, check func(string) error) string {
	if !f.has(key) {
		return ""
	}
	topic := f.str(key, "")
	if err := check(topic); err != nil {
		f.fail(key, "%v", err)
		return ""
	}
	return topic
}

// qos returns the quality of service, 0 to 2.
func (f *fields) qos(key string) byte {
	q := f.num(key, 0)
	if q != 0 && q != 1 && q != 2 {
		f.fail(key, "must be 0, 1 or 2")
		return 0
	}
	return byte(q)
}

// harmless are options that change nothing of what an entity is or does here, and
// so are not missed.
var harmless = map[string]bool{
	"enabled_by_default": true, "entity_category": true, "platform": true, "name": true, "unique_id": true, "object_id": true,
	"default_entity_id": true, "device": true, "origin": true, "suggested_display_precision": true, "group": true, "~": true,
	"state_class": true, "last_reset_value_template": true, // are for statistics; a sensor takes the first itself
	"title": true, "release_summary": true, "release_url": true, // say more of an update, which takes them itself
}

// left returns the options that nobody took.
func (f *fields) left() (keys []string) {
	for _, key := range slices.Sorted(maps.Keys(f.values)) {
		if !f.used[key] && !harmless[key] && f.values[key] != nil && knownOptions[key] {
			keys = append(keys, key)
		}
	}
	return keys
}

const (
	// maxTopic is the longest topic of MQTT, in bytes (MQTT 3.1.1, 1.5.3).
	maxTopic = 65535
	// maxLevels is how many levels a topic may have: EMQX takes 128, Mosquitto 200, and ends
	// the connection of whoever asks for more.
	maxLevels = 128
)

func validTopic(topic string) error {
	if err := validFilter(topic); err != nil {
		return err
	}
	if strings.ContainsAny(topic, "+#") {
		return fmt.Errorf("can't be published to: %.100q has a wildcard", topic)
	}
	return nil
}

// validFilter checks a topic that may have wildcards (MQTT 3.1.1, 4.7). Brokers end the
// connection when they are asked for one that is not, so one bad announcement would cost all
// devices.
func validFilter(topic string) error {
	switch {
	case topic == "":
		return errors.New("is empty")
	case len(topic) > maxTopic:
		return fmt.Errorf("has %d bytes, more than %d", len(topic), maxTopic)
	case !utf8.ValidString(topic) || strings.ContainsFunc(topic, notInTopics):
		return errors.New("is no text that a topic can be")
	case strings.HasPrefix(topic+"/", "$share/") || strings.HasPrefix(topic+"/", "$queue/"):
		return fmt.Errorf("is no topic: %.100q is a share of a subscription", topic)
	case strings.Count(topic, "/") >= maxLevels:
		return fmt.Errorf("has %d levels, more than %d", strings.Count(topic, "/")+1, maxLevels)
	}
	levels := strings.Split(topic, "/")
	for i, level := range levels {
		if strings.Contains(level, "#") && (level != "#" || i != len(levels)-1) {
			return fmt.Errorf("is no topic: # stands alone and last, and is within %.100q", topic)
		}
		if strings.Contains(level, "+") && level != "+" {
			return fmt.Errorf("is no topic: + stands alone between slashes, and is within %.100q", topic)
		}
	}
	return nil
}

// notInTopics reports whether a broker may take a character for a mistake (MQTT 3.1.1,
// 1.5.3): control characters, and those that Unicode says are none.
func notInTopics(r rune) bool {
	return unicode.IsControl(r) || r&0xfffe == 0xfffe || r >= 0xfdd0 && r <= 0xfdef
}

// topicMatches reports whether a topic is one of a filter's.
func topicMatches(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") != strings.HasPrefix(filter, "$") {
		return false
	}
	for {
		f, moreFilter, fok := strings.Cut(filter, "/")
		t, moreTopic, tok := strings.Cut(topic, "/")
		switch {
		case f == "#":
			return true
		case f != "+" && f != t:
			return false
		case !fok && !tok:
			return true
		case fok && !tok:
			return moreFilter == "#"
		case !fok:
			return false
		}
		filter, topic = moreFilter, moreTopic
	}
}
