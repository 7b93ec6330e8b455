package main

import (
	"cmp"
	"fmt"
	"slices"

	"carillon/plugins/mqtt/template"
)

// buildLightTemplate makes a light of templates for everything: schema template.
func buildLightTemplate(l *lamp) {
	m, e := l.builder, l.e
	m.need("command_topic")
	m.need("command_on_template")
	m.need("command_off_template")
	switch {
	case m.has("red_template") && m.has("green_template") && m.has("blue_template"):
		l.modes = []string{"hs"}
		if m.has("color_temp_template") {
			l.modes = []string{"color_temp", "hs"}
		}
	case m.has("color_temp_template"):
		l.modes = []string{"color_temp"}
	case m.has("brightness_template"):
		l.modes = []string{"brightness"}
	default:
		l.modes = []string{"onoff"}
	}
	parts := map[string]*template.Template{}
	for _, key := range []string{"state", "brightness", "color_temp", "red", "green", "blue", "effect"} {
		parts[key] = m.template(key + "_template")
	}
	told := m.read("state_topic", "", func(msg *message, _ string) error { return l.sayTemplates(msg, parts) }) && parts["state"] != nil
	e.assumed = m.flag("optimistic", !told)
	on, off := m.write("command_topic", "command_on_template"), m.write("command_topic", "command_off_template")
	if on == nil || off == nil {
		return
	}
	turnOff := func(c *call) ([]outgoing, func(), error) {
		more := map[string]template.Value{"state": "off"}
		if c.has("transition") {
			seconds, err := c.num("transition", 0, 6553)
			if err != nil {
				return nil, nil, err
			}
			more["transition"] = numeric(seconds)
		}
		out, err := off.messages("off", more)
		return out, e.guess(func() { l.say("off") }), err
	}
	m.switched(func(c *call) ([]outgoing, func(), error) {
		w, dark, err := l.readWish(c)
		if err != nil {
			return nil, nil, err
		}
		if dark {
			return turnOff(c)
		}
		out, err := on.messages("on", l.templateVars(w))
		return out, e.guess(l.assume(w)), err
	}, turnOff)
}

// templateVars are the variables of a template that turns the light on.
func (l *lamp) templateVars(w wish) map[string]template.Value {
	vars := map[string]template.Value{"state": "on"}
	if w.brightness > 0 {
		vars["brightness"] = numeric(w.brightness)
	}
	switch w.mode {
	case "color_temp":
		vars["color_temp"] = numeric(l.deviceWarmth(w.warmth))
	case "hs":
		brightness := cmp.Or(w.brightness, l.brightness, 255)
		if l.parts("brightness_template") {
			brightness = 255
		}
		r, g, b := hsToRGB(w.color[0], w.color[1])
		for name, x := range map[string]float64{"red": r, "green": g, "blue": b} {
			vars[name] = numeric(round(x * brightness / 255))
		}
		vars["hue"], vars["sat"] = w.color[0], w.color[1]
	}
	if w.effect != "" {
		vars["effect"] = w.effect
	}
	if w.flash != "" {
		vars["flash"] = w.flash
	}
	if w.transition >= 0 {
		vars["transition"] = numeric(w.transition)
	}
	return vars
}

func (l *lamp) parts(key string) bool { return l.builder.values[key] != nil }

// sayTemplates takes what the templates make of a message.
func (l *lamp) sayTemplates(msg *message, parts map[string]*template.Template) error {
	texts := map[string]string{}
	for key, t := range parts {
		if t == nil {
			continue
		}
		text, err := msg.render(t, l.e)
		if err != nil {
			return err
		}
		texts[key] = text
	}
	numbers := map[string]float64{}
	for _, key := range []string{"brightness", "color_temp", "red", "green", "blue"} {
		if x, ok := parseNumber(texts[key]); ok {
			numbers[key] = x
		} else if texts[key] != "" && texts[key] != none {
			return fmt.Errorf("%.60q is no number for %s", texts[key], key)
		}
	}
	if x, ok := numbers["brightness"]; ok && x > 0 {
		l.brightness = min(x, 255)
	}
	if x, ok := numbers["color_temp"]; ok {
		l.setWarmth(x)
		l.mode = "color_temp"
	} else if _, ok := numbers["blue"]; ok && len(numbers) >= 3 {
		h, s := rgbToHS(numbers["red"], numbers["green"], numbers["blue"])
		l.color, l.colorKind, l.mode = []float64{h, s}, "hs", "hs"
	}
	if effect := texts["effect"]; effect != "" && slices.Contains(l.effects, effect) {
		l.effect = effect
	}
	switch state := texts["state"]; state {
	case "on", "off":
		l.say(state)
	case none:
		l.e.unknown()
	case "":
		l.show()
	default:
		return fmt.Errorf("state %.60q is neither on nor off", state)
	}
	return nil
}
