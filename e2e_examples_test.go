package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestExampleHome runs a copy of examples/home and uses each of its scripts.
func TestExampleHome(t *testing.T) {
	t.Parallel()
	home := filepath.Join(t.TempDir(), "home")
	if err := os.CopyFS(home, os.DirFS("examples/home")); err != nil {
		t.Fatal(err)
	}
	in := serve(t, home, "-listen", "127.0.0.1:0")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	frames := in.stream(ctx, "/api/stream?snapshot=1")
	for _, id := range []string{"light.lamp", "switch.heater", "climate.room"} {
		eventually(t, id+" is there", func() bool { return in.state(id) != "" })
	}
	if goruntime.GOOS == "linux" {
		eventually(t, "sensor.host_load has this machine's load", func() bool {
			_, err := strconv.ParseFloat(in.state("sensor.host_load"), 64)
			return err == nil
		})
	}

	answer := in.do("POST", "/api/services/light/turn_on", `{"entity_id":"light.lamp","brightness":128}`)
	var changed []struct {
		EntityID   string `json:"entity_id"`
		State      string
		Attributes struct{ Brightness int }
	}
	if err := json.Unmarshal([]byte(answer), &changed); err != nil || len(changed) != 1 || changed[0].State != "on" || changed[0].Attributes.Brightness != 128 {
		t.Errorf("turn_on: got %s (%v), want light.lamp on at 128", answer, err)
	}
	story := await(t, frames, "command_result", func(f frame) bool { return f.Type == "command_result" && f.Data["success"] == true })
	if story.Data["entity_id"] != "light.lamp" {
		t.Errorf("command_result: got %s", story.raw)
	}

	in.do("POST", "/api/states/sensor.room_temperature", `{"state":"17.5"}`)
	await(t, frames, "the heater on", isEntity("switch.heater", "on"))
	in.do("POST", "/api/states/sensor.room_temperature", `{"state":"25"}`)
	await(t, frames, "the heater off", isEntity("switch.heater", "off"))
}

func isEntity(id, state string) func(frame) bool {
	return func(f frame) bool {
		gotID, gotState := f.entity()
		return gotID == id && (state == "" || gotState == state)
	}
}

// state returns an entity's state, empty when there is none.
func (in *instance) state(id string) string {
	in.t.Helper()
	var s struct{ State string }
	if status, text := in.request("GET", "/api/states/"+id, ""); status == 200 {
		json.Unmarshal([]byte(text), &s)
	}
	return s.State
}

// TestFirstRun follows the README: a home that is not there, and a script
// dropped in while the stream is open.
func TestFirstRun(t *testing.T) {
	t.Parallel()
	home := filepath.Join(t.TempDir(), "home")
	in := serve(t, home, "-listen", "127.0.0.1:0")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	frames := in.stream(ctx, "/api/stream?snapshot=1")
	if goruntime.GOOS == "linux" {
		awaitFor(t, frames, "a real event", 10*time.Second, isEntity("sensor.host_load", ""))
	}
	door := filepath.Join(home, "scripts", "door.js")
	write(t, door, "device('binary_sensor.door', {device_class: 'door'}).set('off');\nevery('2s', () => device('binary_sensor.door').set('on'));\n")
	await(t, frames, "the door", isEntity("binary_sensor.door", "off"))
	await(t, frames, "the door again", isEntity("binary_sensor.door", "on"))

	write(t, door, "device('binary_sensor.door', {}).set('open'\n")
	failed := await(t, frames, "script_failed", func(f frame) bool { return f.Type == "script_failed" })
	if failed.Data["file"] != "door.js" || failed.Data["line"] == nil || failed.Data["message"] == "" {
		t.Errorf("script_failed: got %s, want file, line and reason", failed.raw)
	}
	if got := in.do("GET", "/api/scripts", ""); !strings.Contains(got, "door.js") || !strings.Contains(got, `"generation":1`) {
		t.Errorf("/api/scripts: got %s, want door.js@1 still running, with its error", got)
	}
	if got := in.state("binary_sensor.door"); got != "on" {
		t.Errorf("after a broken save: got %q, want on", got)
	}
	if err := os.Remove(door); err != nil {
		t.Fatal(err)
	}
	await(t, frames, "the door unavailable", isEntity("binary_sensor.door", "unavailable"))

	if info, err := os.Stat(filepath.Join(home, "data")); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("home/data: got %v (%v), want it for its owner only", info.Mode(), err)
	}
}

func TestTokenIsMadeOnceAndKept(t *testing.T) {
	data := t.TempDir()
	t.Setenv("CARILLON_TOKEN", "")
	first, err := adminToken(data)
	if err != nil || len(first) < 20 {
		t.Fatalf("got %q and %v, want a token", first, err)
	}
	if info, err := os.Stat(filepath.Join(data, "token")); err != nil || goruntime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("data/token: got %v and %v, want mode 0600", info.Mode(), err)
	}
	if again, err := adminToken(data); err != nil || again != first {
		t.Errorf("again: got %q and %v, want the same", again, err)
	}
	t.Setenv("CARILLON_TOKEN", "from-the-environment")
	if got, err := adminToken(data); err != nil || got != "from-the-environment" {
		t.Errorf("with CARILLON_TOKEN: got %q and %v", got, err)
	}
	for _, bad := range []string{"short", "with space in it", "with\nnewline in it"} {
		t.Setenv("CARILLON_TOKEN", bad)
		if _, err := adminToken(data); err == nil {
			t.Errorf("CARILLON_TOKEN=%q: got no error", bad)
		}
	}
}

func TestBrokenConfigurationAtStart(t *testing.T) {
	home := newHome(t, nil)
	write(t, filepath.Join(home, configFile), "log:\n  level: loud\n")
	var stderr lockedBuffer
	status := runServe([]string{"-home", home, "-listen", "127.0.0.1:0"}, &lockedBuffer{}, &stderr)
	if status != 1 || !strings.Contains(stderr.String(), "carillon.yaml:2") {
		t.Errorf("got exit status %d and %q, want 1 and carillon.yaml:2 named", status, stderr.String())
	}
}
