// Package adapters tests the example adapters: they keep the contract, and the
// documentation shows them as they are.
package adapters

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"carillon/runtime/runtimetest"
)

// relay tests a relay's adapter against a file in place of a pin.
func relay(t *testing.T, command ...string) {
	pin := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(pin, []byte("0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	runtimetest.TestAdapter(t, runtimetest.AdapterTest{
		Command: command,
		Config:  `{"path":"` + filepath.ToSlash(pin) + `"}`,
		Wrong:   map[string]string{`{"path":1}`: "/path"},
		Within:  20 * time.Second,
	})
	value, err := os.ReadFile(pin)
	if err != nil || string(value) == "0\n" {
		t.Errorf("the pin holds %q and %v, want what the commands wrote", value, err)
	}
}

func TestGo(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "relay")
	if out, err := exec.Command("go", "build", "-o", file, "./go").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	relay(t, file)
}

func TestNode(t *testing.T) {
	t.Parallel()
	node := need(t, "node")
	installed := filepath.Join("node", "node_modules", "@grpc", "grpc-js")
	if _, err := os.Stat(installed); err != nil {
		if out, err := exec.Command(need(t, "npm"), "ci", "--ignore-scripts", "--prefix", "node").CombinedOutput(); err != nil {
			t.Fatalf("npm ci: %v\n%s", err, out)
		}
	}
	relay(t, node, filepath.Join("node", "relay.mjs"))
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

// TestContractIsTheSame holds the copy of the contract that Node.js reads to the one
// that the host has.
func TestContractIsTheSame(t *testing.T) {
	want, err := os.ReadFile(filepath.Join("..", "..", "plugins", "adapter", "wire", "adapter.proto"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join("node", "adapter.proto"))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("examples/adapters/node/adapter.proto differs from plugins/adapter/wire/adapter.proto (%v): copy it", err)
	}
}
