package loadtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// test is one run: what the workers and the publisher share.
type test struct {
	// Static after construction.
	o       Options
	target  *url.URL
	runID   string // empty if only listening: the first one seen then
	spread  *spread
	began   time.Time
	workers []*worker
	gate    *gate
	ctx     context.Context // ends with the run
	cancel  context.CancelCauseFunc

	last      atomic.Int64  // number of the last event, once it is known
	intervals chan interval // closed by collect's caller once the workers have finished

	quiet    atomic.Bool  // there is no chaos now
	restarts atomic.Int64 // of the server
	// condition is that of the present round, if there are rounds.
	condition atomic.Int32

	spans atomic.Pointer[[]span] // published more than once
	mu    sync.Mutex
	cause error // of the last broken connection; guarded by mu
}

func newTest(ctx context.Context, o Options) *test {
	t := &test{o: o, target: o.Target, began: time.Now(), gate: newGate(o.Ramp), spread: newSpread(o.Filters), intervals: make(chan interval, 64)}
	t.ctx, t.cancel = context.WithCancelCause(ctx)
	if !o.ListenOnly {
		var id [6]byte
		rand.Read(id[:])
		t.runID = hex.EncodeToString(id[:])
	}
	t.quiet.Store(true)
	first := 0
	for i := range o.Workers {
		n := (o.Streams - first) / (o.Workers - i)
		t.workers = append(t.workers, newWorker(t, i, first, n))
		first += n
	}
	return t
}

// now returns the run time: ns since the test began, by the monotonic clock.
func (t *test) now() int64 { return int64(time.Since(t.began)) }

// unix returns the Unix time in ns of the run time now. All times of a test
// are of one clock, so that setting the computer's clock does not disturb it.
func (t *test) unix(now int64) int64 { return t.began.UnixNano() + now }

// fail ends the test.
func (t *test) fail(err error) { t.cancel(err) }

// retried notes events that may be published twice.
func (t *test) retried(events span) {
	spans := append(slices.Clone(t.retriedSpans()), events)
	t.spans.Store(&spans)
}

func (t *test) retriedSpans() []span {
	if p := t.spans.Load(); p != nil {
		return *p
	}
	return nil
}

// retry reports whether a stream that broke for cause is to be opened again.
// A refusal that will not change ends the test.
func (t *test) retry(s *stream, cause error) bool {
	if t.ctx.Err() != nil {
		return false
	}
	if !errors.Is(cause, errCut) {
		t.mu.Lock()
		t.cause = cause
		t.mu.Unlock()
	}
	var r *refusal
	if errors.As(cause, &r) && r.final() {
		t.fail(fmt.Errorf("opening stream: %w", cause))
		return false
	}
	return !t.o.NoReconnect || !s.once
}

// sum adds up a figure of all workers.
func (t *test) sum(of func(*live) *atomic.Int64) (n int64) {
	for _, w := range t.workers {
		n += of(&w.live).Load()
	}
	return n
}

func openStreams(l *live) *atomic.Int64 { return &l.open }

// start runs the workers. The returned function waits for their end, which
// the end of ctx brings about.
func (t *test) start() (wait func(), err error) {
	addr, err := resolve(t.ctx, t.target)
	if err != nil {
		return nil, err
	}
	var all sync.WaitGroup
	for _, w := range t.workers {
		loop := w.loop
		if !fast || t.o.Portable || t.target.Scheme == "https" {
			loop = w.loopConns
		}
		all.Go(func() {
			if err := loop(t.ctx, addr); err != nil {
				t.fail(err)
			}
		})
	}
	return all.Wait, nil
}

func resolve(ctx context.Context, u *url.URL) (*net.TCPAddr, error) {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return nil, fmt.Errorf("looking up port: %w", err)
	}
	addrs, err := net.DefaultResolver.LookupIPAddr(ctx, u.Hostname())
	if err != nil {
		return nil, fmt.Errorf("looking up %s: %w", u.Hostname(), err)
	}
	for _, a := range addrs {
		if a.IP.To4() != nil {
			return &net.TCPAddr{IP: a.IP, Port: number}, nil
		}
	}
	return &net.TCPAddr{IP: addrs[0].IP, Port: number, Zone: addrs[0].Zone}, nil
}

// wait polls until done, ctx ends or the timeout passes, and reports whether
// it was done. Every half second it reports progress.
func (t *test) wait(p *reporter, timeout time.Duration, done func() bool) bool {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	end := time.Now().Add(timeout)
	for !done() {
		if !time.Now().Before(end) {
			return false
		}
		select {
		case <-t.ctx.Done():
			return false
		case <-ticker.C:
			p.tick()
		}
	}
	return true
}

// whyNotOpen explains that the streams did not all open in time.
func (t *test) whyNotOpen() error {
	t.mu.Lock()
	cause := t.cause
	t.mu.Unlock()
	err := fmt.Errorf("only %d of %d streams are open after %v", t.sum(openStreams), t.o.Streams, time.Since(t.began).Round(time.Second))
	if cause != nil {
		err = fmt.Errorf("%w; the last one broken: %w", err, cause)
	}
	return err
}
