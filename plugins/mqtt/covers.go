package main

import (
	"errors"
	"fmt"
	"maps"
	"math"

	"carillon/plugins/mqtt/template"
)

// A span maps what a device counts in to percent.
type span struct{ closed, open float64 }

func (s span) percent(x float64) float64 {
	return min(max(round((x-s.closed)/(s.open-s.closed)*100), 0), 100)
}

func (s span) device(percent float64) float64 {
	return round(s.closed + (s.open-s.closed)*percent/100)
}

// readSpan reads the two ends of a span.
func (m *builder) readSpan(closedKey, openKey string, closed, open float64) span {
	s := span{m.num(closedKey, closed), m.num(openKey, open)}
	if s.closed == s.open {
		m.fail(openKey, "must differ from %s", closedKey)
		s = span{0, 100}
	}
	return s
}

// A barrier is what covers and valves have in common.
type barrier struct {
	*builder
	position span
	slats    span // of their tilt
	moves    bool // it tells or takes positions
	payloads map[string]string
	states   map[string]string // by what the device says
	stopped  string
}

func buildCover(m *builder) {
	c := &barrier{builder: m, position: m.readSpan("position_closed", "position_open", 0, 100), slats: m.readSpan("tilt_min", "tilt_max", 0, 100)}
	c.know(map[string]float64{
		"position_open": c.position.open, "position_closed": c.position.closed, "tilt_min": c.slats.closed, "tilt_max": c.slats.open,
	})
	c.payloads = map[string]string{"open": c.payload("payload_open", "OPEN"), "close": c.payload("payload_close", "CLOSE"), "stop": c.payload("payload_stop", "STOP")}
	c.readStates()
	c.stopped = m.str("state_stopped", "stopped")
	command := m.write("command_topic", "")
	set := m.write("set_position_topic", "set_position_template")
	c.moves = m.has("position_topic") || set != nil
	byState := m.read("state_topic", "value_template", c.say)
	byPosition := m.read("position_topic", "position_template", c.sayPosition(byState))
	m.e.assumed = m.flag("optimistic", !byState && !byPosition)
	if command != nil {
		c.command(command, "open", "open_cover", "open", 100)
		c.command(command, "close", "close_cover", "closed", 0)
		c.command(command, "stop", "stop_cover", "", 0)
	}
	if set != nil {
		c.positions(set, "set_cover_position")
		if command == nil {
			c.ends(set, "open_cover", "close_cover")
		}
	}
	c.toggled("open_cover", "close_cover", "stop_cover")
	c.tilt()
}

// payload returns a payload; none if the announcement takes it away by null.
func (c *barrier) payload(key, otherwise string) string {
	if v, there := c.values[key]; there && v == nil {
		c.used[key] = true
		return ""
	}
	return c.str(key, otherwise)
}

func (c *barrier) readStates() {
	c.states = map[string]string{}
	for _, state := range []string{"open", "closed", "opening", "closing"} { // of those with the same word, the last
		c.states[c.str("state_"+state, state)] = state
	}
}

// say takes what the device says of its state.
func (c *barrier) say(_ *message, value string) error {
	e := c.e
	state, known := c.states[value]
	c.e.resting = value == c.stopped && !known || value == "" && c.e.resting
	switch {
	case value == "":
	case value == none:
		e.unknown()
	case known:
		e.set(state)
	case c.e.resting:
		at, knows := e.attrs["current_position"].(float64)
		closed := e.state == "closing" || e.state == "closed"
		if knows && c.has("position_topic") {
			closed = at == 0
		}
		e.set(map[bool]string{false: "open", true: "closed"}[closed])
	default:
		return fmt.Errorf("%.60q is none of the states that were announced", value)
	}
	return nil
}

// sayPosition takes what the device says of its position. Without a topic of its
// own, the state follows.
func (c *barrier) sayPosition(byState bool) func(*message, string) error {
	return func(_ *message, value string) error {
		if value == "" {
			return nil
		}
		position, tilt, err := readPosition(value)
		if err != nil {
			return err
		}
		if tilt != nil {
			err = c.sayTilt(*tilt)
		}
		at := c.position.percent(position)
		c.e.attr("current_position", at)
		if !byState || c.e.resting {
			c.e.set(map[bool]string{false: "open", true: "closed"}[at == 0])
		}
		return err
	}
}

// readPosition reads a position: a number, or an object that has a tilt besides.
func readPosition(value string) (position float64, tilt *float64, err error) {
	if x, ok := parseNumber(value); ok {
		return x, nil, nil
	}
	v, _ := template.Decode([]byte(value))
	d, ok := v.(*template.Dict)
	if !ok {
		return 0, nil, fmt.Errorf("%.60q is no position", value)
	}
	object := plainObject(d)
	x, ok := asNumber(object["position"])
	if !ok {
		return 0, nil, errors.New("the object has no position that is a number")
	}
	if t, ok := asNumber(object["tilt_position"]); ok {
		tilt = &t
	}
	return x, tilt, nil
}

// command adds a service that sends a payload, and assumes a state.
func (c *barrier) command(w *writer, kind, service, state string, at float64) {
	payload := c.payloads[kind]
	if payload == "" {
		return
	}
	e := c.e
	e.commands[service] = func(*call) ([]outgoing, func(), error) {
		out, err := w.messages(payload, nil)
		return out, e.guess(func() {
			if state != "" {
				e.set(state)
				if c.moves {
					e.attr("current_position", at)
				}
			}
		}), err
	}
}

// send sends a position, in percent.
func (c *barrier) send(w *writer, percent float64) ([]outgoing, func(), error) {
	out, err := w.messages(numeric(c.position.device(percent)), c.with("position", percent))
	return out, c.e.guess(func() {
		c.e.attr("current_position", percent)
		c.e.set(map[bool]string{false: "open", true: "closed"}[percent == 0])
	}), err
}

func (c *barrier) positions(w *writer, service string) {
	c.e.commands[service] = func(call *call) ([]outgoing, func(), error) {
		percent, err := call.num("position", 0, 100)
		if err != nil {
			return nil, nil, err
		}
		return c.send(w, percent)
	}
}

// ends opens and closes by positions.
func (c *barrier) ends(w *writer, open, closed string) {
	c.e.commands[open] = func(*call) ([]outgoing, func(), error) { return c.send(w, 100) }
	c.e.commands[closed] = func(*call) ([]outgoing, func(), error) { return c.send(w, 0) }
}

// toggled adds what stops it on its way, and else moves it to where it did not go last.
func (c *barrier) toggled(open, closed, stop string) {
	e := c.e
	if e.commands[open] == nil || e.commands[closed] == nil {
		return
	}
	e.commands["toggle"] = func(call *call) ([]outgoing, func(), error) {
		moves := e.state == "opening" || e.state == "closing"
		switch {
		case moves && e.commands[stop] != nil:
			return e.commands[stop](call)
		case e.state == "closed", e.closes && e.state != "opening" && e.attrs["current_position"] != 100.0:
			return e.commands[open](call)
		}
		return e.commands[closed](call)
	}
}

// sayTilt takes a tilt that the device tells.
func (c *barrier) sayTilt(x float64) error {
	low, high := c.slats.closed, c.slats.open
	if x < math.Min(low, high) || x > math.Max(low, high) {
		return fmt.Errorf("tilt %s is not from %s to %s", formatNumber(x), formatNumber(low), formatNumber(high))
	}
	c.e.attr("current_tilt_position", c.slats.percent(x))
	return nil
}

// with returns the variables of a command's template: what all of the entity's know, and one more.
func (c *barrier) with(name string, x float64) map[string]template.Value {
	more := map[string]template.Value{name: numeric(x)}
	maps.Copy(more, c.e.numbers)
	return more
}

// tilt reads what a cover with slats has.
func (c *barrier) tilt() {
	m, e := c.builder, c.e
	s := c.slats
	closedAt, openAt := m.num("tilt_closed_value", 0), m.num("tilt_opened_value", 100)
	stop := c.payload("payload_stop_tilt", "STOP")
	told := m.read("tilt_status_topic", "tilt_status_template", func(_ *message, value string) error {
		if value == "" {
			return nil
		}
		x, ok := parseNumber(value)
		if !ok {
			return fmt.Errorf("%.60q is no tilt", value)
		}
		if err := c.sayTilt(x); err != nil {
			return err
		}
		if !e.known {
			e.unknown()
		}
		return nil
	})
	assumed := m.flag("tilt_optimistic", !told)
	w := m.write("tilt_command_topic", "tilt_command_template")
	if w == nil {
		return
	}
	send := func(percent, value, position float64) ([]outgoing, func(), error) {
		out, err := w.messages(numeric(value), c.with("tilt_position", position))
		return out, guessIf(assumed, func() { e.attr("current_tilt_position", percent); e.keep() }), err
	}
	e.commands["open_cover_tilt"] = func(*call) ([]outgoing, func(), error) { return send(s.percent(openAt), openAt, openAt) }
	e.commands["close_cover_tilt"] = func(*call) ([]outgoing, func(), error) { return send(s.percent(closedAt), closedAt, closedAt) }
	e.commands["toggle_cover_tilt"] = func(call *call) ([]outgoing, func(), error) {
		if e.attrs["current_tilt_position"] == s.percent(closedAt) {
			return e.commands["open_cover_tilt"](call)
		}
		return e.commands["close_cover_tilt"](call)
	}
	if stop != "" {
		e.commands["stop_cover_tilt"] = func(*call) ([]outgoing, func(), error) {
			out, err := w.messages(stop, nil)
			return out, nil, err
		}
	}
	e.commands["set_cover_tilt_position"] = func(call *call) ([]outgoing, func(), error) {
		percent, err := call.num("tilt_position", 0, 100)
		if err != nil {
			return nil, nil, err
		}
		return send(percent, s.device(percent), percent)
	}
}

func buildValve(m *builder) {
	e := m.e
	reports := m.flag("reports_position", false)
	v := &barrier{builder: m, position: m.readSpan("position_closed", "position_open", 0, 100), moves: reports}
	v.know(map[string]float64{"position_open": v.position.open, "position_closed": v.position.closed})
	open, closed := "OPEN", "CLOSE"
	if reports {
		open, closed = "", ""
	}
	v.payloads = map[string]string{"open": v.payload("payload_open", open), "close": v.payload("payload_close", closed), "stop": v.payload("payload_stop", "")}
	v.readStates()
	w := m.write("command_topic", "command_template")
	told := m.read("state_topic", "value_template", func(msg *message, value string) error {
		if !reports {
			return v.say(msg, value)
		}
		return v.sayValve(value)
	})
	e.assumed = m.flag("optimistic", !told)
	if w == nil {
		return
	}
	if reports {
		v.positions(w, "set_valve_position")
		v.ends(w, "open_valve", "close_valve")
	} else {
		v.command(w, "open", "open_valve", "open", 100)
		v.command(w, "close", "close_valve", "closed", 0)
	}
	v.command(w, "stop", "stop_valve", "", 0)
	v.toggled("open_valve", "close_valve", "stop_valve")
}

// sayValve takes a state, a position, or an object with both.
func (c *barrier) sayValve(value string) error {
	if value == "" {
		return nil
	}
	if state, ok := c.states[value]; ok {
		c.e.set(state)
		return nil
	}
	if x, ok := parseNumber(value); ok {
		c.atPosition(x, "")
		return nil
	}
	v, _ := template.Decode([]byte(value))
	d, ok := v.(*template.Dict)
	if !ok {
		return fmt.Errorf("%.60q is neither a state nor a position", value)
	}
	object := plainObject(d)
	said, _ := object["state"].(string)
	if x, ok := asNumber(object["position"]); ok {
		c.atPosition(x, c.states[said])
	} else if state := c.states[said]; state != "" {
		c.e.set(state)
	}
	return nil
}

// atPosition takes a position; moving is "opening" or "closing" while it moves.
func (c *barrier) atPosition(x float64, moving string) {
	at := c.position.percent(x)
	c.e.attr("current_position", at)
	switch {
	case at == 0:
		c.e.set("closed")
	case moving == "opening" && at < 100, moving == "closing":
		c.e.set(moving)
	default:
		c.e.set("open")
	}
}
