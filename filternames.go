package main

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"carillon/internal/watch"
	"carillon/runtime"
)

// namedFilters are the files in home/filters. A broken save leaves the version
// before it in use, and says so.
type namedFilters struct {
	// Static after newNamedFilters.
	all    *filters
	folder watch.Folder
	ready  chan struct{} // closed once what was there at the start is loaded

	// Set before run. Tell makes an event, changed is called when streams may
	// have an outdated version.
	tell    func(ctx context.Context, typ string, data map[string]any)
	changed func()

	files map[string]watch.Change // what is there, by path; owned by run

	mu     sync.Mutex
	byName map[string]*namedFilter // guarded by mu
}

// A namedFilter is one name, through all its versions.
type namedFilter struct {
	name string

	// Guarded by namedFilters.mu.
	file     string
	change   int            // counts versions and removals: what is made of an earlier one is outdated
	number   int            // of the last version
	current  *filterVersion // nil: none
	failure  *fileError     // why the last save is not in use; nil if it is
	shadowed *fileError     // a second file of the same name
	hash     [32]byte       // of the last save
}

func newNamedFilters(dir string, all *filters) *namedFilters {
	n := &namedFilters{all: all, ready: make(chan struct{}), files: map[string]watch.Change{}, byName: map[string]*namedFilter{}}
	n.folder = watch.Folder{Dir: dir, Flat: true, Match: isFilter, Log: all.log}
	return n
}

func isFilter(file string) bool {
	switch path.Ext(file) {
	case ".js", ".ts":
		return !strings.HasPrefix(file, "_")
	}
	return false
}

// run keeps what is in use equal to what the folder holds, until ctx ends.
func (n *namedFilters) run(ctx context.Context) error {
	n.folder.OnChange = func(changes []watch.Change) {
		n.settle(ctx, changes)
		select {
		case <-n.ready:
		default:
			close(n.ready)
		}
	}
	return n.folder.Run(ctx)
}

// settle takes changes of files, and has streams follow if there is a new
// version or one less.
func (n *namedFilters) settle(ctx context.Context, changes []watch.Change) {
	var names []string
	for _, c := range changes {
		if c.Gone {
			delete(n.files, c.Path)
		} else {
			n.files[c.Path] = c
		}
		names = append(names, nameOf(c.Path))
	}
	slices.Sort(names)
	moved := false
	for _, name := range slices.Compact(names) {
		moved = n.settleName(ctx, name) || moved
	}
	if moved {
		n.changed()
	}
}

func nameOf(file string) string { return strings.TrimSuffix(file, path.Ext(file)) }

// settleName makes a name what its file is, and reports whether that is another
// version, or none any more. Of two files JavaScript wins.
func (n *namedFilters) settleName(ctx context.Context, name string) bool {
	js, isJS := n.files[name+".js"]
	ts, isTS := n.files[name+".ts"]
	named := n.get(name)
	n.shadow(ctx, named, isJS && isTS)
	switch {
	case isJS:
		return n.load(ctx, named, js)
	case isTS:
		return n.load(ctx, named, ts)
	}
	return n.remove(ctx, named)
}

func (n *namedFilters) get(name string) *namedFilter {
	n.mu.Lock()
	defer n.mu.Unlock()
	named := n.byName[name]
	if named == nil {
		named = &namedFilter{name: name}
		n.byName[name] = named
	}
	return named
}

// shadow tells, once, that there are two files of one name.
func (n *namedFilters) shadow(ctx context.Context, named *namedFilter, two bool) {
	n.mu.Lock()
	first := two && named.shadowed == nil
	if first {
		named.shadowed = &fileError{file: named.name + ".ts", message: named.name + ".js has the same name and is used; remove one of the two"}
	} else if !two {
		named.shadowed = nil
	}
	n.mu.Unlock()
	if first {
		n.fail(ctx, named, named.shadowed)
	}
}

// load takes a save into use, unless it is broken.
func (n *namedFilters) load(ctx context.Context, named *namedFilter, c watch.Change) bool {
	n.mu.Lock()
	same := named.file == c.Path && named.hash == c.Hash && c.Err == nil && (named.current != nil || named.failure != nil)
	n.mu.Unlock()
	if same {
		return false
	}
	v, failed := n.all.readVersion(ctx, named.name, named.number+1, c)
	n.mu.Lock()
	named.file, named.hash, named.failure = c.Path, c.Hash, failed
	if failed == nil {
		named.change++
		named.number++
		named.current = v
	}
	n.mu.Unlock()
	if failed != nil {
		n.fail(ctx, named, failed)
		return false
	}
	n.all.log.Info("filter loaded", "filter", named.version(), "tier", v.tier)
	n.tell(ctx, runtime.FilterLoaded, map[string]any{"filter": named.name, "file": c.Path, "generation": v.number, "tier": v.tier})
	return true
}

// version names the version in use, "@above@3"; empty if there is none. It is
// called by run, or with mu held.
func (named *namedFilter) version() string {
	if named.current == nil {
		return ""
	}
	return versionText(named.name, named.current)
}

func versionText(name string, v *filterVersion) string { return fmt.Sprintf("@%s@%d", name, v.number) }

// fail tells why a file is not in use.
func (n *namedFilters) fail(ctx context.Context, named *namedFilter, e *fileError) {
	var still any
	if named.current != nil {
		still = named.version()
	}
	n.all.log.Error("filter failed", "filter", "@"+named.name, "at", e.place(), "err", e.message, "still_in_use", still)
	data := map[string]any{"filter": named.name, "file": e.file, "message": e.message, "still_in_use": still}
	if e.line > 0 {
		data["line"], data["column"] = e.line, e.column
	}
	n.tell(ctx, runtime.FilterFailed, data)
}

// remove takes a name out of use whose file is gone. Streams keep the version
// that they have.
func (n *namedFilters) remove(ctx context.Context, named *namedFilter) bool {
	n.mu.Lock()
	had := named.current != nil
	known := had || named.failure != nil
	named.current, named.failure, named.hash = nil, nil, [32]byte{}
	if had {
		named.change++
	}
	n.mu.Unlock()
	if known {
		n.all.log.Info("filter removed", "filter", "@"+named.name)
		n.tell(ctx, runtime.FilterRemoved, map[string]any{"filter": named.name})
	}
	return had
}
