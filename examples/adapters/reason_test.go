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
			command := test.command(t)
			rt, err := runtime.Open(t.Context(), &runtimetest.Journal{}, runtime.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer rt.Close()
			host := &plugins.Host{
				Dir: t.TempDir(), DataDir: t.TempDir(), Runtime: rt,
				Adapters: map[string]plugins.AdapterConfig{"relay": {
					Path: command[0], Args: command[1:],
					Config: json.RawMessage(`{"path":"` + filepath.ToSlash(filepath.Join(t.TempDir(), "missing")) + `"}`),
				}},
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- host.Run(ctx) }()
			var s plugins.Status
			await(t, "it ends", func() bool {
				if all := host.List(); len(all) > 0 {
					s = all[0]
				}
				return s.State == plugins.BackingOff
			})
			if !strings.Contains(s.Error, test.want) {
				t.Errorf("got %q, want %s in it", s.Error, test.want)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("run: %v", err)
			}
		})
	}
}
