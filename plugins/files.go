package plugins

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
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

	hidden map[string]string // paths of which another has the name: that one's path
	plain  map[string]bool   // paths that are no executables, as was told
}

// An otherFolder is watched for the sake of some of its files.
type otherFolder struct {
	names  []string // of the files, sorted
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
	first := true // owned by the watch
	return &watch.Folder{
		Dir: dir, Match: match, Flat: true, Quiet: f.h.Quiet, Every: rereadEvery, MaxFile: maxProgram, Programs: true, Log: f.h.Log,
		OnChange: func(changes []watch.Change) {
			f.mu.Lock()
			if first { // what an earlier watch knew is not told to be gone
				first = false
				maps.DeleteFunc(f.files, func(path string, _ file) bool { return filepath.Dir(path) == filepath.Clean(dir) })
			}
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

// follow watches the folders of these paths, and no others. A folder is looked at anew when
// other files of it are of interest: its watch knows nothing of those.
func (f *folders) follow(ctx context.Context, paths []string) {
	wanted := map[string][]string{} // names, by folder
	slices.Sort(paths)
	for _, path := range slices.Compact(paths) {
		if dir := filepath.Dir(path); dir != filepath.Clean(f.h.Dir) {
			wanted[dir] = append(wanted[dir], filepath.Base(path))
		}
	}
	f.mu.Lock()
	var over []*otherFolder
	for dir, o := range f.other {
		if !slices.Equal(wanted[dir], o.names) {
			over = append(over, o)
			delete(f.other, dir)
			maps.DeleteFunc(f.files, func(path string, _ file) bool {
				return filepath.Dir(path) == dir && !slices.Contains(wanted[dir], filepath.Base(path))
			})
		}
	}
	for dir, names := range wanted {
		if f.other[dir] == nil && ctx.Err() == nil {
			f.other[dir] = f.begin(ctx, dir, names)
		}
	}
	f.mu.Unlock()
	for _, o := range over {
		o.cancel()
	}
}

// begin watches one more folder.
func (f *folders) begin(ctx context.Context, dir string, names []string) *otherFolder {
	o := &otherFolder{names: names, done: make(chan struct{}), looked: make(chan struct{})}
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

var errNoFile = errors.New("there is no such file")

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
		return file{err: errNoFile}, true
	default:
		return file{}, false
	}
}

// ownFiles returns the executables of the adapters' folder, by the name of their adapter. Of
// several with one name, such as relay and relay.old, it is the first.
func (f *folders) ownFiles() map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	list, hidden, plain := map[string]string{}, map[string]string{}, map[string]bool{}
	for _, path := range slices.Sorted(maps.Keys(f.files)) {
		known := f.files[path]
		if filepath.Dir(path) != filepath.Clean(f.h.Dir) {
			continue
		}
		if !known.executable && known.err == nil {
			if plain[path] = true; !f.plain[path] {
				f.h.log().Info("a file in the adapters' folder is not executable, and not run (chmod +x, if it is an adapter)", "file", path)
			}
			continue
		}
		base := filepath.Base(path)
		name := strings.TrimSuffix(base, filepath.Ext(base))
		if list[name] == "" {
			list[name] = path
			continue
		}
		if hidden[path] = list[name]; f.hidden[path] != list[name] {
			f.h.log().Warn("an executable is not run: another is the adapter of its name (give it another name, or move it elsewhere)", "adapter", name, "file", path, "runs", list[name])
		}
	}
	f.hidden, f.plain = hidden, plain
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
	case seen.err == errNoFile && isFolder(path):
		sp.failure = &failure{Reason: ReasonFile, Err: fmt.Errorf("%s is a folder: name the executable in it", path), permanent: true}
	case seen.err != nil:
		sp.failure = &failure{Reason: ReasonFile, Err: fmt.Errorf("reading %s: %w", path, seen.err), permanent: true}
	case !seen.executable:
		sp.failure = &failure{Reason: ReasonFile, Err: fmt.Errorf("%s is not executable (chmod +x %s)", path, path), permanent: true}
	}
	return sp, true
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
