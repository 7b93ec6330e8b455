package watch

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A run is one call of Folder.Run; all of it is owned by that goroutine.
type run struct {
	// Static after construction.
	dir        string
	match      func(string) bool
	flat       bool
	programs   bool
	quiet      time.Duration
	maxWait    time.Duration
	every      time.Duration
	maxFile    int64
	onChange   func([]Change)
	log        *slog.Logger
	newWatcher func() (*fsnotify.Watcher, error)
	now        func() time.Time

	known    map[string]known    // what was reported, by path
	pending  map[string]*pending // what may have changed, by path
	first    bool                // nothing was reported yet
	look     bool                // folders have changed: scan without waiting for quiet
	deepAt   time.Time           // when all files are to be read again
	lastScan time.Time
	polling  bool   // some folder has no watch
	trouble  string // the last problem logged

	watches
}

// A version is what a file was at one time: compared, never kept with its content.
type version struct {
	gone bool
	hash [sha256.Size]byte
	exec bool // of programs
	err  string
}

type known struct {
	version
	info fs.FileInfo // nil when the file could not be examined
}

// A pending file gave a hint, or a scan found it different from what was reported.
type pending struct {
	first, last time.Time
	// seen is what the last scan found; nil when a hint came since. Without
	// hints, only two scans with the same result show a stable file.
	seen *version
}

func (r *run) hint(rel string, now time.Time) {
	if p := r.pending[rel]; p != nil {
		p.last, p.seen = now, nil
		return
	}
	r.pending[rel] = &pending{first: now, last: now}
}

func (r *run) due(p *pending) time.Time {
	due, latest := p.last.Add(r.quiet), p.first.Add(r.maxWait)
	if latest.Before(due) {
		return latest
	}
	return due
}

// nextScan tells when to look at the folder again: when all pending files are
// quiet, so that what was saved together is reported together, but no later
// than the longest waiting one allows.
func (r *run) nextScan() time.Time {
	next := r.deepAt
	earliest := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	var quiet time.Time
	for _, p := range r.pending {
		earliest(p.first.Add(r.maxWait))
		if q := p.last.Add(r.quiet); q.After(quiet) {
			quiet = q
		}
	}
	if !quiet.IsZero() {
		earliest(quiet)
	}
	if r.polling {
		earliest(r.lastScan.Add(pollEvery))
	}
	if r.look {
		earliest(r.lastScan.Add(minGap))
	}
	return next
}

// scan compares the folder with what was reported. Deep means to read all files,
// otherwise only those that gave a hint or have another size, time or identity.
func (r *run) scan(now time.Time, deep bool) {
	r.look = false
	if deep {
		r.deepAt = now.Add(r.every)
	}
	s, err := r.survey()
	r.lastScan = r.now()
	if err != nil {
		r.complain(fmt.Errorf("reading folder %s: %w", r.dir, err))
		maps.DeleteFunc(r.pending, func(_ string, p *pending) bool { return !now.Before(r.due(p)) })
		if r.first {
			r.first = false
			r.onChange(nil)
		}
		return
	}
	var changes []Change
	for _, rel := range s.paths(r.known, r.pending) {
		if c, ok := r.compare(rel, s, now, deep); ok {
			changes = append(changes, c)
		}
	}
	if len(changes) > 0 || r.first {
		r.first = false
		r.onChange(changes)
	}
}

// compare decides about one path and reports whether its change is to be told now.
func (r *run) compare(rel string, s *survey, now time.Time, deep bool) (Change, bool) {
	p, old := r.pending[rel], r.known[rel]
	_, isKnown := r.known[rel]
	f, found := s.files[rel]
	switch {
	case p != nil && now.Before(r.due(p)):
		return Change{}, false
	case !found && (!isKnown || s.hidden(rel)):
		delete(r.pending, rel)
		return Change{}, false
	case p == nil && !deep && found && isKnown && sameStat(f.info, old.info):
		return Change{}, false
	}
	c, v := Change{Path: rel, Gone: true}, version{gone: true}
	if found {
		c, v = r.read(rel, f)
	}
	if isKnown && v == old.version || !isKnown && v.gone {
		delete(r.pending, rel)
		if isKnown {
			r.known[rel] = known{v, f.info}
		}
		return Change{}, false
	}
	if !r.first && !r.stable(rel, p, v, now) {
		return Change{}, false
	}
	delete(r.pending, rel)
	if r.known[rel] = (known{v, f.info}); v.gone {
		delete(r.known, rel)
	}
	return c, true
}

// stable reports whether v may be reported, or else makes rel wait.
func (r *run) stable(rel string, p *pending, v version, now time.Time) bool {
	if p == nil {
		r.pending[rel] = &pending{first: now, last: now, seen: &v}
		return false
	}
	if p.seen != nil && *p.seen != v && now.Before(p.first.Add(r.maxWait)) {
		p.seen, p.last = &v, now
		return false
	}
	return true
}

func sameStat(a, b fs.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.Size() == b.Size() &&
		a.ModTime().Equal(b.ModTime()) && a.Mode() == b.Mode()
}

// read reads one file as a change and as its version.
func (r *run) read(rel string, f file) (Change, version) {
	if r.programs {
		return r.readProgram(rel, f)
	}
	content, err := f.content(r.maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return Change{Path: rel, Gone: true}, version{gone: true}
	}
	if err != nil {
		return Change{Path: rel, Err: err}, version{err: err.Error()}
	}
	hash := sha256.Sum256(content)
	return Change{Path: rel, Content: content, Hash: hash}, version{hash: hash}
}

// readProgram reads a file that is too large to be kept.
func (r *run) readProgram(rel string, f file) (Change, version) {
	h, err := f.open(r.maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return Change{Path: rel, Gone: true}, version{gone: true}
	}
	if err != nil {
		return Change{Path: rel, Err: err}, version{err: err.Error()}
	}
	defer h.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, io.LimitReader(h, r.maxFile+1))
	if err == nil && n > r.maxFile {
		err = tooLarge(f.path, r.maxFile)
	}
	if err != nil {
		return Change{Path: rel, Err: err}, version{err: err.Error()}
	}
	v := version{hash: [sha256.Size]byte(hash.Sum(nil)), exec: f.info.Mode()&0o111 != 0}
	return Change{Path: rel, Hash: v.hash, Executable: v.exec}, v
}

// open opens the file, which may have become something else since the survey.
func (f *file) open(limit int64) (*os.File, error) {
	if f.err != nil {
		return nil, f.err
	}
	// O_NONBLOCK: opening what is now a pipe must not wait for its writer.
	h, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := h.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s is no regular file", f.path)
	case info.Size() > limit:
		err = tooLarge(f.path, limit)
	default:
		return h, nil
	}
	h.Close()
	return nil, err
}

// content reads the whole file.
func (f *file) content(limit int64) ([]byte, error) {
	h, err := f.open(limit)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	content, err := io.ReadAll(io.LimitReader(h, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = tooLarge(f.path, limit)
	}
	return content, err
}

func tooLarge(path string, limit int64) error {
	return fmt.Errorf("%s is larger than %d bytes", path, limit)
}

// paths returns every path that is or may be of interest, sorted.
func (s *survey) paths(k map[string]known, p map[string]*pending) []string {
	all := make(map[string]struct{}, len(s.files))
	for rel := range s.files {
		all[rel] = struct{}{}
	}
	for rel := range k {
		all[rel] = struct{}{}
	}
	for rel := range p {
		all[rel] = struct{}{}
	}
	return slices.Sorted(maps.Keys(all))
}

// hidden reports whether rel lies in a folder that could not be read, so that
// nothing is known about it.
func (s *survey) hidden(rel string) bool {
	return slices.ContainsFunc(s.blind, func(dir string) bool {
		return dir == "" || strings.HasPrefix(rel, dir+"/")
	})
}

// complain logs a problem once, until another one or none takes its place.
func (r *run) complain(err error) {
	if err == nil {
		r.trouble = ""
		return
	}
	if msg := err.Error(); msg != r.trouble {
		r.trouble = msg
		r.log.Warn("folder is not watched well", "dir", r.dir, "err", msg)
	}
}
