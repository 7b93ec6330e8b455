// Package watch reports what the files of a folder hold, and each stable change
// of it.
//
// Notifications of the system are only hints: they come twice for one save
// (first after the truncation), stop coming when a folder is replaced, and are
// lost when there are too many. So a hint starts a wait for quiet, then the
// folder is read again and compared by content. Without hints (no inotify
// watch left, a file system without them) the folder is polled every second.
//
// Order: all calls of OnChange come from Run's goroutine, one after another;
// the first has every file there is (none, if there is none), each later one
// at least one change, sorted by path. What one call says about a file is
// newer than what an earlier call said. Changes that came together are
// reported together.
//
// Blocking: OnChange may block; only later reports wait for it, and none is
// lost, though steps between two contents may be.
package watch

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Folder reports the stable contents of a folder tree. Its fields are not to be
// changed after Run was called, nor is it to be copied.
//
// A file's content is stable when the file gave no hint for Quiet. A file that
// is written without a pause is reported after MaxWait as it then is. A file that
// vanishes and is back within that time has changed, not gone.
//
// Files may be symbolic links (the folder of a link's target is watched, too);
// links to folders are not followed, except Dir itself. Names that editors
// use for their own (see Temporary) and folders beginning with a dot
// are left out. A tree of more than 20,000 names or 32 levels is not read at
// all, with an error in the log.
type Folder struct {
	// Dir is the folder. It may not exist yet, and may be replaced; a folder
	// that is gone is an empty one.
	Dir string

	// Match reports whether a file is of interest, by its slash-separated path
	// relative to Dir. Nil means every regular file.
	Match func(rel string) bool

	// Flat leaves out all subfolders: they are neither read nor watched.
	Flat bool

	// Quiet is how long no hint must come before the files are read; 100 ms if 0.
	Quiet time.Duration

	// MaxWait bounds the wait for quiet, from the first hint; 1 s if 0.
	MaxWait time.Duration

	// Every is the time between two readings of all files without any hint;
	// 30 s if 0.
	Every time.Duration

	// MaxFile is the largest size of a file in bytes, 4 MiB if 0. A larger one
	// is reported with an error.
	MaxFile int64

	// Programs leaves contents out, for files too large to be held in memory, and
	// tells of a change of the permission to execute too.
	Programs bool

	// OnChange gets the changes. It must not be nil.
	OnChange func([]Change)

	// Log gets a line when the folder is polled instead of watched, and when it
	// cannot be read; slog.Default() if nil.
	Log *slog.Logger

	// newWatcher is fsnotify.NewWatcher but in tests.
	newWatcher func() (*fsnotify.Watcher, error)

	once   sync.Once
	rescan chan struct{} // holds at most one request; never closed
}

// Change is one file's new content.
type Change struct {
	// Path is slash-separated and relative to the folder.
	Path string
	// Content is what the file holds; nil when it is gone or cannot be read, and
	// when Folder.Programs is set.
	Content []byte
	// Executable reports whether somebody may execute it; false unless
	// Folder.Programs is set.
	Executable bool
	// Gone tells that the file is no more.
	Gone bool
	// Hash is the SHA-256 of the content; zero when there is none.
	Hash [sha256.Size]byte
	// Err tells why the file cannot be read: the content reported before it is
	// the last one known. It is reported once; the next Change of the same
	// path, even with the same content, ends it.
	Err error
}

const (
	defaultQuiet   = 100 * time.Millisecond
	defaultMaxWait = time.Second
	defaultEvery   = 30 * time.Second
	defaultMaxFile = 4 << 20

	pollEvery = time.Second
	// minGap keeps hints about folders, which are looked at without waiting for
	// quiet, from using more than a part of one core.
	minGap = 10 * time.Millisecond
)

// Rescan makes Run read all files now, without waiting for a hint. Differences
// are reported after the quiet time, as always. It is safe from any goroutine,
// at any time, and never blocks.
func (f *Folder) Rescan() {
	select {
	case f.requests() <- struct{}{}:
	default:
	}
}

func (f *Folder) requests() chan struct{} {
	f.once.Do(func() { f.rescan = make(chan struct{}, 1) })
	return f.rescan
}

// Run reports the folder's contents and then its changes until ctx ends, and
// then returns nil. Any other result is a mistake in f's fields. One Run of a
// Folder at a time; a later one begins anew, with everything.
func (f *Folder) Run(ctx context.Context) error {
	if f.Dir == "" {
		return errors.New("watching a folder: Dir is empty")
	}
	if f.OnChange == nil {
		return errors.New("watching a folder: OnChange is nil")
	}
	r := newRun(f)
	defer r.closeWatcher()
	r.scan(time.Now(), true)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(time.Until(r.nextScan()))
		select {
		case <-ctx.Done():
			return nil
		case <-f.requests():
			r.deepAt = time.Now()
		case ev, ok := <-r.events():
			r.hear(ev, ok)
		case err := <-r.errors():
			r.hearError(err)
		case <-timer.C:
		}
		r.drain()
		if now := time.Now(); ctx.Err() == nil && !now.Before(r.nextScan()) {
			r.scan(now, !now.Before(r.deepAt))
		}
	}
}

// newRun returns the state of one Run, with f's defaults filled in.
func newRun(f *Folder) *run {
	r := &run{
		dir: f.Dir, match: f.Match, flat: f.Flat, onChange: f.OnChange, log: f.Log,
		quiet: f.Quiet, maxWait: f.MaxWait, every: f.Every, maxFile: f.MaxFile,
		programs: f.Programs, newWatcher: f.newWatcher, now: time.Now,
		known:   map[string]known{},
		pending: map[string]*pending{},
		first:   true,
	}
	if r.match == nil {
		r.match = func(string) bool { return true }
	}
	if r.quiet <= 0 {
		r.quiet = defaultQuiet
	}
	if r.maxWait <= 0 {
		r.maxWait = defaultMaxWait
	}
	if r.every <= 0 {
		r.every = defaultEvery
	}
	if r.maxFile <= 0 {
		r.maxFile = defaultMaxFile
	}
	if r.log == nil {
		r.log = slog.Default()
	}
	if r.newWatcher == nil {
		r.newWatcher = fsnotify.NewWatcher
	}
	return r
}
