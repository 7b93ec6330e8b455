package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// none is what devices send for a state that is not known.
const none = "None"

// notNumeric are the device classes of sensors whose states are no numbers, and ofTime
// those of them that are times.
var (
	notNumeric = []string{"date", "enum", "timestamp", "uptime"}
	ofTime     = []string{"date", "timestamp", "uptime"}
)

// binaryClasses are the device classes of binary sensors (homeassistant/components/binary_sensor,
// BinarySensorDeviceClass). There is no binary sensor of another class.
var binaryClasses = []string{
	"battery", "battery_charging", "carbon_monoxide", "cold", "connectivity", "door", "garage_door", "gas", "heat", "light", "lock", "moisture",
	"motion", "moving", "occupancy", "opening", "plug", "power", "presence", "problem", "running", "safety", "smoke", "sound", "tamper", "update",
	"vibration", "window",
}

func buildSensor(m *builder) {
	e := m.e
	m.need("state_topic")
	m.copy("unit_of_measurement", "state_class")
	options := m.strs("options")
	if options != nil {
		e.own["options"] = options
	}
	class := m.str("device_class", "")
	numeric := !slices.Contains(notNumeric, class) && (class != "" || m.has("unit_of_measurement") || m.has("state_class"))
	m.expires()
	e.forced = m.flag("force_update", false)
	m.read("state_topic", "value_template", func(_ *message, value string) error {
		switch {
		case value == none:
			e.unknown()
		case numeric && value == "":
			return nil // some templates make nothing of a message that is not for them
		case numeric && isNaN(value):
			e.unknown()
		case numeric:
			if _, ok := parseNumber(value); !ok {
				return fmt.Errorf("%.60q is no number", value)
			}
			e.set(strings.TrimSpace(value))
		case options != nil && !slices.Contains(options, value):
			return fmt.Errorf("%.60q is none of its options, which are %s", value, strings.Join(options, ", "))
		case slices.Contains(ofTime, class):
			return e.setTime(class, value)
		default:
			e.set(value)
		}
		return nil
	})
}

func buildBinarySensor(m *builder) {
	e := m.e
	m.need("state_topic")
	if class := strings.ToLower(m.str("device_class", "")); class != "" {
		if e.own["device_class"] = class; !slices.Contains(binaryClasses, class) {
			m.fail("device_class", "%.40q is none of a binary sensor", class)
		}
	}
	on, off := m.str("payload_on", "ON"), m.str("payload_off", "OFF")
	e.offDelay = m.seconds("off_delay")
	m.expires()
	e.forced = m.flag("force_update", false)
	m.read("state_topic", "value_template", func(_ *message, value string) error {
		switch value {
		case on:
			e.set("on")
			if e.offDelay > 0 {
				m.b.offAfter(e, e.offDelay)
			}
		case off:
			e.set("off")
			m.b.cancel(e, "off")
		case none:
			e.unknown()
		case "":
		default:
			return fmt.Errorf("%.60q is neither %q nor %q", value, on, off)
		}
		return nil
	})
}

// offAfter turns a binary sensor off later. Callers hold mu.
func (b *bridge) offAfter(e *entity, d time.Duration) {
	b.after(e, "off", d, func() { e.set("off") })
}

// onOff reads a state that is on or off, and returns how to take it.
func (m *builder) onOff(on, off string) func(*message, string) error {
	e := m.e
	return func(_ *message, value string) error {
		switch value {
		case on:
			e.set("on")
		case off:
			e.set("off")
		case none:
			e.unknown()
		case "":
		default:
			return fmt.Errorf("%.60q is neither %q nor %q", value, on, off)
		}
		return nil
	}
}

// switched adds the commands turn_on, turn_off and toggle; on and off make the messages.
func (m *builder) switched(on, off command) {
	m.e.commands["turn_on"], m.e.commands["turn_off"] = on, off
	m.e.commands["toggle"] = func(c *call) ([]outgoing, func(), error) {
		if m.e.state == "on" {
			return off(&call{service: "turn_off", data: c.data})
		}
		return on(&call{service: "turn_on", data: c.data})
	}
}

// constant is a command that always sends the same, and assumes a state.
func (w *writer) constant(payload, state string) command {
	return func(*call) ([]outgoing, func(), error) {
		out, err := w.messages(payload, nil)
		return out, w.e.guess(func() { w.e.set(state) }), err
	}
}

func buildSwitch(m *builder) {
	m.need("command_topic")
	on, off := m.str("payload_on", "ON"), m.str("payload_off", "OFF")
	w := m.write("command_topic", "command_template")
	told := m.read("state_topic", "value_template", m.onOff(m.str("state_on", on), m.str("state_off", off)))
	m.e.assumed = m.flag("optimistic", !told)
	if w != nil {
		m.switched(w.constant(on, "on"), w.constant(off, "off"))
	}
}

func buildButton(m *builder) {
	m.need("command_topic")
	m.press("press", m.str("payload_press", "PRESS"))
}

func buildScene(m *builder) {
	m.need("command_topic")
	m.press("turn_on", m.str("payload_on", "ON"))
}

// press adds the one command of what has no state but when it was used last.
func (m *builder) press(service, payload string) {
	m.tellsNothing()
	w := m.write("command_topic", "command_template")
	if w == nil {
		return
	}
	m.e.commands[service] = func(*call) ([]outgoing, func(), error) {
		out, err := w.messages(payload, nil)
		return out, func() { m.e.set(timestamp(time.Now())) }, err
	}
}

// tellsNothing is for what takes commands alone; some firmware makes all its announcements of one mold, and says
// where the state of it would be.
func (m *builder) tellsNothing() {
	m.e.assumed = true
	m.used["state_topic"], m.used["value_template"] = true, true
}

// timestamp writes a time as Home Assistant does in states.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000+00:00") }

func buildNotify(m *builder) {
	m.need("command_topic")
	m.tellsNothing()
	w := m.write("command_topic", "command_template")
	if w == nil {
		return
	}
	m.e.commands["send_message"] = func(c *call) ([]outgoing, func(), error) {
		text, err := c.str("message")
		if err != nil {
			return nil, nil, err
		}
		out, err := w.messages(text, nil)
		return out, func() { m.e.set(timestamp(time.Now())) }, err
	}
}

func buildNumber(m *builder) {
	e := m.e
	m.need("command_topic")
	low, high, step := m.num("min", 1), m.num("max", 100), m.num("step", 1)
	if low >= high {
		m.fail("max", "must be greater than min, which is %s", formatNumber(low))
	}
	e.own["min"], e.own["max"], e.own["step"] = low, high, step
	e.own["mode"] = m.oneOf("mode", "auto", "auto", "box", "slider")
	m.copy("unit_of_measurement")
	reset := m.str("payload_reset", none)
	w := m.write("command_topic", "command_template")
	told := m.read("state_topic", "value_template", func(_ *message, value string) error {
		if value == "" {
			return nil
		}
		if value == reset {
			e.unknown()
			return nil
		}
		x, ok := parseNumber(value)
		if !ok {
			return fmt.Errorf("%.60q is no number", value)
		}
		if x < low || x > high {
			return fmt.Errorf("%s is not from %s to %s", formatNumber(x), formatNumber(low), formatNumber(high))
		}
		e.set(pythonNumber(value, x))
		return nil
	})
	e.assumed = m.flag("optimistic", !told)
	if w == nil {
		return
	}
	e.commands["set_value"] = func(c *call) ([]outgoing, func(), error) {
		x, err := c.num("value", low, high)
		if err != nil {
			return nil, nil, err
		}
		out, err := w.messages(numeric(x), nil)
		return out, e.guess(func() { e.set(formatNumber(x)) }), err
	}
}

func buildSelect(m *builder) {
	e := m.e
	m.need("command_topic")
	options := m.strs("options")
	if options == nil {
		m.fail("options", "are missing: select can't do without them")
	}
	e.own["options"] = options
	w := m.write("command_topic", "command_template")
	told := m.read("state_topic", "value_template", func(_ *message, value string) error {
		switch {
		case value == "":
		case strings.EqualFold(value, none):
			e.unknown()
		case !slices.Contains(options, value):
			return fmt.Errorf("%.60q is none of its options, which are %s", value, strings.Join(options, ", "))
		default:
			e.set(value)
		}
		return nil
	})
	e.assumed = m.flag("optimistic", !told)
	if w == nil || len(options) == 0 {
		return
	}
	choose := func(option string) ([]outgoing, func(), error) {
		out, err := w.messages(option, nil)
		return out, e.guess(func() { e.set(option) }), err
	}
	e.commands["select_option"] = func(c *call) ([]outgoing, func(), error) {
		option, err := c.choice("option", options)
		if err != nil {
			return nil, nil, err
		}
		return choose(option)
	}
	e.commands["select_first"] = func(*call) ([]outgoing, func(), error) { return choose(options[0]) }
	e.commands["select_last"] = func(*call) ([]outgoing, func(), error) { return choose(options[len(options)-1]) }
	step := func(by int) command {
		return func(*call) ([]outgoing, func(), error) {
			at := slices.Index(options, e.state)
			return choose(options[(at+by+len(options))%len(options)])
		}
	}
	e.commands["select_next"], e.commands["select_previous"] = step(1), step(-1)
}
