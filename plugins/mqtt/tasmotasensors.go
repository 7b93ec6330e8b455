package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A quantity is what a sensor of Tasmota measures.
type quantity struct{ unit, class, kind string }

// quantities are those that Tasmota's drivers have, by the names that they give them.
var quantities = map[string]quantity{
	"Temperature": {"°", "temperature", "measurement"}, "DewPoint": {"°", "temperature", "measurement"},
	"Humidity": {"%", "humidity", "measurement"}, "Moisture": {"%", "moisture", "measurement"},
	"Pressure": {"hPa", "pressure", "measurement"}, "SeaPressure": {"hPa", "pressure", "measurement"},
	"Illuminance": {"lx", "illuminance", "measurement"}, "Total": {"kWh", "energy", "total"}, "Today": {"kWh", "energy", "total_increasing"},
	"Yesterday": {"kWh", "energy", ""}, "Period": {"Wh", "", ""}, "Power": {"W", "power", "measurement"},
	"ExportActive": {"kWh", "energy", "total"}, "ApparentPower": {"VA", "apparent_power", "measurement"},
	"ReactivePower": {"var", "reactive_power", "measurement"}, "Factor": {"", "power_factor", "measurement"},
	"Voltage": {"V", "voltage", "measurement"}, "Current": {"A", "current", "measurement"}, "Frequency": {"Hz", "frequency", "measurement"},
	"CarbonDioxide": {"ppm", "carbon_dioxide", "measurement"}, "eCO2": {"ppm", "carbon_dioxide", "measurement"}, "TVOC": {"ppb", "volatile_organic_compounds_parts", "measurement"},
	"PM1": {"µg/m³", "pm1", "measurement"}, "PM2.5": {"µg/m³", "pm25", "measurement"}, "PM10": {"µg/m³", "pm10", "measurement"},
	"Distance": {"cm", "distance", "measurement"}, "Weight": {"kg", "weight", "measurement"}, "Battery": {"%", "battery", "measurement"},
	"Noise": {"dB", "sound_pressure", "measurement"}, "UvIndex": {"", "", "measurement"}, "UvPower": {"W/m²", "irradiance", "measurement"},
	"Speed": {"", "", "measurement"}, "Gas": {"kΩ", "", "measurement"},
}

// A specimen is a value in what the sensors tell: where it is, and what it measures.
type specimen struct {
	path []string
	quantity
}

// sensorParts returns the sensors of a device, of a specimen of what they tell.
func (c *tasmotaConfig) sensorParts(topic string, sensors map[string]any) (parts []*part) {
	temperature, _ := sensors["TempUnit"].(string)
	pressure, _ := sensors["PressureUnit"].(string)
	for _, s := range specimens(sensors, nil) {
		if slices.Contains(c.Names, s.path[0]) || strings.HasPrefix(s.path[0], "Shutter") {
			continue // they are no sensors
		}
		if s.unit == "°" {
			s.unit = "°" + temperature
			if temperature == "" {
				s.unit = "°C"
			}
		}
		if s.class == "pressure" && pressure != "" {
			s.unit = pressure
		}
		name := strings.Join(s.path, " ")
		parts = append(parts, c.part(topic, "sensor", name, name, func(m *builder) { c.buildSensor(m, s) }))
	}
	return parts
}

// maxSpecimens bounds the sensors of one device.
const maxSpecimens = 200

// specimens returns the values that are numbers, or are of a quantity and not known
// now, in the order of their names.
func specimens(object map[string]any, path []string) (all []specimen) {
	for _, key := range slices.Sorted(maps.Keys(object)) {
		at := append(slices.Clone(path), key)
		q, known := quantities[key]
		switch v := object[key].(type) {
		case map[string]any:
			if len(path) < 4 {
				all = append(all, specimens(v, at)...)
			}
		case []any:
			for i, one := range v {
				if _, number := one.(json.Number); number {
					all = append(all, specimen{append(slices.Clone(at), fmt.Sprint(i)), q})
				}
			}
		case json.Number:
			all = append(all, specimen{at, q})
		case nil:
			if known {
				all = append(all, specimen{at, q})
			}
		}
	}
	return all[:min(len(all), maxSpecimens)]
}

// buildSensor makes a sensor of one value.
func (c *tasmotaConfig) buildSensor(m *builder, s specimen) {
	e := m.e
	for key, value := range map[string]string{"unit_of_measurement": s.unit, "device_class": s.class, "state_class": s.kind} {
		if value != "" {
			e.own[key] = value
		}
	}
	m.listen(c.readings(), func(object map[string]any) error {
		var v any = object
		for _, step := range s.path {
			switch at := v.(type) {
			case map[string]any:
				v = at[step]
			case []any:
				var i int
				if _, err := fmt.Sscan(step, &i); err != nil || i >= len(at) {
					return nil
				}
				v = at[i]
			default:
				return nil
			}
		}
		if n, ok := v.(json.Number); ok {
			e.set(n.String())
		}
		return nil // null: it has not been read, and what it was stays
	})
}
