package main

import (
	"fmt"
	"slices"
	"strings"

	"carillon/plugins/mqtt/template"
)

// A plainLamp is a light with a topic for each of its properties: schema default.
type plainLamp struct {
	*lamp
	on, off  string
	first    string // on_command_type
	white    float64
	command  *writer
	dimmer   *writer
	warm     *writer
	effecter *writer
	whiter   *writer
	colors   map[string]*writer // by kind
	dimTold  bool               // brightness has a topic to tell it
}

func buildLightDefault(lamp *lamp) {
	m, e := lamp.builder, lamp.e
	m.need("command_topic")
	l := &plainLamp{lamp: lamp, on: m.str("payload_on", "ON"), off: m.str("payload_off", "OFF"), colors: map[string]*writer{}}
	l.first = m.oneOf("on_command_type", "last", "first", "last", "brightness")
	l.white = m.num("white_scale", 255)
	l.command = m.write("command_topic", "")
	l.dimmer = m.write("brightness_command_topic", "brightness_command_template")
	l.warm = m.write("color_temp_command_topic", "color_temp_command_template")
	l.effecter = m.write("effect_command_topic", "effect_command_template")
	l.whiter = m.write("white_command_topic", "")
	for _, kind := range colorKinds {
		if w := m.write(kind+"_command_topic", kind+"_command_template"); w != nil {
			l.colors[kind] = w
		}
	}
	l.setModes()
	told := m.read("state_topic", "state_value_template", l.sayState)
	m.str("value_template", "")
	l.reads()
	e.assumed = m.flag("optimistic", !told)
	if l.command != nil {
		m.switched(l.turnOn, l.turnOff)
	}
}

// setModes makes the color modes of what can be commanded.
func (l *plainLamp) setModes() {
	if l.warm != nil {
		l.modes = append(l.modes, "color_temp")
	}
	for _, kind := range colorKinds {
		if l.colors[kind] != nil {
			l.modes = append(l.modes, kind)
		}
	}
	switch {
	case len(l.modes) > 0:
		if l.whiter != nil {
			l.modes = append(l.modes, "white")
		}
	case l.dimmer != nil:
		l.modes = []string{"brightness"}
	default:
		l.modes = []string{"onoff"}
	}
	if len(l.modes) == 1 {
		l.mode = l.modes[0]
	}
}

func (l *plainLamp) sayState(_ *message, value string) error {
	switch value {
	case l.on:
		l.say("on")
	case l.off:
		l.say("off")
	case none:
		l.e.unknown()
	case "":
	default:
		return fmt.Errorf("%.60q is neither %q nor %q", value, l.on, l.off)
	}
	return nil
}

// reads reads the topics that tell the properties.
func (l *plainLamp) reads() {
	m := l.builder
	tells := func(topicKey, templateKey string, apply func(value string) error) bool {
		return m.read(topicKey, templateKey, func(_ *message, value string) error {
			if value == "" || value == none {
				return nil
			}
			if err := apply(value); err != nil {
				return err
			}
			l.show()
			l.e.keep()
			return nil
		})
	}
	number := func(what string, apply func(x float64)) func(string) error {
		return func(value string) error {
			x, ok := parseNumber(value)
			if !ok {
				return fmt.Errorf("%.60q is no %s", value, what)
			}
			apply(x)
			return nil
		}
	}
	l.dimTold = tells("brightness_state_topic", "brightness_value_template", number("brightness", l.fromDevice))
	modeTold := m.has("color_mode_state_topic")
	tells("color_temp_state_topic", "color_temp_value_template", number("color temperature", func(x float64) {
		l.setWarmth(x)
		if !modeTold {
			l.mode = "color_temp"
		}
	}))
	tells("color_mode_state_topic", "color_mode_value_template", func(value string) error {
		if !l.supports(value) {
			return fmt.Errorf("%.60q is none of its color modes", value)
		}
		l.mode = value
		return nil
	})
	tells("effect_state_topic", "effect_value_template", func(value string) error { l.effect = value; return nil })
	for _, kind := range colorKinds {
		tells(kind+"_state_topic", kind+"_value_template", func(value string) error { return l.sayColor(kind, value, modeTold) })
	}
}

// sayColor takes a color. One in rgb that has no brightness besides has it in
// itself.
func (l *plainLamp) sayColor(kind, value string, modeTold bool) error {
	c, err := splitNumbers(value, len(kind))
	if err != nil {
		return err
	}
	if strings.HasPrefix(kind, "rgb") && !l.dimTold {
		high := slices.Max(c)
		if high == 0 {
			return nil
		}
		l.brightness = high
		for i := range c {
			c[i] = round(c[i] / high * 255)
		}
	}
	l.color, l.colorKind = c, kind
	if !modeTold {
		l.mode = kind
	}
	return nil
}

func (l *plainLamp) turnOff(*call) ([]outgoing, func(), error) {
	out, err := l.command.messages(l.off, nil)
	return out, l.e.guess(func() { l.say("off") }), err
}

func (l *plainLamp) turnOn(c *call) (out []outgoing, assume func(), err error) {
	w, dark, err := l.readWish(c)
	if err != nil {
		return nil, nil, err
	}
	if dark {
		return l.turnOff(c)
	}
	switchOn := func() {
		if err == nil && l.first != "brightness" {
			var o outgoing
			o, err = l.command.message(l.on, nil)
			out = append(out, o)
		}
	}
	if l.first == "first" {
		switchOn()
	} else if l.first == "brightness" && w.brightness == 0 && w.mode != "white" {
		if w.brightness = l.brightness; w.brightness == 0 {
			w.brightness = 255
		}
	}
	send := func(to *writer, value template.Value, more map[string]template.Value) {
		if to == nil || err != nil {
			return
		}
		var o outgoing
		o, err = to.message(value, more)
		out = append(out, o)
	}
	l.sendColor(w, send)
	l.sendBrightness(w, send)
	if w.mode == "color_temp" {
		send(l.warm, numeric(l.deviceWarmth(w.warmth)), nil)
	}
	if w.effect != "" {
		send(l.effecter, w.effect, nil)
	}
	if w.mode == "white" {
		send(l.whiter, numeric(round(w.white/255*l.white)), nil)
	}
	if l.first == "last" {
		switchOn()
	}
	return out, l.assumeUntold(w), err
}

// assumeUntold takes for granted what no topic tells.
func (l *plainLamp) assumeUntold(w wish) func() {
	if l.e.assumed {
		return l.assume(w)
	}
	untold := wish{transition: -1}
	if l.dimmer != nil && !l.dimTold {
		untold.brightness = w.brightness
	}
	if w.mode != "" && !l.has(w.mode+"_state_topic") {
		untold.mode, untold.color, untold.warmth, untold.white = w.mode, w.color, w.warmth, w.white
	}
	if w.effect != "" && !l.has("effect_state_topic") {
		untold.effect = w.effect
	}
	if untold.brightness == 0 && untold.mode == "" && untold.effect == "" {
		return nil
	}
	return func() {
		state := l.e.state
		l.assume(untold)()
		l.say(state)
	}
}

// sendBrightness sends a brightness by its topic, or within the color.
func (l *plainLamp) sendBrightness(w wish, send func(*writer, template.Value, map[string]template.Value)) {
	if w.brightness == 0 {
		return
	}
	if l.dimmer != nil {
		send(l.dimmer, numeric(l.toDevice(w.brightness)), nil)
		return
	}
	for _, kind := range []string{"rgb", "rgbw", "rgbww"} {
		if l.colors[kind] == nil || slices.Contains(colorKinds, w.mode) {
			continue
		}
		color := []float64{255, 255, 255, 255, 255}[:len(kind)]
		switch l.colorKind {
		case kind: // the way over rgb would lose its white
			color = l.color
		case "":
		default:
			color = fromRGB(kind, toRGB(l.colorKind, l.color))
		}
		l.colorMessage(kind, color, w.brightness, send)
		return
	}
}

func (l *plainLamp) sendColor(w wish, send func(*writer, template.Value, map[string]template.Value)) {
	if !slices.Contains(colorKinds, w.mode) {
		return
	}
	brightness := 255.0
	if l.dimmer == nil {
		if brightness = max(w.brightness, 0); brightness == 0 {
			brightness = l.brightness
		}
		if brightness == 0 {
			brightness = 255
		}
	}
	l.colorMessage(w.mode, w.color, brightness, send)
}

// colorMessage sends a color; one in rgb is as bright as asked for.
func (l *plainLamp) colorMessage(kind string, color []float64, brightness float64, send func(*writer, template.Value, map[string]template.Value)) {
	more := map[string]template.Value{}
	names := map[string][]string{
		"rgb": {"red", "green", "blue"}, "rgbw": {"red", "green", "blue", "white"}, "rgbww": {"red", "green", "blue", "cold_white", "warm_white"},
		"hs": {"hue", "sat"}, "xy": {"x", "y"},
	}[kind]
	scaled := slices.Clone(color)
	for i := range scaled {
		if strings.HasPrefix(kind, "rgb") {
			scaled[i] = float64(int(scaled[i] * brightness / 255))
		}
		more[names[i]] = numeric(scaled[i])
	}
	text := join(scaled)
	if kind == "hs" || kind == "xy" {
		text = pythonNumber(".", scaled[0]) + "," + pythonNumber(".", scaled[1])
		more[names[0]], more[names[1]] = scaled[0], scaled[1]
	}
	send(l.colors[kind], text, more)
}
