package watch

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watches is the part of a run that listens to the system.
type watches struct {
	w       *fsnotify.Watcher      // nil when there is none to be had
	openAt  time.Time              // not before then to try to get another one
	openErr error                  // why there is none
	watched map[string]fs.FileInfo // folders with a watch, and what they were then
	root    string                 // Dir as a real path; "" while it does not exist
	self    string                 // Dir's name in its parent, the parent as a real path; "" without parent
	links   map[string]bool
}

// open gets a watcher, if there is none, but not in a hurry: a system that has
// none to give, or breaks each one, is polled in the meantime.
func (r *run) open() error {
	if r.w != nil {
		r.dropLost()
		return nil
	}
	now := r.now()
	if now.Before(r.openAt) {
		return r.openErr
	}
	r.openAt = now.Add(pollEvery)
	w, err := r.newWatcher()
	if err != nil {
		r.openErr = err
		return err
	}
	r.w, r.watched = w, map[string]fs.FileInfo{}
	return nil
}

// dropLost forgets the watches that ended by themselves.
func (r *run) dropLost() {
	list := r.w.WatchList()
	alive := make(map[string]bool, len(list))
	for _, dir := range list {
		alive[dir] = true
	}
	maps.DeleteFunc(r.watched, func(dir string, _ fs.FileInfo) bool { return !alive[dir] })
}

func (r *run) closeWatcher() {
	if r.w != nil {
		r.w.Close()
		r.w, r.watched = nil, nil
	}
}

// watch makes the system report changes in dir. A folder that was replaced by
// another of the same name has lost its watch without a word.
func (r *run) watch(s *survey, dir string) {
	if r.w == nil || s.dirs[dir] {
		return
	}
	info, err := os.Stat(dir)
	if err != nil {
		return
	}
	s.dirs[dir] = true
	if old, ok := r.watched[dir]; ok && os.SameFile(old, info) {
		return
	}
	r.unwatch(dir)
	if err := r.w.Add(dir); err != nil {
		if !errors.Is(err, fs.ErrNotExist) && s.err == nil {
			s.err = err
		}
		return
	}
	r.watched[dir] = info
}

func (r *run) unwatch(dir string) {
	// It fails when the watch has ended by itself: the aim is reached either way.
	_ = r.w.Remove(dir)
	delete(r.watched, dir)
}

// watchLinks watches the folders of the files that symbolic links point to.
func (r *run) watchLinks(s *survey) {
	for target := range s.links {
		r.watch(s, filepath.Dir(target))
	}
}

func (r *run) unwatchOthers(s *survey) {
	for dir := range r.watched {
		if !s.dirs[dir] {
			r.unwatch(dir)
		}
	}
}

func (r *run) events() <-chan fsnotify.Event {
	if r.w == nil {
		return nil
	}
	return r.w.Events
}

func (r *run) errors() <-chan error {
	if r.w == nil {
		return nil
	}
	return r.w.Errors
}

// drain takes what is waiting, so that one scan serves a burst. It is bounded
// for the sake of the scan.
func (r *run) drain() {
	for range 4096 {
		select {
		case ev, ok := <-r.events():
			r.hear(ev, ok)
		case err := <-r.errors():
			r.hearError(err)
		default:
			return
		}
	}
}

// hear turns an event into hints.
func (r *run) hear(ev fsnotify.Event, ok bool) {
	if !ok {
		r.hearError(fsnotify.ErrClosed)
		return
	}
	name := filepath.Clean(ev.Name)
	_, isFolder := r.watched[name]
	if isFolder && (ev.Has(fsnotify.Remove) || ev.Has(fsnotify.Rename)) {
		r.forget(name)
	}
	base := filepath.Base(name)
	if isFolder || name == r.self || r.links[name] || strings.HasPrefix(base, "..") {
		// Names like "..data" are how a mounted set of files is swapped at once.
		r.look = true
	}
	rel, inside := r.relative(name)
	if !inside || Temporary(base) {
		return
	}
	if ev.Has(fsnotify.Create) && !r.flat {
		if info, err := os.Lstat(name); err == nil && info.IsDir() {
			r.look = true
			return
		}
	}
	if !isFolder && r.match(rel) {
		r.hint(rel, r.now())
	}
}

// relative returns the path relative to the folder, if it is one of interest.
func (r *run) relative(name string) (string, bool) {
	if r.root == "" {
		return "", false
	}
	rel, err := filepath.Rel(r.root, name)
	if err != nil || rel == "." || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return "", false
	}
	if r.flat && strings.ContainsRune(rel, filepath.Separator) {
		return "", false
	}
	return filepath.ToSlash(rel), true
}

// forget ends the watches of a folder that went, and of all that was in it:
// those would go on under names that are no longer theirs.
func (r *run) forget(dir string) {
	for d := range r.watched {
		if d == dir || strings.HasPrefix(d, dir+string(filepath.Separator)) {
			r.unwatch(d)
		}
	}
}

// hearError begins anew: after an overflow nothing is certain, not even which
// folders are watched.
func (r *run) hearError(err error) {
	r.closeWatcher()
	r.openErr = err
	r.deepAt = r.now()
}
