package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"carillon/internal/typescript"
	"carillon/scripts/filter"
)

// documents are those whose filters must be what they are said to be.
var documents = []string{"docs/filters.md", "docs/streams.md", "README.md", "examples/clients/README.md"}

// compileDoc compiles a filter as a stream without parameters would.
func compileDoc(source string) error {
	_, err := filter.Compile(source, filter.Options{Params: map[string]any{"limit": 20.0, "rooms": "hall,attic", "room": "hall"}, Name: "doc"})
	if err != nil { // a nil *filter.Error is no error
		return err
	}
	return nil
}

func readDoc(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestFiltersOfTheDocuments compiles every filter that a document shows: the
// blocks of docs/filters.md, and what commands and pages ask for.
func TestFiltersOfTheDocuments(t *testing.T) {
	blocks := regexp.MustCompile("(?ms)^```js$\n(.*?)^```$")
	shown := 0
	for _, block := range blocks.FindAllStringSubmatch(readDoc(t, "docs/filters.md"), -1) {
		if strings.Contains(block[1], "export default") {
			continue // TestNamedFiltersOfTheDocuments
		}
		for source := range strings.SplitSeq(block[1], "\n\n") {
			shown++
			if err := compileDoc(source); err != nil {
				t.Errorf("docs/filters.md: %v in\n%s", err, source)
			}
		}
	}
	if shown < 12 {
		t.Errorf("docs/filters.md: found %d filters in blocks: the search is broken", shown)
	}
	asked := 0
	for _, name := range documents {
		for _, source := range askedFor(readDoc(t, name)) {
			asked++
			if err := compileDoc(source); err != nil {
				t.Errorf("%s: %v in\n%s", name, err, source)
			}
		}
	}
	if asked < 6 {
		t.Errorf("found %d filters in commands: the search is broken", asked)
	}
}

// askedFor finds the filters in the commands and calls of a document, but for
// named ones.
func askedFor(text string) (sources []string) {
	for _, ask := range []*regexp.Regexp{
		regexp.MustCompile(`--data-urlencode '(?:filter=)([^@'][^']*)'`),
		regexp.MustCompile(`--data-urlencode "(?:filter=)([^@"][^"]*)"`),
		regexp.MustCompile(`"filter": "((?:[^"@\\]|\\.)(?:[^"\\]|\\.)*)"`),
		regexp.MustCompile(`encodeURIComponent\("((?:[^"\\]|\\.)*)"\)`),
		regexp.MustCompile(`filter: (\(e.*?), ?(?:params:|//|\n)`),
	} {
		for _, found := range ask.FindAllStringSubmatch(text, -1) {
			sources = append(sources, strings.ReplaceAll(found[1], `\"`, `"`))
		}
	}
	return sources
}

// TestRefusalsOfTheDocuments holds the table of what is refused against the
// compiler: what is to be written instead must compile, and the errors must
// say where.
func TestRefusalsOfTheDocuments(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\| `([^`]+=>[^`]+|[^`]*function[^`]+)` \\| `([^`]+)` \\|$").FindAllStringSubmatch(readDoc(t, "docs/filters.md"), -1)
	if len(rows) < 10 {
		t.Errorf("found %d rows: the search is broken", len(rows))
	}
	for _, row := range rows {
		refused, instead := row[1], row[2]
		_, err := filter.Compile(refused, filter.Options{})
		if err == nil {
			t.Errorf("%s compiles, but is in the table of what does not", refused)
		} else if e, ok := error(err).(*filter.Error); !ok || e.Line != 1 || e.Column < 1 || e.Construct == "" || e.Message == "" {
			t.Errorf("%s: got %#v, want line, column and construct", refused, err)
		} else {
			t.Logf("%s: %v", refused, err)
		}
		if err := compileDoc(instead); err != nil {
			t.Errorf("%s: %v", instead, err)
		}
	}
	worker := regexp.MustCompile("(?ms)^```js worker$\n(.*?)^```$").FindStringSubmatch(readDoc(t, "docs/filters.md"))
	if worker == nil || compileDoc(worker[1]) == nil {
		t.Errorf("got %v, want a filter that only a worker can run", worker)
	}
}

// TestNamesOfTheDocuments compiles a call of every name that the table of the
// language lists.
func TestNamesOfTheDocuments(t *testing.T) {
	text := readDoc(t, "docs/filters.md")
	names := func(row string) []string {
		line := regexp.MustCompile(`(?m)^\| ` + row + ` \| (.*) \|$`).FindStringSubmatch(text)
		if line == nil {
			t.Fatalf("found no row %q", row)
		}
		var found []string
		for _, name := range regexp.MustCompile("`([A-Za-z.]+[a-z])(?:\\(\\))?`").FindAllStringSubmatch(line[1], -1) {
			if name[1] != "length" && name[1] != "random" && name[1] != "sign" {
				found = append(found, name[1])
			}
		}
		if len(found) < 4 {
			t.Errorf("row %s: found %q: the search is broken", row, found)
		}
		return found
	}
	oneOf := func(what string, sources ...string) {
		t.Helper()
		var errs []error
		for _, source := range sources {
			err := compileDoc(source)
			if err == nil {
				return
			}
			errs = append(errs, err)
		}
		t.Errorf("%s: %v", what, errs)
	}
	for _, name := range names("strings") {
		oneOf(name, "e => e.state."+name+"('a')", "e => e.state."+name+"()")
	}
	for _, name := range names("lists") {
		oneOf(name, "e => e.data.list."+name+"('a')", "e => e.data.list."+name+"(x => x > 1)")
	}
	for _, row := range []string{"numbers", "others"} {
		for _, name := range names(row) {
			oneOf(name, "e => "+name+"(e.state)", "e => "+name)
		}
	}
	for _, name := range names("times") {
		oneOf(name, "e => new Date(e.time)."+name+"() > 5", "e => e."+name)
	}
	for _, name := range []string{"max", "hypot", "PI", "atan2", "trunc", "pow", "log2", "imul", "clz32"} {
		oneOf(name, "e => Math."+name+"(e.number) > 1", "e => Math."+name+" > 1")
	}
}

// TestNamedFiltersOfTheDocuments compiles what stands for a file, and the files
// of the example, as home/filters would.
func TestNamedFiltersOfTheDocuments(t *testing.T) {
	files := map[string]string{}
	for i, block := range regexp.MustCompile("(?ms)^```(js|ts)$\n(.*?)^```$").FindAllStringSubmatch(readDoc(t, "docs/filters.md"), -1) {
		if strings.Contains(block[2], "export default") {
			files[fmt.Sprintf("block%d.%s", i, block[1])] = block[2]
		}
	}
	if len(files) != 2 {
		t.Errorf("found %d files in docs/filters.md, want 2: the search is broken", len(files))
	}
	for _, name := range []string{"above.js", "card.ts"} {
		files[name] = readDoc(t, filepath.Join("examples", "home", "filters", name))
	}
	for name, source := range files {
		if filepath.Ext(name) == ".ts" {
			script, err := typescript.Strip(source)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			source = script.Text
		}
		if err := compileDoc(withoutExport(source)); err != nil {
			t.Errorf("%s: %v in\n%s", name, err, source)
		}
	}
}
