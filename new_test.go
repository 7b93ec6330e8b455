package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// newIn runs carillon new in a folder and returns its exit status and what it prints.
func newIn(t *testing.T, dir string, args ...string) (int, string) {
	t.Helper()
	t.Chdir(dir)
	var out bytes.Buffer
	status := run(append([]string{"new"}, args...), &out, &out)
	return status, out.String()
}

func TestNewAdapterWithinTheModule(t *testing.T) {
	module := t.TempDir()
	write(t, filepath.Join(module, "go.mod"), "module carillon\n\ngo 1.26\n")
	folder := filepath.Join(module, "plugins")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	status, out := newIn(t, folder, "adapter", "desk-lamp")
	if status != 0 || !strings.Contains(out, "cd desk-lamp && go test .") {
		t.Fatalf("got %d, %s", status, out)
	}
	entries, err := os.ReadDir(filepath.Join(folder, "desk-lamp"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"main.go", "main_test.go"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v: the module has a go.mod", names, want)
	}
	text, err := os.ReadFile(filepath.Join(folder, "desk-lamp", "main.go"))
	if err != nil || strings.Contains(string(text), "[[") || !strings.Contains(string(text), `"light.desk_lamp"`) || !strings.Contains(string(text), `"Desk lamp"`) {
		t.Errorf("main.go, %v: got\n%s", err, text)
	}
	if status, out := newIn(t, folder, "adapter", "desk-lamp"); status != 1 || !strings.Contains(out, "is there already") {
		t.Errorf("again: got %d, %s, want 1 and that it is there", status, out)
	}
}

func TestNewAdapterMistakes(t *testing.T) {
	elsewhere := t.TempDir()
	write(t, filepath.Join(elsewhere, "go.mod"), "module other\n")
	for _, test := range []struct {
		args   []string
		status int
		part   string
	}{
		{[]string{"adapter", "lamp"}, 1, "-carillon DIR"},
		{[]string{"adapter", "-carillon", elsewhere, "lamp"}, 1, "is not Carillon's source"},
		{[]string{"adapter", "-carillon", filepath.Join(elsewhere, "none"), "lamp"}, 1, "finding Carillon's source"},
		{[]string{"adapter", "../lamp"}, 2, "is no name of an adapter"},
		{[]string{"adapter", "Desk Lamp"}, 2, "is no name of an adapter"},
		{[]string{"adapter"}, 2, "carillon new adapter desk-lamp"},
		{[]string{"teapot", "lamp"}, 2, "carillon new adapter desk-lamp"},
		{[]string{"-h"}, 0, "Example:"},
	} {
		status, out := newIn(t, elsewhere, test.args...)
		if status != test.status || !strings.Contains(out, test.part) {
			t.Errorf("%v: got %d, %s, want %d and %q", test.args, status, out, test.status, test.part)
		}
	}
	if entries, err := os.ReadDir(elsewhere); err != nil || len(entries) != 1 {
		t.Errorf("got %v, %v, want nothing made", entries, err)
	}
}
