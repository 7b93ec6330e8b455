package scripts

import (
	"errors"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"
)

func TestMayRead(t *testing.T) {
	m := &manifest{Read: []string{"/proc/loadavg", "/sys/class/thermal/*/temp", "/proc/self/*", "/etc/*"}}
	p := Permissions{"host.js": {"/proc/*", "/sys/class/thermal/*/temp", "/proc/self/*"}, "weather*": {"/etc/motd"}}
	for _, c := range []struct{ script, path, want string }{
		{"host.js", "/proc/loadavg", ""},
		{"host.js", "/sys/class/thermal/thermal_zone0/temp", ""},
		{"host.js", "/sys/class/thermal/a/b/temp", "the manifest does not name it; add the line \"// @read /sys/class/thermal/a/b/temp\" to the top of host.js"},
		{"host.js", "/proc/meminfo", "the manifest does not name it"},
		{"host.js", "/etc/motd", "add to carillon.yaml: scripts: {permissions: {host.js: {read: [/etc/motd]}}}"},
		{"weather1.js", "/etc/motd", ""},
		{"weather1.js", "/proc/loadavg", "it is not granted"},
		{"host.js", "/proc/self/environ", "it holds secrets"},
		{"host.js", "/proc/self/mem", "it holds secrets"},
		{"host.js", "/proc/../etc/motd", "without . and .."},
		{"host.js", "/proc/./loadavg", "without . and .."},
		{"host.js", "/proc/loadavg/", "without . and .."},
		{"host.js", "//proc/loadavg", "without . and .."},
		{"host.js", "proc/loadavg", "want an absolute path"},
		{"host.js", "/proc/loadavg\x00", "want an absolute path"},
		{"host.js", "", "want an absolute path"},
	} {
		err := mayRead(c.script, m, p, c.path)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s, %s: got %v, want no error", c.script, c.path, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s, %s: got %v, want %s", c.script, c.path, err, c.want)
		}
	}
}

func TestReadFile(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := func(name, to string) string {
		path := filepath.Join(dir, name)
		if err := os.Symlink(to, path); err != nil {
			t.Skip("no symbolic links here")
		}
		return path
	}
	good, hidden := write("good", "content\xff"), write("hidden", "secret")
	below := filepath.Join(dir, "sub")
	os.Mkdir(below, 0o700)
	write("sub/hidden", "secret")
	cases := []struct{ name, path, want, err string }{
		{"a file", good, "content\uFFFD", ""},
		{"the largest", write("large", strings.Repeat("x", maxRead)), strings.Repeat("x", maxRead), ""},
		{"one too large", write("larger", strings.Repeat("x", maxRead+1)), "", "larger than 1048576 bytes"},
		{"a folder", below, "", "no regular file"},
		{"nothing", filepath.Join(dir, "none"), "", "no such file"},
		{"a link to a file that may be read", link("a", good), "content\uFFFD", ""},
		{"a link to a hidden file", link("b", hidden), "", "leads to another file: no: " + hidden},
		{"a link in two steps", link("c", filepath.Join(dir, "b")), "", "leads to another file"},
		{"a link that is relative", link("d", "hidden"), "", "leads to another file"},
		{"a folder that is a link", filepath.Join(link("e", "sub"), "hidden"), "", "leads to another file"},
		{"a link in a circle", link("f", "f"), "", "reading"},
	}
	if goruntime.GOOS == "linux" {
		fifo := filepath.Join(dir, "fifo")
		if err := mkfifo(fifo); err != nil {
			t.Fatal(err)
		}
		cases = append(cases, []struct{ name, path, want, err string }{
			{"a FIFO", fifo, "", "no regular file"},
			{"a device", "/dev/zero", "", "no regular file"},
			{"a hidden file through /proc", "/proc/self/root" + hidden, "", "leads to another file"},
			{"a hidden file through the working folder", "/proc/self/cwd/permissions_test.go", "", "leads to another file"},
		}...)
	}
	for _, c := range cases {
		got, err := readFile(c.path, func(path string) error {
			if filepath.Base(path) == "hidden" && path != c.path || strings.HasSuffix(path, "_test.go") && path != c.path {
				return errors.New("no: " + path)
			}
			return nil
		})
		switch {
		case c.err == "" && (err != nil || got != c.want):
			t.Errorf("%s: got %.50q and %v, want %.50q", c.name, got, err, c.want)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: got %.50q and %v, want %s", c.name, got, err, c.err)
		}
	}
}

// A file that takes the place of the one that was looked at is not read.
func TestReadRegularRefusesReplacements(t *testing.T) {
	if goruntime.GOOS != "linux" {
		t.Skip("only Linux tells which file was opened")
	}
	dir := t.TempDir()
	for _, sub := range []string{"real", "other"} {
		os.Mkdir(filepath.Join(dir, sub), 0o700)
		os.WriteFile(filepath.Join(dir, sub, "file"), []byte(sub), 0o600)
	}
	os.Symlink("other", filepath.Join(dir, "link"))
	os.Symlink("file", filepath.Join(dir, "real", "link"))
	fifo := filepath.Join(dir, "fifo")
	if err := mkfifo(fifo); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "link", "file"): errReplaced.Error(),
		filepath.Join(dir, "real", "link"): "symbolic link",
		fifo:                               errNotRegular.Error(),
		"/dev/null":                        errNotRegular.Error(),
	} {
		if got, err := readRegular(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q and %v, want %s", path, got, err, want)
		}
	}
}

func TestPermissionsChangeLive(t *testing.T) {
	dir, _ := filepath.EvalSymlinks(t.TempDir())
	path := filepath.Join(dir, "value")
	if err := os.WriteFile(path, []byte("42"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, "a.js", "// @read "+path+`
		const d = device('sensor.a');
		on('look', () => { try { d.set(read('`+path+`')); } catch (e) { d.set(e.message.slice(0, 200)); } });
	`)
	b.fire("look", "")
	b.await("it is refused", func() bool { return strings.Contains(b.state("sensor.a"), "not granted") })
	b.host.SetPermissions(Permissions{"a.js": {dir + "/*"}})
	b.fire("look", "")
	b.wantState("sensor.a", "42")
	b.host.SetPermissions(nil)
	b.fire("look", "")
	b.await("it is refused again", func() bool { return strings.Contains(b.state("sensor.a"), "not granted") })
}

func TestParseManifest(t *testing.T) {
	m, err := parseManifest("a.js", "\uFEFF// @name  Host sensors\n\n//@description What it is\n// text @read /no\n// @ts-check\n// @read /proc/a /sys/*/b\ncode();\n// @read /etc/passwd\n")
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "Host sensors" || m.Description != "What it is" || strings.Join(m.Read, " ") != "/proc/a /sys/*/b" {
		t.Errorf("got %+v, want name, description and two patterns", m)
	}
	for source, want := range map[string]string{
		"// @read":                           "a.js:1:1: @read needs a value",
		"//\n// @read proc":                  "a.js:2:1: @read proc: want an absolute path",
		"// @read /a/../b":                   "a.js:1:1: @read /a/../b: want",
		"// @read /a/[":                      "a.js:1:1: @read /a/[: want",
		"// @name":                           "a.js:1:1: @name needs a value",
		strings.Repeat("// @read /a\n", 101): "more than 100 patterns",
	} {
		if _, err := parseManifest("a.js", source); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: got %v, want %s", source, err, want)
		}
	}
}
