package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport is the import table of docs/design.md: what of this module a folder
// may import. Folders that are not here may import nothing of it.
var mayImport = map[string][]string{
	".":                     {"*"},
	"runtime/runtimetest":   {"runtime", "plugins/adapter", "plugins/adapter/wire"},
	"runtime/journal":       {"runtime"},
	"scripts":               {"runtime", "internal/watch"},
	"scripts/filter":        {"runtime"},
	"scripts/filter/worker": {"runtime", "scripts/filter"},
	"plugins":               {"runtime", "plugins/adapter", "plugins/adapter/wire", "internal/watch"},
	"plugins/adapter":       {"plugins/adapter/wire"},
	"plugins/hostsensors":   {"plugins/adapter"},
	"examples/adapters":     {"runtime", "runtime/runtimetest", "plugins"},
	"examples/adapters/go":  {"plugins/adapter"},
	"plugins/mqtt":          {"plugins/adapter", "plugins/mqtt/template"},
	"plugins/modbus":        {"plugins/adapter"},
	"httpd":                 {"runtime", "httpd/broadcast", "httpd/ui", "internal/sse"},
	"httpd/broadcast":       {"internal/sse"},
	"internal/loadtest":     {"internal/sse"},
}

// known are all folders that hold Go code: a new one is put on the map first.
var known = []string{
	".", "runtime", "runtime/runtimetest", "runtime/journal", "scripts", "scripts/filter", "scripts/filter/worker",
	"plugins", "plugins/adapter", "plugins/adapter/wire", "plugins/hostsensors", "plugins/mqtt", "plugins/mqtt/template",
	"plugins/modbus",
	"httpd", "httpd/broadcast", "httpd/ui", "internal/config", "internal/watch", "internal/sse",
	"internal/loadtest", "internal/typescript", "examples", "examples/home", "examples/adapters", "examples/adapters/go",
}

func TestImportTable(t *testing.T) {
	checked := 0
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || (d.Name() != "." && strings.HasPrefix(d.Name(), "."))) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(file, ".go") {
			return nil
		}
		folder := path.Dir(filepath.ToSlash(file))
		if !slices.Contains(known, folder) {
			t.Errorf("%s: the folder is not on the map: put it into docs/design.md and into this test", file)
		}
		checked++
		for _, imported := range modulePackages(t, file) {
			if !allowed(folder, imported, strings.HasSuffix(file, "_test.go")) {
				t.Errorf("%s imports %s, which the import table does not allow", file, imported)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked < 20 {
		t.Errorf("checked %d files only: the walk is broken", checked)
	}
}

// modulePackages returns the folders of this module that a file imports.
func modulePackages(t *testing.T, file string) (folders []string) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range parsed.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if folder, ours := strings.CutPrefix(name, "carillon/"); ours {
			folders = append(folders, folder)
		}
	}
	return folders
}

func allowed(folder, imported string, test bool) bool {
	may := mayImport[folder]
	if slices.Contains(may, "*") || slices.Contains(may, imported) {
		return true
	}
	// Tests may use the package itself from outside, the in-memory journal where
	// the runtime may be used, and the conformance test where an adapter is made.
	return test && (imported == folder || imported == "runtime/runtimetest" &&
		(folder == "runtime" || slices.Contains(may, "runtime") || slices.Contains(may, "plugins/adapter")))
}

// TestImportTableCatchesAWrongImport breaks the rule to see that it holds.
func TestImportTableCatchesAWrongImport(t *testing.T) {
	for _, test := range []struct {
		folder, imported string
		test, want       bool
	}{
		{"httpd", "scripts", false, false},
		{"runtime", "runtime/journal", false, false},
		{"httpd/broadcast", "runtime", false, false},
		{"httpd/broadcast", "internal/sse", false, true},
		{"scripts", "runtime/runtimetest", false, false},
		{"scripts", "runtime/runtimetest", true, true},
		{"plugins/hostsensors", "runtime/runtimetest", false, false},
		{"plugins/hostsensors", "runtime/runtimetest", true, true},
		{"httpd/broadcast", "runtime/runtimetest", true, false},
		{".", "scripts", false, true},
	} {
		if got := allowed(test.folder, test.imported, test.test); got != test.want {
			t.Errorf("%s importing %s (test %v): got %v, want %v", test.folder, test.imported, test.test, got, test.want)
		}
	}
}
