package scripts

import (
	"encoding/json"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"testing"
)

func example(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "examples", "home", "scripts", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (b *bench) attribute(id, name string) any {
	var m map[string]any
	if s := b.rt.State(id); s != nil {
		json.Unmarshal(s.Attributes, &m)
	}
	return m[name]
}

func (b *bench) mustCall(service, data string) {
	b.t.Helper()
	if _, err := b.call(service, data); err != nil {
		b.t.Fatalf("%s %s: %v", service, data, err)
	}
}

func TestExampleLamp(t *testing.T) {
	b := newBench(t, "lamp.js", example(t, "lamp.js"))
	b.wantState("light.lamp", "off")
	for _, step := range []struct {
		service, data, state string
		brightness           any
	}{
		{"light.turn_on", `{"entity_id":"light.lamp","brightness":128}`, "on", 128.0},
		{"light.toggle", `{"entity_id":"light.lamp"}`, "off", nil},
		{"light.toggle", `{"entity_id":"light.lamp"}`, "on", 128.0},
		{"light.turn_on", `{"entity_id":"light.lamp","brightness":0}`, "off", nil},
		{"light.turn_on", `{"entity_id":"light.lamp"}`, "on", 128.0},
		{"light.turn_off", `{"entity_id":"light.lamp"}`, "off", nil},
	} {
		b.mustCall(step.service, step.data)
		if got, level := b.state("light.lamp"), b.attribute("light.lamp", "brightness"); got != step.state || level != step.brightness {
			t.Errorf("%s %s: got %s at %v, want %s at %v", step.service, step.data, got, level, step.state, step.brightness)
		}
	}
	_, err := b.call("light.turn_on", `{"entity_id":"light.lamp","brightness":"much"}`)
	if err == nil || !strings.Contains(err.Error(), "brightness is 0 to 255, not much") {
		t.Errorf("a bad brightness: got %v, want a refusal", err)
	}
}

func TestExampleThermostat(t *testing.T) {
	b := newBench(t, "thermostat.js", example(t, "thermostat.js"))
	b.wantState("switch.heater", "off")
	for _, step := range []struct{ temperature, heater string }{
		{"17.5", "on"}, {"21.3", "on"}, {"21.6", "off"}, {"20.6", "off"}, {"20.4", "on"}, {"unavailable", "on"}, {"25", "off"},
	} {
		b.set("sensor.room_temperature", step.temperature, "")
		b.await("the thermostat has seen "+step.temperature, func() bool {
			got := b.attribute("climate.room", "current_temperature")
			want, err := strconv.ParseFloat(step.temperature, 64)
			return err == nil && got == want || err != nil && got == nil
		})
		b.wantState("switch.heater", step.heater)
	}
	b.mustCall("climate.set_temperature", `{"entity_id":"climate.room","temperature":30}`)
	if got := b.state("switch.heater"); got != "on" {
		t.Errorf("heater after a higher target: got %s, want on", got)
	}
	if got := b.status("thermostat.js"); got.Errors != 0 {
		t.Errorf("errors: got %d, last %v", got.Errors, got.LastError)
	}
}

var hostGrants = Permissions{"host.js": {
	"/proc/loadavg", "/proc/meminfo", "/proc/uptime", "/sys/class/thermal/thermal_zone*/temp", "/sys/class/hwmon/hwmon*/temp1_input",
}}

func TestExampleHost(t *testing.T) {
	if goruntime.GOOS != "linux" {
		t.Skip("there is no /proc here")
	}
	b := prepare(t, "host.js", example(t, "host.js"))
	b.host.Permissions = hostGrants
	b.start()
	b.await("the host is ready", func() bool { return closed(b.host.Ready()) })
	for id, unit := range map[string]any{"sensor.host_load": nil, "sensor.host_memory_use": "%", "sensor.host_uptime": "s"} {
		v, err := strconv.ParseFloat(b.state(id), 64)
		if err != nil || v < 0 {
			t.Errorf("%s: got %q, want a number", id, b.state(id))
		}
		if got := b.attribute(id, "unit_of_measurement"); got != unit {
			t.Errorf("%s: got unit %v, want %v", id, got, unit)
		}
	}
	if log := b.logged(); strings.Contains(log, "level=WARN") || strings.Contains(log, "level=ERROR") {
		t.Errorf("log: got warnings, want none:\n%s", log)
	}
}

// Without grants the script says what is missing and runs on.
func TestExampleHostWithoutGrants(t *testing.T) {
	b := newBench(t, "host.js", example(t, "host.js"))
	if got := b.status("host.js"); got.State != Running || got.Entities != 0 {
		t.Errorf("status: got %+v, want running without entities", got)
	}
	if log, want := b.logged(), "add to carillon.yaml: scripts: {permissions: {host.js: {read: [/proc/loadavg]}}}"; !strings.Contains(log, want) {
		t.Errorf("log: got\n%s\nwant %s in it", log, want)
	}
}
