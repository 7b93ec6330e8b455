// Package adapters tests the example adapters: they keep the contract, and the
// documentation shows them as they are.
package adapters

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"carillon/runtime/runtimetest"
)

// install installs the packages of npm once.
var install sync.Once

// relay tests a relay's adapter against a file in place of a pin.
func relay(t *testing.T, command []string) {
	pin := newPin(t)
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
	relay(t, goRelay(t))
}

func TestNode(t *testing.T) {
	t.Parallel()
	relay(t, nodeRelay(t))
}

// TestNodeHost runs the tests of the session in Node.js.
func TestNodeHost(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(need(t, "node"), "--expose-gc", "--test", filepath.Join("node", "host.test.mjs")).CombinedOutput()
	if err != nil {
		t.Errorf("node --test: %v\n%s", err, out)
	}
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

// TestDocumentation holds docs/adapters.md to the examples, and the one in Go to 40 lines
// behind the imports.
func TestDocumentation(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "adapters.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{filepath.Join("go", "main.go"), filepath.Join("node", "relay.mjs")} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(doc, source) {
			t.Errorf("docs/adapters.md does not show %s as it is", file)
		}
	}
	source, err := os.ReadFile(filepath.Join("go", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(source), "\n)\n")
	lines := 0
	for line := range strings.Lines(code) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
			lines++
		}
	}
	if lines > 40 {
		t.Errorf("the adapter in Go has %d lines, more than 40", lines)
	}
}
