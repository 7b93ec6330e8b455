package main

import (
	"errors"
	"fmt"
	"slices"

	"carillon/plugins/mqtt/template"
)

// buildLightJSON makes a light that tells and takes JSON objects: schema json.
func buildLightJSON(l *lamp) {
	m, e := l.builder, l.e
	m.need("command_topic")
	l.jsonModes()
	short, long := m.num("flash_time_short", 2), m.num("flash_time_long", 10)
	whiteScale := m.num("white_scale", 255)
	effects, transition, flash := m.flag("effect", false), m.flag("transition", true), m.flag("flash", true)
	told := m.read("state_topic", "state_value_template", func(_ *message, value string) error { return l.sayJSON(value) })
	m.str("value_template", "")
	e.assumed = m.flag("optimistic", !told)
	w := m.write("command_topic", "")
	if w == nil {
		return
	}
	turnOff := func(c *call) ([]outgoing, func(), error) {
		object := map[string]any{"state": "OFF"}
		if c.has("transition") && transition {
			seconds, err := c.num("transition", 0, 6553)
			if err != nil {
				return nil, nil, err
			}
			object["transition"] = seconds
		}
		out, err := w.jsonMessages(object)
		return out, e.guess(func() { l.say("off") }), err
	}
	m.switched(func(c *call) ([]outgoing, func(), error) {
		wish, off, err := l.readWish(c)
		if err != nil {
			return nil, nil, err
		}
		if off {
			return turnOff(c)
		}
		object := map[string]any{"state": "ON"}
		l.jsonColor(object, wish, whiteScale)
		switch {
		case wish.flash != "" && flash:
			object["flash"] = map[string]float64{"short": short, "long": long}[wish.flash]
		case wish.transition >= 0 && transition:
			object["transition"] = wish.transition
		}
		if wish.brightness > 0 && wish.mode != "white" {
			object["brightness"] = l.toDevice(wish.brightness)
		}
		if wish.effect != "" && effects {
			object["effect"] = wish.effect
		}
		out, err := w.jsonMessages(object)
		return out, e.guess(l.assume(wish)), err
	}, turnOff)
}

// jsonModes reads the color modes; older devices have a flag for each.
func (l *lamp) jsonModes() {
	m := l.builder
	l.modes = m.strs("supported_color_modes")
	dims := m.flag("brightness", false)
	m.flag("color_mode", false)
	if l.modes == nil {
		for _, mode := range []string{"color_temp", "hs", "rgb", "xy"} {
			if on, ok := m.values[mode].(bool); ok && on {
				l.modes = append(l.modes, mode)
			}
		}
	}
	for _, mode := range l.modes {
		if mode != "onoff" && mode != "brightness" && mode != "color_temp" && mode != "white" && !slices.Contains(colorKinds, mode) {
			m.fail("supported_color_modes", "%.40q is no color mode that is known", mode)
		}
	}
	switch {
	case len(l.modes) > 0:
	case dims:
		l.modes = []string{"brightness"}
	default:
		l.modes = []string{"onoff"}
	}
	if len(l.modes) == 1 {
		l.mode = l.modes[0]
	}
}

// jsonColor writes the color of a wish.
func (l *lamp) jsonColor(object map[string]any, w wish, whiteScale float64) {
	c := w.color
	switch w.mode {
	case "color_temp":
		object["color_temp"] = l.deviceWarmth(w.warmth)
	case "white":
		object["white"] = round(w.white / 255 * whiteScale)
	case "hs":
		object["color"] = map[string]float64{"h": c[0], "s": c[1]}
	case "xy":
		object["color"] = map[string]float64{"x": c[0], "y": c[1]}
	case "rgb", "rgbw", "rgbww":
		names := map[string]string{"rgb": "rgb", "rgbw": "rgbw", "rgbww": "rgbcw"}[w.mode]
		color := map[string]float64{}
		for i, x := range ints(c) {
			color[names[i:i+1]] = x
		}
		object["color"] = color
	}
}

// sayJSON takes an object that the device tells of itself.
func (l *lamp) sayJSON(value string) error {
	e := l.e
	v, _ := template.Decode([]byte(value))
	d, ok := v.(*template.Dict)
	if !ok {
		return fmt.Errorf("%.60q is no JSON object", value)
	}
	object := plainObject(d)
	state, said := object["state"]
	switch {
	case !said:
	case state == "ON":
		e.set("on")
	case state == "OFF":
		e.set("off")
	case state == nil:
		e.unknown()
	default:
		return fmt.Errorf("state %.60q is neither ON nor OFF", textOf(state))
	}
	var errs []error
	if mode, ok := object["color_mode"].(string); ok && !l.supports(mode) {
		errs = append(errs, fmt.Errorf("color_mode %.40q is none of the lamp's", mode))
	} else {
		if ok {
			l.mode = mode
		}
		errs = append(errs, l.readJSONColor(object))
	}
	number := func(key string, take func(x float64)) {
		if x, ok := asNumber(object[key]); ok {
			take(x)
		} else if object[key] != nil {
			errs = append(errs, fmt.Errorf("%s %.60q is no number", key, textOf(object[key])))
		}
	}
	if l.dims() {
		number("brightness", l.fromDevice)
	}
	if l.supports("color_temp") {
		number("color_temp", func(x float64) {
			l.setWarmth(x)
			if _, told := object["color_mode"]; !told && object["color"] == nil {
				l.mode = "color_temp"
			}
		})
	}
	if effect, ok := object["effect"].(string); ok {
		l.effect = effect
	}
	l.show()
	if !e.known {
		e.unknown()
	}
	return errors.Join(errs...)
}

// readJSONColor takes the color of an object, of the kind that the mode says, or of
// the first kind that is there.
func (l *lamp) readJSONColor(object map[string]any) error {
	if object["color"] == nil || !slices.ContainsFunc(colorKinds, l.supports) {
		return nil
	}
	color, ok := object["color"].(map[string]any)
	if !ok {
		return fmt.Errorf("color %.60q is no object", textOf(object["color"]))
	}
	kinds, told := colorKinds, object["color_mode"] != nil
	if told && slices.Contains(colorKinds, l.mode) {
		kinds = []string{l.mode}
	}
	for _, kind := range kinds {
		if !l.supports(kind) {
			continue
		}
		c, missing := jsonColor(kind, color)
		switch {
		case missing == "":
			l.color, l.colorKind = c, kind
			if !told {
				l.mode = kind
			}
			return nil
		case color[missing] == nil && len(kinds) == 1:
			return fmt.Errorf("color has no %s", missing)
		case color[missing] != nil:
			return fmt.Errorf("%s of color is no number, and is %.60q", missing, textOf(color[missing]))
		}
	}
	return nil
}

// jsonColor reads a color of a kind, and says what of it is missing, if something is.
func jsonColor(kind string, color map[string]any) (c []float64, missing string) {
	letters := map[string]string{"rgb": "rgb", "hs": "hs", "xy": "xy", "rgbw": "rgbw", "rgbww": "rgbcw"}[kind]
	for _, letter := range letters {
		name := string(letter)
		x, ok := asNumber(color[name])
		if long := map[string]string{"h": "hue", "s": "saturation"}[name]; !ok && long != "" {
			x, ok = asNumber(color[long])
		}
		if !ok {
			return nil, name
		}
		c = append(c, x)
	}
	return c, ""
}
