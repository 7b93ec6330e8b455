package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"carillon/plugins/mqtt/template"
)

// alarmStates are what an alarm can say.
var alarmStates = []string{
	"disarmed", "armed_home", "armed_away", "armed_night", "armed_vacation", "armed_custom_bypass", "pending", "arming", "disarming", "triggered",
}

// alarmActions are the services of an alarm, with the feature that it must have, the
// option for the payload, and what is assumed.
var alarmActions = []struct{ service, feature, key, payload, state string }{
	{"alarm_disarm", "", "payload_disarm", "DISARM", "disarmed"},
	{"alarm_arm_home", "arm_home", "payload_arm_home", "ARM_HOME", "armed_home"},
	{"alarm_arm_away", "arm_away", "payload_arm_away", "ARM_AWAY", "armed_away"},
	{"alarm_arm_night", "arm_night", "payload_arm_night", "ARM_NIGHT", "armed_night"},
	{"alarm_arm_vacation", "arm_vacation", "payload_arm_vacation", "ARM_VACATION", "armed_vacation"},
	{"alarm_arm_custom_bypass", "arm_custom_bypass", "payload_arm_custom_bypass", "ARM_CUSTOM_BYPASS", "armed_custom_bypass"},
	{"alarm_trigger", "trigger", "payload_trigger", "TRIGGER", "triggered"},
}

func buildAlarm(m *builder) {
	e := m.e
	m.need("command_topic")
	m.need("state_topic")
	features := m.strs("supported_features", "arm_home", "arm_away", "arm_night", "arm_vacation", "arm_custom_bypass", "trigger")
	m.read("state_topic", "value_template", func(_ *message, value string) error {
		switch {
		case value == "":
		case value == none:
			e.unknown()
		case !slices.Contains(alarmStates, value):
			return fmt.Errorf("%.60q is no state of an alarm", value)
		default:
			e.set(value)
		}
		return nil
	})
	code := m.str("code", "")
	arm, disarm, trigger := m.flag("code_arm_required", true), m.flag("code_disarm_required", true), m.flag("code_trigger_required", true)
	if code != "" {
		e.own["code_format"] = "text"
		if _, ok := parseNumber(code); ok || code == "REMOTE_CODE" {
			e.own["code_format"] = "number"
		}
		e.own["code_arm_required"] = arm
	}
	w := m.write("command_topic", "command_template")
	for _, a := range alarmActions {
		payload := m.str(a.key, a.payload)
		required := arm
		switch a.feature {
		case "":
			required = disarm
		case "trigger":
			required = trigger
		}
		if w == nil || a.feature != "" && !slices.Contains(features, a.feature) {
			continue
		}
		e.commands[a.service] = func(c *call) ([]outgoing, func(), error) {
			given, err := checkCode(c, code, required)
			if err != nil {
				return nil, nil, err
			}
			value := template.Value(payload)
			out, err := w.messages(value, map[string]template.Value{"action": payload, "code": given})
			return out, e.guess(func() { e.set(a.state) }), err
		}
	}
}

// checkCode returns the code that was given, if it is right.
func checkCode(c *call, code string, required bool) (template.Value, error) {
	var given template.Value
	if s, err := c.str("code"); err == nil {
		given = s
	}
	remote := code == "REMOTE_CODE" || code == "REMOTE_CODE_TEXT"
	switch {
	case code == "" || !required && given == nil:
	case given == nil:
		return nil, errors.New("a code must be given")
	case !remote && given != code:
		return nil, errors.New("the code is wrong")
	}
	return given, nil
}

func buildSiren(m *builder) {
	e := m.e
	m.need("command_topic")
	on, off := m.str("payload_on", "ON"), m.str("payload_off", "OFF")
	stateOn, stateOff := m.str("state_on", on), m.str("state_off", off)
	tones := m.strs("available_tones")
	if tones != nil {
		e.own["available_tones"] = tones
	}
	duration, volume := m.flag("support_duration", true), m.flag("support_volume_set", true)
	take := m.onOff(stateOn, stateOff)
	told := m.read("state_topic", "state_value_template", func(msg *message, value string) error {
		v, _ := template.Decode([]byte(value))
		d, ok := v.(*template.Dict)
		if !ok {
			return take(msg, value)
		}
		object := plainObject(d)
		for _, key := range []string{"tone", "duration", "volume_level"} {
			if object[key] != nil {
				e.attr(key, object[key])
			}
		}
		return take(msg, textOf(object["state"]))
	})
	if e.assumed = m.flag("optimistic", !told); e.assumed {
		e.set("off")
	}
	w := m.write("command_topic", "command_template")
	offTemplate := m.template("command_off_template")
	if w == nil {
		return
	}
	silence := *w
	if offTemplate != nil {
		silence.template = offTemplate
	}
	m.switched(func(c *call) ([]outgoing, func(), error) {
		more, err := sirenData(c, tones, duration, volume)
		if err != nil {
			return nil, nil, err
		}
		out, err := w.object(on, more)
		return out, e.guess(func() {
			for key, v := range more {
				e.attr(key, v)
			}
			e.set("on")
		}), err
	}, func(*call) ([]outgoing, func(), error) {
		out, err := silence.object(off, nil)
		return out, e.guess(func() { e.set("off") }), err
	})
}

// sirenData reads what goes with turning a siren on.
func sirenData(c *call, tones []string, duration, volume bool) (map[string]template.Value, error) {
	more := map[string]template.Value{}
	if c.has("tone") && tones != nil {
		tone, err := c.choice("tone", tones)
		if err != nil {
			return nil, err
		}
		more["tone"] = tone
	}
	for key, supported := range map[string]bool{"duration": duration, "volume_level": volume} {
		if !supported || !c.has(key) {
			continue
		}
		x, err := c.num(key, 0, 1e6)
		if err != nil {
			return nil, err
		}
		more[key] = numeric(x)
	}
	return more, nil
}

// object sends a state with more about it: by the template, else as a JSON object.
func (w *writer) object(state string, more map[string]template.Value) ([]outgoing, error) {
	vars := map[string]template.Value{"state": state}
	maps.Copy(vars, more)
	if w.template != nil {
		return w.messages(state, vars)
	}
	return w.jsonMessages(vars)
}

// jsonMessages sends a JSON object.
func (w *writer) jsonMessages(object any) ([]outgoing, error) {
	text, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("making the message: %w", err)
	}
	return []outgoing{{topic: w.topic, payload: string(text), qos: w.e.qos, retain: w.e.retain}}, nil
}

func buildMower(m *builder) {
	e := m.e
	activities := []string{"error", "paused", "mowing", "docked", "returning"}
	told := m.read("activity_state_topic", "activity_value_template", m.mode(activities))
	e.assumed = m.flag("optimistic", !told)
	for _, s := range []struct{ service, prefix, payload, state string }{
		{"dock", "dock", "dock", "docked"}, {"pause", "pause", "pause", "paused"}, {"start_mowing", "start_mowing", "start_mowing", "mowing"},
	} {
		if w := m.write(s.prefix+"_command_topic", s.prefix+"_command_template"); w != nil {
			e.commands[s.service] = w.constant(s.payload, s.state)
		}
	}
}

// vacuumActions are the services of a vacuum cleaner, with the feature that it must
// have and the option for the payload.
var vacuumActions = []struct{ service, feature, key, payload string }{
	{"start", "start", "payload_start", "start"},
	{"pause", "pause", "payload_pause", "pause"},
	{"stop", "stop", "payload_stop", "stop"},
	{"return_to_base", "return_home", "payload_return_to_base", "return_to_base"},
	{"clean_spot", "clean_spot", "payload_clean_spot", "clean_spot"},
	{"locate", "locate", "payload_locate", "locate"},
}

func buildVacuum(m *builder) {
	e := m.e
	m.oneOf("schema", "state", "state") // there was another one once
	features := m.strs("supported_features", "start", "stop", "return_home", "clean_spot")
	has := func(feature string) bool { return slices.Contains(features, feature) }
	states := []string{"cleaning", "docked", "paused", "idle", "returning", "error"}
	speeds := m.strs("fan_speed_list")
	if has("fan_speed") {
		e.own["fan_speed_list"] = speeds
	}
	m.read("state_topic", "value_template", func(_ *message, value string) error {
		v, _ := template.Decode([]byte(value))
		d, ok := v.(*template.Dict)
		if !ok {
			return fmt.Errorf("%.60q is no JSON object", value)
		}
		object := plainObject(d)
		for _, key := range []string{"battery_level", "fan_speed"} {
			if object[key] != nil {
				e.attr(key, object[key])
			}
		}
		state, said := object["state"]
		switch text := textOf(state); {
		case said && state == nil:
			e.unknown()
		case !said:
			e.keep()
		case !slices.Contains(states, text):
			return fmt.Errorf("%.60q is no state of a vacuum cleaner: they are %s", text, strings.Join(states, ", "))
		default:
			e.set(text)
		}
		return nil
	})
	w := m.write("command_topic", "")
	for _, a := range vacuumActions {
		payload := m.str(a.key, a.payload)
		if w != nil && has(a.feature) {
			e.commands[a.service] = w.plainly(payload)
		}
	}
	if w := m.write("set_fan_speed_topic", ""); w != nil && has("fan_speed") {
		m.setChoice(w, "set_fan_speed", "fan_speed", "fan_speed", speeds, true)
	}
	if w := m.write("send_command_topic", ""); w != nil && has("send_command") {
		e.commands["send_command"] = w.vacuumCommand
	}
}

// vacuumCommand sends a command of the vacuum cleaner's own, with its parameters.
func (w *writer) vacuumCommand(c *call) ([]outgoing, func(), error) {
	name, err := c.str("command")
	if err != nil {
		return nil, nil, err
	}
	params, _ := c.data["params"].(map[string]any)
	if len(params) == 0 {
		out, err := w.messages(name, nil)
		return out, nil, err
	}
	object := map[string]any{"command": name}
	maps.Copy(object, params)
	out, err := w.jsonMessages(object)
	return out, nil, err
}
