package main

import (
	"fmt"
	"slices"
	"time"
)

// A shellyBuilder makes an entity of a Shelly's component.
type shellyBuilder struct {
	*builder
	d     *shelly
	c     *component
	topic string // of its status
}

// request makes the messages of a request about the component.
func (m *shellyBuilder) request(method string, more map[string]any) []outgoing {
	params := map[string]any{"id": m.c.n}
	for key, v := range more {
		params[key] = v
	}
	return []outgoing{m.b.shellyRequest(m.d.prefix, method, params)}
}

// plainly is a command that always asks for the same.
func (m *shellyBuilder) plainly(method string, more map[string]any) command {
	return func(*call) ([]outgoing, func(), error) { return m.request(method, more), nil, nil }
}

// truth makes a field of the status the state.
func (m *shellyBuilder) truth(field string) {
	m.hear(m.topic, func(object map[string]any) error {
		v, there := object[field]
		switch on, ok := v.(bool); {
		case !there:
		case ok:
			m.e.set(map[bool]string{false: "off", true: "on"}[on])
		case v == nil:
			m.e.unknown()
		default:
			return fmt.Errorf("%s: %w", field, errNoTruth)
		}
		return nil
	})
}

func (m *shellyBuilder) relay() {
	m.truth("output")
	m.switched(m.plainly("Switch.Set", map[string]any{"on": true}), m.plainly("Switch.Set", map[string]any{"on": false}))
}

// contact makes a binary sensor of an input that follows its contact.
func (m *shellyBuilder) contact() { m.truth("state") }

// alarm makes a binary sensor of what raises an alarm.
func (m *shellyBuilder) alarm(class string) {
	m.e.own["device_class"] = class
	m.truth("alarm")
}

// shellyPushes are what a button tells.
var shellyPushes = []string{"btn_down", "btn_up", "double_push", "long_push", "single_push", "triple_push"}

// button makes an event entity of an input that a button is at.
func (m *shellyBuilder) button() {
	e := m.e
	e.own["device_class"], e.own["event_types"] = "button", shellyPushes
	e.forced = true
	m.hear(m.topic, func(object map[string]any) error {
		event, _ := object["event"].(string)
		if !slices.Contains(shellyPushes, event) {
			return nil
		}
		e.attr("event_type", event)
		e.set(timestamp(time.Now()))
		return nil
	})
}

// cover makes a cover. It has positions if it was calibrated.
func (m *shellyBuilder) cover() {
	e := m.e
	var position float64
	var known, closing, moved bool
	m.hear(m.topic, func(object map[string]any) error {
		if v, there := object["current_pos"]; there {
			if position, known = asNumber(v); known {
				e.attr("current_position", position)
			} else {
				e.attr("current_position", nil)
			}
		}
		if way, ok := object["last_direction"].(string); ok {
			closing, moved = way == "close", true
		}
		state, told := object["state"].(string)
		switch {
		case !told && (e.state != "open" && e.state != "closed" || !known):
		case state == "opening", state == "closing":
			closing, moved = state == "closing", true
			e.set(state)
		case state == "open", state == "closed":
			e.set(state)
		case state == "stopped" && !known && !moved, state == "calibrating" && !e.known:
			e.unknown()
		case state == "stopped", !told:
			e.set(map[bool]string{false: "open", true: "closed"}[known && position == 0 || !known && closing])
		case state != "calibrating":
			return fmt.Errorf("%.60q is no state of a cover", state)
		}
		return nil
	})
	for service, method := range map[string]string{"open_cover": "Cover.Open", "close_cover": "Cover.Close", "stop_cover": "Cover.Stop"} {
		e.commands[service] = m.plainly(method, nil)
	}
	if calibrated, _ := m.c.status["pos_control"].(bool); calibrated {
		e.commands["set_cover_position"] = func(call *call) ([]outgoing, func(), error) {
			at, err := call.num("position", 0, 100)
			if err != nil {
				return nil, nil, err
			}
			return m.request("Cover.GoToPosition", map[string]any{"pos": round(at)}), nil, nil
		}
	}
	(&barrier{builder: m.builder}).toggled("open_cover", "close_cover", "stop_cover")
}

// shellyNamespaces are the methods that set lights, by the kind of the component.
var shellyNamespaces = map[string]string{"switch": "Switch", "light": "Light", "rgb": "RGB", "rgbw": "RGBW", "cct": "CCT", "rgbcct": "RGBCCT"}

// light makes a light of a component.
func (m *shellyBuilder) light(modes ...string) {
	e := m.e
	l := &lamp{builder: m.builder, modes: modes, mode: modes[0], scale: 100, kelvin: true, lowKelvin: 2700, highKelvin: 6500}
	if bounds, _ := m.c.config["ct_range"].([]any); len(bounds) == 2 {
		low, ok1 := asNumber(bounds[0])
		high, ok2 := asNumber(bounds[1])
		if ok1 && ok2 && low > 0 && low < high {
			l.lowKelvin, l.highKelvin = low, high
		}
	}
	e.own["supported_color_modes"] = modes
	if l.supports("color_temp") {
		e.own["min_color_temp_kelvin"], e.own["max_color_temp_kelvin"] = l.lowKelvin, l.highKelvin
	}
	white := 0.0
	m.hear(m.topic, func(object map[string]any) error { return m.hearLight(l, &white, object) })
	method := shellyNamespaces[m.c.kind] + ".Set"
	turnOff := func(c *call) ([]outgoing, func(), error) {
		more := map[string]any{"on": false}
		if c.has("transition") && l.dims() {
			seconds, err := c.num("transition", 0, 6553)
			if err != nil {
				return nil, nil, err
			}
			more["transition_duration"] = max(seconds, 0.5)
		}
		return m.request(method, more), nil, nil
	}
	m.switched(func(c *call) ([]outgoing, func(), error) {
		w, off, err := l.readWish(c)
		if err != nil {
			return nil, nil, err
		}
		if off {
			return turnOff(c)
		}
		return m.request(method, m.lightParams(l, w)), nil, nil
	}, turnOff)
}

// lightParams are what a wish sets. The least transition that devices take is half a second.
func (m *shellyBuilder) lightParams(l *lamp, w wish) map[string]any {
	more := map[string]any{"on": true}
	if w.brightness > 0 {
		more["brightness"] = l.toDevice(w.brightness)
	}
	if w.transition >= 0 && l.dims() {
		more["transition_duration"] = max(w.transition, 0.5)
	}
	switch c := ints(w.color); {
	case w.mode == "color_temp":
		more["ct"] = round(w.warmth)
	case w.mode == "rgb":
		more["rgb"] = c
	case w.mode == "rgbw":
		more["rgb"], more["white"] = c[:3], c[3]
	}
	if m.c.kind == "rgbcct" && w.mode != "" {
		more["mode"] = map[string]string{"color_temp": "cct", "rgb": "rgb"}[w.mode]
	}
	return more
}

// hearLight takes what the device says of a light.
func (m *shellyBuilder) hearLight(l *lamp, white *float64, object map[string]any) error {
	if x, ok := asNumber(object["brightness"]); ok {
		l.fromDevice(x)
	}
	if x, ok := asNumber(object["white"]); ok {
		*white = min(max(x, 0), 255)
	}
	if list, ok := object["rgb"].([]any); ok && len(list) == 3 {
		color := make([]float64, 0, 4)
		for _, v := range list {
			if x, ok := asNumber(v); ok {
				color = append(color, min(max(x, 0), 255))
			}
		}
		if len(color) == 3 {
			l.color, l.colorKind = color, "rgb"
		}
	}
	if m.c.kind == "rgbw" && len(l.color) >= 3 {
		l.color, l.colorKind = append(slices.Clone(l.color[:3]), *white), "rgbw"
	}
	if x, ok := asNumber(object["ct"]); ok {
		l.setWarmth(x)
	}
	if mode, ok := object["mode"].(string); ok && m.c.kind == "rgbcct" {
		l.mode = map[bool]string{false: "color_temp", true: "rgb"}[mode == "rgb"]
	}
	switch on, ok := object["output"].(bool); {
	case ok:
		l.say(map[bool]string{false: "off", true: "on"}[on])
	case object["output"] != nil:
		return fmt.Errorf("output: %w", errNoTruth)
	case l.e.known:
		l.show()
	}
	return nil
}
