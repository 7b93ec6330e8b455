package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"carillon/plugins/mqtt/template"
)

// valueOf says that a topic tells an attribute that is a number, and how a message is
// taken that tells none.
func (m *builder) valueOf(topicKey, templateKey, attribute string) bool {
	return m.valueWithin(topicKey, templateKey, attribute, none, math.Inf(-1), math.Inf(1))
}

// valueWithin is valueOf for a number that has bounds; reset says that it is not known.
func (m *builder) valueWithin(topicKey, templateKey, attribute, reset string, low, high float64) bool {
	e := m.e
	return m.read(topicKey, templateKey, func(_ *message, value string) error {
		switch {
		case value == "":
			return nil
		case value == reset || isNaN(value):
			e.attr(attribute, nil)
			return nil
		}
		x, ok := parseNumber(value)
		if !ok {
			return fmt.Errorf("%.60q is no number for %s", value, attribute)
		}
		if x < low || x > high {
			return fmt.Errorf("%s for %s is not from %s to %s", formatNumber(x), attribute, formatNumber(low), formatNumber(high))
		}
		e.attr(attribute, x)
		return nil
	})
}

// choiceOf says that a topic tells an attribute that is one of a list; reset says that it is
// not known.
func (m *builder) choiceOf(topicKey, templateKey, attribute, reset string, all []string) bool {
	e := m.e
	return m.read(topicKey, templateKey, func(_ *message, value string) error {
		switch {
		case value == "":
		case value == reset:
			e.attr(attribute, nil)
		case len(all) > 0 && !slices.Contains(all, value):
			return fmt.Errorf("%.60q is none of %s for %s", value, strings.Join(all, ", "), attribute)
		default:
			e.attr(attribute, value)
		}
		return nil
	})
}

// setValue adds a service that sends a number that becomes an attribute, which is assumed
// unless it is told.
func (m *builder) setValue(w *writer, service, key, attribute string, low, high float64, told bool) {
	e := m.e
	if w == nil {
		return
	}
	e.commands[service] = func(c *call) ([]outgoing, func(), error) {
		x, err := c.num(key, low, high)
		if err != nil {
			return nil, nil, err
		}
		out, err := w.messages(numeric(x), nil)
		return out, guessIf(!told || e.assumed, func() { e.attr(attribute, x); e.keep() }), err
	}
}

// setChoice adds a service that sends one of a list that becomes an attribute.
func (m *builder) setChoice(w *writer, service, key, attribute string, all []string, told bool) {
	e := m.e
	if w == nil {
		return
	}
	e.commands[service] = func(c *call) ([]outgoing, func(), error) {
		value, err := c.choice(key, all)
		if err != nil {
			return nil, nil, err
		}
		out, err := w.messages(value, nil)
		return out, guessIf(!told || e.assumed, func() { e.attr(attribute, value); e.keep() }), err
	}
}

// keep publishes the state with changed attributes; not known is unknown.
func (e *entity) keep() {
	if !e.known {
		e.unknown()
	}
	e.news = true
}

// hvacModes are those of a climate that doesn't name its own.
var hvacModes = []string{"auto", "off", "cool", "heat", "dry", "fan_only"}

// hvacActions are what a climate can be doing.
var hvacActions = []string{"cooling", "defrosting", "drying", "fan", "heating", "idle", "off", "preheating"}

func buildClimate(m *builder) {
	e := m.e
	m.otherwise = m.template("value_template")
	modes := m.strs("modes", hvacModes...)
	e.own["hvac_modes"] = modes
	low, high, initial := m.temperatures(7, 35)
	if m.has("temp_step") {
		e.own["target_temp_step"] = m.num("temp_step", 1)
	}
	modeTold := m.read("mode_state_topic", "mode_state_template", m.mode(modes))
	told := modeTold
	m.valueOf("current_temperature_topic", "current_temperature_template", "current_temperature")
	m.valueOf("current_humidity_topic", "current_humidity_template", "current_humidity")
	m.choiceOf("action_topic", "action_template", "hvac_action", none, hvacActions)
	for _, t := range []struct{ prefix, key string }{
		{"temperature", "temperature"}, {"temperature_low", "target_temp_low"}, {"temperature_high", "target_temp_high"},
	} {
		tells := m.valueOf(t.prefix+"_state_topic", t.prefix+"_state_template", t.key)
		told = tells || told
		if !tells && m.has(t.prefix+"_command_topic") {
			e.attrs[t.key] = initial
		}
	}
	m.climateModes(&told)
	m.climateHumidity()
	e.assumed = m.flag("optimistic", !told)
	if e.assumed || !modeTold && m.has("mode_command_topic") {
		e.set("off")
	}
	m.climateCommands(modes, low, high, modeTold)
	m.read("power_state_topic", "power_state_template", func(*message, string) error { return nil })
}

// temperatures reads the bounds and the unit of target temperatures.
func (m *builder) temperatures(low, high float64) (lowest, highest, initial float64) {
	initial = 21
	unit := m.oneOf("temperature_unit", "C", "C", "F", "K", "°C", "°F")
	if strings.HasSuffix(unit, "F") {
		low, high, initial = low*9/5+32, high*9/5+32, 69.8
	}
	low, high = m.num("min_temp", low), m.num("max_temp", high)
	m.num("precision", 0.1)
	initial = m.num("initial", initial)
	m.e.own["min_temp"], m.e.own["max_temp"] = low, high
	return low, high, initial
}

// mode takes a state that is one of some modes.
func (m *builder) mode(modes []string) func(*message, string) error {
	e := m.e
	return func(_ *message, value string) error {
		switch {
		case value == "":
		case value == none:
			e.unknown()
		case !slices.Contains(modes, value):
			return fmt.Errorf("%.60q is none of its modes, which are %s", value, strings.Join(modes, ", "))
		default:
			e.set(value)
		}
		return nil
	}
}

// noPreset is the preset of a climate that has none on, or has not said which.
const noPreset = "none"

// climateModes reads fan, swing and preset modes.
func (m *builder) climateModes(told *bool) {
	for _, kind := range []struct {
		prefix, list, service, key, template string
		otherwise                            []string
		initial                              string // that is assumed
	}{
		{"fan_mode", "fan_modes", "set_fan_mode", "fan_mode", "fan_mode_state_template", []string{"auto", "low", "medium", "high"}, "low"},
		{"swing_mode", "swing_modes", "set_swing_mode", "swing_mode", "swing_mode_state_template", []string{"on", "off"}, "off"},
		{"swing_horizontal_mode", "swing_horizontal_modes", "set_swing_horizontal_mode", "swing_horizontal_mode", "swing_horizontal_mode_state_template", []string{"on", "off"}, "off"},
		{"preset_mode", "preset_modes", "set_preset_mode", "preset_mode", "preset_mode_value_template", nil, noPreset},
	} {
		all := m.strs(kind.list, kind.otherwise...)
		if kind.key == "preset_mode" && len(all) > 0 && !slices.Contains(all, noPreset) {
			all = append([]string{noPreset}, all...)
		}
		w := m.write(kind.prefix+"_command_topic", kind.prefix+"_command_template")
		tells := m.choiceOf(kind.prefix+"_state_topic", kind.template, kind.key, none, all)
		*told = *told || tells
		if w == nil && !tells {
			continue
		}
		m.e.own[kind.list] = all
		m.setChoice(w, kind.service, kind.key, kind.key, all, tells)
		switch {
		case w != nil && kind.key == "preset_mode": // until it says another
			m.e.own[kind.key] = kind.initial
		case w != nil && !tells:
			m.e.attrs[kind.key] = kind.initial
		}
	}
}

func (m *builder) climateHumidity() {
	low, high := m.num("min_humidity", 30), m.num("max_humidity", 99)
	w := m.write("target_humidity_command_topic", "target_humidity_command_template")
	told := m.valueWithin("target_humidity_state_topic", "target_humidity_state_template", "humidity", none, low, high)
	if told || w != nil {
		m.e.own["min_humidity"], m.e.own["max_humidity"] = low, high
	}
	m.setValue(w, "set_humidity", "humidity", "humidity", low, high, told)
}

// climateCommands adds what turns it on and off and sets mode and temperatures.
func (m *builder) climateCommands(modes []string, low, high float64, told bool) {
	e := m.e
	mode := m.write("mode_command_topic", "mode_command_template")
	power := m.write("power_command_topic", "power_command_template")
	on, off := m.str("payload_on", "ON"), m.str("payload_off", "OFF")
	setMode := func(value string) ([]outgoing, func(), error) {
		out, err := mode.messages(value, nil)
		return out, guessIf(!told || e.assumed, func() { e.set(value) }), err
	}
	if mode != nil {
		e.commands["set_hvac_mode"] = func(c *call) ([]outgoing, func(), error) {
			value, err := c.choice("hvac_mode", modes)
			if err != nil {
				return nil, nil, err
			}
			return setMode(value)
		}
	}
	turn := func(service, payload string, wanted ...string) {
		i := slices.IndexFunc(wanted, func(w string) bool { return slices.Contains(modes, w) })
		switch {
		case power != nil:
			e.commands[service] = func(*call) ([]outgoing, func(), error) {
				out, err := power.messages(payload, nil)
				return out, nil, err
			}
		case mode != nil && i >= 0:
			e.commands[service] = func(*call) ([]outgoing, func(), error) { return setMode(wanted[i]) }
		}
	}
	turn("turn_off", off, "off")
	turn("turn_on", on, "heat_cool", "heat", "cool", "auto", "dry", "fan_only")
	m.setTemperature(low, high, "hvac_mode", modes, mode, setMode)
}

// setTemperature adds the service that sets target temperatures, and the mode with them.
func (m *builder) setTemperature(low, high float64, modeKey string, modes []string, mode *writer, setMode func(string) ([]outgoing, func(), error)) {
	e := m.e
	type target struct {
		key  string
		w    *writer
		told bool
	}
	var targets []target
	for _, t := range []struct{ prefix, key string }{
		{"temperature", "temperature"}, {"temperature_low", "target_temp_low"}, {"temperature_high", "target_temp_high"},
	} {
		if w := m.write(t.prefix+"_command_topic", t.prefix+"_command_template"); w != nil {
			targets = append(targets, target{t.key, w, m.has(t.prefix + "_state_topic")})
		}
	}
	if len(targets) == 0 {
		return
	}
	e.commands["set_temperature"] = func(c *call) (out []outgoing, assume func(), err error) {
		var assumes []func()
		if c.has(modeKey) && mode != nil {
			value, err := c.choice(modeKey, modes)
			if err != nil {
				return nil, nil, err
			}
			o, a, err := setMode(value)
			if err != nil {
				return nil, nil, err
			}
			out, assumes = append(out, o...), append(assumes, a)
		}
		for _, t := range targets {
			if !c.has(t.key) {
				continue
			}
			x, err := c.num(t.key, low, high)
			if err != nil {
				return nil, nil, err
			}
			o, err := t.w.message(x, nil)
			if err != nil {
				return nil, nil, err
			}
			out, assumes = append(out, o), append(assumes, guessIf(!t.told || e.assumed, func() { e.attr(t.key, x); e.keep() }))
		}
		if len(out) == 0 {
			return nil, nil, fmt.Errorf("temperature must be given, a number from %s to %s", formatNumber(low), formatNumber(high))
		}
		return out, all(assumes), nil
	}
}

// all calls functions in turn; without any it is nil.
func all(fns []func()) func() {
	if !slices.ContainsFunc(fns, func(fn func()) bool { return fn != nil }) {
		return nil
	}
	return func() {
		for _, fn := range fns {
			if fn != nil {
				fn()
			}
		}
	}
}

// heaterModes are those of a water heater that doesn't name its own.
var heaterModes = []string{"off", "eco", "electric", "gas", "heat_pump", "high_demand", "performance"}

func buildWaterHeater(m *builder) {
	e := m.e
	m.otherwise = m.template("value_template")
	modes := m.strs("modes", heaterModes...)
	e.own["operation_list"] = modes
	low, high, _ := m.temperatures(43.3, 60)
	known := m.mode(modes)
	take := func(msg *message, value string) error {
		err := known(msg, value)
		if err == nil && value != "" {
			e.attr("operation_mode", orNil(strings.TrimSuffix(value, none)))
		}
		return err
	}
	modeTold := m.read("mode_state_topic", "mode_state_template", take)
	m.valueOf("current_temperature_topic", "current_temperature_template", "current_temperature")
	told := modeTold
	told = m.valueOf("temperature_state_topic", "temperature_state_template", "temperature") || told
	e.assumed = m.flag("optimistic", !told)
	mode := m.write("mode_command_topic", "mode_command_template")
	set := func(value string) ([]outgoing, func(), error) {
		out, err := mode.messages(value, nil)
		return out, guessIf(!modeTold || e.assumed, func() { take(nil, value) }), err
	}
	if mode != nil {
		e.commands["set_operation_mode"] = func(c *call) ([]outgoing, func(), error) {
			value, err := c.choice("operation_mode", modes)
			if err != nil {
				return nil, nil, err
			}
			return set(value)
		}
	}
	if power := m.write("power_command_topic", "power_command_template"); power != nil {
		on, off := m.str("payload_on", "ON"), m.str("payload_off", "OFF")
		e.commands["turn_on"], e.commands["turn_off"] = power.plainly(on), power.plainly(off)
	}
	m.setTemperature(low, high, "operation_mode", modes, mode, set)
}

// plainly is a command that always sends the same, and assumes nothing.
func (w *writer) plainly(value template.Value) command {
	return func(*call) ([]outgoing, func(), error) {
		out, err := w.messages(value, nil)
		return out, nil, err
	}
}

func buildHumidifier(m *builder) {
	e := m.e
	m.need("command_topic")
	m.need("target_humidity_command_topic")
	on, off := m.str("payload_on", "ON"), m.str("payload_off", "OFF")
	low, high := m.num("min_humidity", 0), m.num("max_humidity", 100)
	e.own["min_humidity"], e.own["max_humidity"] = low, high
	told := m.read("state_topic", "state_value_template", m.onOff(on, off))
	m.valueOf("current_humidity_topic", "current_humidity_template", "current_humidity")
	target := m.valueWithin("target_humidity_state_topic", "target_humidity_state_template", "humidity", m.str("payload_reset_humidity", none), low, high)
	m.choiceOf("action_topic", "action_template", "action", none, []string{"humidifying", "drying", "idle", "off"})
	e.assumed = m.flag("optimistic", !told)
	if w := m.write("command_topic", "command_template"); w != nil {
		m.switched(w.constant(on, "on"), w.constant(off, "off"))
	}
	m.setValue(m.write("target_humidity_command_topic", "target_humidity_command_template"), "set_humidity", "humidity", "humidity", low, high, target)
	modes := m.strs("modes")
	w := m.write("mode_command_topic", "mode_command_template")
	modeTold := m.choiceOf("mode_state_topic", "mode_state_template", "mode", m.str("payload_reset_mode", none), modes)
	if modeTold || w != nil {
		e.own["available_modes"] = modes
	}
	m.setChoice(w, "set_mode", "mode", "mode", modes, modeTold)
}
