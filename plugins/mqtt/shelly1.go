package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"time"
)

// Shellies of the first generation say by one message what they are, also when they are asked to. What
// a device of a model has is known: https://shelly-api-docs.shelly.cloud/gen1, "MQTT support" and
// the pages of the models. It is announced in Home Assistant's way.

const (
	shelliesTopic   = "shellies/"
	shelliesAnswer  = shelliesTopic + "announce"
	shelliesCommand = shelliesTopic + "command"
)

// A shellyModel is what devices of a model of the first generation have.
type shellyModel struct {
	relays, meters int // meters: relays that measure power
	roller         bool
	emeters        int
	inputs         int
	buttons        bool   // the inputs tell pushes
	lights         string // "dim", or "white": of two whites
	sensors        string // with spaces between them
	battery        bool
}

// shellyModels are those that are known, by what they call them.
var shellyModels = map[string]shellyModel{
	"SHSW-1": {relays: 1, inputs: 1, buttons: true}, "SHSW-PM": {relays: 1, meters: 1, inputs: 1, buttons: true, sensors: "temperature"},
	"SHSW-L":  {relays: 1, meters: 1, inputs: 2, buttons: true, sensors: "temperature"},
	"SHSW-21": {relays: 2, meters: 1, roller: true, inputs: 2}, "SHSW-25": {relays: 2, meters: 2, roller: true, inputs: 2, buttons: true, sensors: "temperature"},
	"SHSW-44": {relays: 4, meters: 4, inputs: 4}, "SHAIR-1": {relays: 1, meters: 1, inputs: 1, sensors: "temperature"},
	"SHUNI-1": {relays: 2, inputs: 2, buttons: true},
	"SHPLG-1": {relays: 1, meters: 1}, "SHPLG2-1": {relays: 1, meters: 1, sensors: "temperature"},
	"SHPLG-S": {relays: 1, meters: 1, sensors: "temperature"}, "SHPLG-U1": {relays: 1, meters: 1, sensors: "temperature"},
	"SHEM": {relays: 1, emeters: 2}, "SHEM-3": {relays: 1, emeters: 3},
	"SHIX3-1": {inputs: 3, buttons: true},
	"SHBTN-1": {inputs: 1, buttons: true, sensors: "sensor/battery", battery: true}, "SHBTN-2": {inputs: 1, buttons: true, sensors: "sensor/battery", battery: true},
	"SHHT-1": {sensors: "sensor/temperature sensor/humidity sensor/battery", battery: true},
	"SHWT-1": {sensors: "sensor/flood sensor/temperature sensor/battery", battery: true},
	"SHDW-1": {sensors: "sensor/state sensor/lux sensor/battery", battery: true}, "SHDW-2": {sensors: "sensor/state sensor/lux sensor/temperature sensor/battery", battery: true},
	"SHSM-01":  {sensors: "sensor/smoke sensor/temperature sensor/battery", battery: true},
	"SHMOS-01": {sensors: "status/motion status/lux status/bat"}, "SHMOS-02": {sensors: "status/motion status/lux status/bat"},
	"SHDM-1": {lights: "dim", inputs: 2, buttons: true, sensors: "temperature"}, "SHDM-2": {lights: "dim", inputs: 2, buttons: true, sensors: "temperature"},
	"SHBDUO-1": {lights: "white"}, "SHVIN-1": {lights: "dim"},
}

// An announcedShelly is the message that says what a device is.
type announcedShelly struct {
	ID       string `json:"id"`
	Model    string `json:"model"`
	MAC      string `json:"mac"`
	Firmware string `json:"fw_ver"`
	Mode     string `json:"mode"`
}

var (
	firstID  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,60}$`)
	firstMAC = regexp.MustCompile(`^[0-9A-Fa-f]{12}$`)
)

// callShellies asks devices of the first generation what and how they are.
func (b *bridge) callShellies() {
	if !b.settings.shelly() || b.settings.source == "" {
		return
	}
	b.link.later(func() {
		ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
		defer cancel()
		if err := b.link.publish(ctx, outgoing{topic: shelliesCommand, payload: "announce"}, outgoing{topic: shelliesCommand, payload: "update"}); err != nil && ctx.Err() == nil {
			b.reports.warn("asking Shellies what they are", shelliesCommand, err)
		}
	})
}

// firstShelly takes what a device of the first generation says of itself.
func (b *bridge) firstShelly(m *message) {
	if len(m.payload) == 0 {
		return
	}
	var a announcedShelly
	err := json.Unmarshal(m.payload, &a)
	model, known := shellyModels[a.Model]
	switch {
	case len(m.payload) > 4096:
		err = fmt.Errorf("the message has %d bytes, more than 4096", len(m.payload))
	case err != nil:
	case shellyID.MatchString(a.ID) && a.Mode == "" && a.Firmware == "":
		return // a later device with a script that announces it so: it is asked what it is
	case !firstID.MatchString(a.ID) || a.ID == "command" || a.ID == "announce" || !firstMAC.MatchString(a.MAC):
		err = errors.New("it does not say its id and mac")
	case !known:
		err = fmt.Errorf("the model %.20q of %s is not known", a.Model, a.ID)
	}
	prefix := shelliesTopic + a.ID
	d := b.shellies.byPrefix[prefix]
	if err == nil && d == nil && len(b.shellies.byPrefix) >= maxShellies {
		err = fmt.Errorf("there are %d devices already", maxShellies)
	}
	if err != nil {
		b.numbers.rejected.Add(1)
		b.reports.warn("an announcement is not understood", m.topic, err)
		return
	}
	if d == nil {
		d = &shelly{prefix: prefix, id: a.ID, online: true}
		b.shellies.byPrefix[prefix] = d
	}
	d.first, d.asleep = true, model.battery
	d.answers[0] = map[string]any{"model": a.Model, "ver": a.Firmware, "mac": strings.ToUpper(a.MAC)}
	b.claimMAC(d, strings.ToLower(a.MAC))
	d.parts = d.firstParts(model, a.Mode)
	b.showShelly(d)
}

// firstPart makes a part of a device of the first generation, which is announced with options.
func (d *shelly) firstPart(c *component, domain, field, name string, options map[string]any) *part {
	p := d.part(c, domain, field, name, nil)
	maps.Copy(p.options, options)
	return p
}

// firstParts returns the entities of a device of the first generation.
func (d *shelly) firstParts(model shellyModel, mode string) (parts []*part) {
	channel := func(kind string, n, of int) *component {
		return &component{key: fmt.Sprint(kind, ":", n), kind: kind, n: n, lone: of == 1}
	}
	if model.roller && mode == "roller" {
		c := channel("roller", 0, 1)
		parts = append(parts, d.rollerPart(c))
		parts = append(parts, d.firstMeter(c, d.prefix+"/roller/0")...)
		model.relays = 0
	}
	for n := range model.relays {
		c := channel("relay", n, model.relays)
		topic := fmt.Sprint(d.prefix, "/relay/", n)
		parts = append(parts, d.firstPart(c, "switch", "", c.called(), map[string]any{
			"state_topic": topic, "command_topic": topic + "/command", "payload_on": "on", "payload_off": "off",
			"value_template": "{% if value != 'overpower' %}{{ value }}{% endif %}", // it says on or off besides
		}))
		if n < model.meters {
			parts = append(parts, d.firstMeter(c, topic)...)
		}
	}
	for n := range model.emeters {
		parts = append(parts, d.emeterParts(channel("emeter", n, model.emeters))...)
	}
	for n := range model.inputs {
		parts = append(parts, d.firstInput(channel("input", n, model.inputs), model)...)
	}
	if model.lights != "" {
		parts = append(parts, d.firstLight(channel("light", 0, 1), model.lights))
	}
	for _, topic := range strings.Fields(model.sensors) {
		parts = append(parts, d.firstSensor(topic))
	}
	return parts
}

func (d *shelly) rollerPart(c *component) *part {
	topic := d.prefix + "/roller/0"
	return d.firstPart(c, "cover", "", "", map[string]any{
		"state_topic": topic, "state_opening": "open", "state_closing": "close", "state_stopped": "stop", "command_topic": topic + "/command",
		"payload_open": "open", "payload_close": "close", "payload_stop": "stop", "set_position_topic": topic + "/command/pos", "position_topic": topic + "/pos",
		"position_template": "{% if value|float >= 0 %}{{ value }}{% endif %}", // -1: it is not calibrated
	})
}

// quantityOptions are a quantity's, of a topic.
func quantityOptions(q quantity, topic, template string) map[string]any {
	options := map[string]any{"state_topic": topic}
	for key, value := range map[string]string{"unit_of_measurement": q.unit, "device_class": q.class, "state_class": q.kind, "value_template": template} {
		if value != "" {
			options[key] = value
		}
	}
	return options
}

// firstMeter returns what an output measures. Energy is told in watt-minutes.
func (d *shelly) firstMeter(c *component, topic string) []*part {
	return []*part{
		d.firstPart(c, "sensor", "power", c.of("power"), quantityOptions(watts, topic+"/power", "")),
		d.firstPart(c, "sensor", "energy", c.of("energy"), quantityOptions(energy, topic+"/energy", "{{ (value|float / 60000)|round(5) }}")),
	}
}

// emeterParts returns what a meter of its own measures. Totals are told in Wh.
func (d *shelly) emeterParts(c *component) (parts []*part) {
	topic := fmt.Sprint(d.prefix, "/emeter/", c.n, "/")
	const wh = "{{ (value|float / 1000)|round(5) }}"
	for _, one := range []struct {
		topic, name string
		quantity
		template string
	}{
		{"power", "power", watts, ""}, {"voltage", "voltage", volts, ""}, {"current", "current", amperes, ""},
		{"total", "energy", energy, wh}, {"total_returned", "energy returned", energy, wh},
	} {
		parts = append(parts, d.firstPart(c, "sensor", one.topic, c.of(one.name), quantityOptions(one.quantity, topic+one.topic, one.template)))
	}
	return parts
}

// firstLight returns a lamp: one that can be dimmed, or has two whites.
func (d *shelly) firstLight(c *component, kind string) *part {
	topic := d.prefix + "/light/0"
	options := map[string]any{
		"schema": "template", "state_topic": topic + "/status", "command_topic": topic + "/set",
		"state_template":      "{% if value_json.ison %}on{% else %}off{% endif %}",
		"brightness_template": "{{ (value_json.brightness|float * 255 / 100)|round|int }}",
		"command_on_template": `{"turn":"on"{% if brightness is defined %},"brightness":{{ (brightness|float * 100 / 255)|round|int or 1 }}{% endif %}` +
			`{% if color_temp is defined %},"temp":{{ (1000000 / color_temp|float)|round|int }}{% endif %}` +
			`{% if transition is defined %},"transition":{{ (transition|float * 1000)|int }}{% endif %}}`,
		"command_off_template": `{"turn":"off"{% if transition is defined %},"transition":{{ (transition|float * 1000)|int }}{% endif %}}`,
	}
	if kind == "white" {
		options["color_temp_template"] = "{{ (1000000 / value_json.temp|float)|round|int }}"
		options["min_mireds"], options["max_mireds"] = json.Number("153"), json.Number("371")
	}
	return d.firstPart(c, "light", "", "", options)
}

// firstSensors are what sensors tell, by the end of their topics.
var firstSensors = map[string]struct {
	name string
	quantity
	on, off string // of a binary sensor
}{
	"temperature": {"Temperature", celsius, "", ""}, "humidity": {"Humidity", humidity, "", ""},
	"battery": {"Battery", quantity{"%", "battery", "measurement"}, "", ""}, "bat": {"Battery", quantity{"%", "battery", "measurement"}, "", ""},
	"lux":   {"Illuminance", quantity{"lx", "illuminance", "measurement"}, "", ""},
	"flood": {"Flood", quantity{"", "moisture", ""}, "true", "false"}, "smoke": {"Smoke", quantity{"", "smoke", ""}, "true", "false"},
	"state": {"Opening", quantity{"", "opening", ""}, "open", "close"}, "motion": {"Motion", quantity{"", "motion", ""}, "True", "False"},
}

// firstSensor returns what is told at a topic, or in an object at status.
func (d *shelly) firstSensor(topic string) *part {
	_, last, deeper := strings.Cut(topic, "/")
	if !deeper {
		last = topic
	}
	s := firstSensors[last]
	template := ""
	switch inStatus := strings.HasPrefix(topic, "status/"); {
	case inStatus:
		topic, template = "status", "{{ value_json."+last+" }}"
	case s.class == "temperature":
		template = "{% if value|float < 900 %}{{ value }}{% endif %}" // 999: it can't be read
	}
	options := quantityOptions(s.quantity, d.prefix+"/"+topic, template)
	domain := "sensor"
	if s.on != "" {
		domain, options["payload_on"], options["payload_off"] = "binary_sensor", s.on, s.off
	}
	return d.firstPart(&component{key: last, kind: last, lone: true}, domain, "", s.name, options)
}

// firstPushes are what buttons tell: short and long pushes.
var firstPushes = map[string]string{"S": "single", "SS": "double", "SSS": "triple", "L": "long", "SL": "single_long", "LS": "long_single"}

// firstInput returns an input's contact, and its pushes.
func (d *shelly) firstInput(c *component, model shellyModel) (parts []*part) {
	if !model.battery {
		parts = append(parts, d.firstPart(c, "binary_sensor", "", c.title(), map[string]any{
			"state_topic": fmt.Sprint(d.prefix, "/input/", c.n), "payload_on": "1", "payload_off": "0",
		}))
	}
	if model.buttons {
		topic := fmt.Sprint(d.prefix, "/input_event/", c.n)
		parts = append(parts, d.part(c, "event", "event", c.title()+" pushes", func(m *builder) { m.firstPushes(topic, model.battery) }))
	}
	return parts
}

// firstPushes makes an event entity. A device repeats the last push every half minute, with the
// number that it had; so the first that is heard may be old, unless the device came for it.
func (m *builder) firstPushes(topic string, news bool) {
	e := m.e
	e.own["device_class"], e.own["event_types"] = "button", []string{"single", "double", "triple", "long", "single_long", "long_single"}
	e.forced = true
	last := ""
	m.e.inputs = append(m.e.inputs, &input{e: e, topic: topic, apply: func(msg *message, _ string) error {
		object := msg.object()
		number, before := textOf(object["event_cnt"]), last
		last = number
		typ := firstPushes[textOf(object["event"])]
		if msg.retained || typ == "" || number == before || before == "" && !news {
			return nil
		}
		e.attr("event_type", typ)
		e.set(timestamp(time.Now()))
		return nil
	}})
}
