package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// A lamp is what the three schemas of lights have in common: what the light is, as Home
// Assistant has it. The names are those of its attributes.
type lamp struct {
	*builder
	modes  []string // supported color modes
	scale  float64  // the device's greatest brightness
	kelvin bool     // the device counts color temperatures in kelvin, not in mireds

	lowKelvin, highKelvin float64
	effects               []string

	mode       string
	brightness float64 // 0 to 255; 0: not known
	color      []float64
	colorKind  string // of color: "hs", "xy", "rgb", "rgbw", "rgbww"; empty: none
	warmth     float64
	effect     string
}

// colorKinds are the color modes that have a color, in the order in which one is
// taken for what the lamp has not.
var colorKinds = []string{"rgb", "hs", "xy", "rgbw", "rgbww"}

func buildLight(m *builder) {
	l := &lamp{builder: m, scale: m.num("brightness_scale", 255)}
	if l.scale <= 0 {
		m.fail("brightness_scale", "must be greater than 0")
		l.scale = 255
	}
	m.e.lamp = l
	l.temperatures()
	if l.effects = m.strs("effect_list"); l.effects != nil {
		m.e.own["effect_list"] = l.effects
	}
	switch m.oneOf("schema", "default", "default", "basic", "json", "template") {
	case "json":
		buildLightJSON(l)
	case "template":
		buildLightTemplate(l)
	default:
		buildLightDefault(l)
	}
	m.e.own["supported_color_modes"] = slices.Sorted(slices.Values(l.modes))
	if slices.Contains(l.modes, "color_temp") {
		m.e.own["min_color_temp_kelvin"], m.e.own["max_color_temp_kelvin"] = l.lowKelvin, l.highKelvin
	}
}

// temperatures reads the bounds of the color temperature.
func (l *lamp) temperatures() {
	l.kelvin = l.flag("color_temp_kelvin", false)
	l.lowKelvin, l.highKelvin = l.num("min_kelvin", 2000), l.num("max_kelvin", 6535)
	if l.has("max_mireds") {
		l.lowKelvin = miredsOf(max(l.num("max_mireds", 500), 1))
	}
	if l.has("min_mireds") {
		l.highKelvin = miredsOf(max(l.num("min_mireds", 153), 1))
	}
	if l.lowKelvin <= 0 || l.lowKelvin > l.highKelvin {
		l.fail("min_kelvin", "must be greater than 0 and less than max_kelvin")
	}
}

// lightAttributes are what tells how a light is that is on.
var lightAttributes = []string{"brightness", "color_mode", "color_temp", "color_temp_kelvin", "hs_color", "rgb_color", "xy_color", "rgbw_color", "rgbww_color", "effect"}

// show makes the attributes of what the light is: a light that is off has none.
func (l *lamp) show() {
	e := l.e
	for _, key := range lightAttributes {
		e.attr(key, nil)
	}
	if e.state != "on" {
		return
	}
	if l.effect != "" {
		e.attr("effect", l.effect)
	}
	mode := l.mode
	if mode == "" && len(l.modes) > 0 {
		mode = l.modes[0]
	}
	e.attr("color_mode", mode)
	if l.brightness > 0 && mode != "onoff" {
		e.attr("brightness", l.brightness)
	}
	var rgb []float64
	switch {
	case mode == "color_temp" && l.warmth > 0:
		e.attr("color_temp_kelvin", l.warmth)
		e.attr("color_temp", miredsOf(l.warmth))
		rgb = kelvinToRGB(l.warmth)
	case slices.Contains(colorKinds, mode) && l.colorKind != "":
		rgb = toRGB(l.colorKind, l.color)
		e.attr(l.colorKind+"_color", l.color)
	default:
		return
	}
	for _, kind := range colorKinds[:3] {
		if kind != l.colorKind || mode == "color_temp" {
			e.attr(kind+"_color", fromRGB(kind, rgb))
		}
	}
}

// say takes whether the light is on.
func (l *lamp) say(state string) {
	l.e.set(state)
	l.show()
}

// supports reports whether the lamp supports a color mode.
func (l *lamp) supports(mode string) bool { return slices.Contains(l.modes, mode) }

// dims reports whether the lamp has a brightness.
func (l *lamp) dims() bool { return len(l.modes) > 0 && !l.supports("onoff") }

// fromDevice takes a brightness that the device tells.
func (l *lamp) fromDevice(x float64) {
	if x > 0 { // lamps that go out say 0
		l.brightness = min(max(round(x/l.scale*255), 1), 255)
	}
}

// toDevice is a brightness for the device.
func (l *lamp) toDevice(brightness float64) float64 {
	return max(round(brightness/255*l.scale), 1)
}

// setWarmth takes a color temperature as the device counts it.
func (l *lamp) setWarmth(x float64) {
	if x <= 0 {
		return
	}
	if !l.kelvin {
		x = miredsOf(x)
	}
	l.warmth = x
}

// deviceWarmth is a color temperature as the device counts it.
func (l *lamp) deviceWarmth(kelvin float64) float64 {
	if l.kelvin {
		return kelvin
	}
	return miredsOf(kelvin)
}

// A wish is what turn_on asks for.
type wish struct {
	brightness float64 // 0: nothing
	mode       string  // color mode that color or warmth is of; empty: nothing
	color      []float64
	warmth     float64 // kelvin
	white      float64 // with mode "white"
	effect     string
	flash      string
	transition float64 // seconds; negative: nothing
}

// readWish reads what turn_on asks for, fitted to what the lamp can do. Off says that it
// is to be turned off: its brightness is to be 0.
func (l *lamp) readWish(c *call) (w wish, off bool, err error) {
	w.transition = -1
	if c.has("transition") {
		if w.transition, err = c.num("transition", 0, 6553); err != nil {
			return w, false, err
		}
	}
	if c.has("flash") {
		if w.flash, err = c.choice("flash", []string{"short", "long"}); err != nil {
			return w, false, err
		}
	}
	if c.has("effect") {
		if w.effect, err = c.choice("effect", l.effects); err != nil {
			return w, false, err
		}
	}
	if off, err = l.readBrightness(c, &w); err != nil || off {
		return w, off, err
	}
	return w, false, l.readColor(c, &w)
}

func (l *lamp) readBrightness(c *call, w *wish) (off bool, err error) {
	asked := false
	for _, b := range []struct {
		key       string
		low, high float64
		value     func(x float64) float64
	}{
		{"brightness", 0, 255, func(x float64) float64 { return x }},
		{"brightness_pct", 0, 100, func(x float64) float64 { return x * 255 / 100 }},
		{"brightness_step", -255, 255, func(x float64) float64 { return l.brightness + x }},
		{"brightness_step_pct", -100, 100, func(x float64) float64 { return l.brightness + x*255/100 }},
	} {
		if !c.has(b.key) {
			continue
		}
		x, err := c.num(b.key, b.low, b.high)
		if err != nil {
			return false, err
		}
		w.brightness, asked = min(max(round(b.value(x)), 0), 255), true
	}
	if asked && w.brightness == 0 {
		return true, nil
	}
	if !l.dims() {
		w.brightness = 0
	}
	return false, nil
}

// readColor reads the one color that a call may ask for.
func (l *lamp) readColor(c *call, w *wish) (err error) {
	var asked []string
	for _, key := range []string{"hs_color", "rgb_color", "rgbw_color", "rgbww_color", "xy_color", "color_temp", "color_temp_kelvin", "kelvin", "white", "color_name"} {
		if c.has(key) {
			asked = append(asked, key)
		}
	}
	if len(asked) == 0 {
		return nil
	}
	if len(asked) > 1 {
		return fmt.Errorf("only one of %s can be given", strings.Join(asked, " and "))
	}
	key := asked[0]
	switch key {
	case "hs_color":
		if w.color, err = c.nums(key, 2, 0, 360); err == nil && w.color[1] > 100 {
			err = errors.New("the second number of hs_color must be from 0 to 100")
		}
	case "xy_color":
		w.color, err = c.nums(key, 2, 0, 1)
	case "rgb_color", "rgbw_color", "rgbww_color":
		w.color, err = c.nums(key, len(key)-len("_color"), 0, 255)
	case "color_temp":
		var mireds float64
		if mireds, err = c.num(key, 1, 10000); err == nil {
			w.warmth = miredsOf(mireds)
		}
	case "color_temp_kelvin", "kelvin":
		w.warmth, err = c.num(key, 100, 100000)
	case "white":
		return l.readWhite(c, w)
	default:
		err = errors.New("color_name is not supported: give rgb_color")
	}
	if err != nil {
		return err
	}
	return l.fit(strings.TrimSuffix(key, "_color"), w)
}

func (l *lamp) readWhite(c *call, w *wish) (err error) {
	if !l.supports("white") {
		return errors.New("the lamp has no white of its own")
	}
	w.mode, w.white = "white", l.brightness
	if _, yes := c.data["white"].(bool); !yes {
		w.white, err = c.num("white", 0, 255)
	}
	return err
}

// fit makes a color or warmth one that the lamp has.
func (l *lamp) fit(kind string, w *wish) error {
	if w.warmth > 0 {
		if l.supports("color_temp") {
			w.mode = "color_temp"
			return l.checkWarmth(kind, w)
		}
		w.color, kind = kelvinToRGB(w.warmth), "rgb"
		w.warmth = 0
	}
	if l.supports(kind) {
		w.mode = kind
		return nil
	}
	i := slices.IndexFunc(colorKinds, l.supports)
	if i < 0 {
		return errors.New("the lamp has no colors")
	}
	w.mode = colorKinds[i]
	w.color = fromRGB(w.mode, toRGB(kind, w.color))
	return nil
}

// checkWarmth checks that the lamp has a color temperature. Bounds are compared in whole
// mireds: a caller's may be those, and their way through kelvin loses less than one.
func (l *lamp) checkWarmth(key string, w *wish) error {
	asked, low, high := miredsOf(w.warmth), miredsOf(l.highKelvin), miredsOf(l.lowKelvin)
	if asked >= low && asked <= high {
		w.warmth = min(max(w.warmth, l.lowKelvin), l.highKelvin)
		return nil
	}
	unit := "mireds"
	if key != "color_temp" {
		asked, low, high, unit = w.warmth, l.lowKelvin, l.highKelvin, "K"
	}
	return fmt.Errorf("%s must be from %s to %s %s, and is %s", key, formatNumber(low), formatNumber(high), unit, formatNumber(asked))
}

// inherit takes over how the light was before its announcement was changed. The next message may tell only
// a part of it anew, and the next command may be sent with the rest.
func (l *lamp) inherit(old *lamp) {
	l.brightness = old.brightness
	if slices.Contains(l.effects, old.effect) {
		l.effect = old.effect
	}
	if l.supports(old.mode) {
		l.mode, l.color, l.colorKind, l.warmth = old.mode, old.color, old.colorKind, old.warmth
	}
}

// assume takes a wish for granted.
func (l *lamp) assume(w wish) func() {
	return func() {
		if w.brightness > 0 {
			l.brightness = w.brightness
		}
		switch {
		case w.mode == "color_temp":
			l.mode, l.warmth = w.mode, w.warmth
		case w.mode == "white":
			l.mode, l.brightness = w.mode, max(w.white, 1)
		case w.mode != "":
			l.mode, l.color, l.colorKind = w.mode, w.color, w.mode
		}
		if w.effect != "" {
			l.effect = w.effect
		}
		l.say("on")
	}
}

// ints rounds a color for devices that want whole numbers.
func ints(c []float64) []float64 {
	whole := make([]float64, len(c))
	for i, x := range c {
		whole[i] = math.Round(x)
	}
	return whole
}

// join writes numbers with commas between them.
func join(c []float64) string {
	parts := make([]string, len(c))
	for i, x := range c {
		parts[i] = formatNumber(x)
	}
	return strings.Join(parts, ",")
}

// splitNumbers reads n numbers with commas between them.
func splitNumbers(text string, n int) ([]float64, error) {
	parts := strings.Split(text, ",")
	if len(parts) != n {
		return nil, fmt.Errorf("%.60q has not %d numbers", text, n)
	}
	c := make([]float64, n)
	for i, p := range parts {
		x, ok := parseNumber(p)
		if !ok {
			return nil, fmt.Errorf("%.60q has not %d numbers", text, n)
		}
		c[i] = x
	}
	return c, nil
}
