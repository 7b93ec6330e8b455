package main

import (
	"context"
	"strings"

	"github.com/shirou/gopsutil/v4/sensors"
)

// readTemperatures reads what thermometers the system knows: hwmon or thermal zones on
// Linux, the SMC on macOS, WMI on Windows.
func readTemperatures(ctx context.Context, _ *settings) (all []reading, err error) {
	found, err := sensors.TemperaturesWithContext(ctx)
	for _, t := range found {
		if t.Temperature < -100 || t.Temperature > 200 || t.Temperature == 0 {
			continue // what chips say when nothing is connected
		}
		r := reading{
			object: "temperature_" + t.SensorKey, name: "Temperature " + strings.ReplaceAll(t.SensorKey, "_", " "), value: number(t.Temperature, 1),
			unit: "°C", deviceClass: "temperature", stateClass: "measurement",
		}
		limits := map[string]any{}
		for name, limit := range map[string]float64{"high": t.High, "critical": t.Critical} {
			if limit > 0 {
				limits[name] = limit
			}
		}
		if len(limits) > 0 {
			r.attributes = limits
		}
		all = append(all, r)
	}
	if len(found) > 0 {
		return all, nil // that some have no value is how chips are
	}
	return nil, err
}
