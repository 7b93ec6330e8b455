package plugins

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"carillon/internal/watch"
)

// A file is what was last seen of an executable.
type file struct {
	sum        [32]byte
	executable bool
	err        error
}

// rereadEvery is how often all executables are read without any hint: they are
// large, and seldom change.
const rereadEvery = 5 * time.Minute

// folders watch the folder of the adapters, and those of executables elsewhere.
type folders struct {
	h *Host

	mu sync.Mutex
	// Guarded by mu.
	files map[string]file         // by path
	other map[string]*otherFolder // by path
	own   *watch.Folder
}

// An otherFolder is watched for the sake of some of its files.
type otherFolder struct {
	folder *watch.Folder
	cancel context.CancelFunc
	done   chan struct{}
	looked chan struct{} // closed when it was looked at once
}

func (f *folders) init(h *Host) {
	f.h, f.files, f.other = h, map[string]file{}, map[string]*otherFolder{}
	f.own = f.watch(h.Dir, func(name string) bool { return byPermission || strings.EqualFold(filepath.Ext(name), ".exe") }, func() {
		h.once.scanned.Do(func() { close(h.scanned) })
	})
}

// watch makes the watch of one folder. Looked is called after each look at it.
func (f *folders) watch(dir string, match func(string) bool, looked func()) *watch.Folder {
	return &watch.Folder{
		Dir: dir, Match: match, Flat: true, Quiet: f.h.Quiet, Every: rereadEvery, MaxFile: maxProgram, Programs: true, Log: f.h.Log,
		OnChange: func(changes []watch.Change) {
			f.mu.Lock()
			for _, c := range changes {
				path := filepath.Join(dir, c.Path)
				if c.Gone {
					delete(f.files, path)
					continue
				}
				f.files[path] = file{sum: c.Hash, executable: c.Executable || !byPermission, err: c.Err}
			}
			f.mu.Unlock()
			looked()
			f.h.reconcile()
		},
	}
}

// follow watches the folders of these paths, and no others.
func (f *folders) follow(ctx context.Context, paths []string) {
	wanted := map[string]bool{}
	for _, path := range paths {
		if dir := filepath.Dir(path); dir != filepath.Clean(f.h.Dir) {
			wanted[dir] = true
		}
	}
	f.mu.Lock()
	var over []*otherFolder
	for dir, o := range f.other {
		if !wanted[dir] {
			over = append(over, o)
			delete(f.other, dir)
		}
	}
	for dir := range wanted {
		if f.other[dir] == nil && ctx.Err() == nil {
			f.other[dir] = f.begin(ctx, dir)
		}
	}
	f.mu.Unlock()
	for _, o := range over {
		o.cancel()
	}
}

// begin watches one more folder.
func (f *folders) begin(ctx context.Context, dir string) *otherFolder {
	o := &otherFolder{done: make(chan struct{}), looked: make(chan struct{})}
	looked := sync.OnceFunc(func() { close(o.looked) })
	o.folder = f.watch(dir, f.h.isNamed(dir), looked)
	ctx, o.cancel = context.WithCancel(ctx)
	go func() {
		defer close(o.done)
		if err := o.folder.Run(ctx); err != nil {
			f.h.log().Warn("watching a folder of adapters", "dir", dir, "err", err)
		}
	}()
	return o
}

// rescan looks at all folders now.
func (f *folders) rescan() {
	f.own.Rescan()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range f.other {
		o.folder.Rescan()
	}
}

// get returns what is known of a file, and whether it was looked for yet.
func (f *folders) get(path string) (file, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known, ok := f.files[path]; ok {
		return known, true
	}
	looked := f.h.scanned
	if dir := filepath.Dir(path); dir != filepath.Clean(f.h.Dir) {
		o := f.other[dir]
		if o == nil {
			return file{}, false
		}
		looked = o.looked
	}
	select {
	case <-looked:
		return file{err: errors.New("there is no such file")}, true
	default:
		return file{}, false
	}
}

// own returns the executables of the adapters' folder, by the name of their adapter.
func (f *folders) ownFiles() map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := map[string]string{}
	for path, known := range f.files {
		if filepath.Dir(path) != filepath.Clean(f.h.Dir) || !known.executable && known.err == nil {
			continue
		}
		base := filepath.Base(path)
		list[strings.TrimSuffix(base, filepath.Ext(base))] = path
	}
	return list
}

// spec makes what an adapter is started from.
func (f *folders) spec(name, path string, c AdapterConfig) (sp *spec, known bool) {
	seen, known := f.get(path)
	if !known {
		return nil, false
	}
	sp = &spec{conf: c, file: path, sum: seen.sum, failure: c.check(name)}
	switch {
	case sp.failure != nil:
	case seen.err != nil:
		sp.failure = &failure{Reason: ReasonFile, Err: fmt.Errorf("reading %s: %w", path, seen.err), permanent: true}
	case !seen.executable:
		sp.failure = &failure{Reason: ReasonFile, Err: fmt.Errorf("%s is not executable (chmod +x %s)", path, path), permanent: true}
	}
	return sp, true
}
