package plugins

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"carillon/runtime"
)

// An adapter is one name, over all of its generations. Its goroutine, run, decides
// what is to be running; a transition makes it so.
type adapter struct {
	// Static after construction.
	host     *Host
	name     string
	wake     chan struct{} // depth 1: what is wanted may have changed
	outcomes chan outcome  // of the transition; depth 1
	entities entities
	routes   routes
	stats    stats
	values   values
	logs     logLimits

	discovering atomic.Bool // Discover is under way

	mu sync.Mutex
	// Guarded by mu.
	want   wanted
	status Status // but for what stats and entities know
	last   int    // number of the last generation
	inUse  *generation
	turned *failure // why the last change is not in force, while what it was to change is in service
	gone   bool     // run is over

	degraded bool // it was told that it is

	// Owned by run.
	cur      *generation
	under    *transition // nil: nothing is changing
	spec     *spec       // that was tried last
	asked    int         // of wanted, as of the last try
	refused  *spec       // that failed, and is not tried again by itself
	spare    *spare      // what takes its place; nil: nothing
	crashes  []time.Time // within the window
	streak   int         // crashes without a good time between them
	since    time.Time   // when cur was in service
	retry    *time.Timer // until then it backs off
	retrying bool
}

// wanted is what an adapter is to be.
type wanted struct {
	spec  *spec  // nil: gone
	off   Reason // ReasonDisabled, ReasonDrained, or empty
	asked int    // counts requests to start anew
	drain time.Duration
}

// A spec is what a generation is made from.
type spec struct {
	conf    AdapterConfig
	file    string
	sum     [32]byte // of file, when it was last looked at
	failure *failure // why it can't be started
}

func newAdapter(h *Host, name string) *adapter {
	a := &adapter{host: h, name: name, wake: make(chan struct{}, 1), outcomes: make(chan outcome, 1)}
	a.entities = entities{a: a, byID: map[string]*entity{}, devices: map[string][]string{}}
	a.routes.init()
	a.values.a = a
	a.status = Status{Name: name, State: Starting, Since: time.Now()}
	a.retry = time.NewTimer(time.Hour)
	a.retry.Stop()
	return a
}

func (a *adapter) producer() string { return "adapter:" + a.name }

func (a *adapter) log() *slog.Logger { return a.host.log().With("adapter", a.name) }

// number returns the number of the next generation.
func (a *adapter) number() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last++
	return a.last
}

// ask changes what is wanted. It reports false if the adapter is gone.
func (a *adapter) ask(change func(*wanted)) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone {
		return false
	}
	change(&a.want)
	signal(a.wake)
	return true
}

func (a *adapter) wanted() wanted {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.want
}

// run keeps the adapter as it is wanted, until ctx ends or it is gone.
func (a *adapter) run(ctx context.Context) {
	for {
		if a.under == nil && !a.decide(ctx) {
			return
		}
		var ended <-chan struct{}
		if a.cur != nil {
			ended = a.cur.ended
		}
		select {
		case <-ctx.Done():
			a.shut()
			return
		case <-a.wake:
			if u := a.under; u != nil && u.outdated(a.wanted()) {
				u.cancel()
			}
		case o := <-a.outcomes:
			a.under.cancel()
			a.under = nil
			a.take(o)
		case <-ended:
			a.lost()
		case <-a.retry.C:
			a.retrying = false
		}
	}
}

// decide begins what is to be done, if anything. It reports false when the
// adapter is gone.
func (a *adapter) decide(ctx context.Context) bool {
	w := a.wanted()
	switch {
	case w.spec == nil && a.cur == nil:
		a.dropSpare()
		return !a.leave()
	case w.spec == nil || w.off != "":
		a.dropSpare()
		a.retrying = false
		a.retry.Stop()
		if a.cur != nil {
			a.begin(ctx, w)
		} else if a.asked != w.asked || a.State() != Disabled {
			a.asked = w.asked
			a.rest(w.off)
		}
		return true
	}
	if a.asked != w.asked {
		a.asked = w.asked
		a.crashes, a.streak, a.refused, a.retrying = nil, 0, nil, false
		a.begin(ctx, w)
		return true
	}
	switch {
	case a.cur != nil && w.spec == a.spec:
	case a.cur != nil && !a.cur.unsure && a.cur.asked == w.asked && w.spec.same(a.cur.spec): // a change that was refused is taken back
		a.spec, a.refused = w.spec, nil
		a.dropSpare()
		a.note(nil)
	case w.spec != a.spec: // a change is a reason to try again what failed before
		a.crashes, a.streak, a.retrying = nil, 0, false
		a.begin(ctx, w)
	case a.retrying, w.spec == a.refused && a.spare == nil:
	default:
		a.begin(ctx, w)
	}
	return true
}

// leave takes the adapter away for good. It reports false if somebody wants it
// again.
func (a *adapter) leave() bool {
	a.routes.refuse(fmt.Errorf("adapter %s is gone", a.name))
	if err := a.entities.drop("", a.entities.all()); err != nil {
		a.log().Warn("letting go of an adapter's entities", "err", err)
	}
	a.mu.Lock()
	gone := a.want.spec == nil
	a.gone = gone
	a.mu.Unlock()
	if gone {
		a.host.forget(a)
		a.stopped(ReasonRemoved)
	}
	return gone
}

// rest notes that the adapter is not to run.
func (a *adapter) rest(why Reason) {
	if a.State() != Disabled {
		a.stopped(why)
	}
	a.set(Disabled, why, "")
	a.routes.refuse(fmt.Errorf("adapter %s is stopped (%s)", a.name, why))
	a.lose(a.lastSource()) // who spoke for them last
}

// stopped tells that the adapter is not to run any more.
func (a *adapter) stopped(why Reason) {
	a.log().Info("adapter stopped", "reason", why)
	a.host.report(runtime.AdapterStopped, a.name, map[string]any{"adapter": a.name, "reason": why})
}

// take notes what became of a transition.
func (a *adapter) take(o outcome) {
	goesOn, before := o.now != nil && o.failure != nil, a.cur
	a.cur = o.now
	if o.again {
		a.takeAgain(o)
		return
	}
	if o.failure == nil {
		a.refused = nil
		a.dropSpare()
		a.note(nil)
		switch {
		case o.now == nil:
		case o.now == before:
			a.log().Info("adapter is configured anew", "generation", o.now.source)
		default:
			a.inService(o)
		}
		return
	}
	if o.cancelled {
		if o.rolledBack {
			a.inService(o)
		}
		return
	}
	if o.failure.permanent || goesOn {
		a.refused = o.spec
	}
	if goesOn {
		a.keepSpare(o.now)
		a.tell(o.failure, o.number, kept, 0)
		if o.rolledBack {
			a.inService(o)
		}
		a.note(o.failure)
		return
	}
	a.note(nil)
	a.lose(a.lastSource()) // who spoke for them last
	a.crashed(o.failure, o.number)
}

// lost notes that the generation in service has ended by itself. A transition
// that is under way brings the next.
func (a *adapter) lost() {
	g := a.cur
	a.cur = nil
	if a.spare == nil {
		a.refused = nil
		a.note(nil)
	}
	if a.wanted().spec == nil {
		return
	}
	if a.under != nil {
		if !g.retired.Load() && !a.under.reconfigures { // which fails and tells it
			a.tell(g.why(), g.number, relieved, 0)
		}
		return
	}
	if time.Since(a.since) > a.host.times.window {
		a.streak = 0
	}
	a.crashed(g.why(), g.number)
}

// crashed decides whether to try again, and when.
func (a *adapter) crashed(f *failure, number int) {
	now := time.Now()
	for len(a.crashes) > 0 && now.Sub(a.crashes[0]) > a.host.times.window {
		a.crashes = a.crashes[1:]
	}
	a.crashes = append(a.crashes, now)
	a.streak++
	if !f.permanent && len(a.crashes) < maxCrashes {
		wait := backOff(a.host.times.first, a.host.times.most, a.streak, rand.Float64())
		a.retry.Reset(wait)
		a.retrying = true
		a.set(BackingOff, f.Reason, f.Error())
		a.retryAt(now.Add(wait))
		a.routes.refuse(fmt.Errorf("adapter %s is not running: %w", a.name, f))
		a.tell(f, number, nothing, wait)
		return
	}
	if !f.permanent {
		f = &failure{Reason: ReasonCrashes, Err: fmt.Errorf("%d crashes within %v, the last: %w", len(a.crashes), a.host.times.window, f)}
	}
	a.refused = a.spec
	a.dropSpare()
	a.note(nil)
	a.set(Failed, f.Reason, f.Error())
	a.routes.refuse(fmt.Errorf("adapter %s has failed: %w", a.name, f))
	a.tell(f, number, nothing, 0)
}

// backOff returns how long to wait after the crash of this number, from 1: twice as
// long each time, and up to a fifth more or less by chance, in [0, 1).
func backOff(first, most time.Duration, crash int, chance float64) time.Duration {
	wait := most
	if crash < 30 {
		wait = min(first<<(crash-1), most)
	}
	return min(time.Duration(float64(wait)*(0.8+0.4*chance)), most)
}

// What follows on a failure, besides that it is tried again or not.
type aftermath int

const (
	nothing  aftermath = iota
	kept               // what ran before goes on
	relieved           // another generation is starting already
)

// tell reports a failure. Retry is when it is tried again; 0 if it is not.
func (a *adapter) tell(f *failure, number int, then aftermath, retry time.Duration) {
	text := strings.TrimSpace(f.Error())
	log := a.log().With("generation", fmt.Sprintf("%s@%d", a.name, number), "reason", f.Reason, "err", text)
	switch {
	case then == kept:
		log.Warn("adapter failed; what ran before goes on")
	case then == relieved:
		log.Warn("adapter failed; another takes over")
	case retry > 0:
		log.Warn("adapter failed; it is started again", "in", retry.Round(time.Millisecond))
	default:
		log.Warn("adapter failed; it is not started again until it changes or is restarted")
	}
	a.host.metrics.failures(a.name, f.Reason)
	a.host.report(runtime.AdapterFailed, fmt.Sprintf("%s@%d", a.name, number), map[string]any{
		"adapter": a.name, "generation": number, "reason": f.Reason, "error": text[:min(len(text), 2000)],
		"kept": then == kept, "retry_seconds": retry.Seconds(),
	})
}

// inService notes that a generation runs.
func (a *adapter) inService(o outcome) {
	g := o.now
	a.since = time.Now()
	took := time.Since(o.began)
	a.log().Info("adapter started", "generation", g.source, "version", g.desc.Version, "pid", g.process.pid(), "took", took.Round(time.Millisecond))
	a.host.report(runtime.AdapterStarted, g.source, map[string]any{
		"adapter": a.name, "generation": g.number, "version": g.desc.Version, "pid": g.process.pid(),
		"swapped": o.swapped, "seconds": took.Seconds(),
	})
}

// shut ends everything when the server does. The entities stay as they are.
func (a *adapter) shut() {
	if a.under != nil {
		a.under.cancel()
		o := <-a.outcomes
		a.cur = o.now
	}
	a.dropSpare()
	if a.cur != nil {
		a.routes.refuse(fmt.Errorf("the server is stopping"))
		a.cur.retire(ReasonStopping, a.host.times.drain)
	}
}

// lose makes all entities unavailable: nobody speaks for them.
func (a *adapter) lose(source string) {
	ids := a.entities.all()
	a.entities.forgetShown(ids)
	for {
		err := a.setUnavailable(ids, source)
		if err == nil || a.host.publishing.Err() != nil {
			return
		}
		a.host.complain(err)
		select {
		case <-time.After(a.host.times.retry):
		case <-a.host.publishing.Done():
			return
		}
	}
}

// setUnavailable makes those of some entities unavailable that have a state.
func (a *adapter) setUnavailable(ids []string, source string) error {
	changes := make([]runtime.Change, 0, len(ids))
	for _, id := range ids {
		if a.host.Runtime.State(id) != nil {
			changes = append(changes, runtime.Change{EntityID: id, State: runtime.Unavailable, Source: source})
		}
	}
	if len(changes) == 0 {
		return nil
	}
	_, err := a.host.Runtime.Set(a.host.publishing, changes...)
	return err
}

// obey answers a command: it is a runtime.Handler.
func (a *adapter) obey(ctx context.Context, c *runtime.Command) (json.RawMessage, error) {
	began := time.Now()
	a.stats.commands.Add(1)
	for {
		s, err := a.routes.find(ctx, &a.entities, c.EntityID, a.host.times.silent)
		if err != nil {
			a.stats.failures.Add(1)
			a.host.metrics.command(a.name, "refused", began)
			return nil, err
		}
		response, err := s.command(ctx, c)
		if err == errDraining {
			continue // its successor takes it
		}
		if err != nil {
			a.stats.failures.Add(1)
		}
		a.host.metrics.command(a.name, resultOf(ctx, err), began)
		return response, err
	}
}

func resultOf(ctx context.Context, err error) string {
	switch {
	case err == nil:
		return "done"
	case ctx.Err() != nil:
		return "timeout"
	}
	return "failed"
}
