package watch

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A mirror keeps what a Folder reported: the files as they were told, and each call.
type mirror struct {
	changed chan struct{} // holds at most one signal

	mu    sync.Mutex
	files map[string]string
	errs  map[string]error
	calls [][]Change
}

func (m *mirror) take(changes []Change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, changes)
	for _, c := range changes {
		delete(m.errs, c.Path)
		switch {
		case c.Err != nil:
			m.errs[c.Path] = c.Err
		case c.Gone:
			delete(m.files, c.Path)
		default:
			m.files[c.Path] = string(c.Content)
		}
	}
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

func (m *mirror) listing() string {
	var b strings.Builder
	for _, k := range sorted(m.files) {
		b.WriteString(k + "=" + m.files[k] + " ")
	}
	for _, k := range sorted(m.errs) {
		b.WriteString(k + "! ")
	}
	return strings.TrimSpace(b.String())
}

// changes returns every change told since the first call.
func (m *mirror) changes() (all []Change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, call := range m.calls[1:] {
		all = append(all, call...)
	}
	return all
}

// want waits until the mirror holds exactly the files listed, as "a.js=text b.js!".
func (m *mirror) want(t *testing.T, want string) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		m.mu.Lock()
		got := m.listing()
		reported := len(m.calls) > 0
		m.mu.Unlock()
		if reported && got == want {
			return
		}
		select {
		case <-m.changed:
		case <-deadline:
			t.Fatalf("got files %q, want %q", got, want)
		}
	}
}

// start runs f until the test ends.
func start(t *testing.T, f *Folder) *mirror {
	t.Helper()
	m := &mirror{changed: make(chan struct{}, 1), files: map[string]string{}, errs: map[string]error{}}
	f.OnChange = m.take
	if f.Log == nil {
		f.Log = slog.New(slog.DiscardHandler)
	}
	if f.Every == 0 {
		f.Every = time.Hour // so that what is seen is owed to hints alone
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: got %v, want nil", err)
		}
	})
	return m
}

func write(t *testing.T, content string, elem ...string) {
	t.Helper()
	name := filepath.Join(elem...)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// replace writes a file beside and renames it over the old one, as editors do.
func replace(t *testing.T, content string, elem ...string) {
	t.Helper()
	name := filepath.Join(elem...)
	write(t, content, name+".tmp")
	must(t, os.Rename(name+".tmp", name))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFirstReportHasEverything(t *testing.T) {
	dir := t.TempDir()
	write(t, "1", dir, "a.js")
	write(t, "2", dir, "lib", "deep", "b.js")
	write(t, "", dir, "empty.js")
	write(t, "no", dir, "notes.txt")
	m := start(t, &Folder{Dir: dir, Match: func(rel string) bool { return strings.HasSuffix(rel, ".js") }})
	m.want(t, "a.js=1 empty.js= lib/deep/b.js=2")
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.calls) != 1 || len(m.calls[0]) != 3 {
		t.Fatalf("got calls %v, want one with three files", m.calls)
	}
	c := m.calls[0][2]
	if c.Path != "lib/deep/b.js" || c.Hash != sha256.Sum256([]byte("2")) {
		t.Errorf("got %q with hash %x, want lib/deep/b.js and its SHA-256", c.Path, c.Hash)
	}
}

func TestEmptyOrMissingFolderIsReportedAsEmpty(t *testing.T) {
	dir := t.TempDir()
	for _, dir := range []string{dir, filepath.Join(dir, "none"), filepath.Join(dir, "no", "parent")} {
		m := start(t, &Folder{Dir: dir})
		m.want(t, "")
		write(t, "x", dir, "a.js")
		m.want(t, "a.js=x")
		must(t, os.RemoveAll(filepath.Join(dir, "a.js")))
	}
}

// A script is promised to be live within 300 ms of its save. The fastest of some
// saves counts: a busy machine is not what is tested.
func TestSaveIsReportedSoon(t *testing.T) {
	dir := t.TempDir()
	m := start(t, &Folder{Dir: dir})
	m.want(t, "")
	for _, name := range []string{"a.js", "new/folder/b.js"} {
		fastest := time.Hour
		for _, content := range []string{"1", "2", "3", "4", "5"} {
			must(t, os.RemoveAll(filepath.Join(dir, "a.js")))
			must(t, os.RemoveAll(filepath.Join(dir, "new")))
			m.want(t, "")
			at := time.Now()
			write(t, content, dir, name)
			m.want(t, name+"="+content)
			fastest = min(fastest, time.Since(at))
		}
		t.Logf("%s saved and reported in %s", name, fastest)
		if fastest < 100*time.Millisecond || fastest > 500*time.Millisecond {
			t.Errorf("%s reported after %s, want the quiet time of 100 ms and little more", name, fastest)
		}
	}
}

func TestSavedTogetherIsReportedTogether(t *testing.T) {
	dir := t.TempDir()
	m := start(t, &Folder{Dir: dir, Quiet: 300 * time.Millisecond, MaxWait: 10 * time.Second})
	m.want(t, "")
	for _, name := range []string{"c", "a", "b"} {
		write(t, name, dir, name)
	}
	m.want(t, "a=a b=b c=c")
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.calls) != 2 {
		t.Fatalf("got calls %v, want the first and one more", m.calls)
	}
	if got := m.calls[1][0].Path + m.calls[1][1].Path + m.calls[1][2].Path; got != "abc" {
		t.Errorf("got paths in order %s, want abc", got)
	}
}

func TestEditorStyleSaves(t *testing.T) {
	dir := t.TempDir()
	write(t, "0", dir, "a.js")
	m := start(t, &Folder{Dir: dir})
	m.want(t, "a.js=0")
	for _, content := range []string{"1", "2", "3"} {
		write(t, "junk", dir, ".a.js.swp")
		write(t, "junk", dir, "4913")
		write(t, "junk", dir, "#a.js#")
		must(t, os.Rename(filepath.Join(dir, "a.js"), filepath.Join(dir, "a.js~")))
		replace(t, content, dir, "a.js")
		m.want(t, "a.js="+content)
	}
	for _, c := range m.changes() {
		if c.Path != "a.js" || c.Gone || c.Err != nil {
			t.Errorf("got change %+v, want only new contents of a.js", c)
		}
	}
}

func TestSameContentIsNoChange(t *testing.T) {
	dir := t.TempDir()
	write(t, "0", dir, "a.js")
	m := start(t, &Folder{Dir: dir})
	m.want(t, "a.js=0")
	replace(t, "0", dir, "a.js")
	write(t, "0", dir, "a.js")
	write(t, "end", dir, "b.js")
	m.want(t, "a.js=0 b.js=end")
	if got := m.changes(); len(got) != 1 || got[0].Path != "b.js" {
		t.Errorf("got changes %v, want only b.js", got)
	}
}

func TestFoldersComeGoAndMove(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "scripts")
	write(t, "1", dir, "sub", "deep", "a.js")
	m := start(t, &Folder{Dir: dir})
	m.want(t, "sub/deep/a.js=1")

	must(t, os.Rename(filepath.Join(dir, "sub"), filepath.Join(dir, "moved")))
	m.want(t, "moved/deep/a.js=1")
	write(t, "2", dir, "moved", "deep", "a.js") // watched under its new name
	m.want(t, "moved/deep/a.js=2")

	must(t, os.RemoveAll(filepath.Join(dir, "moved")))
	m.want(t, "")
	write(t, "3", dir, "sub", "deep", "a.js")
	m.want(t, "sub/deep/a.js=3")

	must(t, os.RemoveAll(dir))
	m.want(t, "")
	write(t, "4", dir, "a.js")
	m.want(t, "a.js=4")

	must(t, os.Rename(dir, dir+".old"))
	write(t, "5", dir, "a.js")
	m.want(t, "a.js=5")
	write(t, "old", dir+".old", "a.js") // no longer ours
	write(t, "6", dir, "a.js")
	m.want(t, "a.js=6")

	must(t, os.RemoveAll(filepath.Dir(dir)))
	m.want(t, "")
	write(t, "7", dir, "a.js")
	m.want(t, "a.js=7")
	write(t, "8", dir, "a.js")
	m.want(t, "a.js=8")
}

func TestFlatSeesNoSubfolder(t *testing.T) {
	dir := t.TempDir()
	write(t, "1", dir, "carillon.yaml")
	write(t, "x", dir, "data", "carillon.yaml")
	f := &Folder{Dir: dir, Flat: true, Match: func(rel string) bool { return filepath.Base(rel) == "carillon.yaml" }}
	m := start(t, f)
	m.want(t, "carillon.yaml=1")
	write(t, "y", dir, "data", "carillon.yaml")
	write(t, "2", dir, "carillon.yaml")
	m.want(t, "carillon.yaml=2")
	if got := m.changes(); len(got) != 1 {
		t.Errorf("got changes %v, want one", got)
	}

	r := newRun(f)
	defer r.closeWatcher()
	if _, err := r.survey(); err != nil {
		t.Fatal(err)
	}
	if _, ok := r.watched[filepath.Join(r.root, "data")]; ok || len(r.watched) != 2 {
		t.Errorf("got watches on %v, want only the folder and its parent", sorted(r.watched))
	}
}

func TestPrograms(t *testing.T) {
	dir := t.TempDir()
	write(t, "1", dir, "a")
	var mu sync.Mutex
	var last Change
	f := &Folder{Dir: dir, Programs: true, Quiet: 10 * time.Millisecond, OnChange: func(changes []Change) {
		mu.Lock()
		defer mu.Unlock()
		last = changes[len(changes)-1]
	}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	defer func() { cancel(); <-done }()
	for _, step := range []struct {
		do         func() error
		hash       string
		executable bool
	}{
		{func() error { return nil }, "1", false},
		{func() error { return os.Chmod(filepath.Join(dir, "a"), 0o755) }, "1", os.PathSeparator == '/'},
		{func() error { return os.WriteFile(filepath.Join(dir, "a"), []byte("2"), 0o755) }, "2", os.PathSeparator == '/'},
	} {
		must(t, step.do())
		want := Change{Path: "a", Hash: sha256.Sum256([]byte(step.hash)), Executable: step.executable}
		deadline := time.Now().Add(time.Minute)
		for {
			mu.Lock()
			got := last
			mu.Unlock()
			if got.Hash == want.Hash && got.Executable == want.Executable && got.Content == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("got %+v, want %+v", got, want)
			}
			<-time.After(time.Millisecond)
		}
	}
}
