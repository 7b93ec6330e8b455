package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"carillon/plugins/mqtt/template"
)

func buildText(m *builder) {
	e := m.e
	m.need("command_topic")
	low, high := m.num("min", 0), m.num("max", 255)
	e.own["min"], e.own["max"] = low, high
	e.own["mode"] = m.oneOf("mode", "text", "text", "password")
	var pattern *regexp.Regexp
	if p := m.str("pattern", ""); p != "" {
		var err error
		if pattern, err = regexp.Compile("^(?:" + p + ")"); err != nil {
			m.fail("pattern", "is no pattern that is supported: %v", err)
		}
		e.own["pattern"] = p
	}
	check := func(text string) error {
		n := utf8.RuneCountInString(text)
		switch {
		case float64(n) < low || float64(n) > high:
			return fmt.Errorf("has %d characters, not %s to %s", n, formatNumber(low), formatNumber(high))
		case pattern != nil && !pattern.MatchString(text):
			return fmt.Errorf("does not match %q", e.own["pattern"])
		}
		return nil
	}
	w := m.write("command_topic", "command_template")
	told := m.read("state_topic", "value_template", func(_ *message, value string) error {
		if value == none {
			e.unknown()
			return nil
		}
		if err := check(value); err != nil {
			return fmt.Errorf("the text %w", err)
		}
		e.set(value)
		return nil
	})
	e.assumed = !told
	if w == nil {
		return
	}
	e.commands["set_value"] = func(c *call) ([]outgoing, func(), error) {
		text, err := c.str("value")
		if err != nil {
			return nil, nil, err
		}
		if err := check(text); err != nil {
			return nil, nil, fmt.Errorf("value %w", err)
		}
		out, err := w.messages(text, nil)
		return out, e.guess(func() { e.set(text) }), err
	}
}

func buildTracker(m *builder) {
	e := m.e
	if !m.has("state_topic") && !m.has("json_attributes_topic") {
		m.fail("state_topic", "is missing, and so is json_attributes_topic")
	}
	e.own["source_type"] = m.str("source_type", "gps")
	home, away, reset := m.str("payload_home", "home"), m.str("payload_not_home", "not_home"), m.str("payload_reset", none)
	m.read("state_topic", "value_template", func(_ *message, value string) error {
		switch value {
		case home:
			e.set("home")
		case away:
			e.set("not_home")
		case reset:
			e.unknown()
		case "":
		default:
			e.set(value) // a place's name
		}
		return nil
	})
}

func buildEvent(m *builder) {
	e := m.e
	m.need("state_topic")
	types := m.strs("event_types")
	if types == nil {
		m.fail("event_types", "are missing: event can't do without them")
	}
	e.own["event_types"] = types
	e.forced = true
	m.read("state_topic", "value_template", func(msg *message, value string) error {
		if value == "" || value == none || value == "{}" || msg.retained {
			return nil // what the broker kept is no news
		}
		v, _ := template.Decode([]byte(value))
		d, ok := v.(*template.Dict)
		if !ok {
			return fmt.Errorf("%.60q is no JSON object with an event_type", value)
		}
		attrs := plainObject(d)
		typ, _ := attrs["event_type"].(string)
		if !slices.Contains(types, typ) {
			return fmt.Errorf("%.60q is none of its event_types", typ)
		}
		clear(e.attrs)
		for k, v := range attrs {
			e.attr(k, v)
		}
		e.set(timestamp(time.Now()))
		return nil
	})
}

func buildUpdate(m *builder) {
	e := m.e
	m.copy("release_summary", "release_url", "title")
	e.attrs["in_progress"] = false
	version := func(key string) string { return textOf(e.attrs[key]) }
	show := func(installed, latest string) {
		e.attr("installed_version", orNil(installed))
		e.attr("latest_version", orNil(latest))
		switch {
		case installed == "" || latest == "":
			e.unknown()
		case !isNewer(latest, installed):
			e.set("off")
		default:
			e.set("on")
		}
	}
	m.read("state_topic", "value_template", func(_ *message, value string) error {
		if value == "" || value == "{}" {
			return nil
		}
		v, _ := template.Decode([]byte(value))
		d, ok := v.(*template.Dict)
		if !ok {
			show(value, version("latest_version"))
			return nil
		}
		installed, latest := version("installed_version"), version("latest_version")
		object := plainObject(d)
		if percentage, told := object["update_percentage"]; told { // in_progress may say otherwise
			e.attr("in_progress", percentage != nil)
		}
		for k, v := range object {
			switch k {
			case "installed_version":
				installed = textOf(v)
			case "latest_version":
				latest = textOf(v)
			case "title", "release_summary", "release_url", "entity_picture", "in_progress", "update_percentage":
				e.attr(k, v)
			}
		}
		show(installed, latest)
		return nil
	})
	m.read("latest_version_topic", "latest_version_template", func(_ *message, value string) error {
		if value != "" {
			show(version("installed_version"), value)
		}
		return nil
	})
	payload := m.str("payload_install", "")
	w := m.write("command_topic", "command_template")
	if w != nil && payload != "" {
		e.commands["install"] = func(*call) ([]outgoing, func(), error) {
			out, err := w.messages(payload, nil)
			return out, nil, err
		}
	}
}

// isNewer reports whether a version is newer than another: by their numbers, if they are
// of numbers with points between them, else it is newer if it differs.
func isNewer(version, than string) bool {
	a, ok := versionNumbers(version)
	b, ok2 := versionNumbers(than)
	if !ok || !ok2 {
		return version != than
	}
	return slices.Compare(a, b) > 0
}

func versionNumbers(version string) (numbers []int, ok bool) {
	for part := range strings.SplitSeq(strings.TrimPrefix(version, "v"), ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil, false
		}
		numbers = append(numbers, n)
	}
	for len(numbers) > 1 && numbers[len(numbers)-1] == 0 {
		numbers = numbers[:len(numbers)-1] // 1.0 is 1
	}
	return numbers, true
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func textOf(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// buildTrigger makes a trigger of a device: it has no entity, and fires an event.
func buildTrigger(m *builder) {
	e := m.e
	e.silent = true
	if kind := m.str("automation_type", "trigger"); kind != "trigger" {
		m.fail("automation_type", "%.60q is not supported: only trigger is", kind)
	}
	m.need("topic")
	typ, subtype := m.str("type", ""), m.str("subtype", "")
	payload, whatever := m.str("payload", ""), !m.has("payload")
	m.read("topic", "value_template", func(msg *message, value string) error {
		if msg.retained || !whatever && value != payload {
			return nil
		}
		m.b.fire("mqtt_trigger", map[string]any{"device": m.b.deviceName(e), "device_id": e.device.id, "type": typ, "subtype": subtype, "payload": value})
		return nil
	})
}

// deviceName is the name of a trigger's device; many triggers say its identifier alone, and others
// of its components the rest. Callers hold mu.
func (b *bridge) deviceName(e *entity) string {
	if d := b.devices[e.device.id]; d != nil && d.info.name != "" {
		return d.info.name
	}
	return e.device.name
}

// buildTag makes a reader of tags.
func buildTag(m *builder) {
	e := m.e
	e.silent = true
	m.need("topic")
	m.read("topic", "value_template", func(msg *message, value string) error {
		if value == "" || msg.retained {
			return nil
		}
		m.b.fire("tag_scanned", map[string]any{"tag_id": value, "device": m.b.deviceName(e), "device_id": e.device.id})
		return nil
	})
}
