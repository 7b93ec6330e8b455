package plugins

import (
	"context"
	"errors"
	"time"
)

// A transition makes an adapter what it is wanted to be, beside the goroutine
// that decides about it. There is one at a time.
type transition struct {
	// Static after begin.
	a      *adapter
	want   wanted
	spare  *spare          // to be started in place of what is wanted, which is refused; else nil
	old    *generation     // in service; may be nil, and may end meanwhile
	whole  context.Context // ends when the server stops
	ctx    context.Context
	cancel context.CancelFunc // gives up the new one
	began  time.Time

	reconfigures bool // the old one can take the new configuration as it runs
}

// An outcome is what became of a transition.
type outcome struct {
	spec       *spec
	now        *generation // in service, if any
	number     int         // of the generation that failed
	failure    *failure
	swapped    bool // one was in service before
	rolledBack bool // now is another start of the old one
	cancelled  bool // nothing was tried to the end
	again      bool // of the spare
	began      time.Time
}

// begin starts a transition to w.
func (a *adapter) begin(ctx context.Context, w wanted) {
	t := &transition{a: a, want: w, old: a.cur, whole: ctx, began: time.Now()}
	t.ctx, t.cancel = context.WithCancel(ctx)
	if w.spec != nil && w.spec == a.refused {
		t.spare = a.spare
	} else if a.cur == nil {
		a.dropSpare()
	}
	t.reconfigures = t.old != nil && w.spec != nil && w.off == "" && t.old.desc.Reconfigures && w.asked == t.old.asked && w.spec.failure == nil && t.sameProgram()
	a.under, a.asked, a.spec, a.retrying = t, w.asked, w.spec, false
	a.retry.Stop()
	if a.cur == nil && w.spec != nil && w.off == "" {
		a.starting()
		a.routes.hold()
	}
	go func() {
		o := t.run()
		o.spec, o.began, o.swapped, o.again = w.spec, t.began, t.old != nil, t.spare != nil
		a.outcomes <- o
		signal(a.wake)
	}()
}

// outdated reports whether something else is wanted by now.
func (t *transition) outdated(w wanted) bool { return w != t.want }

func (t *transition) run() outcome {
	switch old := t.old; {
	case t.want.spec == nil:
		return t.stop(ReasonRemoved)
	case t.want.off != "":
		return t.stop(t.want.off)
	case t.spare != nil:
		return t.again(t.ctx, t.spare)
	case old == nil:
		return t.start()
	case t.reconfigures:
		return t.reconfigure()
	case old.desc.Exclusive:
		return t.handOver()
	}
	return t.swap()
}

// stop drains the old one.
func (t *transition) stop(why Reason) outcome {
	if t.old != nil {
		t.old.retired.Store(true) // what it says of its health from here on changes nothing
	}
	t.a.set(Draining, why, "")
	t.retire(why, max(t.want.drain, t.a.host.times.drain))
	return outcome{}
}

// retire ends the old one; commands wait meanwhile.
func (t *transition) retire(why Reason, patience time.Duration) {
	if t.old != nil {
		t.a.routes.hold()
		t.old.retire(why, patience)
	}
}

// start starts an adapter that is not running.
func (t *transition) start() outcome {
	g, err := t.a.prepare(t.ctx, t.want.spec)
	if err == nil {
		err = t.open(g, false)
	}
	if err != nil {
		return t.failed(err, nil)
	}
	return outcome{now: g}
}

// swap starts the new one beside the old one.
func (t *transition) swap() outcome {
	g, err := t.a.prepare(t.ctx, t.want.spec)
	if err == nil && g.desc.Exclusive {
		// It was not, and is now: it must not be there twice from here on.
		g.discard()
		return t.handOver()
	}
	if err != nil {
		return t.failed(err, t.old)
	}
	wasReady := t.old.wasReady()
	former, _ := t.a.host.copies.hold(t.old.program)
	t.retire(ReasonSwapped, t.a.host.times.drain)
	if err := t.open(g, wasReady); err != nil {
		return t.rollBack(err, former)
	}
	former.free()
	return outcome{now: g}
}

// handOver ends the old one first: there can be one only. But not for a mistake that it
// can see itself.
func (t *transition) handOver() outcome {
	if f := t.want.spec.failure; f != nil {
		return t.failed(f, t.old)
	}
	if t.sameProgram() {
		var f *failure
		if err := t.old.configure(t.ctx, &t.want.spec.conf, true); errors.As(err, &f) && f.Reason == ReasonConfig {
			return t.failed(f, t.old)
		}
	}
	if err := t.ctx.Err(); err != nil { // it need not end for what nobody wants any more
		return t.failed(err, t.old)
	}
	wasReady := t.old.wasReady()
	former, _ := t.a.host.copies.hold(t.old.program)
	t.retire(ReasonSwapped, t.a.host.times.drain)
	g, err := t.a.prepare(t.ctx, t.want.spec)
	if err == nil {
		err = t.open(g, wasReady)
	}
	if err != nil {
		return t.rollBack(err, former)
	}
	former.free()
	return outcome{now: g}
}

// rollBack starts the old one again, which has ended for the new one's sake.
func (t *transition) rollBack(why error, former *program) outcome {
	if t.whole.Err() != nil {
		former.free()
		return t.failed(why, nil)
	}
	number := t.a.lastNumber()
	ctx, cancel := context.WithTimeout(t.whole, t.a.host.times.start)
	defer cancel()
	g, err := t.a.prepareProgram(ctx, t.old.spec, former)
	if err == nil {
		g.former.Store(t.old.wasReady())
		err = t.open(g, false)
	}
	if err != nil {
		t.a.log().Error("starting the former adapter again", "generation", t.old.source, "err", err)
		return t.failed(why, nil)
	}
	o := t.failed(why, g)
	o.number, o.rolledBack, o.cancelled = number, true, errors.Is(why, context.Canceled)
	return o
}

// sameProgram reports whether only what the adapter itself is configured with is new.
func (t *transition) sameProgram() bool {
	from, to := t.old.spec, t.want.spec
	return from.file == to.file && from.sum == to.sum && from.conf.sameProcess(&to.conf)
}

func (t *transition) reconfigure() outcome {
	err := t.old.configure(t.ctx, &t.want.spec.conf, false)
	var f *failure
	t.old.unsure = err != nil && (!errors.As(err, &f) || f.Reason != ReasonConfig) // without an answer it may do it yet
	if err != nil {
		return t.failed(err, t.old)
	}
	t.old.spec = t.want.spec
	return outcome{now: t.old}
}

func (t *transition) failed(err error, now *generation) outcome {
	if now != nil && now == t.old && now.session.ctx.Err() != nil {
		now = nil // it has ended meanwhile
	}
	f := asFailure(err, ReasonStart)
	return outcome{now: now, number: t.a.lastNumber(), failure: f, cancelled: t.ctx.Err() != nil}
}

// open puts a generation into service. One that is to be ready and does not
// become so is ended; commands wait until it is, but not for long.
func (t *transition) open(g *generation, ready bool) error {
	g.asked = t.want.asked
	g.onTrial.Store(ready)
	if err := g.open(); err != nil {
		return err
	}
	if ready {
		if err := g.prove(t.ctx, t.whole); err != nil {
			t.a.routes.hold()
			g.retire(ReasonUnhealthy, t.a.host.times.exit)
			return err
		}
	}
	t.a.routes.open(g.session)
	t.a.running(g)
	go g.attend()
	return nil
}

// prove waits until it is ready, until something else is wanted, which ends ctx and is an error, or
// until the server ends: then it is to be drained as it is. Its
// entities are not lost with it meanwhile: another may take over. Nor do commands wait for
// all that time, which is longer than they can.
func (g *generation) prove(ctx, whole context.Context) error {
	if err := g.awaitReady(ctx, whole); err != nil {
		return err
	}
	g.onTrial.Store(false)
	if g.session.ctx.Err() == nil {
		return nil
	}
	<-g.ended // watch may have taken it for one on trial
	return g.why()
}

// awaitReady waits until it says that it is ready, or ctx ends, as it does with whole. After a
// while it gets commands all the same.
func (g *generation) awaitReady(ctx, whole context.Context) error {
	times := &g.a.host.times
	limit, early := time.NewTimer(times.healthy), time.NewTimer(times.silent)
	defer limit.Stop()
	defer early.Stop()
	pause := times.poll / 500
	for {
		ready, detail, err := g.health(g.session.ctx)
		if err == nil && ready {
			g.ready.Store(true)
			return nil
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, times.poll/20)
		case <-early.C:
			g.a.routes.open(g.session)
			g.a.waits(g, detail)
		case <-ctx.Done():
			if whole.Err() == nil {
				return ctx.Err()
			}
			return nil
		case <-g.session.ctx.Done():
			<-g.ended // the end of its process says more than that of the connection
			return g.why()
		case <-limit.C:
			if err != nil {
				return err
			}
			return failed(ReasonUnhealthy, "it did not become ready within %v: %s", times.healthy, detail)
		}
	}
}

// attend looks after the health of a generation in service, and lets go of what
// it has not declared.
func (g *generation) attend() {
	t := &g.a.host.times
	claim := time.NewTimer(t.claim)
	defer claim.Stop()
	silent := time.NewTimer(t.silent)
	defer silent.Stop()
	due, missed := false, false
	pause := t.poll / 500
	for {
		ready, detail, err := g.health(g.session.ctx)
		if err != nil {
			ready, detail = false, err.Error()
		}
		if g.session.ctx.Err() != nil {
			return
		}
		g.a.feels(g, ready, detail)
		if due && !ready && !missed {
			missed = true
			g.miss()
		}
		if pause = min(2*pause, t.poll/20); ready {
			pause = t.poll
		}
		select {
		case <-time.After(pause):
		case <-silent.C:
			due = true
		case <-claim.C:
			left, err := g.a.entities.dropUndeclared(g.number)
			if len(left) > 0 {
				g.a.log().Info("entities are let go: the adapter did not declare them again", "generation", g.source, "entities", len(left))
			}
			if err != nil {
				g.a.log().Warn("letting go of entities", "err", err)
			}
		case <-g.session.ctx.Done():
			return
		}
	}
}

// miss makes unavailable what was declared before and not by this generation, which is
// not ready: nobody speaks for it. The claim on it stays.
func (g *generation) miss() {
	if err := g.a.entities.missUndeclared(g.number, g.source); err != nil {
		g.a.log().Warn("making entities unavailable that the adapter has not declared again", "generation", g.source, "err", err)
	}
}
