package scripts

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/dop251/goja"

	"carillon/runtime"
)

// A generation is one loaded version of a script.
type generation struct {
	// Static after construction.
	host     *Host
	script   string // the file: "hall.js"
	number   int
	source   string // "hall.js@7"
	manifest manifest
	first    position        // of its first statement; the zero value if there is none
	ctx      context.Context // ends with the generation
	cancel   context.CancelFunc
	box      *mailbox
	lease    lease
	loaded   chan *Error   // depth 1: what became of the top level
	started  chan struct{} // closed by start
	applied  chan struct{} // closed by main when what the top level did has taken effect

	ended atomic.Bool // nothing that it does has an effect any more
	stats stats
	runAt atomic.Pointer[position] // the handler of the present run, for the watchdog

	hits []*subscription // scratch of the router, guarded by its mu

	// Owned by main's goroutine; by start's caller between load and start.
	vm       *goja.Runtime
	builtin  builtins
	loading  bool
	story    *story    // of what runs now
	root     *story    // of the run as a whole
	began    time.Time // when the run began
	deadline time.Time // of the run
	devices  map[string]*device
	subs     map[*subscription]struct{}
	nextSub  int
	timers   timers
	rejected []*goja.Promise
	held     []heldBack // by the top level
	calls    int        // under way
	errors   limiter
	lines    limiter // of the log
}

func newGeneration(ctx context.Context, h *Host, name string, number int, m manifest) *generation {
	g := &generation{
		host: h, script: name, number: number, source: fmt.Sprintf("%s@%d", name, number), manifest: m,
		box: newMailbox(), loaded: make(chan *Error, 1), started: make(chan struct{}), applied: make(chan struct{}),
		devices: map[string]*device{}, subs: map[*subscription]struct{}{}, loading: true,
		errors: limiter{burst: 10, every: time.Second},
		lines:  limiter{burst: 200, every: 20 * time.Millisecond},
	}
	g.ctx, g.cancel = context.WithCancel(ctx)
	return g
}

// main loads program, waits for start and serves until the generation ends. It
// is the generation's only goroutine that runs JavaScript.
func (g *generation) main(program *goja.Program) {
	defer g.cancel()
	defer g.tellMissed()
	defer func() {
		if p := recover(); p != nil {
			e := g.crash(p, position{})
			select {
			case g.loaded <- e:
			default: // the top level's own result has not been taken yet
			}
		}
	}()
	g.newVM()
	g.lease.interrupt = func(reason error) { g.vm.Interrupt(reason) }
	g.lease.clear = func() { g.vm.ClearInterrupt() }
	g.lease.stuck = g.tellStuck
	g.host.watchdog.add(&g.lease)
	defer g.host.watchdog.remove(&g.lease)
	err := g.load(program)
	g.loaded <- err
	if err != nil {
		return
	}
	select {
	case <-g.started:
	case <-g.ctx.Done():
		return
	}
	g.loading = false
	g.apply()
	close(g.applied)
	g.serve()
}

func (g *generation) load(program *goja.Program) *Error {
	return g.run(&story{}, position{}, func() error {
		_, err := g.vm.RunProgram(program)
		return err
	})
}

// begin starts a run: until its end, the watchdog may interrupt.
func (g *generation) begin(limit time.Duration) {
	g.began = time.Now()
	g.deadline = g.began.Add(limit)
	g.host.watchdog.begin(&g.lease, limit)
}

// budget is the context for what the present run waits for: it ends with the
// run's time.
func (g *generation) budget() (context.Context, context.CancelFunc) {
	return context.WithDeadline(g.ctx, g.deadline)
}

// start lets the generation serve; called once, after it was loaded.
func (g *generation) start() { close(g.started) }

// serve runs timers and jobs until the generation ends.
func (g *generation) serve() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for g.ctx.Err() == nil {
		if g.step() {
			continue
		}
		if g.box.isPaused() {
			timer.Stop()
		} else {
			timer.Reset(g.timers.wait(time.Now()))
		}
		select {
		case <-g.ctx.Done():
		case <-g.box.wake:
		case <-timer.C:
		}
	}
}

// step runs the timer that is due, if any, and one job, if any. It reports
// whether there was either.
func (g *generation) step() (did bool) {
	// A timer is taken only when it may run: while paused, it waits.
	if now := time.Now(); g.timers.wait(now) == 0 && g.box.enter() {
		g.fire(g.timers.due(now))
		g.box.leave()
		did = true
	}
	j, ok := g.box.take()
	if !ok {
		return did
	}
	defer g.box.leave()
	switch {
	case j.event != nil:
		g.hear(j.event, j.subs)
	case j.command != nil:
		g.obey(j.command)
	default:
		j.resume()
	}
	return true
}

// stop ends the generation and returns the jobs that it had not begun. What
// runs is interrupted. It does not wait.
func (g *generation) stop() []job {
	g.ended.Store(true)
	left := g.box.close()
	g.cancel()
	g.lease.stop(errEnded)
	return left
}

// crash takes a generation out of service whose machine has panicked: its
// insides can't be trusted any more.
func (g *generation) crash(p any, at position) *Error {
	g.host.log().Error("script machine panicked", "script", g.source, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	e := &Error{File: g.script, Line: at.line, Column: at.column, reason: reasonInternal, Message: clip(fmt.Sprintf("internal error: %v", p), maxMessage)}
	if !g.loading {
		g.ended.Store(true)
		g.cancel()
		g.host.running.Go(func() { g.host.retire(g, e) })
	}
	return e
}

// registration is what the generation has, for the runtime.
func (g *generation) registration() runtime.Registration {
	reg := runtime.Registration{Source: g.source}
	for id, d := range g.devices {
		reg.Entities = append(reg.Entities, id)
		for name := range d.commands {
			reg.Services = append(reg.Services, runtime.Service{
				Domain: runtime.Domain(id), Name: name, EntityID: id,
				Description: g.manifest.Description, Handler: g.host.handler(g.script),
			})
		}
	}
	slices.Sort(reg.Entities)
	return reg
}
