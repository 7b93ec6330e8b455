package main

import (
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
)

const newUsage = `Usage: carillon new adapter [-carillon DIR] NAME

Makes the folder NAME with an adapter that works, in Go, and its test. Within
Carillon's own source it belongs to that module; elsewhere it gets a go.mod
with Carillon's versions, and -carillon names the folder with Carillon's source.

Example:
  carillon new adapter -carillon ~/src/carillon desk-lamp
  cd desk-lamp && go test . && go build -o ~/home/plugins/ .

Flags:
`

//go:embed template/adapter
var adapterTemplate embed.FS

// adapterName allows what an adapter, an entity and a Go module can all be named
// after.
var adapterName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// runNew is the command new. It returns the exit status: 0, 1 if the folder could
// not be made, 2 for a wrong command line.
func runNew(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("new", flag.ContinueOnError)
	source := flags.String("carillon", "", "the `folder` with Carillon's source")
	words, err := parseFlags(flags, newUsage, args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	name := ""
	if err == nil {
		name, err = newName(words)
	}
	if err != nil {
		fmt.Fprintln(stderr, "carillon new:", err)
		return 2
	}
	if err := newAdapter(name, *source); err != nil {
		fmt.Fprintln(stderr, "carillon new:", err)
		return 1
	}
	fmt.Fprintf(stdout, "Made the adapter %s. Its test, and how it gets into a home:\n  cd %s && go test . && go build -o HOME/plugins/ .\n", name, name)
	return 0
}

// newName returns the name of the adapter that is to be made.
func newName(words []string) (string, error) {
	switch {
	case len(words) > 0 && words[0] != "adapter":
		return "", fmt.Errorf("%q can't be made; an adapter can: carillon new adapter desk-lamp", words[0])
	case len(words) < 2:
		return "", errors.New("say what and its name, such as: carillon new adapter desk-lamp")
	case len(words) > 2:
		return "", fmt.Errorf("%q is one word too many: the name is one word, such as desk-lamp", words[2])
	}
	name := words[1]
	if !adapterName.MatchString(name) || len(name) > 64 {
		return "", fmt.Errorf("%q is no name of an adapter: lower-case letters and digits, with single - between them, such as desk-lamp", name)
	}
	return name, nil
}

// newAdapter makes the folder, or nothing.
func newAdapter(name, source string) (err error) {
	files, err := adapterFiles(name)
	if err != nil {
		return err
	}
	if source != "" || !withinCarillon() {
		if err := addModule(files, name, source); err != nil {
			return err
		}
	}
	if err := os.Mkdir(name, 0o755); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: remove it, or take another name", name)
	} else if err != nil {
		return fmt.Errorf("making the folder: %w", err)
	}
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(name, file), []byte(text), 0o644); err != nil {
			return errors.Join(fmt.Errorf("making the adapter: %w", err), os.RemoveAll(name))
		}
	}
	return nil
}

// adapterFiles returns the texts of the adapter by file.
func adapterFiles(name string) (map[string]string, error) {
	all, err := template.New("").Delims("[[", "]]").ParseFS(adapterTemplate, "template/adapter/*.tmpl")
	if err != nil {
		return nil, fmt.Errorf("reading the template: %w", err)
	}
	words := strings.ReplaceAll(name, "-", " ")
	values := map[string]string{"Name": name, "Object": strings.ReplaceAll(name, "-", "_"), "Title": strings.ToUpper(words[:1]) + words[1:]}
	files := map[string]string{}
	for _, t := range all.Templates() { // New's own is none of them: it has no text
		var b strings.Builder
		if err := t.Execute(&b, values); err != nil {
			return nil, fmt.Errorf("filling in the template: %w", err)
		}
		files[strings.TrimSuffix(t.Name(), ".tmpl")] = b.String()
	}
	return files, nil
}

// withinCarillon reports whether the present folder belongs to Carillon's module.
func withinCarillon() bool {
	dir, err := os.Getwd()
	if err != nil {
		return false
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil {
			return isCarillon(text)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return false
		}
		dir = parent
	}
}

const moduleLine = "module carillon\n"

func isCarillon(gomod []byte) bool { return strings.HasPrefix(string(gomod), moduleLine) }

// addModule adds a go.mod that has Carillon at source, and the versions that Carillon
// has, so that nothing needs to be looked up.
func addModule(files map[string]string, name, source string) error {
	if source == "" {
		return errors.New("this folder doesn't belong to Carillon's source: name the folder that does with -carillon DIR, such as -carillon ~/src/carillon")
	}
	source, err := filepath.Abs(source)
	if err != nil {
		return fmt.Errorf("finding Carillon's source: %w", err)
	}
	gomod, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil {
		return fmt.Errorf("finding Carillon's source: %w", err)
	}
	if !isCarillon(gomod) {
		return fmt.Errorf("%s is not Carillon's source: its go.mod is of another module", source)
	}
	gosum, err := os.ReadFile(filepath.Join(source, "go.sum"))
	if err != nil {
		return fmt.Errorf("finding Carillon's source: %w", err)
	}
	rest := strings.TrimPrefix(string(gomod), moduleLine)
	files["go.mod"] = fmt.Sprintf("module %s\n%s\nrequire carillon v0.0.0\n\nreplace carillon => %q\n", name, rest, filepath.ToSlash(source))
	files["go.sum"] = string(gosum)
	return nil
}
