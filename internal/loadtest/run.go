package loadtest

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Run makes one test and reports what it found. It blocks until the test is
// over or ctx ends. The report is nil if the streams did not open; otherwise
// it is of use even with an error, which then tells what ended the test early.
// Faults of the streams are no error: see [Report.OK].
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := raiseFileLimit(o.Streams + spareFiles); err != nil {
		return nil, err
	}
	o.Streams -= o.Stalled // they are not the workers'
	t := newTest(ctx, o)
	defer t.cancel(nil)
	s := newSeries()
	go s.collect(t.intervals)
	r := &Report{Streams: o.Streams, Rate: o.Rate, Size: o.Size, ListenOnly: o.ListenOnly, Date: time.Now(), Machine: thisMachine(),
		Target: withoutSecrets(o.Target)}
	for _, selection := range o.Selections {
		r.Selections = append(r.Selections, queryWithoutSecrets(selection))
	}
	if t.spread != nil {
		r.Filters = &FiltersReport{Distinct: o.Filters, Text: t.spread.text(int64(o.Streams))}
	}
	p := &reporter{run: t, series: s, streams: int64(o.Streams)}

	finish, err := t.open(p, r)
	if err == nil {
		err = t.play(p, r)
	}
	r.OpenAtEnd = t.sum(openStreams)
	r.Interrupted = ctx.Err() != nil
	if r.Server != nil {
		r.Server.PID = o.PID
	}
	if cause := context.Cause(t.ctx); err == nil && cause != nil {
		err = cause
	}
	t.cancel(nil)
	if finish == nil {
		return nil, err
	}
	finish()
	last := t.last.Load()
	if r.Interrupted {
		last = 0
	}
	var all order
	for _, w := range t.workers {
		all.merge(*w.order)
	}
	for _, w := range t.workers {
		w.finish(last, all)
		r.addWorker(w)
	}
	close(t.intervals)
	s.done.Wait()
	r.addSeries(s)
	if r.Opened == 0 || errors.Is(err, errNotOpen) {
		return nil, err
	}
	return r, err
}

var errNotOpen = errors.New("the streams did not open")

// spareFiles is how many descriptors a test needs beside its streams.
const spareFiles = 64

// open opens all streams and measures how fast, and what they take.
func (t *test) open(p *reporter, r *Report) (finish func(), err error) {
	p.phase("settling", 0)
	release := func() {}
	if t.o.PID != 0 {
		release = t.holdOne()
		t.wait(p, t.o.Settle, never)
	}
	before := t.measure(r)
	release()
	begin := time.Now()
	if finish, err = t.start(); err != nil {
		return nil, err
	}
	timeout := t.o.OpenTimeout
	if t.o.Ramp > 0 {
		timeout += time.Duration(t.o.Streams) * time.Second / time.Duration(t.o.Ramp)
	}
	p.phase("opening", timeout)
	if !t.wait(p, timeout, func() bool { return t.sum(openStreams) >= int64(t.o.Streams) }) {
		if cause := context.Cause(t.ctx); cause != nil {
			return finish, fmt.Errorf("%w: %w", errNotOpen, cause)
		}
		return finish, fmt.Errorf("%w: %w", errNotOpen, t.whyNotOpen())
	}
	r.OpenSeconds = time.Since(begin).Seconds()
	p.phase("settling", t.o.Settle)
	t.wait(p, t.o.Settle, never)
	r.addMemory(before, t.measure(r))
	return finish, nil
}

func never() bool { return false }

// play publishes, or listens, until the last event has arrived everywhere.
func (t *test) play(p *reporter, r *Report) error {
	serverBefore, clientBefore := t.usage(), clientCPU()
	begin := t.now()
	p.phase("running", t.o.Duration)
	p.begin = begin
	var err error
	if t.o.ListenOnly || t.o.Rate == 0 {
		t.wait(p, t.o.Duration, never)
	} else if t.o.Stalled > 0 {
		err = t.rounds(p, r)
	} else {
		err = t.publish(p, r, begin)
	}
	p.second(t.now())
	lastAt := begin
	for _, w := range t.workers {
		lastAt = max(lastAt, w.live.lastAt.Load())
	}
	if t.o.ListenOnly {
		lastAt = t.now()
	}
	r.Seconds = float64(lastAt-begin) / 1e9
	r.Client = clientCPU() - clientBefore
	r.serverCPU = t.usage().cpu - serverBefore.cpu
	return err
}

// publish sends the events and waits until every stream has the last one.
func (t *test) publish(p *reporter, r *Report, begin int64) error {
	pub := newPublisher(t, begin, r.Published)
	p.pub = pub
	result := make(chan error, 1)
	go func() { result <- pub.publish(t.ctx) }()
	calm := t.startTrouble()
	var err error
	over := false
	t.wait(p, 24*time.Hour, func() bool {
		select {
		case err = <-result:
			over = true
		default:
		}
		return over
	})
	if !over {
		err = <-result
	}
	done, troubled := calm()
	err = errors.Join(err, troubled)
	if t.o.Chaos != nil {
		done.Seed = t.o.Chaos.Seed
		r.Chaos = &done
	}
	r.Published = pub.sent.Load()
	r.PublishRetries += pub.retries.Load()
	r.PublishSeconds += float64(t.now()-begin) / 1e9
	r.SlowestPublishMs = max(r.SlowestPublishMs, float64(pub.slowest)/1e6)
	t.last.Store(r.Published)
	if r.Published > 0 {
		p.phase("draining", t.o.Drain)
		t.wait(p, t.o.Drain, t.drained)
	}
	return err
}

// drained reports whether every stream has the last event.
func (t *test) drained() bool {
	last := t.last.Load()
	for _, w := range t.workers {
		if w.live.pendingOf.Load() != last || w.live.pending.Load() > 0 {
			return false
		}
	}
	return true
}
