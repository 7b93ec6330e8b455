package plugins

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"carillon/plugins/adapter/wire"
)

// A generation is one process of an adapter, mqtt@3.
type generation struct {
	// Static after prepare.
	a       *adapter
	number  int
	source  string
	spec    *spec
	program *program
	process *process
	conn    *grpc.ClientConn
	client  wire.AdapterClient
	desc    *wire.Description
	began   time.Time

	asked   int // of wanted; static after open, as session
	session *session
	ended   chan struct{} // closed by watch: its process is gone, and all that it published is in the journal
	retired atomic.Bool   // it was told to end
	onTrial atomic.Bool   // it took over, and is to be ready before another is given up
	ready   atomic.Bool   // by its last word on its health
	former  atomic.Bool   // it was started again for one that was ready, and has not been so itself

	unsure bool // it may have taken another configuration than spec's; owned by the adapter's transition, or by run if there is none
}

// prepare starts a process of the spec and configures it. Ctx ends the attempt
// only.
func (a *adapter) prepare(ctx context.Context, sp *spec) (g *generation, err error) {
	if sp.failure != nil {
		return nil, sp.failure
	}
	program, err := a.host.copies.copy(sp.file)
	if err != nil {
		return nil, &failure{Reason: ReasonFile, Err: err}
	}
	if pin := sp.conf.SHA256; pin != "" && !strings.EqualFold(pin, program.sum) {
		program.free()
		return nil, &failure{Reason: ReasonSHA256, Err: fmt.Errorf("%s has the SHA-256 %s, and the configuration wants %s", sp.file, program.sum, pin), permanent: true}
	}
	return a.prepareProgram(ctx, sp, program)
}

// prepareProgram is prepare for an executable that was copied already.
func (a *adapter) prepareProgram(ctx context.Context, sp *spec, program *program) (g *generation, err error) {
	g = &generation{a: a, spec: sp, program: program, number: a.number(), ended: make(chan struct{}), began: time.Now()}
	g.source = fmt.Sprintf("%s@%d", a.name, g.number)
	g.process, g.conn, err = a.host.start(ctx, &launch{
		name: a.name, program: g.program, conf: &sp.conf, workDir: a.host.workDir(a.name), timeout: a.host.times.start,
		lines: a.printed,
	})
	if err != nil {
		g.program.free()
		return nil, err
	}
	g.client = wire.NewAdapterClient(g.conn)
	if err := g.introduce(ctx); err != nil {
		err = g.orExit(err)
		g.discard()
		return nil, err
	}
	return g, nil
}

// introduce asks what it is, and configures it.
func (g *generation) introduce(ctx context.Context) error {
	t := &g.a.host.times
	go g.readStdio()
	err := g.call(ctx, "Describe", t.call, func(ctx context.Context) (err error) {
		g.desc, err = g.client.Describe(ctx, &wire.DescribeRequest{})
		return err
	})
	if err == nil && (!validName.MatchString(g.desc.Name) || len(g.desc.Version) > 100 || len(g.desc.Summary) > 1000) {
		err = failed(ReasonContract, "it says that its name is %.100q: a name is 1 to 64 lower-case letters, digits, - and _; a version has at most 100 bytes", g.desc.Name)
	}
	if err == nil {
		err = g.configure(ctx, &g.spec.conf, false)
	}
	if err == nil {
		_, _, err = g.health(ctx)
	}
	return err
}

// configure puts a configuration in force, or only checks it, and returns what is wrong with
// it.
func (g *generation) configure(ctx context.Context, c *AdapterConfig, validateOnly bool) error {
	var answer *wire.ConfigureResponse
	err := g.call(ctx, "Configure", g.a.host.times.config, func(ctx context.Context) (err error) {
		answer, err = g.client.Configure(ctx, &wire.ConfigureRequest{Config: c.json(), StateDir: g.process.cmd.Dir, ValidateOnly: validateOnly})
		return err
	})
	if err != nil || len(answer.Errors) == 0 {
		return err
	}
	return &failure{Reason: ReasonConfig, Err: g.a.fieldErrors(answer.Errors), permanent: true}
}

// fieldErrors makes one error of what Configure answered.
func (a *adapter) fieldErrors(list []*wire.FieldError) error {
	var all []error
	for i, e := range list {
		if i == 10 {
			all = append(all, fmt.Errorf("and %d more", len(list)-i))
			break
		}
		field, place := e.Field, ""
		if a.host.Place != nil {
			place = a.host.Place(a.name, field)
		}
		if field == "" {
			field = "the configuration"
		}
		if place != "" {
			place += ": "
		}
		all = append(all, fmt.Errorf("%s%.200s: %.500s", place, field, e.Message))
	}
	return errors.Join(all...)
}

// health asks how it is.
func (g *generation) health(ctx context.Context) (ready bool, detail string, err error) {
	var h *wire.HealthResponse
	err = g.call(ctx, "Health", g.a.host.times.health, func(ctx context.Context) (err error) {
		h, err = g.client.Health(ctx, &wire.HealthRequest{})
		return err
	})
	if err != nil {
		return false, "", err
	}
	return h.Ready, fmt.Sprintf("%.500s", h.Detail), nil
}

// call makes one call with a deadline, and says what did not answer.
func (g *generation) call(ctx context.Context, name string, timeout time.Duration, fn func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := fn(limited)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil, status.Code(err) == codes.Canceled, status.Code(err) == codes.DeadlineExceeded: // it has the deadline too
		return failed(ReasonTimeout, "it did not answer %s within %v", name, timeout)
	case status.Code(err) == codes.ResourceExhausted:
		return failed(ReasonTooLarge, "its answer to %s is larger than %d bytes", name, MaxMessage)
	case status.Code(err) == codes.Unavailable:
		return failed(ReasonHandshake, "calling %s: %.300s", name, status.Convert(err).Message())
	}
	return failed(ReasonContract, "calling %s: %.300s", name, status.Convert(err).Message())
}

// orExit returns err, or that the process ended, if that is why.
func (g *generation) orExit(err error) error {
	select {
	case <-g.process.exited:
	case <-time.After(50 * time.Millisecond):
		return err
	}
	if g.process.wasKilled() {
		return err
	}
	return failed(ReasonExit, "its process ended: %w", g.process.how())
}

// discard ends a process that never had a session.
func (g *generation) discard() {
	g.conn.Close()
	g.process.kill()
	g.program.free()
	close(g.ended)
}

// open opens the session; the generation is in service from then on, until
// watch ends it.
func (g *generation) open() error {
	g.a.tellRefusals()
	s, err := g.openSession()
	if err != nil {
		err = g.orExit(err)
		g.discard()
		return err
	}
	g.session = s
	go g.watch()
	return nil
}

// watch ends the generation when its session or its process ends.
func (g *generation) watch() {
	s := g.session
	select {
	case <-s.ctx.Done():
		if f := s.failure(); f.Reason == ReasonSession && !g.retired.Load() {
			s.cause.Store(asFailure(g.orExit(f), f.Reason)) // the end of the process says more
		}
		g.a.noticed(g, g.why())
	case <-g.process.exited:
		exit := failed(ReasonExit, "its process ended: %w", g.process.how())
		if !g.retired.Load() {
			s.cause.Store(exit)
		}
		g.a.noticed(g, g.why())
		select {
		case <-s.closed: // what it sent before
		case <-time.After(100 * time.Millisecond):
		}
		s.fail(exit)
	}
	g.letExit()
	g.conn.Close()
	s.close(g.why())
	s.pub.finish()
	g.program.free()
	if !g.retired.Load() && !g.onTrial.Load() {
		g.a.lose(g.source)
	}
	close(g.ended)
}

// why returns why it ended.
func (g *generation) why() *failure {
	if f := g.session.cause.Load(); f != nil {
		return f
	}
	return g.session.failure()
}

// letExit gives a process that was told to end some time for it, and no other.
func (g *generation) letExit() {
	if g.retired.Load() && g.why().Reason != ReasonHang {
		g.shutdown()
		select {
		case <-g.process.exited:
			return
		case <-time.After(g.a.host.times.exit):
		}
	}
	g.process.kill()
}

// retire drains the generation within the time given, and ends it. It returns
// when all that it published is in the journal.
func (g *generation) retire(why Reason, drain time.Duration) {
	g.retired.Store(true)
	g.session.calls.refuse(errDraining)
	settled, cancel := context.WithTimeout(g.session.ctx, g.a.host.times.settle)
	g.session.calls.settle(settled)
	cancel()
	err := g.drain(drain)
	if err != nil && g.session.ctx.Err() == nil {
		g.a.log().Warn("adapter was not drained", "generation", g.source, "err", err)
		g.a.count(&g.a.stats.undrained, "undrained", 1)
	}
	g.session.fail(&failure{Reason: why})
	<-g.ended
}

// drain asks the adapter to publish what it holds, and waits for that.
func (g *generation) drain(timeout time.Duration) error {
	s := g.session
	s.draining.Store(true)
	ctx, cancel := context.WithTimeout(s.ctx, timeout) // which the adapter is told
	defer cancel()
	began := time.Now()
	limit := time.AfterFunc(timeout, cancel)
	defer limit.Stop()
	defer context.AfterFunc(g.a.host.ctx, func() { limit.Reset(g.a.host.times.drain) })() // the server's end has less patience
	answer, err := g.client.Drain(ctx, &wire.DrainRequest{})
	if err != nil {
		select {
		case <-s.closed: // it was drained, and ended before it could say so
			if s.ctx.Err() == nil {
				return nil
			}
		case <-time.After(20 * time.Millisecond):
		}
		if (ctx.Err() != nil || status.Code(err) == codes.DeadlineExceeded) && s.ctx.Err() == nil { // it has the deadline too
			return fmt.Errorf("it was not through with what it does within %v", time.Since(began).Round(time.Millisecond))
		}
		return err
	}
	// What it published comes on another stream. An adapter that doesn't close its
	// side behind the last batch is not waited for much longer.
	patience := time.NewTimer(g.a.host.times.exit)
	defer patience.Stop()
	for last := false; !last; {
		select {
		case <-s.closed:
			last = true
		case <-ctx.Done():
			last = true
		case <-patience.C:
			last = s.received.Load() >= answer.LastBatch
			patience.Reset(g.a.host.times.exit)
		}
	}
	if got := s.received.Load(); got < answer.LastBatch {
		return fmt.Errorf("batch %d is its last, and %d came", answer.LastBatch, got)
	}
	return nil
}

// wasReady reports whether another that takes its place must be ready, too.
func (g *generation) wasReady() bool { return g.ready.Load() || g.former.Load() }
