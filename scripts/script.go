package scripts

import (
	"errors"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/dop251/goja"

	"carillon/internal/watch"
	"carillon/runtime"
)

// A script is one file of the folder, through all its generations.
type script struct {
	host *Host
	name string

	turn     sync.Mutex // held while generations change places
	registry sync.Mutex // held while the runtime is told what a generation has; after turn

	// Guarded by host.mu.
	known    bool // the file is there
	number   int  // of the last generation that was in service
	current  *generation
	failure  *Error
	broke    bool
	loadedAt time.Time
	refused  *refusal
	want     *wanted
	busy     bool // work runs

	has []string // entities that the runtime was told of, sorted; guarded by registry
}

// wanted is a content of the file that is to be loaded.
type wanted struct {
	change   watch.Change
	removals *sync.WaitGroup // of the files that went together with this change; nil for none
	done     func()          // called once it is loaded, has failed, or a newer one took its place
}

// await waits until the files that went are taken away.
func (w *wanted) await() {
	if w.removals != nil && !w.change.Gone {
		w.removals.Wait()
	}
}

// removed tells those that await that the file is taken away, or is back.
func (w *wanted) removed() {
	if w.removals != nil && w.change.Gone {
		w.removals.Done()
	}
}

// submit loads w, after what is being loaded now. Of several that wait, only
// the newest is loaded.
func (s *script) submit(w wanted) {
	h := s.host
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.want != nil {
		s.want.removed()
		former := s.want.done
		next := w.done
		w.done = func() { former(); next() }
	}
	s.want = &w
	if !s.busy {
		s.busy = true
		h.running.Go(s.work)
	}
}

func (s *script) work() {
	h := s.host
	for {
		h.mu.Lock()
		w := s.want
		s.want = nil
		s.busy = w != nil
		h.mu.Unlock()
		if w == nil {
			return
		}
		w.await()
		if !h.over() {
			s.reload(w.change)
		}
		w.removed()
		w.done()
	}
}

// reload makes the script what the file now is.
func (s *script) reload(c watch.Change) {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.forgetRefusal()
	switch {
	case c.Gone:
		s.remove()
	case c.Err != nil:
		s.fail(&Error{File: s.name, Message: c.Err.Error(), reason: reasonFile})
	case path.Ext(s.name) == ".ts":
		s.fail(&Error{File: s.name, Line: 1, Column: 1, reason: reasonUnsupported,
			Message: "TypeScript is not supported yet (hint: save it as plain JavaScript in " + strings.TrimSuffix(s.name, ".ts") + ".js)"})
	default:
		s.load(c)
	}
}

// load builds a generation beside the one in service, and lets it take over. On
// any failure nothing changes.
func (s *script) load(c watch.Change) {
	h := s.host
	source, before := string(c.Content), h.freed.Load()
	m, failed := parseManifest(s.name, source)
	var program *goja.Program
	var first position
	if failed == nil {
		program, first, failed = compile(s.name, source)
	}
	if failed != nil {
		s.fail(failed)
		return
	}
	g := newGeneration(h.ctx.Load(), h, s.name, s.nextNumber(), m)
	g.first = first
	h.running.Go(func() { g.main(program) })
	if failed = g.awaitLoad(); failed == nil {
		failed = s.takeOver(g)
	}
	if failed != nil {
		g.stop()
		s.fail(failed)
		if failed.entity != "" {
			s.awaitFree(refusal{failed.entity, c}, before)
		}
	}
}

// awaitLoad waits until the top level has run, or until it seems that it can't
// be stopped.
func (g *generation) awaitLoad() *Error {
	limit := time.NewTimer(g.host.limits.Load().Load + 2*giveUp)
	defer limit.Stop()
	select {
	case failed := <-g.loaded:
		return failed
	case <-limit.C:
		return &Error{File: g.script, Message: errAbandoned.Error(), reason: reasonTimeout}
	case <-g.ctx.Done():
		select {
		case failed := <-g.loaded: // it ended by itself
			return failed
		default:
			return &Error{File: g.script, Message: errEnded.Error(), reason: reasonStopped}
		}
	}
}

func (s *script) nextNumber() int {
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	return s.number + 1
}

// takeOver puts g, which is loaded, into service in place of the present
// generation, if the runtime accepts what g has.
func (s *script) takeOver(g *generation) *Error {
	h := s.host
	h.mu.Lock()
	old := s.current
	h.mu.Unlock()
	if old != nil {
		old.rest()
	}
	s.registry.Lock()
	if err := s.claim(g.registration()); err != nil {
		s.registry.Unlock()
		if old != nil {
			old.box.resume()
		}
		return g.conflict(err)
	}
	h.router.replace(s.name, old, g)
	s.registry.Unlock()
	h.mu.Lock()
	s.known, s.current, s.number, s.failure, s.broke, s.loadedAt = true, g, g.number, nil, false, time.Now()
	h.mu.Unlock()
	g.count()
	entities := len(g.devices)
	g.start()
	select { // so that script_loaded is told with the values there
	case <-g.applied:
	case <-g.ctx.Done():
	}
	metricLoads.Inc()
	h.log().Info("script loaded", "script", g.source, "entities", entities)
	h.report(runtime.ScriptLoaded, g.source, runtime.Context{}, map[string]any{"script": s.name, "generation": g.number})
	return nil
}

// conflict says where the declaration stands that the runtime refused.
func (g *generation) conflict(err error) *Error {
	e := &Error{File: g.script, Message: err.Error(), reason: reasonConflict}
	var refused *runtime.InvalidError
	if !errors.As(err, &refused) {
		return e
	}
	for id, d := range g.devices {
		if strings.HasPrefix(refused.Msg, id+" ") {
			e.Message, e.Line, e.Column, e.entity = refused.Msg, d.at.line, d.at.column, id
		}
	}
	return e
}

// rest makes the generation begin nothing more, and waits until what it does
// is done. What takes too long is interrupted.
func (g *generation) rest() {
	busy := g.box.pause()
	if busy == nil {
		return
	}
	wait := func(d time.Duration) bool {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-busy:
			return true
		case <-t.C:
			return false
		}
	}
	if wait(handOver) {
		return
	}
	g.lease.stop(errTookOver)
	if !wait(giveUp) {
		g.host.log().Warn("script did not end and was left behind", "script", g.source)
	}
}

// fail tells why the file is not in service. The generation in service stays.
func (s *script) fail(e *Error) {
	h := s.host
	if h.over() {
		return
	}
	h.mu.Lock()
	s.known, s.failure = true, e
	var still any
	if s.current != nil {
		still = s.current.source
	}
	h.mu.Unlock()
	countFailure(e.reason)
	h.log().Error("script failed", "script", s.name, "at", e.place(), "err", e.Message, "still_running", still)
	h.report(runtime.ScriptFailed, s.name, runtime.Context{}, map[string]any{
		"script": s.name, "file": e.File, "line": e.Line, "column": e.Column, "message": e.Message,
		"reason": string(e.reason), "still_running": still,
	})
}

// remove ends a script whose file is gone.
func (s *script) remove() {
	h := s.host
	h.mu.Lock()
	old := s.current
	known := s.known
	s.known, s.current, s.failure, s.broke = false, nil, nil, false
	h.mu.Unlock()
	if !known {
		return
	}
	if old != nil {
		old.rest()
		s.withdraw(old)
	}
	h.log().Info("script removed", "script", s.name)
	h.report(runtime.ScriptRemoved, s.name, runtime.Context{}, map[string]any{"script": s.name})
}

// withdraw takes g out of service, with nothing in its place.
func (s *script) withdraw(g *generation) {
	s.registry.Lock()
	defer s.registry.Unlock()
	s.host.router.replace(s.name, g, nil)
	if err := s.claim(runtime.Registration{Source: g.source}); err != nil {
		s.host.log().Error("taking a script's entities back", "script", g.source, "err", err)
	}
}

// retire takes a generation out of service that broke down.
func (h *Host) retire(g *generation, e *Error) {
	s := h.script(g.script)
	s.turn.Lock()
	defer s.turn.Unlock()
	h.mu.Lock()
	inService := s.current == g
	if inService {
		s.current, s.broke = nil, true
	}
	h.mu.Unlock()
	if inService {
		s.withdraw(g)
		s.fail(e)
	}
}

// register tells the runtime what g has now, unless g has ended.
func (h *Host) register(g *generation, reg runtime.Registration) error {
	s := h.script(g.script)
	s.registry.Lock()
	defer s.registry.Unlock()
	if g.ended.Load() {
		return errEnded
	}
	g.count()
	return s.claim(reg)
}
