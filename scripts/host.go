package scripts

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"carillon/internal/watch"
	"carillon/runtime"
)

// A Host runs the scripts of a folder. The fields of a Host are not to be
// changed after Run was called; zero values work where nothing else is said.
//
// Every *.js file right in the folder is a script, but for those whose name
// begins with _. A *.ts file is reported as not supported yet.
type Host struct {
	// Dir is the folder; it may not exist yet. It must be given.
	Dir string
	// Runtime is what the scripts work on. It must be given, and must outlive Run.
	Runtime *runtime.Runtime
	// Log gets what scripts log and what becomes of them; slog.Default() if nil.
	Log *slog.Logger
	// Permissions and Limits hold until SetPermissions and SetLimits are called.
	Permissions Permissions
	Limits      Limits
	// Quiet is how long a file must rest after a change before it is loaded;
	// 100 ms if 0.
	Quiet time.Duration
	// Others is closed once other producers have registered what they have: the
	// entities that nobody has claimed are let go then. Nil stands for no others.
	Others <-chan struct{}

	once        sync.Once
	limits      atomic.Pointer[Limits]
	permissions atomic.Pointer[Permissions]
	toldMissed  time.Time                // owned by the watchdog's goroutine
	ready       chan struct{}            // closed by release
	reports     chan runtime.NewEvent    // see reportsDepth; never closed
	ctx         atomic.Pointer[runScope] // of Run
	folder      watch.Folder
	watchdog    *watchdog
	router      router
	running     sync.WaitGroup // generations, loads and calls
	freed       atomic.Uint64  // how often a script gave entities up

	mu      sync.Mutex
	scripts map[string]*script // by file, guarded by mu
}

// runScope is the context that Run was called with.
type runScope struct{ context.Context }

func (h *Host) init() {
	h.once.Do(func() {
		h.ready = make(chan struct{})
		h.reports = make(chan runtime.NewEvent, reportsDepth)
		h.scripts = map[string]*script{}
		h.router.init()
		h.watchdog = newWatchdog()
		if h.limits.Load() == nil {
			l := h.Limits.withDefaults()
			h.limits.Store(&l)
		}
		if h.permissions.Load() == nil {
			h.permissions.Store(&h.Permissions)
		}
		h.folder = watch.Folder{Dir: h.Dir, Match: isScript, Flat: true, Quiet: h.Quiet, MaxFile: maxSource, Log: h.Log}
	})
}

// isScript reports whether a file of the folder is one to load, or to complain
// about.
func isScript(name string) bool {
	switch path.Ext(name) {
	case ".js", ".ts":
		return !strings.HasPrefix(name, "_") && !strings.Contains(name, "/")
	}
	return false
}

// SetLimits changes the limits from the next run of a handler and the next load
// on.
func (h *Host) SetLimits(l Limits) {
	h.init()
	l = l.withDefaults()
	h.limits.Store(&l)
}

// SetPermissions changes what scripts may read, from the next read on.
func (h *Host) SetPermissions(p Permissions) {
	h.init()
	h.permissions.Store(&p)
}

// Ready returns a channel that is closed once every script that was there at
// the start is in service or has failed, and the entities of those that are gone
// are let go.
func (h *Host) Ready() <-chan struct{} {
	h.init()
	return h.ready
}

// Rescan makes the host look at the folder now, without waiting for a hint of
// the system that something changed.
func (h *Host) Rescan() {
	h.init()
	h.folder.Rescan()
}

// Run loads the scripts, keeps what runs equal to what the folder holds, and
// returns when ctx ends and everything that scripts had has ended. A script that
// can't be interrupted is left behind after a second, with a line in the log.
// Entities stay as they are. A Host runs once.
func (h *Host) Run(ctx context.Context) error {
	if h.Dir == "" || h.Runtime == nil {
		return errors.New("running scripts: Dir and Runtime must be given")
	}
	h.init()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !h.ctx.CompareAndSwap(nil, &runScope{ctx}) {
		return errors.New("running scripts: the host was run before")
	}
	_, unfollow := h.Runtime.Follow(h.router.follow)
	var own sync.WaitGroup
	own.Go(func() { h.tellReports(ctx) })
	own.Go(func() { h.watchdog.run(ctx, h.tick) })
	h.folder.OnChange = h.changed()
	err := h.folder.Run(ctx)
	cancel()
	unfollow()
	h.router.stop()
	own.Wait()
	h.waitForRunning()
	return err
}

// over reports whether Run is about to return.
func (h *Host) over() bool { return h.ctx.Load().Err() != nil }

func (h *Host) log() *slog.Logger {
	if h.Log == nil {
		return slog.Default()
	}
	return h.Log
}

// tick is called by the watchdog; once a second it tells scripts what they
// missed.
func (h *Host) tick() {
	now := time.Now()
	if now.Sub(h.toldMissed) < time.Second {
		return
	}
	h.toldMissed = now
	for _, g := range h.router.inService() {
		g.tellMissed()
	}
}

func (h *Host) waitForRunning() {
	done := make(chan struct{})
	go func() {
		h.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(giveUp):
		h.log().Warn("scripts did not end and were left behind")
	}
}

// changed returns what the folder calls for changes. Its first call is about all
// files there are.
func (h *Host) changed() func([]watch.Change) {
	first := true
	return func(changes []watch.Change) {
		var loads, removals sync.WaitGroup
		for _, c := range changes {
			loads.Add(1)
			if c.Gone {
				removals.Add(1)
			}
		}
		// What a renamed file declares is free once the old name is taken away.
		for _, c := range changes {
			h.script(c.Path).submit(wanted{change: c, removals: &removals, done: loads.Done})
		}
		if first {
			first = false
			h.running.Go(func() { h.release(&loads) })
		}
	}
}

// release lets go of the entities that no script has claimed.
func (h *Host) release(loads *sync.WaitGroup) {
	loads.Wait()
	if h.Others != nil {
		select {
		case <-h.Others:
		case <-h.ctx.Load().Done():
		}
	}
	if !h.over() {
		h.Runtime.ReleaseUnclaimed(h.ctx.Load())
	}
	close(h.ready)
}

func (h *Host) script(name string) *script {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.scripts[name]
	if s == nil {
		s = &script{host: h, name: name}
		h.scripts[name] = s
	}
	return s
}

// handler returns what the runtime calls for a script's commands: it asks the
// generation that is in service then.
func (h *Host) handler(script string) runtime.Handler {
	return func(ctx context.Context, what *runtime.Command) (json.RawMessage, error) {
		c := &command{ctx: ctx, what: what, done: make(chan answer, 1)}
		h.router.send(script, c)
		select {
		case a := <-c.done:
			return a.response, a.err
		case <-ctx.Done():
			c.finish(nil, ctx.Err())
			a := <-c.done
			return a.response, a.err
		}
	}
}
