package main

import (
	"fmt"
	"slices"
	"strings"
)

// power returns what an object says of a relay, counted from 1; empty if nothing.
func (c *tasmotaConfig) power(object map[string]any, n int) string {
	value := object[fmt.Sprint("POWER", n)]
	if value == nil && n == 1 {
		value = object["POWER"]
	}
	said := textOf(value)
	if i := slices.Index(c.States, said); i == 0 || i == 1 { // devices have their own words
		said = []string{"OFF", "ON"}[i]
	}
	return said
}

// send is a command of the device.
func (c *tasmotaConfig) send(name, payload string) []outgoing {
	return []outgoing{{topic: c.path(commands, name), payload: payload}}
}

// plainly is a command that always sends the same.
func (c *tasmotaConfig) plainly(name, payload string) command {
	return func(*call) ([]outgoing, func(), error) { return c.send(name, payload), nil, nil }
}

func (c *tasmotaConfig) buildRelay(m *builder, n int) {
	take := m.onOff("ON", "OFF")
	m.listen(c.states(), func(object map[string]any) error { return take(nil, c.power(object, n)) })
	name := fmt.Sprint("Power", n)
	m.switched(c.plainly(name, "ON"), c.plainly(name, "OFF"))
}

// buildSwitchedLight makes a light of a relay.
func (c *tasmotaConfig) buildSwitchedLight(m *builder, n int) {
	l := &lamp{builder: m, modes: []string{"onoff"}, mode: "onoff", scale: 100}
	c.buildRelay(m, n)
	m.e.own["supported_color_modes"] = l.modes
	m.e.inputs = nil
	m.listen(c.states(), func(object map[string]any) error {
		if said := c.power(object, n); said == "ON" || said == "OFF" {
			l.say(strings.ToLower(said))
		}
		return nil
	})
}

// schemes are Tasmota's effects.
var schemes = []string{"Solid", "Wake up", "Cycle up", "Cycle down", "Random"}

// A tasmotaLamp is a light of Tasmota's.
type tasmotaLamp struct {
	*lamp
	c      *tasmotaConfig
	power  int    // its relay
	dimmer string // the command, and what tells its brightness
}

// buildLight makes a light that can be dimmed, of the relay n. A device may have several
// lights; channel counts them from 0.
func (c *tasmotaConfig) buildLight(m *builder, n, channel int) {
	l := &tasmotaLamp{lamp: &lamp{builder: m, scale: 100, lowKelvin: 2000, highKelvin: 6535}, c: c, power: n, dimmer: "Dimmer"}
	m.e.lamp = l.lamp
	kind := c.Light
	switch {
	case c.option("68"):
		kind, l.dimmer = 1, fmt.Sprint("Channel", channel+1)
	case c.Linked == 0 && kind >= 4:
		l.dimmer = fmt.Sprint("Dimmer", channel+1)
		if kind = 3; channel > 0 {
			kind = c.Light - 3
		}
	}
	l.modes = map[int][]string{0: {"onoff"}, 1: {"brightness"}, 2: {"color_temp"}, 3: {"hs"}, 4: {"hs", "white"}, 5: {"color_temp", "hs"}}[kind]
	if l.modes == nil {
		m.fail("lt_st", "%d is no kind of light that is known", kind)
		return
	}
	if c.option("82") {
		l.lowKelvin, l.highKelvin = miredsOf(380), miredsOf(200)
	}
	m.e.own["supported_color_modes"] = l.modes
	if l.supports("color_temp") {
		m.e.own["min_color_temp_kelvin"], m.e.own["max_color_temp_kelvin"] = l.lowKelvin, l.highKelvin
	}
	if kind >= 3 {
		l.effects = schemes
		m.e.own["effect_list"] = schemes
	}
	l.mode = l.modes[0]
	m.listen(c.states(), l.hear)
	m.switched(l.turnOn, func(c *call) ([]outgoing, func(), error) { return l.turnOff(c) })
}

// hear takes what the device says of the light.
func (l *tasmotaLamp) hear(object map[string]any) error {
	said := l.c.power(object, l.power)
	if x, ok := asNumber(object[l.dimmer]); ok {
		l.fromDevice(x)
	} else if x, ok := asNumber(object["Dimmer"]); ok && l.dimmer == "Dimmer1" {
		l.fromDevice(x)
	} else if list, ok := object["Channel"].([]any); ok && strings.HasPrefix(l.dimmer, "Channel") {
		var i int
		if _, err := fmt.Sscanf(l.dimmer, "Channel%d", &i); err == nil && i <= len(list) {
			if x, ok := asNumber(list[i-1]); ok {
				l.fromDevice(x)
			}
		}
	}
	l.hearColor(object)
	if x, ok := asNumber(object["Scheme"]); ok && int(x) >= 0 && int(x) < len(schemes) && l.effects != nil {
		l.effect = schemes[int(x)]
	}
	switch said {
	case "ON", "OFF":
		l.say(strings.ToLower(said))
	case "":
		if l.e.known {
			l.show()
		}
	default:
		return fmt.Errorf("%.60q is neither ON nor OFF", said)
	}
	return nil
}

func (l *tasmotaLamp) hearColor(object map[string]any) {
	if text, ok := object["HSBColor"].(string); ok && l.supports("hs") {
		if c, err := splitNumbers(text, 3); err == nil {
			l.color, l.colorKind, l.mode = c[:2], "hs", "hs"
		}
	}
	if x, ok := asNumber(object["CT"]); ok && l.supports("color_temp") {
		l.setWarmth(x)
	}
	if x, ok := asNumber(object["White"]); ok && x > 0 && len(l.modes) > 1 {
		l.mode = "color_temp"
		if l.supports("white") {
			l.mode = "white"
		}
	}
}

// backlog sends commands as one.
func (l *tasmotaLamp) backlog(commands []string) []outgoing {
	return l.c.send("Backlog", "NoDelay;"+strings.Join(commands, ";NoDelay;"))
}

// fade is what a transition needs. Tasmota counts half seconds for the whole way, up to
// 40; Fade2 and Speed2 hold for one command.
func (l *tasmotaLamp) fade(seconds float64) []string {
	switch {
	case seconds < 0:
		return nil
	case seconds == 0:
		return []string{"Fade2 0"}
	}
	return []string{"Fade2 1", fmt.Sprint("Speed2 ", formatNumber(min(max(round(seconds*2), 1), 40)))}
}

func (l *tasmotaLamp) turnOff(c *call) ([]outgoing, func(), error) {
	seconds := -1.0
	if c.has("transition") {
		var err error
		if seconds, err = c.num("transition", 0, 6553); err != nil {
			return nil, nil, err
		}
	}
	return l.backlog(append(l.fade(seconds), fmt.Sprintf("Power%d OFF", l.power))), nil, nil
}

func (l *tasmotaLamp) turnOn(c *call) ([]outgoing, func(), error) {
	w, off, err := l.readWish(c)
	if err != nil {
		return nil, nil, err
	}
	if off {
		return l.turnOff(c)
	}
	commands := l.fade(w.transition)
	if w.brightness == 0 || l.c.option("20") { // without SetOption20, dimming turns it on
		commands = append(commands, fmt.Sprintf("Power%d ON", l.power))
	}
	switch w.mode {
	case "hs":
		commands = append(commands, "HsbColor1 "+formatNumber(round(w.color[0])), "HsbColor2 "+formatNumber(round(w.color[1])))
	case "color_temp":
		commands = append(commands, "CT "+formatNumber(miredsOf(w.warmth)))
	case "white":
		commands = append(commands, "White "+formatNumber(max(round(w.white/255*100), 1)))
	}
	if w.brightness > 0 && w.mode != "white" {
		commands = append(commands, l.dimmer+" "+formatNumber(l.toDevice(w.brightness)))
	}
	if w.effect != "" {
		commands = append(commands, fmt.Sprint("Scheme ", slices.Index(schemes, w.effect)))
	}
	return l.backlog(commands), nil, nil
}

// buildShutter makes a cover of two relays.
func (c *tasmotaConfig) buildShutter(m *builder, k int) {
	e := m.e
	key := fmt.Sprint("Shutter", k)
	inverted := k <= len(c.Shutters) && c.Shutters[k-1]&1 != 0
	if k <= len(c.Tilts) && len(c.Tilts[k-1]) > 2 && c.Tilts[k-1][2] > 0 {
		m.b.reports.warn("an announcement asks for more than is supported", e.part.key, fmt.Errorf("the tilt of %s", key))
	}
	m.listen(c.readings(), func(object map[string]any) error {
		one, _ := object[key].(map[string]any)
		at, ok := asNumber(one["Position"])
		if !ok {
			return nil
		}
		way, _ := asNumber(one["Direction"])
		if inverted {
			at, way = 100-at, -way
		}
		e.attr("current_position", at)
		switch {
		case way > 0:
			e.set("opening")
		case way < 0:
			e.set("closing")
		case at == 0:
			e.set("closed")
		default:
			e.set("open")
		}
		return nil
	})
	for service, name := range map[string]string{"open_cover": "ShutterOpen", "close_cover": "ShutterClose", "stop_cover": "ShutterStop"} {
		e.commands[service] = c.plainly(fmt.Sprint(name, k), "")
	}
	e.commands["set_cover_position"] = func(call *call) ([]outgoing, func(), error) {
		at, err := call.num("position", 0, 100)
		if inverted {
			at = 100 - at
		}
		return c.send(fmt.Sprint("ShutterPosition", k), formatNumber(at)), nil, err
	}
	(&barrier{builder: m}).toggled("open_cover", "close_cover", "stop_cover")
}

// buildFan makes a fan of three speeds.
func (c *tasmotaConfig) buildFan(m *builder) {
	e := m.e
	e.own["percentage_step"] = 100.0 / 3
	m.listen(c.states(), func(object map[string]any) error {
		x, ok := asNumber(object["FanSpeed"])
		if !ok || x < 0 || x > 3 {
			return nil
		}
		e.attr("percentage", float64(int(x*100/3)))
		e.set(map[bool]string{false: "off", true: "on"}[x > 0])
		return nil
	})
	speed := func(c *call, otherwise float64) (float64, error) {
		if !c.has("percentage") {
			return otherwise, nil
		}
		p, err := c.num("percentage", 0, 100)
		return float64(int((p*3 + 99) / 100)), err
	}
	set := func(otherwise float64) command {
		return func(call *call) ([]outgoing, func(), error) {
			x, err := speed(call, otherwise)
			return c.send("FanSpeed", formatNumber(x)), nil, err
		}
	}
	m.switched(set(2), c.plainly("FanSpeed", "0"))
	e.commands["set_percentage"] = func(call *call) ([]outgoing, func(), error) {
		x, err := speed(call, -1)
		if err == nil && x < 0 {
			err = fmt.Errorf("percentage must be given, a number from 0 to 100")
		}
		return c.send("FanSpeed", formatNumber(x)), nil, err
	}
}
