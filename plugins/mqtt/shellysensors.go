package main

import (
	"encoding/json"
	"strings"
)

// A measured is something that a component of a Shelly measures: where it is in its status, and
// what it is called.
type measured struct {
	path, name string
	quantity
	scale float64 // to the unit; 0: it is in it
}

var (
	watts    = quantity{"W", "power", "measurement"}
	volts    = quantity{"V", "voltage", "measurement"}
	amperes  = quantity{"A", "current", "measurement"}
	energy   = quantity{"kWh", "energy", "total_increasing"}
	celsius  = quantity{"°C", "temperature", "measurement"}
	humidity = quantity{"%", "humidity", "measurement"}
)

// load is what outputs measure. Energies are told in Wh.
var load = []measured{
	{"apower", "power", watts, 0}, {"voltage", "voltage", volts, 0}, {"current", "current", amperes, 0},
	{"aenergy.total", "energy", energy, 0.001}, {"temperature.tC", "temperature", celsius, 0},
}

// measures are what components measure, by their kind.
var measures = map[string][]measured{
	"switch": load, "cover": load, "light": load, "rgb": load, "rgbw": load, "cct": load, "rgbcct": load, "pm1": load,
	"em1": {{"act_power", "power", watts, 0}, {"voltage", "voltage", volts, 0}, {"current", "current", amperes, 0}},
	"em1data": {
		{"total_act_energy", "energy", energy, 0.001}, {"total_act_ret_energy", "energy returned", energy, 0.001},
	},
	"em": append(phases(measured{"_act_power", "power", watts, 0}, measured{"_voltage", "voltage", volts, 0}, measured{"_current", "current", amperes, 0}),
		measured{"total_act_power", "total power", watts, 0}, measured{"total_current", "total current", amperes, 0}),
	"emdata": append(phases(measured{"_total_act_energy", "energy", energy, 0.001}, measured{"_total_act_ret_energy", "energy returned", energy, 0.001}),
		measured{"total_act", "total energy", energy, 0.001}, measured{"total_act_ret", "total energy returned", energy, 0.001}),
	"temperature": {{"tC", "temperature", celsius, 0}},
	"humidity":    {{"rh", "humidity", humidity, 0}},
	"devicepower": {{"battery.percent", "battery", quantity{"%", "battery", "measurement"}, 0}},
	"voltmeter":   {{"voltage", "voltage", volts, 0}},
	"illuminance": {{"lux", "illuminance", quantity{"lx", "illuminance", "measurement"}, 0}},
	"input":       {{"percent", "analog value", quantity{"%", "", "measurement"}, 0}, {"counts.total", "pulses", quantity{"", "", "total_increasing"}, 0}},
}

// phases repeats what is measured for each of three phases.
func phases(each ...measured) (all []measured) {
	for _, phase := range []string{"a", "b", "c"} {
		for _, one := range each {
			one.path, one.name = phase+one.path, "phase "+strings.ToUpper(phase)+" "+one.name
			all = append(all, one)
		}
	}
	return all
}

// at returns what is at a path within an object.
func at(object map[string]any, path string) (v any, there bool) {
	first, rest, deeper := strings.Cut(path, ".")
	v, there = object[first]
	if !deeper {
		return v, there
	}
	inner, _ := v.(map[string]any)
	v, there = inner[rest]
	return v, there
}

// sensorParts returns the sensors of a component: what of its status is there.
func (d *shelly) sensorParts(c *component) (parts []*part) {
	if enabled, told := c.config["enable"].(bool); told && !enabled {
		return nil
	}
	for _, one := range measures[c.kind] {
		if _, there := at(c.status, one.path); !there {
			continue
		}
		name := c.of(one.name)
		if c.kind == one.name { // a thermometer's temperature
			name = c.name
			if name == "" && c.lone {
				name = c.of(one.name)
			} else if name == "" {
				name = c.title()
			}
		}
		topic := d.prefix + "/status/" + c.key
		parts = append(parts, d.part(c, "sensor", one.path, name, func(m *builder) { one.build(m, topic) }))
	}
	return parts
}

// build makes the sensor.
func (s measured) build(m *builder, topic string) {
	e := m.e
	for key, value := range map[string]string{"unit_of_measurement": s.unit, "device_class": s.class, "state_class": s.kind} {
		if value != "" {
			e.own[key] = value
		}
	}
	m.hear(topic, func(object map[string]any) error {
		v, there := at(object, s.path)
		switch n, number := v.(json.Number); {
		case !there:
			return nil
		case !number:
			e.unknown() // null: it can't be read
		case s.scale == 0:
			e.set(n.String())
		default:
			if x, ok := asNumber(n); ok {
				e.set(formatNumber(roundTo(x*s.scale, 6)))
			}
		}
		return nil
	})
}

// hear makes a device's status of a component tell something. What the broker kept, or what waited
// for the device to be known, is old: how it is it was asked.
func (m *builder) hear(topic string, apply func(object map[string]any) error) {
	m.e.inputs = append(m.e.inputs, &input{e: m.e, topic: topic, apply: func(msg *message, _ string) error {
		if msg.retained || msg.waited {
			return nil
		}
		return apply(msg.object())
	}})
}
