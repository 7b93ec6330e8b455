//go:build unix

package watch

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A mounted configuration map: files are links into a folder that is itself
// reached through a link, which is swapped by a rename.
func TestSwappedLinks(t *testing.T) {
	dir := t.TempDir()
	write(t, "1", dir, "..one", "a.js")
	must(t, os.Symlink("..one", filepath.Join(dir, "..data")))
	must(t, os.Symlink(filepath.Join("..data", "a.js"), filepath.Join(dir, "a.js")))
	m := start(t, &Folder{Dir: dir})
	m.want(t, "a.js=1")
	for i, content := range []string{"2", "3"} {
		next := []string{"..two", "..three"}[i]
		write(t, content, dir, next, "a.js")
		must(t, os.Symlink(next, filepath.Join(dir, "..data_tmp")))
		must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
		m.want(t, "a.js="+content)
	}
}

func TestLinkToAFileElsewhere(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	write(t, "1", elsewhere, "real.js")
	must(t, os.Symlink(filepath.Join(elsewhere, "real.js"), filepath.Join(dir, "a.js")))
	m := start(t, &Folder{Dir: dir})
	m.want(t, "a.js=1")
	write(t, "2", elsewhere, "real.js")
	m.want(t, "a.js=2")
	replace(t, "3", elsewhere, "real.js")
	m.want(t, "a.js=3")
	must(t, os.Remove(filepath.Join(elsewhere, "real.js")))
	m.want(t, "")
}

func TestFolderThatIsALink(t *testing.T) {
	dir := t.TempDir()
	write(t, "1", dir, "v1", "a.js")
	write(t, "2", dir, "v2", "a.js")
	must(t, os.Symlink("v1", filepath.Join(dir, "scripts")))
	m := start(t, &Folder{Dir: filepath.Join(dir, "scripts")})
	m.want(t, "a.js=1")
	must(t, os.Symlink("v2", filepath.Join(dir, "next")))
	must(t, os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "scripts")))
	m.want(t, "a.js=2")
	write(t, "3", dir, "v2", "a.js")
	m.want(t, "a.js=3")
}

// Links in circles, pipes and links to nowhere neither hang nor end anything.
func TestOddThings(t *testing.T) {
	dir := t.TempDir()
	write(t, "1", dir, "sub", "a.js")
	must(t, os.Symlink("..", filepath.Join(dir, "sub", "up")))
	must(t, os.Symlink("circle.js", filepath.Join(dir, "circle.js")))
	must(t, os.Symlink("nowhere.js", filepath.Join(dir, "dangling.js")))
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe.js"), 0o644))
	m := start(t, &Folder{Dir: dir})
	m.want(t, "sub/a.js=1 circle.js!")
	write(t, "2", dir, "nowhere.js")
	m.want(t, "dangling.js=2 nowhere.js=2 sub/a.js=1 circle.js!")
	must(t, os.Remove(filepath.Join(dir, "circle.js")))
	must(t, os.Remove(filepath.Join(dir, "pipe.js")))
	write(t, "3", dir, "pipe.js")
	m.want(t, "dangling.js=2 nowhere.js=2 pipe.js=3 sub/a.js=1")
}

func TestPipeSwappedInIsNotWaitedFor(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	must(t, syscall.Mkfifo(name, 0o644))
	f := file{path: name}
	if _, err := f.content(100); err == nil {
		t.Errorf("reading a pipe: got no error, want one")
	}
}

func TestUnreadableKeepsOldContent(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("everything is readable for the superuser")
	}
	dir := t.TempDir()
	write(t, "1", dir, "a.js")
	write(t, "1", dir, "sub", "b.js")
	m := start(t, &Folder{Dir: dir})
	m.want(t, "a.js=1 sub/b.js=1")
	must(t, os.Chmod(filepath.Join(dir, "a.js"), 0))
	must(t, os.Chmod(filepath.Join(dir, "sub"), 0))
	m.want(t, "a.js=1 sub/b.js=1 a.js!")
	must(t, os.Chmod(filepath.Join(dir, "sub"), 0o755))
	must(t, os.Chmod(filepath.Join(dir, "a.js"), 0o644))
	m.want(t, "a.js=1 sub/b.js=1")
}
