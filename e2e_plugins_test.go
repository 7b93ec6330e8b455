//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"carillon/plugins"
)

// build builds a program of this module, or of the folder dir.
func build(t testing.TB, dir, target string, args ...string) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"build", "-o", target}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOPROXY=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %v: %v\n%s", args, err, out)
	}
}

// install puts an executable into the home as a deployment does: whole or not at
// all.
func (in *instance) install(program, name string) {
	in.t.Helper()
	text, err := os.ReadFile(program)
	if err != nil {
		in.t.Fatal(err)
	}
	target := filepath.Join(in.home, "plugins", name)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		in.t.Fatal(err)
	}
	fresh := filepath.Join(in.home, "fresh")
	if err := errors.Join(os.WriteFile(fresh, text, 0o755), os.Rename(fresh, target)); err != nil {
		in.t.Fatal(err)
	}
}

// plugin returns how an adapter is; the zero value if there is none of that name.
func (in *instance) plugin(name string) plugins.Status {
	in.t.Helper()
	var all []plugins.Status
	if err := json.Unmarshal([]byte(in.do("GET", "/api/plugins", "")), &all); err != nil {
		in.t.Fatal(err)
	}
	for _, a := range all {
		if a.Name == name {
			return a
		}
	}
	return plugins.Status{}
}

// started returns a test of the event that an adapter's generation is in service.
func started(generation float64) func(frame) bool {
	return func(f frame) bool { return f.Type == "adapter_started" && f.Data["generation"] == generation }
}

// became returns a test of the event that an entity has a state that ok takes.
func became(entity string, ok func(state string) bool) func(frame) bool {
	return func(f frame) bool {
		id, state := f.entity()
		return f.Type == "state_changed" && id == entity && ok(state)
	}
}

func is(want string) func(string) bool { return func(state string) bool { return state == want } }

// share takes numbers that a machine's memory use can be.
func share(state string) bool {
	x, err := strconv.ParseFloat(state, 64)
	return err == nil && x > 0 && x < 100
}

const memoryUse = "sensor.machine_memory_use"

func TestHostSensorsEndToEnd(t *testing.T) {
	folder := t.TempDir()
	first, second := filepath.Join(folder, "first"), filepath.Join(folder, "second")
	build(t, ".", first, "./plugins/hostsensors")
	build(t, ".", second, "-ldflags=-X main.version=2.0.0", "./plugins/hostsensors")
	in := serve(t, newHome(t, nil), "-listen", "127.0.0.1:0")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	frames := in.stream(ctx, "/api/stream")

	in.install(first, "hostsensors")
	shown := await(t, frames, "memory use", became(memoryUse, share))
	next := shown.Data["new_state"].(map[string]any)
	if got := next["attributes"].(map[string]any); got["unit_of_measurement"] != "%" || got["state_class"] != "measurement" {
		t.Errorf("attributes: got %v, want unit %% and state class measurement", got)
	}
	await(t, frames, "CPU use", became("sensor.machine_cpu_use", func(s string) bool { _, err := strconv.ParseFloat(s, 64); return err == nil }))
	if st := in.plugin("hostsensors"); st.State != plugins.Ready || st.Version != "1.0.0" || st.Entities < 5 || st.Generation != 1 {
		t.Errorf("got %+v, want version 1.0.0 ready with its entities", st)
	}
	if got := in.do("GET", "/metrics", ""); !strings.Contains(got, `carillon_adapter_ready{adapter="hostsensors"} 1`) {
		t.Errorf("metrics don't say that the adapter is ready")
	}
	in.swapHostSensors(frames, second)
	in.killHostSensors(frames)
	in.controlHostSensors(frames)

	write(t, filepath.Join(in.home, configFile), "") // what is configured is missed, and not gone
	await(t, frames, "the CPU use of the default configuration", became("sensor.machine_cpu_use", func(s string) bool { return s != "unavailable" }))
	if err := os.Remove(filepath.Join(in.home, "plugins", "hostsensors")); err != nil {
		t.Fatal(err)
	}
	await(t, frames, "its end", func(f frame) bool { return f.Type == "adapter_stopped" && f.Data["reason"] == "removed" })
	if got := in.do("GET", "/api/plugins", ""); got != "[]" {
		t.Errorf("adapters after the removal: got %s, want none", got)
	}
}

// swapHostSensors replaces the executable, and then the configuration: nobody sees an
// entity away.
func (in *instance) swapHostSensors(frames <-chan frame, program string) {
	in.t.Helper()
	away := func(f frame) bool { return became(memoryUse, is("unavailable"))(f) }
	in.install(program, "hostsensors")
	await(in.t, frames, "the second version", func(f frame) bool {
		if away(f) {
			in.t.Errorf("the memory went away while the adapter was replaced: %s", f.raw)
		}
		return started(2)(f) && f.Data["version"] == "2.0.0" && f.Data["swapped"] == true
	})
	config := filepath.Join(in.home, configFile)
	write(in.t, config, "plugins:\n  hostsensors:\n    config: {interval: 1ms}\n")
	failed := await(in.t, frames, "that the configuration is refused", func(f frame) bool { return f.Type == "adapter_failed" })
	if text, _ := failed.Data["error"].(string); failed.Data["kept"] != true || !strings.Contains(text, "/interval: must be a duration from 500ms to 1h") {
		in.t.Errorf("got %s, want the field, and that the adapter is kept", failed.raw)
	}
	if st := in.plugin("hostsensors"); st.State != plugins.Ready || st.Version != "2.0.0" || !strings.Contains(st.Error, "/interval") {
		in.t.Errorf("got %+v, want the second version ready, and what is wrong with the configuration", st)
	}
	write(in.t, config, "plugins:\n  hostsensors:\n    config: {interval: 500ms, include: [memory]}\n")
	await(in.t, frames, "the new configuration", func(f frame) bool {
		if away(f) {
			in.t.Errorf("the memory went away while the adapter was configured: %s", f.raw)
		}
		return f.Type == "adapter_started"
	})
	eventually(in.t, "only the memory is left", func() bool { return in.plugin("hostsensors").Entities <= 3 })
}

// killHostSensors kills the process: its entities are unavailable, and back soon.
func (in *instance) killHostSensors(frames <-chan frame) {
	in.t.Helper()
	before := in.plugin("hostsensors")
	if before.PID <= 0 {
		in.t.Fatalf("got %+v, want a process", before)
	}
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		in.t.Fatal(err)
	}
	await(in.t, frames, "that the memory is unavailable", became(memoryUse, is("unavailable")))
	await(in.t, frames, "that it is back", became(memoryUse, share))
	eventually(in.t, "it is ready with another process", func() bool {
		st := in.plugin("hostsensors")
		return st.State == plugins.Ready && st.PID != before.PID && st.Restarts == before.Restarts+1
	})
}

// controlHostSensors uses the command line.
func (in *instance) controlHostSensors(frames <-chan frame) {
	in.t.Helper()
	if got := in.plugins(0); !strings.Contains(got, "ADAPTER") || !strings.Contains(got, "hostsensors@") || !strings.Contains(got, "ready") {
		in.t.Errorf("plugins: got\n%s", got)
	}
	generation := float64(in.plugin("hostsensors").Generation)
	in.plugins(0, "restart", "hostsensors")
	await(in.t, frames, "the restart", started(generation+1))
	pid := in.plugin("hostsensors").PID
	if got, want := in.plugins(0, "disable", "hostsensors"), "Adapter hostsensors: disable is under way.\n"; got != want {
		in.t.Errorf("disable: got %q, want %q", got, want)
	}
	await(in.t, frames, "that the memory is unavailable", became(memoryUse, is("unavailable")))
	eventually(in.t, "the process is gone", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
	if got := in.plugins(0); !strings.Contains(got, "disabled") {
		in.t.Errorf("plugins: got\n%s\nwant it disabled", got)
	}
	in.plugins(0, "enable", "hostsensors")
	await(in.t, frames, "that it is back", became(memoryUse, share))
	if got := in.plugins(1, "restart", "teapot"); !strings.Contains(got, "Adapter teapot: there is no such adapter.") {
		in.t.Errorf("restart teapot: got %q", got)
	}
	if got := in.plugins(0, "-json"); !json.Valid([]byte(got)) {
		in.t.Errorf("-json: got %s", got)
	}
}

// plugins runs the command plugins and returns what it prints.
func (in *instance) plugins(status int, args ...string) string {
	in.t.Helper()
	var out bytes.Buffer
	if got := run(append([]string{"plugins", "-server", in.url, "-token", testToken}, args...), &out, &out); got != status {
		in.t.Errorf("carillon plugins %v: got exit status %d, want %d:\n%s", args, got, status, &out)
	}
	return out.String()
}

// A battery that is taken out is unavailable, and back when it is put in again; and the
// end of the server is the end of the adapter.
func TestBatteryTakenOut(t *testing.T) {
	program, sys := filepath.Join(t.TempDir(), "hostsensors"), t.TempDir()
	build(t, ".", program, "./plugins/hostsensors")
	battery := filepath.Join(sys, "class/power_supply/BAT0")
	put := func() {
		write(t, filepath.Join(battery, "capacity"), "73\n")
		write(t, filepath.Join(battery, "type"), "Battery\n")
	}
	put()
	home := newHome(t, nil)
	write(t, filepath.Join(home, configFile), "plugins:\n  power:\n    path: hostsensors\n    env: [\"HOST_SYS="+sys+"\"]\n"+
		"    config: {interval: 500ms, include: [batteries, memory], prefix: boat}\n")
	in := serve(t, home, "-listen", "127.0.0.1:0")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	frames := in.stream(ctx, "/api/stream")
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "hostsensors"), text, 0o755); err != nil { // beside plugins/: the path is relative to the home
		t.Fatal(err)
	}
	await(t, frames, "the battery", became("sensor.boat_battery_0", is("73")))
	if err := os.RemoveAll(battery); err != nil {
		t.Fatal(err)
	}
	await(t, frames, "that it is out", became("sensor.boat_battery_0", is("unavailable")))
	put()
	await(t, frames, "that it is in", became("sensor.boat_battery_0", is("73")))
	pid := in.plugin("power").PID
	if status := in.signal(syscall.SIGTERM); status != 0 {
		t.Errorf("got exit status %d, want 0", status)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d of the adapter: got %v, want it gone with the server", pid, err)
	}
}

// What carillon new adapter makes works as it is: its test passes without a look-up,
// and its lamp takes commands.
func TestNewAdapterEndToEnd(t *testing.T) {
	source, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	t.Chdir(folder)
	var out bytes.Buffer
	if status := run([]string{"new", "adapter", "-carillon", source, "desk-lamp"}, &out, &out); status != 0 {
		t.Fatalf("got exit status %d: %s", status, &out)
	}
	made := filepath.Join(folder, "desk-lamp")
	for _, args := range [][]string{{"vet", "."}, {"test", "."}} {
		cmd := exec.Command("go", args...)
		cmd.Dir = made
		cmd.Env = append(os.Environ(), "GOPROXY=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, out)
		}
	}
	if out, err := exec.Command("gofmt", "-l", made).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("gofmt: got %s, %v, want nothing to change", out, err)
	}
	program := filepath.Join(folder, "lamp")
	build(t, made, program, ".")
	in := serve(t, newHome(t, nil), "-listen", "127.0.0.1:0")
	in.install(program, "desk-lamp")
	eventually(t, "the lamp is there", func() bool {
		_, body := in.request("GET", "/api/states/light.desk_lamp", "")
		return strings.Contains(body, `"state":"off"`)
	})
	if got := in.do("POST", "/api/services/light/toggle", `{"entity_id":"light.desk_lamp"}`); !strings.Contains(got, `"state":"on"`) {
		t.Errorf("toggle: got %s, want the lamp on", got)
	}
}
