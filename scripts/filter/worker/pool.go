package worker

import (
	"carillon/scripts/filter"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of Options.
const (
	DefaultMemory    = 64 << 20
	DefaultDeadline  = 50 * time.Millisecond
	DefaultProcesses = 16
)

// minMemory is the least that a machine and a batch need, in bytes.
const minMemory = 16 << 20

const (
	// quarantineFor is how long a filter that ended its worker is not asked.
	quarantineFor = 10 * time.Minute
	// maxQuarantined bounds what is remembered of filters; the oldest go first.
	maxQuarantined = 10_000
	// idleAfter is how long a worker with nothing to do is kept.
	idleAfter = time.Minute
)

// ErrQuarantined tells that a filter may not be compiled for some time.
var ErrQuarantined = errors.New("loading a filter")

// ErrClosed is what a closed Pool answers.
var ErrClosed = errors.New("the filters' workers are closed")

// Options of a Pool; the zero values give the defaults.
type Options struct {
	// Command starts a worker: something that calls Main with its standard
	// input and output. Default: this program, with the argument filter-worker.
	Command []string
	// Memory is what the filters of one domain may take together, in bytes;
	// the process itself has some 15 MB beside it. Default DefaultMemory, at
	// least 16 MiB.
	Memory int64
	// Deadline is how long a filter may take, of processor time where that can
	// be measured, to be loaded or for one event. For many events in a row it
	// may take an average of a fiftieth of that beyond. Default
	// DefaultDeadline.
	Deadline time.Duration
	// Processes bounds how many workers run at a time. When more domains have
	// filters, the worker that has been idle longest makes room, and if none
	// is idle the others wait. Default DefaultProcesses.
	Processes int
	Log       *slog.Logger // default: nothing is logged
}

// Stats are counts since the Pool was made.
type Stats struct {
	Processes   int    // that run now
	Filters     int    // that are compiled now
	Started     uint64 // processes
	Decisions   uint64 // made by workers
	Errors      uint64 // decisions that were errors, those of the quarantine included
	Quarantines uint64 // filters that were put into quarantine
}

// A Pool is the workers of all domains. It is safe for concurrent use.
type Pool struct {
	// Static after construction.
	o       Options
	idle    time.Duration // idleAfter
	stuck   time.Duration // stuckAfter
	now     func() time.Time
	slots   chan struct{}   // one for each process that may run
	spawn   chan spawning   // to the spawner
	ctx     context.Context // ended by Close
	end     context.CancelFunc
	spawner sync.WaitGroup
	noPage  bool // tests: as where there are no shared pages

	started, decisions, failures, quarantines atomic.Uint64

	mu          sync.Mutex
	lanes       map[string]*lane            // Guarded by mu.
	filters     map[fingerprint]*Filter     // Guarded by mu.
	quarantined map[fingerprint]*quarantine // Guarded by mu.
	lastID      uint32                      // Guarded by mu.
}

// A fingerprint is a domain, a source and parameters.
type fingerprint [sha256.Size]byte

func fingerprintOf(domain, source, params string) fingerprint {
	b := appendString(appendString(appendString(nil, domain), source), params)
	return sha256.Sum256(b)
}

// A quarantine is why and until when a filter is not asked. It is immutable.
type quarantine struct {
	reason string
	until  time.Time
}

func (q *quarantine) message() string {
	return "the filter is in quarantine until " + q.until.UTC().Format(time.RFC3339) + " or until its source changes: " + q.reason
}

// NewPool returns a Pool. It starts no process before one is needed.
func NewPool(o Options) *Pool {
	if o.Memory <= 0 {
		o.Memory = DefaultMemory
	}
	o.Memory = max(o.Memory, minMemory)
	if o.Deadline <= 0 {
		o.Deadline = DefaultDeadline
	}
	if o.Processes <= 0 {
		o.Processes = DefaultProcesses
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Pool{
		o: o, idle: idleAfter, stuck: stuckAfter, now: time.Now,
		slots: make(chan struct{}, o.Processes), spawn: make(chan spawning),
		lanes: map[string]*lane{}, filters: map[fingerprint]*Filter{}, quarantined: map[fingerprint]*quarantine{},
	}
	p.ctx, p.end = context.WithCancel(context.Background())
	p.spawner.Go(p.spawnAll)
	return p
}

// Close ends all workers and waits for that. Calls under way return ErrClosed.
func (p *Pool) Close() {
	p.end()
	p.mu.Lock()
	lanes := p.lanes
	p.lanes = map[string]*lane{}
	p.mu.Unlock()
	for _, l := range lanes {
		l.turn <- struct{}{}
		l.timer.Stop()
		l.stop()
		<-l.turn
	}
	p.spawner.Wait()
}

// Stats returns the counts.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{
		Processes: len(p.slots), Filters: len(p.filters), Started: p.started.Load(), Decisions: p.decisions.Load(),
		Errors: p.failures.Load(), Quarantines: p.quarantines.Load(),
	}
}

// A Filter is a filter that a domain's worker can run. It is safe for
// concurrent use.
type Filter struct {
	pool   *Pool
	lane   *lane
	print  fingerprint
	load   load
	users  int // Guarded by pool.mu.
	jailed atomic.Pointer[quarantine]

	budget budget // Owned by who has the lane's turn.
}

// Domain returns the trust domain whose process runs the filter.
func (f *Filter) Domain() string { return f.lane.domain }

// Name returns the name it was compiled with.
func (f *Filter) Name() string { return f.load.name }

// Quarantined reports whether the filter is in quarantine, and why: it hung,
// or ended its worker, within the last 10 minutes.
func (f *Filter) Quarantined() (reason string, yes bool) {
	if q := f.quarantine(); q != nil {
		return q.reason, true
	}
	return "", false
}

func (f *Filter) quarantine() *quarantine {
	q := f.jailed.Load()
	if q != nil && !f.pool.now().Before(q.until) {
		f.jailed.CompareAndSwap(q, nil)
		return nil
	}
	return q
}

// Release says that one caller of Compile is done with the filter. The last
// one ends it.
func (f *Filter) Release() {
	p := f.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.users--; f.users != 0 {
		return
	}
	delete(p.filters, f.print)
	f.lane.dropped = append(f.lane.dropped, f.load.id)
	f.lane.filters--
}

// Compile loads a filter into the process of its domain, which is started if
// there is none. The same source and parameters in the same domain are the same
// Filter, which ends when all who compiled it have called Release. Parameters
// are strings, finite numbers and booleans.
//
// The error is a *filter.Error if the source is at fault: it has a syntax error,
// throws, hangs or takes too much memory while it is loaded, or is in
// quarantine.
func (p *Pool) Compile(ctx context.Context, domain, name, source string, params map[string]any) (*Filter, error) {
	given := ""
	if len(params) > 0 {
		text, err := json.Marshal(params) // sorted by name
		if err != nil {
			return nil, fmt.Errorf("encoding the filter's parameters: %w", err)
		}
		given = string(text)
	}
	print := fingerprintOf(domain, source, given)
	if f, err := p.known(print); f != nil || err != nil {
		return f, err
	}
	l, err := p.take(ctx, domain)
	if err != nil {
		return nil, err
	}
	defer l.give()
	if f, err := p.known(print); f != nil || err != nil {
		return f, err // another caller was faster
	}
	p.mu.Lock()
	p.lastID++
	f := &Filter{pool: p, lane: l, print: print, users: 1, load: load{id: p.lastID, name: name, source: source, params: given}}
	p.mu.Unlock()
	if err := l.compile(ctx, f); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.filters[print] = f
	l.filters++
	return f, nil
}

// known returns a filter that is compiled already, or why it may not be.
func (p *Pool) known(print fingerprint) (*Filter, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q := p.quarantined[print]; q != nil {
		if p.now().Before(q.until) {
			return nil, fmt.Errorf("%w: %w", ErrQuarantined, &filter.Error{Line: 1, Column: 1, Message: q.message()})
		}
		delete(p.quarantined, print)
	}
	f := p.filters[print]
	if f != nil {
		f.users++
	}
	return f, nil
}

// jail puts a filter into quarantine.
func (p *Pool) jail(f *Filter, reason string) {
	q := &quarantine{reason: reason, until: p.now().Add(quarantineFor)}
	f.jailed.Store(q)
	f.budget = budget{}
	p.quarantines.Add(1)
	p.o.Log.Warn("a filter is in quarantine", "domain", f.Domain(), "filter", f.Name(), "reason", reason, "until", q.until)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.quarantined) >= maxQuarantined {
		p.forgetOldest()
	}
	p.quarantined[f.print] = q
	f.lane.dropped = append(f.lane.dropped, f.load.id) // it is loaded anew afterwards
}

// forgetOldest makes room in quarantined: what has expired goes, or else the
// one that expires first.
func (p *Pool) forgetOldest() {
	var oldest fingerprint
	var until time.Time
	for print, q := range p.quarantined {
		if !p.now().Before(q.until) {
			delete(p.quarantined, print)
		} else if until.IsZero() || q.until.Before(until) {
			oldest, until = print, q.until
		}
	}
	if len(p.quarantined) >= maxQuarantined {
		delete(p.quarantined, oldest)
	}
}
