package watch

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
)

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// A bench drives the parts of one Run by hand, on a clock of its own.
type bench struct {
	*run
	*mirror
	t     *testing.T
	dir   string
	clock time.Time
}

func newBench(t *testing.T, f *Folder) *bench {
	b := &bench{t: t, dir: t.TempDir(), clock: time.Unix(1e9, 0)}
	b.mirror = &mirror{changed: make(chan struct{}, 1), files: map[string]string{}, errs: map[string]error{}}
	f.Dir, f.OnChange, f.Log = b.dir, b.take, slog.New(slog.DiscardHandler)
	f.newWatcher = func() (*fsnotify.Watcher, error) { return nil, errors.New("none left") }
	b.run = newRun(f)
	b.run.now = func() time.Time { return b.clock }
	return b
}

// pass lets time pass, with a scan whenever one is due.
func (b *bench) pass(d time.Duration) {
	end := b.clock.Add(d)
	for next := b.nextScan(); !next.After(end); next = b.nextScan() {
		b.clock = next
		b.scan(b.clock, !b.clock.Before(b.deepAt))
	}
	b.clock = end
}

// begin makes the first report, with one file.
func (b *bench) begin(content string) {
	b.t.Helper()
	write(b.t, content, b.dir, "a.js")
	b.scan(b.clock, true)
	if got := b.files["a.js"]; got != content {
		b.t.Fatalf("got %q at first, want %q", got, content)
	}
}

// write writes the file, and gives the hint that the system would give.
func (b *bench) write(content string) {
	b.t.Helper()
	write(b.t, content, b.dir, "a.js")
	b.hint("a.js", b.clock)
}

func (b *bench) told(want string) {
	b.t.Helper()
	var got []string
	for _, c := range b.changes() {
		switch {
		case c.Gone:
			got = append(got, "gone")
		case c.Err != nil:
			got = append(got, "error")
		default:
			got = append(got, string(c.Content))
		}
	}
	if s := strings.Join(got, " "); s != want {
		b.t.Errorf("got changes %q, want %q", s, want)
	}
}

func TestTruncationIsNotSeen(t *testing.T) {
	b := newBench(t, &Folder{})
	b.begin("old")
	b.write("")
	b.pass(99 * time.Millisecond)
	b.write("new")
	b.pass(99 * time.Millisecond)
	b.told("")
	b.pass(2 * time.Millisecond)
	b.told("new")
	b.write("") // and stays so
	b.pass(101 * time.Millisecond)
	b.told("new ")
}

func TestDeletedAndBackIsAChange(t *testing.T) {
	b := newBench(t, &Folder{})
	b.begin("old")
	must(t, os.Remove(filepath.Join(b.dir, "a.js")))
	b.hint("a.js", b.clock)
	b.pass(90 * time.Millisecond)
	b.write("new")
	b.pass(time.Second)
	b.told("new")
	must(t, os.Remove(filepath.Join(b.dir, "a.js")))
	b.hint("a.js", b.clock)
	b.pass(time.Second)
	b.told("new gone")
}

func TestEndlessWritingIsReportedAfterMaxWait(t *testing.T) {
	b := newBench(t, &Folder{})
	b.scan(b.clock, true)
	for i := range 30 { // each 50 ms: never quiet
		b.write(strings.Repeat("x", i+1))
		b.pass(50 * time.Millisecond)
	}
	got := b.changes()
	if len(got) != 1 || len(got[0].Content) != 20 {
		t.Errorf("got %d changes %v, want the one after 1 s with 20 bytes", len(got), got)
	}
}

// Without hints only two equal readings, a quiet time apart, show a stable file.
func TestPollingWaitsForStableContent(t *testing.T) {
	b := newBench(t, &Folder{})
	b.begin("old")
	write(t, "", b.dir, "a.js")
	b.pass(time.Second) // the poll sees it empty
	write(t, "new", b.dir, "a.js")
	b.pass(150 * time.Millisecond) // another reading differs, and begins to wait anew
	b.told("")
	b.pass(100 * time.Millisecond)
	b.told("new")
}

// A file of the same size, time and identity is found at the next full reading.
func TestHiddenChangeIsFoundByFullReading(t *testing.T) {
	b := newBench(t, &Folder{})
	name := filepath.Join(b.dir, "a.js")
	write(t, "old", name)
	at := time.Unix(1e9, 0)
	must(t, os.Chtimes(name, at, at))
	b.scan(b.clock, true)
	write(t, "new", name)
	must(t, os.Chtimes(name, at, at))
	b.pass(29 * time.Second)
	b.told("")
	b.pass(2 * time.Second)
	b.told("new")
}

func TestTooLargeIsToldOnce(t *testing.T) {
	b := newBench(t, &Folder{MaxFile: 5})
	b.begin("12345")
	b.write("123456")
	b.pass(time.Minute)
	b.write("1234567")
	b.pass(time.Minute)
	b.told("error")
	if err := b.errs["a.js"]; err == nil || !strings.Contains(err.Error(), "larger than 5 bytes") {
		t.Errorf("got error %v, want one that names the limit", err)
	}
	b.write("12345") // as before, but the error is over
	b.pass(time.Second)
	b.told("error 12345")
}

func TestTooManyNamesKeepsWhatIsKnown(t *testing.T) {
	b := newBench(t, &Folder{})
	b.begin("old")
	deep := filepath.Join(b.dir, strings.Repeat("d/", maxDepth+1))
	must(t, os.MkdirAll(deep, 0o755))
	b.write("new")
	b.pass(5 * time.Second)
	b.told("")
	if !strings.Contains(b.trouble, "levels of folders") {
		t.Errorf("got complaint %q, want one about the levels of folders", b.trouble)
	}
	must(t, os.RemoveAll(filepath.Join(b.dir, "d")))
	b.pass(5 * time.Second)
	b.told("new")
}

// All of Run, on the fake clock of synctest, without any watcher to be had.
func TestPollsWithoutWatcher(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		m := &mirror{changed: make(chan struct{}, 1), files: map[string]string{}, errs: map[string]error{}}
		f := &Folder{Dir: dir, OnChange: m.take, Log: slog.New(slog.NewTextHandler(&log, nil))}
		f.newWatcher = func() (*fsnotify.Watcher, error) { return nil, errors.New("too many open files") }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() {
			write(t, "1", dir, "a.js")
			<-time.After(1500 * time.Millisecond)
			synctest.Wait()
			m.mu.Lock()
			defer m.mu.Unlock()
			if got := m.files["a.js"]; got != "1" {
				t.Errorf("got %q after 1.5 s, want 1", got)
			}
		}()
		if err := f.Run(ctx); err != nil {
			t.Errorf("Run: got %v, want nil", err)
		}
	})
	if got := strings.Count(log.String(), "too many open files"); got != 1 {
		t.Errorf("logged %d times, want once:\n%s", got, log.String())
	}
}

func TestOverflowReadsEverythingAgain(t *testing.T) {
	dir := t.TempDir()
	var w *fsnotify.Watcher // owned by the goroutine that the test hands to hearError
	f := &Folder{Dir: dir, OnChange: func([]Change) {}, newWatcher: func() (_ *fsnotify.Watcher, err error) {
		w, err = fsnotify.NewWatcher()
		return w, err
	}}
	r := newRun(f)
	defer r.closeWatcher()
	clock := time.Now()
	r.now = func() time.Time { return clock }
	r.scan(clock, true)
	old := w
	r.hearError(fsnotify.ErrEventOverflow)
	if next := r.nextScan(); next.After(clock) {
		t.Errorf("next scan in %s, want at once", next.Sub(clock))
	}
	r.scan(clock, true)
	if !r.polling || r.w != nil {
		t.Errorf("got a new watcher within the same second, want polling")
	}
	clock = clock.Add(pollEvery)
	r.scan(clock, false)
	if r.polling || w == old || len(w.WatchList()) != 2 {
		t.Errorf("got polling %v and watches %v, want a new watcher of the folder and its parent", r.polling, w.WatchList())
	}
}

func TestRescan(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a.js")
	at := time.Unix(1e9, 0)
	write(t, "old", name)
	must(t, os.Chtimes(name, at, at))
	f := &Folder{Dir: dir}
	f.Rescan() // before Run: allowed, and harmless
	f.newWatcher = func() (*fsnotify.Watcher, error) { return nil, errors.New("none left") }
	m := start(t, f)
	m.want(t, "a.js=old")
	write(t, "new", name)
	must(t, os.Chtimes(name, at, at)) // a poll does not see the difference
	f.Rescan()
	m.want(t, "a.js=new")
}

func TestMistakesInFields(t *testing.T) {
	if err := (&Folder{OnChange: func([]Change) {}}).Run(t.Context()); err == nil {
		t.Errorf("no Dir: got no error, want one")
	}
	if err := (&Folder{Dir: t.TempDir()}).Run(t.Context()); err == nil {
		t.Errorf("no OnChange: got no error, want one")
	}
}

func TestTemporary(t *testing.T) {
	for name, want := range map[string]bool{
		"hall.js": false, "a~b.js": false, "x.tmp.js": false, "#1.js": false, "_lib.js": false,
		"hall.js~": true, ".hall.js.swp": true, "hall.swp": true, ".#hall.js": true, "#hall.js#": true, "4913": true, ".env": true,
	} {
		if got := Temporary(name); got != want {
			t.Errorf("Temporary(%q): got %v, want %v", name, got, want)
		}
	}
}

// A busy file makes the folder be read; what is still being written beside it
// waits for its own quiet.
func TestBusyNeighbourDoesNotShowTruncation(t *testing.T) {
	b := newBench(t, &Folder{})
	b.begin("old")
	for range 18 { // until shortly before the busy file has waited its second
		write(t, b.clock.String(), b.dir, "busy.js")
		b.hint("busy.js", b.clock)
		b.pass(55 * time.Millisecond)
	}
	b.write("")
	b.pass(50 * time.Millisecond) // the busy file is reported
	b.write("new")
	b.pass(time.Second)
	for _, c := range b.changes() {
		if c.Path == "a.js" && string(c.Content) != "new" {
			t.Errorf("got %q of a.js, want only new", c.Content)
		}
	}
	if got := len(b.calls); got != 3 {
		t.Errorf("got %d calls, want the first, the busy file and the quiet one", got)
	}
}

func TestFolderThatCannotBeReadHidesItsFiles(t *testing.T) {
	b := newBench(t, &Folder{})
	b.known["sub/a.js"] = known{}
	b.first = false
	for range 2 { // once seen, once confirmed
		s := &survey{blind: []string{"sub"}}
		b.hint("sub/a.js", b.clock)
		b.clock = b.clock.Add(time.Second)
		if c, ok := b.compare("sub/a.js", s, b.clock, true); ok {
			t.Errorf("got change %+v of a file that cannot be seen, want none", c)
		}
	}
	s := &survey{blind: []string{"su", "sub2"}}
	b.hint("sub/a.js", b.clock)
	b.clock = b.clock.Add(time.Second)
	if c, ok := b.compare("sub/a.js", s, b.clock, true); !ok || !c.Gone {
		t.Errorf("got change %+v, want the file gone", c)
	}
}

// A moved folder is watched under its new name, and under no other.
func TestMovedFolderIsWatchedAnew(t *testing.T) {
	b := newBench(t, &Folder{})
	b.newWatcher = fsnotify.NewWatcher
	defer b.closeWatcher()
	write(t, "1", b.dir, "sub", "deep", "a.js")
	b.scan(b.clock, true)
	must(t, os.Rename(filepath.Join(b.dir, "sub"), filepath.Join(b.dir, "moved")))
	deadline := time.After(time.Minute)
	for created := false; !created; {
		select {
		case ev := <-b.events():
			created = ev.Has(fsnotify.Create) // the last one that tells of the move
			b.hear(ev, true)
		case <-deadline:
			t.Fatal("no event of the move within a minute")
		}
	}
	b.scan(b.clock, false)
	got := b.w.WatchList()
	slices.Sort(got)
	want := []string{filepath.Dir(b.root), b.root, filepath.Join(b.root, "moved"), filepath.Join(b.root, "moved", "deep")}
	if !slices.Equal(got, want) {
		t.Errorf("got watches %v, want %v", got, want)
	}
}
