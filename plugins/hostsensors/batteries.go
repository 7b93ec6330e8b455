package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// readBatteries reads the batteries that Linux knows, as the kernel's
// Documentation/ABI/testing/sysfs-class-power describes: those of the machine, and of
// mice and keyboards that tell. Elsewhere there is no such folder, and no battery.
func readBatteries(context.Context, *settings) (all []reading, err error) {
	root := os.Getenv("HOST_SYS") // as gopsutil has it, for containers
	if root == "" {
		root = "/sys"
	}
	folder := filepath.Join(root, "class", "power_supply")
	supplies, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, s := range supplies {
		if b := (battery{filepath.Join(folder, s.Name())}); b.text("type") == "Battery" {
			all = append(all, b.readings(s.Name())...)
		}
	}
	return all, nil
}

// A battery is a folder with a file for each of its properties.
type battery struct{ folder string }

// text returns a property; "" if the battery doesn't tell it.
func (b battery) text(property string) string {
	text, err := os.ReadFile(filepath.Join(b.folder, property))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// level returns how full it is, in percent; "" if it doesn't tell.
func (b battery) level() string {
	if text := b.text("capacity"); text != "" {
		return text
	}
	for _, kind := range []string{"energy", "charge"} { // µWh, µAh
		now, err := strconv.ParseFloat(b.text(kind+"_now"), 64)
		full, err2 := strconv.ParseFloat(b.text(kind+"_full"), 64)
		if err == nil && err2 == nil && full > 0 {
			return number(min(100*now/full, 100), 0)
		}
	}
	return ""
}

// ownBattery is how the kernel names batteries of the machine itself.
var ownBattery = regexp.MustCompile(`^BAT([0-9]+)$`)

func (b battery) readings(name string) (all []reading) {
	if m := ownBattery.FindStringSubmatch(name); m != nil {
		name = m[1]
	}
	object, title := "battery_"+name, "Battery "+name
	if level := b.level(); level != "" {
		r := reading{object: object, name: title, value: level, unit: "%", deviceClass: "battery", stateClass: "measurement", attributes: map[string]any{}}
		for attribute, property := range map[string]string{"manufacturer": "manufacturer", "model": "model_name", "technology": "technology", "scope": "scope"} {
			if text := b.text(property); text != "" {
				r.attributes[attribute] = text
			}
		}
		if cycles, err := strconv.Atoi(b.text("cycle_count")); err == nil && cycles > 0 {
			r.attributes["cycles"] = cycles
		}
		all = append(all, r)
	}
	if status := b.text("status"); status != "" {
		value := "unknown"
		switch status {
		case "Charging":
			value = "on"
		case "Discharging", "Not charging", "Full":
			value = "off"
		}
		all = append(all, reading{domain: "binary_sensor", object: object + "_charging", name: title + " charging", value: value, deviceClass: "battery_charging"})
	}
	return all
}
