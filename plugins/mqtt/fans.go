package main

import (
	"fmt"
	"math"
	"regexp"
	"strings"

	"carillon/plugins/mqtt/template"
)

// A fan is what buildFan works on.
type fan struct {
	*builder
	low, high float64 // the device's speeds
	percent   *writer
	preset    *writer
	presets   []string
	speedTold bool
}

func buildFan(m *builder) {
	e := m.e
	m.need("command_topic")
	f := &fan{builder: m, low: m.num("speed_range_min", 1), high: m.num("speed_range_max", 100)}
	if f.low >= f.high {
		m.fail("speed_range_max", "must be greater than speed_range_min")
	}
	on, off := m.str("payload_on", "ON"), m.str("payload_off", "OFF")
	told := m.read("state_topic", "state_value_template", m.onOff(on, off))
	e.assumed = m.flag("optimistic", !told)
	f.speeds()
	f.modes()
	f.oscillation()
	f.direction()
	if w := m.write("command_topic", "command_template"); w != nil {
		f.switches(w, on, off)
	}
}

func (f *fan) speeds() {
	e := f.e
	reset := f.str("payload_reset_percentage", none)
	f.percent = f.write("percentage_command_topic", "percentage_command_template")
	f.speedTold = f.read("percentage_state_topic", "percentage_value_template", func(_ *message, value string) error {
		if value == "" {
			return nil
		}
		if value == reset {
			e.attr("percentage", nil)
			return nil
		}
		x, ok := parseNumber(value)
		if !ok {
			return fmt.Errorf("%.60q is no speed", value)
		}
		p := math.Floor((x - f.low + 1) * 100 / (f.high - f.low + 1))
		if p < 0 || p > 100 {
			return fmt.Errorf("speed %s is not from %s to %s", formatNumber(x), formatNumber(f.low), formatNumber(f.high))
		}
		e.attr("percentage", p)
		return nil
	})
	if f.percent == nil {
		return
	}
	step := 100 / (f.high - f.low + 1)
	e.own["percentage_step"] = step
	e.commands["set_percentage"] = func(c *call) ([]outgoing, func(), error) {
		p, err := c.num("percentage", 0, 100)
		if err != nil {
			return nil, nil, err
		}
		return f.setPercent(p)
	}
	change := func(usual float64) command {
		return func(c *call) ([]outgoing, func(), error) {
			by := usual
			if c.has("percentage_step") {
				own, err := c.num("percentage_step", 0, 100)
				if err != nil {
					return nil, nil, err
				}
				by = math.Copysign(own, usual)
			}
			now, _ := e.attrs["percentage"].(float64)
			return f.setPercent(min(max(now+by, 0), 100))
		}
	}
	e.commands["increase_speed"], e.commands["decrease_speed"] = change(step), change(-step)
}

// setPercent sends a speed.
func (f *fan) setPercent(p float64) ([]outgoing, func(), error) {
	speed := math.Ceil((f.high-f.low+1)*p/100 + f.low - 1)
	out, err := f.percent.messages(numeric(speed), nil)
	return out, guessIf(!f.speedTold || f.e.assumed, func() { f.e.attr("percentage", p); f.e.keep() }), err
}

func (f *fan) modes() {
	e := f.e
	f.presets = f.strs("preset_modes")
	reset := f.str("payload_reset_preset_mode", none)
	f.preset = f.write("preset_mode_command_topic", "preset_mode_command_template")
	told := f.choiceOf("preset_mode_state_topic", "preset_mode_value_template", "preset_mode", reset, f.presets)
	if told || f.preset != nil {
		e.own["preset_modes"] = f.presets
	}
	f.setChoice(f.preset, "set_preset_mode", "preset_mode", "preset_mode", f.presets, told)
}

func (f *fan) oscillation() {
	e := f.e
	on, off := f.str("payload_oscillation_on", "oscillate_on"), f.str("payload_oscillation_off", "oscillate_off")
	told := f.read("oscillation_state_topic", "oscillation_value_template", func(_ *message, value string) error {
		switch value {
		case on, off:
			e.attr("oscillating", value == on)
		case "":
		default:
			return fmt.Errorf("%.60q is neither %q nor %q", value, on, off)
		}
		return nil
	})
	w := f.write("oscillation_command_topic", "oscillation_command_template")
	if w == nil {
		return
	}
	e.commands["oscillate"] = func(c *call) ([]outgoing, func(), error) {
		yes, err := c.flag("oscillating")
		if err != nil {
			return nil, nil, err
		}
		out, err := w.messages(map[bool]string{false: off, true: on}[yes], nil)
		return out, guessIf(!told || e.assumed, func() { e.attr("oscillating", yes); e.keep() }), err
	}
}

func (f *fan) direction() {
	ways := []string{"forward", "reverse"}
	told := f.choiceOf("direction_state_topic", "direction_value_template", "direction", none, ways)
	f.setChoice(f.write("direction_command_topic", "direction_command_template"), "set_direction", "direction", "direction", ways, told)
}

// switches adds what turns it on, with speed and preset, and off.
func (f *fan) switches(w *writer, on, off string) {
	turnOn := func(c *call) ([]outgoing, func(), error) {
		out, err := w.messages(on, nil)
		if err != nil {
			return nil, nil, err
		}
		assumes := []func(){f.e.guess(func() { f.e.set("on") })}
		add := func(o []outgoing, assume func(), err error) error {
			out, assumes = append(out, o...), append(assumes, assume)
			return err
		}
		if c.has("percentage") && f.percent != nil {
			p, err := c.num("percentage", 0, 100)
			if err != nil {
				return nil, nil, err
			}
			if err := add(f.setPercent(p)); err != nil {
				return nil, nil, err
			}
		}
		if c.has("preset_mode") && f.preset != nil {
			if err := add(f.e.commands["set_preset_mode"](c)); err != nil {
				return nil, nil, err
			}
		}
		return out, all(assumes), nil
	}
	f.switched(turnOn, w.constant(off, "off"))
}

func buildLock(m *builder) {
	e := m.e
	m.need("command_topic")
	states := map[string]string{}
	for _, state := range []string{"jammed", "opening", "open", "unlocking", "locking", "unlocked", "locked"} {
		states[m.str("state_"+state, strings.ToUpper(state))] = state
	}
	reset := m.str("payload_reset", none)
	var format *regexp.Regexp
	if f := m.str("code_format", ""); f != "" {
		var err error
		if format, err = regexp.Compile("^(?:" + f + ")"); err != nil {
			m.fail("code_format", "is no pattern that is supported: %v", err)
		}
		e.own["code_format"] = f
	}
	told := m.read("state_topic", "value_template", func(_ *message, value string) error {
		state, known := states[value]
		switch {
		case value == "":
		case value == reset || value == none:
			e.unknown()
		case known:
			e.set(state)
		default:
			return fmt.Errorf("%.60q is none of the states that were announced", value)
		}
		return nil
	})
	e.assumed = m.flag("optimistic", !told)
	w := m.write("command_topic", "command_template")
	if w == nil {
		return
	}
	add := func(service, payload, state string) {
		if payload == "" {
			return
		}
		e.commands[service] = func(c *call) ([]outgoing, func(), error) {
			more := map[string]template.Value{"code": nil}
			code, err := c.str("code")
			if err == nil {
				more["code"] = code
			}
			if format != nil && !format.MatchString(code) {
				return nil, nil, fmt.Errorf("code must be given, and match %s", e.own["code_format"])
			}
			out, err := w.messages(payload, more)
			return out, e.guess(func() { e.set(state) }), err
		}
	}
	add("lock", m.str("payload_lock", "LOCK"), "locked")
	add("unlock", m.str("payload_unlock", "UNLOCK"), "unlocked")
	add("open", m.str("payload_open", ""), "open")
}
