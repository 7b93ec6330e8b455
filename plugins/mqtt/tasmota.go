package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// Tasmota announces itself by messages of its own unless SetOption19 asks for Home Assistant's:
// one that says what a device is, and one with a specimen of what its sensors
// tell. The fields are those of tasmota/xdrv_12_discovery.ino.

// tasmotaPrefix is what topics of Tasmota's own discovery begin with.
const tasmotaPrefix = "tasmota/discovery/"

// maxTasmota is how many relays, switches or buttons a device may have; Tasmota has 32.
const maxTasmota = 64

// A tasmota is what is known of a device.
type tasmota struct {
	config  *tasmotaConfig // nil: it has not told
	sensors map[string]any // nil: it has not told
}

// A tasmotaConfig is the message that says what a device is.
type tasmotaConfig struct {
	Name      string             `json:"dn"`
	Friendly  []string           `json:"fn"`
	Host      string             `json:"hn"`
	MAC       string             `json:"mac"`
	Model     string             `json:"md"`
	Fan       int                `json:"if"` // it is an iFan
	Offline   string             `json:"ofln"`
	Online    string             `json:"onln"`
	States    []string           `json:"state"`
	Software  string             `json:"sw"`
	Topic     string             `json:"t"`
	FullTopic string             `json:"ft"`
	Prefixes  []string           `json:"tp"` // of commands, answers and telemetry
	Relays    []int              `json:"rl"` // 0: none, 1: switch, 2: light, 3: shutter
	Switches  []int              `json:"swc"`
	Names     []string           `json:"swn"` // of switches
	Buttons   []int              `json:"btn"`
	Options   map[string]float64 `json:"so"`
	Linked    int                `json:"lk"`    // a light's color and white are one light
	Light     int                `json:"lt_st"` // 1: dimmer, 2: two whites, 3: color, 4: color and white, 5: color and two whites
	Shutters  []int              `json:"sho"`
	Tilts     [][]float64        `json:"sht"`
}

// tasmotaSays takes a message of Tasmota's discovery. Rest is its topic behind the
// prefix.
func (b *bridge) tasmotaSays(m *message, rest string) {
	mac, kind, _ := strings.Cut(rest, "/")
	if kind != "config" && kind != "sensors" {
		return // somebody listens to more
	}
	t := b.tasmotas[mac]
	if t == nil {
		if len(m.payload) == 0 {
			return
		}
		if len(b.tasmotas) >= maxEntities {
			b.numbers.rejected.Add(1)
			b.reports.warn("an announcement is left out", m.topic, fmt.Errorf("there are %d devices already", maxEntities))
			return
		}
		t = &tasmota{}
		b.tasmotas[mac] = t
	}
	read := t.readSensors
	if kind == "config" {
		read = t.readConfig
	}
	before := t.config
	b.announce(m, func() ([]*part, error) { return read(mac, m) })
	switch {
	case len(m.payload) > 0:
		if t.config != before {
			b.tasmotaAgain(mac, t)
		}
	case kind == "config":
		t.config = nil
	default:
		t.sensors = nil
	}
	if t.config == nil && t.sensors == nil {
		delete(b.tasmotas, mac)
	}
}

// tasmotaAgain makes the sensors anew after the device was told of: they may have come
// before it, and are where it says.
func (b *bridge) tasmotaAgain(mac string, t *tasmota) {
	if t.config == nil || t.sensors == nil {
		return
	}
	topic := tasmotaPrefix + mac + "/sensors"
	former := b.announced[topic]
	now := &announcement{topic: topic}
	if former != nil {
		now.payload = former.payload
	}
	b.replace(now, former, t.config.sensorParts(topic, t.sensors))
}

func (t *tasmota) readConfig(mac string, m *message) ([]*part, error) {
	if len(m.payload) > maxAnnouncement {
		return nil, fmt.Errorf("the message has %d bytes, more than %d", len(m.payload), maxAnnouncement)
	}
	var c tasmotaConfig
	if err := json.Unmarshal(m.payload, &c); err != nil {
		return nil, fmt.Errorf("the message is not what Tasmota announces: %w", err)
	}
	switch {
	case c.MAC != mac:
		return nil, fmt.Errorf("it is of the device %.40q, and its topic of another", c.MAC)
	case c.Topic == "" || len(c.Prefixes) != 3 || !strings.Contains(c.FullTopic, "%prefix%"):
		return nil, errors.New("it does not say its topics: t, ft and tp")
	case max(len(c.Relays), len(c.Switches), len(c.Buttons)) > maxTasmota:
		return nil, fmt.Errorf("it has more than %d relays, switches or buttons", maxTasmota)
	case len(c.path(telemetry, "")) > maxBase || len(c.path(answers, "")) > maxBase || len(c.path(commands, "")) > maxBase:
		return nil, fmt.Errorf("its topics have more than %d bytes", maxBase)
	}
	for _, kind := range []int{commands, answers, telemetry} {
		if err := validTopic(c.path(kind, "ShutterPosition32")); err != nil { // none is longer
			return nil, err
		}
	}
	t.config = &c
	return c.parts(m.topic), nil
}

func (t *tasmota) readSensors(_ string, m *message) ([]*part, error) {
	if len(m.payload) > maxAnnouncement {
		return nil, fmt.Errorf("the message has %d bytes, more than %d", len(m.payload), maxAnnouncement)
	}
	object, err := parseObject(m.payload)
	if err != nil {
		return nil, fmt.Errorf("the message %w", err)
	}
	sensors, ok := object["sn"].(map[string]any)
	if !ok {
		return nil, errors.New("it has no sensors (sn)")
	}
	t.sensors = sensors
	if t.config == nil {
		return nil, nil // they wait for their device
	}
	return t.config.sensorParts(m.topic, sensors), nil
}

// Kinds of topics, as c.Prefixes has them.
const (
	commands = iota
	answers
	telemetry
)

// path returns a topic of the device.
func (c *tasmotaConfig) path(kind int, name string) string {
	full := strings.NewReplacer(
		"%prefix%", c.Prefixes[kind], "%topic%", c.Topic, "%hostname%", c.Host, "%id%", c.MAC[max(len(c.MAC)-6, 0):],
	).Replace(c.FullTopic)
	return strings.TrimSuffix(full, "/") + "/" + name
}

// states are where the device tells of its outputs, and readings where it tells of
// its sensors.
func (c *tasmotaConfig) states() []string {
	return []string{c.path(telemetry, "STATE"), c.path(answers, "RESULT"), c.path(answers, "STATUS11")}
}

func (c *tasmotaConfig) readings() []string {
	return []string{c.path(telemetry, "SENSOR"), c.path(answers, "RESULT"), c.path(answers, "STATUS10")}
}

func (c *tasmotaConfig) option(name string) bool { return c.Options[name] != 0 }

// part makes a part of the device.
func (c *tasmotaConfig) part(topic, component, key, name string, make func(*builder)) *part {
	options := map[string]any{
		"name": name, "availability_topic": c.path(telemetry, "LWT"), "payload_available": c.Online, "payload_not_available": c.Offline,
		"device": map[string]any{
			"identifiers": c.MAC, "name": c.Name, "manufacturer": "Tasmota", "model": c.Model, "sw_version": c.Software,
		},
	}
	return &part{key: topic + "#" + key, topic: topic, component: component, object: c.Name + "_" + name, options: options, make: make}
}

// parts returns all of the device but its sensors.
func (c *tasmotaConfig) parts(topic string) (parts []*part) {
	add := func(component, key, name string, make func(*builder)) {
		parts = append(parts, c.part(topic, component, key, name, make))
	}
	add("device_automation", "status", "", c.buildStatus)
	lights, shutters := 0, 0
	for i := 0; i < len(c.Relays); i++ {
		n := i + 1
		switch kind := c.Relays[i]; {
		case c.Fan == 1 && i == 0, kind == 1 && c.option("30"):
			add("light", fmt.Sprint("light", n), c.friendly(i), func(m *builder) { c.buildSwitchedLight(m, n) })
		case c.Fan == 1 && i > 0:
		case kind == 1:
			add("switch", fmt.Sprint("switch", n), c.friendly(i), func(m *builder) { c.buildRelay(m, n) })
		case kind == 2:
			channel := lights
			lights++
			add("light", fmt.Sprint("light", n), c.friendly(i), func(m *builder) { c.buildLight(m, n, channel) })
		case kind == 3:
			shutters++
			k := shutters
			i++ // the other direction's
			add("cover", fmt.Sprint("cover", k), fmt.Sprint("cover ", k), func(m *builder) { c.buildShutter(m, k) })
		}
	}
	if c.Fan == 1 {
		add("fan", "fan", "fan", c.buildFan)
	}
	return append(parts, c.inputParts(topic)...)
}

// friendly is the name of a relay behind the device's; empty if it is the device's, as it is unless
// somebody gave one of them another.
func (c *tasmotaConfig) friendly(i int) string {
	switch {
	case i >= len(c.Friendly) || c.Friendly[i] == "":
		return fmt.Sprint("relay ", i+1)
	case c.Friendly[i] == c.Name:
		return ""
	}
	return c.Friendly[i]
}

// inputParts returns buttons and switches, if the device tells of them.
func (c *tasmotaConfig) inputParts(topic string) (parts []*part) {
	for i, kind := range c.Buttons {
		if kind != 0 && c.option("73") {
			name := fmt.Sprint("Button", i+1)
			parts = append(parts, c.part(topic, "device_automation", name, "", func(m *builder) {
				c.buildInput(m, name, fmt.Sprint("button_", i+1))
			}))
		}
	}
	for i, mode := range c.Switches {
		if mode < 0 || !c.option("114") {
			continue
		}
		name := fmt.Sprint("Switch", i+1)
		if i < len(c.Names) && c.Names[i] != "" {
			name = c.Names[i]
		}
		if mode == 1 || mode == 2 {
			parts = append(parts, c.part(topic, "binary_sensor", name, name, func(m *builder) { c.buildContact(m, name) }))
		} else {
			parts = append(parts, c.part(topic, "device_automation", name, "", func(m *builder) {
				c.buildInput(m, name, fmt.Sprint("switch_", i+1))
			}))
		}
	}
	return parts
}

// object returns what a message of a device says.
func (m *message) object() map[string]any {
	m.decode()
	if m.fields == nil {
		m.fields, _ = parseObject(m.payload)
		for _, wrapped := range []string{"StatusSNS", "StatusSTS"} {
			if inner, ok := m.fields[wrapped].(map[string]any); ok {
				m.fields = inner
			}
		}
		if m.fields == nil {
			m.fields = map[string]any{}
		}
	}
	return m.fields
}

// listen makes topics tell something.
func (m *builder) listen(topics []string, apply func(object map[string]any) error) {
	for _, topic := range topics {
		m.e.inputs = append(m.e.inputs, &input{e: m.e, topic: topic, apply: func(msg *message, _ string) error { return apply(msg.object()) }})
	}
}

// buildStatus asks a device that has come how it is: it tells by itself every five
// minutes only.
func (c *tasmotaConfig) buildStatus(m *builder) {
	m.e.silent = true
	var asks atomic.Bool // it is to be asked
	m.e.inputs = append(m.e.inputs, &input{e: m.e, topic: c.path(telemetry, "LWT"), apply: func(_ *message, value string) error {
		if value == c.Online && asks.CompareAndSwap(false, true) {
			m.b.link.later(func() {
				asks.Store(false)
				c.ask(m.b)
			})
		}
		return nil
	}})
}

// ask makes the device tell of its outputs and sensors.
func (c *tasmotaConfig) ask(b *bridge) {
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	topic := c.path(commands, "STATUS")
	if err := b.link.publish(ctx, outgoing{topic: topic, payload: "11"}, outgoing{topic: topic, payload: "10"}); err != nil && ctx.Err() == nil {
		b.reports.warn("asking a device how it is", topic, err)
	}
}

// actions are what buttons and switches tell, as types of triggers.
var actions = map[string]string{
	"SINGLE": "button_short_press", "DOUBLE": "button_double_press", "TRIPLE": "button_triple_press", "QUAD": "button_quadruple_press",
	"PENTA": "button_quintuple_press", "HOLD": "button_long_press", "CLEAR": "button_long_release", "TOGGLE": "button_short_press",
	"ON": "turned_on", "OFF": "turned_off",
}

// buildInput makes a trigger of a button or a switch.
func (c *tasmotaConfig) buildInput(m *builder, name, subtype string) {
	m.e.silent = true
	m.listen([]string{c.path(answers, "RESULT")}, func(object map[string]any) error {
		one, _ := object[name].(map[string]any)
		action, ok := one["Action"].(string)
		if !ok {
			return nil
		}
		typ := actions[action]
		if typ == "" {
			typ = strings.ToLower(action)
		}
		m.b.fire("mqtt_trigger", map[string]any{"device": c.Name, "device_id": c.MAC, "type": typ, "subtype": subtype, "payload": action})
		return nil
	})
}

// buildContact makes a binary sensor of a switch that follows its contact.
func (c *tasmotaConfig) buildContact(m *builder, name string) {
	take := m.onOff("ON", "OFF")
	m.listen(c.readings(), func(object map[string]any) error {
		switch v := object[name].(type) {
		case string:
			return take(nil, v)
		case map[string]any:
			return take(nil, textOf(v["Action"]))
		}
		return nil
	})
}
