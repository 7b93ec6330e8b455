package adapters

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"carillon/plugins"
	"carillon/runtime"
	"carillon/runtime/runtimetest"
)

// TestReason lets the pin be missing: why an example ends is what the server tells of it.
func TestReason(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, want string
		command    func(*testing.T) []string
	}{{"go", "no such file", goRelay}, {"node", "ENOENT", nodeRelay}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := ends(t, test.command(t), filepath.Join(t.TempDir(), "missing"), runtime.Registration{})
			if !strings.Contains(s.Error, test.want) {
				t.Errorf("got %q, want %s in it", s.Error, test.want)
			}
		})
	}
}

// TestTaken gives the relay's id to a script: an example ends with that, and does not publish into nothing.
func TestTaken(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		command func(*testing.T) []string
	}{{"go", goRelay}, {"node", nodeRelay}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := ends(t, test.command(t), newPin(t), runtime.Registration{Entities: []string{"switch.relay"}})
			if !strings.Contains(s.Error, "switch.relay belongs to other.js") || s.Refused != 1 {
				t.Errorf("got %q and %d refused items, want that the id is another's, and the device refused", s.Error, s.Refused)
			}
		})
	}
}

// ends runs an example, with a script that has what others says, until it ends, and returns what the server tells of it.
func ends(t *testing.T, command []string, pin string, others runtime.Registration) (s plugins.Status) {
	t.Helper()
	rt, err := runtime.Open(t.Context(), &runtimetest.Journal{}, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	if err := rt.Register("other.js", others); err != nil {
		t.Fatal(err)
	}
	host := &plugins.Host{
		Dir: t.TempDir(), DataDir: t.TempDir(), Runtime: rt,
		Adapters: map[string]plugins.AdapterConfig{"relay": {
			Path: command[0], Args: command[1:], Config: json.RawMessage(`{"path":"` + filepath.ToSlash(pin) + `"}`),
		}},
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- host.Run(ctx) }()
	await(t, "it ends", func() bool {
		if all := host.List(); len(all) > 0 {
			s = all[0]
		}
		return s.State == plugins.BackingOff
	})
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
	return s
}
