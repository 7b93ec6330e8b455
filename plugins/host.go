package plugins

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"carillon/runtime"
)

// A Host runs the adapters of a folder. The exported fields are not to be changed
// after Run was called; zero values work where nothing else is said.
//
// Every executable file right in the folder is an adapter of the file's name
// without extension, unless the name begins with a dot or is one that editors use
// for their own. Other files are left alone.
type Host struct {
	// Dir is the folder; it may not exist yet. It must be given.
	Dir string
	// DataDir holds copies of the executables and, in state/<name>, what the adapters
	// keep. It must be given.
	DataDir string
	// Runtime is what the adapters publish to. It must be given, and must outlive Run.
	Runtime *runtime.Runtime
	// Log gets what adapters log and what becomes of them; slog.Default() if nil.
	Log *slog.Logger
	// Adapters is the configuration by name, until SetConfig is called. An adapter
	// without any runs with its zero value.
	Adapters map[string]AdapterConfig
	// Place says where a part of an adapter's configuration was written, "carillon.yaml:12",
	// for errors; field is a JSON pointer. Nil, or an empty text: it is not known.
	Place func(adapter, field string) string
	// Epoch, Replay and First are the journal's identity, its Read, and the first sequence that it
	// holds: adapters that fall behind the newest events are told the others from
	// there. Without Replay they are told that these are gone.
	Epoch  string
	Replay func(ctx context.Context, after uint64, fn func(*runtime.Event) bool) error
	First  func() uint64
	// Quiet is how long an executable must rest after a change before it is
	// started; 100 ms if 0.
	Quiet time.Duration

	once struct{ init, scanned, ready sync.Once }

	// Static after init.
	times      times
	metrics    hostMetrics
	copies     store
	folders    folders
	spawner    spawner
	guard      guard
	sockets    socketFolder
	feed       feed
	reports    chan runtime.NewEvent // see reportsDepth; never closed
	scanned    chan struct{}         // closed when Dir was looked at once
	ready      chan struct{}         // closed by checkReady
	publishing context.Context       // ends when nothing can be stored any more
	giveUp     context.CancelFunc
	complained atomic.Int64 // when it last was, in Unix nanoseconds

	reconciling sync.Mutex // held by reconcile

	mu sync.Mutex
	// Guarded by mu.
	ctx      context.Context // of Run; nil before
	config   map[string]AdapterConfig
	adapters map[string]*adapter
	unseen   bool           // an executable elsewhere was not looked for yet
	running  sync.WaitGroup // Add only under mu, and while ctx has not ended
}

func (h *Host) init() {
	h.once.init.Do(func() {
		if h.times == (times{}) {
			h.times = usualTimes
		}
		h.metrics.init()
		h.copies.dir = h.DataDir
		h.spawner.jobs = make(chan func())
		if h.spawner.limit == nil {
			h.spawner.limit = limitMemory
		}
		h.reports = make(chan runtime.NewEvent, reportsDepth)
		h.scanned, h.ready = make(chan struct{}), make(chan struct{})
		h.publishing, h.giveUp = context.WithCancel(context.Background())
		h.adapters = map[string]*adapter{}
		h.config = h.Adapters
		h.folders.init(h)
	})
}

func (h *Host) log() *slog.Logger {
	if h.Log == nil {
		return slog.Default()
	}
	return h.Log
}

// Ready returns a channel that is closed once every adapter that was there at
// the start is in service, or has failed once.
func (h *Host) Ready() <-chan struct{} {
	h.init()
	return h.ready
}

// Rescan makes the host look at the executables now, without waiting for a hint
// of the system that something changed.
func (h *Host) Rescan() {
	h.init()
	h.folders.rescan()
}

// SetConfig replaces the configuration of all adapters. Those that it changes
// something for are configured anew or replaced, as a new executable would.
func (h *Host) SetConfig(adapters map[string]AdapterConfig) {
	h.init()
	h.mu.Lock()
	h.config = maps.Clone(adapters)
	h.mu.Unlock()
	h.reconcile()
}

// Run starts the adapters, keeps what runs equal to what the folder and the
// configuration say, and returns when ctx ends and all of them are drained and
// gone. Entities stay as they are. A Host runs once.
func (h *Host) Run(ctx context.Context) error {
	if h.Dir == "" || h.DataDir == "" || h.Runtime == nil {
		return errors.New("running adapters: Dir, DataDir and Runtime must be given")
	}
	h.init()
	if err := os.MkdirAll(h.DataDir, 0o755); err != nil {
		return fmt.Errorf("running adapters: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h.mu.Lock()
	again := h.ctx != nil
	if !again {
		h.ctx = ctx
	}
	h.mu.Unlock()
	if again {
		return errors.New("running adapters: the host was run before")
	}
	metrics.RegisterSet(h.metrics.set)
	defer metrics.UnregisterSet(h.metrics.set, true)
	h.copies.clean()
	defer h.feed.begin(h.Runtime)()
	spawning, stopSpawning := context.WithCancel(context.Background())
	defer stopSpawning()
	go h.spawner.run(spawning)
	defer h.sockets.remove()
	defer h.guard.close()
	telling, stopTelling := context.WithCancel(context.Background())
	var teller sync.WaitGroup
	teller.Go(func() { h.tellReports(telling) })
	h.reconcile()
	err := h.folders.own.Run(ctx)
	cancel()
	h.folders.follow(ctx, nil)
	h.waitForAll()
	stopTelling()
	teller.Wait()
	h.giveUp()
	return err
}

// waitForAll waits until all adapters are gone. A journal that takes nothing is
// not waited for longer than they are: what waits for it then is left behind.
func (h *Host) waitForAll() {
	h.mu.Lock() // from here on no adapter is added, see reconcile
	adapters := len(h.adapters)
	h.mu.Unlock()
	h.log().Debug("adapters are stopping", "adapters", adapters)
	patience := h.times.settle + h.times.drain + 2*h.times.exit
	limit := time.AfterFunc(patience, h.giveUp)
	defer limit.Stop()
	done := make(chan struct{})
	go func() {
		h.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(patience + 2*time.Second):
		h.log().Warn("adapters did not end and were left behind")
	}
}

// isNamed returns which files of dir the configuration names.
func (h *Host) isNamed(dir string) func(string) bool {
	return func(name string) bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, c := range h.config {
			if c.path(h.Dir) == filepath.Join(dir, name) {
				return true
			}
		}
		return false
	}
}

// reconcile makes every adapter want what files and configuration say.
func (h *Host) reconcile() {
	h.reconciling.Lock() // what is read first must be in force first
	defer h.reconciling.Unlock()
	h.mu.Lock()
	ctx, config := h.ctx, h.config
	h.mu.Unlock()
	if ctx == nil || ctx.Err() != nil {
		return
	}
	var named []string
	paths := h.folders.ownFiles()
	taken := map[string]string{}
	for name, c := range config {
		if path := c.path(h.Dir); path != "" {
			named = append(named, path)
			taken[path] = name
		}
	}
	h.folders.follow(ctx, named)
	for name, path := range paths {
		if owner, ok := taken[path]; ok && owner != name {
			delete(paths, name) // it is another adapter's
		}
	}
	for name, c := range config {
		if path := c.path(h.Dir); path != "" {
			paths[name] = path
		} else if paths[name] == "" {
			paths[name] = filepath.Join(h.Dir, name)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx.Err() != nil {
		return
	}
	h.unseen = false
	for name, path := range paths {
		if sp, known := h.folders.spec(name, path, config[name]); known {
			h.want(name, sp)
		} else {
			h.unseen = true
		}
	}
	for name, a := range h.adapters {
		if paths[name] == "" {
			a.ask(func(w *wanted) { w.spec = nil })
		}
	}
	h.checkReady()
}

// want gives an adapter its spec, unless that says what the last one did. The
// caller holds mu.
func (h *Host) want(name string, sp *spec) {
	give := func(w *wanted) {
		var before AdapterConfig
		if w.spec != nil {
			before = w.spec.conf
			if w.spec.same(sp) {
				return
			}
		}
		if before.Disabled != sp.conf.Disabled {
			if w.off = ""; sp.conf.Disabled {
				w.off = ReasonDisabled
			}
		}
		w.spec = sp
	}
	if a := h.adapters[name]; a != nil && a.ask(give) {
		return
	}
	if a := h.adapters[name]; a != nil { // it is about to be forgotten, and its numbers with it
		h.metrics.forget(a)
	}
	a := newAdapter(h, name)
	h.adapters[name] = a
	h.metrics.gauges(a)
	a.ask(give)
	h.running.Go(func() { a.run(h.ctx) })
}

// same reports whether two specs make the same generation.
func (s *spec) same(o *spec) bool {
	reason := func(f *failure) string {
		if f == nil {
			return ""
		}
		return f.Error()
	}
	return s.file == o.file && s.sum == o.sum && reason(s.failure) == reason(o.failure) && reflect.DeepEqual(s.conf, o.conf)
}

// forget drops an adapter that is gone.
func (h *Host) forget(a *adapter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.adapters[a.name] == a {
		delete(h.adapters, a.name)
		h.metrics.forget(a)
	}
}

// checkReady closes ready if nothing is starting for the first time. The caller
// holds mu.
func (h *Host) checkReady() {
	select {
	case <-h.scanned:
	default:
		return
	}
	if h.unseen {
		return
	}
	for _, a := range h.adapters {
		if a.State() == Starting {
			return
		}
	}
	h.once.ready.Do(func() { close(h.ready) })
}

// settled is called when an adapter's state has changed.
func (h *Host) settled() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checkReady()
}

var (
	// ErrUnknown says that there is no adapter of that name.
	ErrUnknown = errors.New("there is no such adapter")
	// ErrSwitchedOff says that the configuration wants it not to run.
	ErrSwitchedOff = errors.New("the configuration says disabled: true; take that out to run it")
)

// control changes what is wanted of an adapter. The error is ErrUnknown or change's.
func (h *Host) control(name string, change func(*wanted) error) (err error) {
	h.init()
	h.mu.Lock()
	a := h.adapters[name]
	h.mu.Unlock()
	if a == nil || !a.ask(func(w *wanted) { err = change(w) }) {
		return ErrUnknown
	}
	return err
}

// Restart starts the adapter anew: beside the one that runs, as for a new
// executable, or at once if it backs off, has failed or was stopped. Its crashes are
// forgotten. It returns before that is done. The error is ErrUnknown or ErrSwitchedOff.
func (h *Host) Restart(name string) error {
	return h.control(name, func(w *wanted) error { return w.again() })
}

// Enable starts the adapter if it was disabled or drained. The error is
// ErrUnknown or ErrSwitchedOff.
func (h *Host) Enable(name string) error {
	return h.control(name, func(w *wanted) error {
		if w.off == "" {
			return nil
		}
		return w.again()
	})
}

func (w *wanted) again() error {
	if w.spec != nil && w.spec.conf.Disabled {
		return ErrSwitchedOff
	}
	w.off, w.asked = "", w.asked+1
	return nil
}

// Drain lets the adapter publish what it holds and let go of its hardware, for up
// to 30 s, and ends it, until Enable or Restart. The error is ErrUnknown.
func (h *Host) Drain(name string) error {
	return h.control(name, func(w *wanted) error {
		w.off, w.drain = ReasonDrained, h.times.patience
		return nil
	})
}

// Disable is Drain with less patience: 5 s.
func (h *Host) Disable(name string) error {
	return h.control(name, func(w *wanted) error {
		w.off, w.drain = ReasonDisabled, h.times.drain
		return nil
	})
}

// Status returns how one adapter is, and whether there is one of that name.
func (h *Host) Status(name string) (Status, bool) {
	h.init()
	h.mu.Lock()
	a := h.adapters[name]
	h.mu.Unlock()
	if a == nil {
		return Status{}, false
	}
	return a.describe(), true
}

// List returns how each adapter is, sorted by name.
func (h *Host) List() []Status {
	h.init()
	h.mu.Lock()
	all := slices.Collect(maps.Values(h.adapters))
	h.mu.Unlock()
	list := make([]Status, len(all))
	for i, a := range all {
		list[i] = a.describe()
	}
	slices.SortFunc(list, func(a, b Status) int { return cmp.Compare(a.Name, b.Name) })
	return list
}
