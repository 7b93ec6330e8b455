package adapters

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"carillon/plugins"
	"carillon/runtime"
	"carillon/runtime/runtimetest"
)

// TestServer lets the server's own host run both examples at once, with a pin each.
func TestServer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		command func(*testing.T) []string
	}{{"go", goRelay}, {"node", nodeRelay}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			command := test.command(t)
			pin := newPin(t)
			rt, err := runtime.Open(t.Context(), &runtimetest.Journal{}, runtime.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer rt.Close()
			host := &plugins.Host{
				Dir: t.TempDir(), DataDir: t.TempDir(), Runtime: rt,
				Adapters: map[string]plugins.AdapterConfig{"relay": {
					Path: command[0], Args: command[1:], Config: json.RawMessage(`{"path":"` + filepath.ToSlash(pin) + `"}`),
				}},
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- host.Run(ctx) }()
			commandRelay(t, rt, host, pin)
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("run: %v", err)
			}
			if n := host.List(); len(n) != 0 && n[0].Counters.Undrained != 0 {
				t.Errorf("it was not drained: %+v", n[0])
			}
		})
	}
}

// commandRelay switches the relay on by command, off at the pin, and on by command after
// the process was replaced.
func commandRelay(t *testing.T, rt *runtime.Runtime, host *plugins.Host, pin string) {
	is := func(state string) {
		t.Helper()
		await(t, "switch.relay is "+state, func() bool { s := rt.State("switch.relay"); return s != nil && s.State == state })
	}
	turnOn := func() {
		t.Helper()
		r, err := rt.Call(t.Context(), runtime.Command{Domain: "switch", Service: "turn_on", Data: json.RawMessage(`{"entity_id":"switch.relay"}`)})
		// A poll may have seen the pin before the command told of it: then it changed nothing.
		if err != nil || len(r.Changed) > 0 && r.Changed[0].State != "on" {
			t.Errorf("turn_on: got %+v and %v, want switch.relay on", r, err)
		}
		is("on")
		if value, err := os.ReadFile(pin); err != nil || string(value) != "1" {
			t.Errorf("the pin holds %q and %v", value, err)
		}
	}
	is("off")
	turnOn()
	write(t, pin, "0")
	is("off")
	before := host.List()[0]
	if err := host.Restart("relay"); err != nil {
		t.Fatal(err)
	}
	await(t, "the next generation is in service", func() bool {
		s := host.List()[0]
		return s.State == plugins.Ready && s.Generation > before.Generation
	})
	turnOn()
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newPin(t *testing.T) string {
	t.Helper()
	pin := filepath.Join(t.TempDir(), "value")
	write(t, pin, "0\n")
	return pin
}

func goRelay(t *testing.T) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "relay")
	if out, err := exec.Command("go", "build", "-o", file, "./go").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return []string{file}
}

func nodeRelay(t *testing.T) []string {
	t.Helper()
	node := need(t, "node")
	install.Do(func() {
		if _, err := os.Stat(filepath.Join("node", "node_modules", "@grpc", "grpc-js")); err != nil {
			if out, err := exec.Command(need(t, "npm"), "ci", "--ignore-scripts", "--prefix", "node").CombinedOutput(); err != nil {
				t.Fatalf("npm ci: %v\n%s", err, out)
			}
		}
	})
	script, err := filepath.Abs(filepath.Join("node", "relay.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	return []string{node, script}
}

// need returns the path of a program. On CI its absence fails the test.
func need(t *testing.T, name string) string {
	t.Helper()
	file, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") != "" {
		t.Fatalf("CI must have %s", name)
	}
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return file
}
