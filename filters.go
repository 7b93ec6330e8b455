package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"

	"github.com/VictoriaMetrics/metrics"

	"carillon/httpd"
	"carillon/httpd/broadcast"
	"carillon/scripts/filter"
	"carillon/scripts/filter/worker"
)

// filters makes the filters of a home, each once however many ask for it, and
// decides with them: with those that could be compiled in its set, and with
// those that need all of JavaScript in the workers.
type filters struct {
	// Static after newFilters.
	set    *filter.Set
	pool   *worker.Pool
	named  *namedFilters
	log    *slog.Logger
	events sync.Pool // of *filter.Event, for decisions about the past

	matching matching // owned by the hub

	mu   sync.Mutex
	live map[string]*liveFilter // by key; guarded by mu
}

// A liveFilter is a filter that streams have, or that somebody is about to use.
type liveFilter struct {
	// Static.
	key     string // equal for filters that are the same
	text    string // for people
	program *filter.Program
	full    *worker.Filter // if there is no program
	origin  *origin        // of a named one; else nil
	holds   *liveFilter    // whose worker filter this one's is; nil if it has its own

	users int // guarded by filters.mu: callers of compile, and the hub

	// Owned by the hub.
	entry *filter.Entry
	next  *liveFilter // with the same entry
}

// operator is the trust domain of the files in home/filters.
const operator = "operator"

func newFilters(dir string, o worker.Options) *filters {
	f := &filters{set: filter.NewSet(), pool: worker.NewPool(o), log: o.Log, live: map[string]*liveFilter{}}
	f.events.New = func() any { return new(filter.Event) }
	f.matching.begin()
	f.named = newNamedFilters(dir, f)
	return f
}

func (f *liveFilter) String() string { return f.text }

// Lane is empty for a compiled filter: it decides at once.
func (f *liveFilter) Lane() string {
	if f.program != nil {
		return ""
	}
	return f.full.Domain()
}

// compile is httpd's CompileFilter.
func (f *filters) compile(ctx context.Context, spec httpd.FilterSpec) (broadcast.Filter, error) {
	made, err := f.take(ctx, spec)
	if err != nil {
		return nil, err // and no *liveFilter of nil
	}
	return made, nil
}

func (f *filters) take(ctx context.Context, spec httpd.FilterSpec) (*liveFilter, error) {
	if name, ok := strings.CutPrefix(spec.Source, "@"); ok {
		return f.named.take(ctx, name, spec.Params)
	}
	domain := ""
	if spec.Full {
		domain = spec.Credential
	}
	return f.make(ctx, filterText{native: spec.Source, full: spec.Source}, spec.Params, domain, nil)
}

// A filterText is a filter's source as each tier takes it.
type filterText struct{ native, full string }

// make compiles a filter, or has it run by the workers of a domain, if there is
// one, and returns the one that is live already if it is the same.
func (f *filters) make(ctx context.Context, text filterText, given map[string]any, domain string, from *origin) (*liveFilter, error) {
	program, err := filter.Compile(text.native, filter.Options{Params: given})
	if err == nil {
		return f.join(&liveFilter{key: from.key(program.Key()), text: from.text(program.Key()), program: program, origin: from}), nil
	}
	if domain == "" {
		return nil, mistake(err, from)
	}
	full, err := f.pool.Compile(ctx, domain, from.text("a stream's filter"), text.full, given)
	if err != nil {
		return nil, mistake(err, from)
	}
	params, err := json.Marshal(given)
	if err != nil {
		full.Release()
		return nil, err
	}
	key := from.key(fmt.Sprintf("\x00%q %s %s", domain, params, text.full))
	return f.join(&liveFilter{key: key, text: from.text(text.full), full: full, origin: from}), nil
}

// mistake turns what the tiers say of a filter into what httpd tells. That a
// named one is in quarantine is none of who asks for it.
func mistake(err error, from *origin) error {
	var wrong *filter.Error
	if errors.As(err, &wrong) && (from == nil || !errors.Is(err, worker.ErrQuarantined)) {
		return &httpd.FilterError{Line: wrong.Line, Column: wrong.Column, Construct: wrong.Construct, Message: wrong.Message}
	}
	return fmt.Errorf("%w: %w", httpd.ErrFilterBusy, err)
}

// join counts one more user of a filter: of the one that is live, if there is.
func (f *filters) join(made *liveFilter) *liveFilter {
	f.mu.Lock()
	defer f.mu.Unlock()
	if old := f.live[made.key]; old != nil {
		old.users++
		f.end(made)
		return old
	}
	made.users = 1
	f.live[made.key] = made
	return made
}

// release is httpd's ReleaseFilter.
func (f *filters) release(used broadcast.Filter) { f.leave(used.(*liveFilter)) }

// leave counts one user less. A filter without any is gone.
func (f *filters) leave(used *liveFilter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drop(used)
}

// drop is leave with mu held.
func (f *filters) drop(used *liveFilter) {
	if used.users--; used.users > 0 {
		return
	}
	delete(f.live, used.key)
	f.end(used)
}

// end gives back what a filter that nobody has needs of a worker. It is called
// with mu held.
func (f *filters) end(l *liveFilter) {
	switch {
	case l.holds != nil:
		f.drop(l.holds)
	case l.full != nil:
		l.full.Release()
	}
}

// succeed returns a filter that does what old does, and is made of something
// else.
func (f *filters) succeed(old *liveFilter, from *origin) *liveFilter {
	f.mu.Lock()
	old.users++
	f.mu.Unlock()
	return f.join(&liveFilter{key: from.key(""), text: from.text(""), program: old.program, full: old.full, origin: from, holds: old})
}

// writeMetrics writes what streams' filters do in Prometheus' text format.
func (f *filters) writeMetrics(w io.Writer) {
	stats := f.pool.Stats()
	metrics.WriteGaugeUint64(w, `carillon_filters{tier="native"}`, uint64(f.set.Len()))
	metrics.WriteGaugeUint64(w, `carillon_filters{tier="worker"}`, uint64(stats.Filters))
	metrics.WriteGaugeUint64(w, "carillon_filter_workers", uint64(stats.Processes))
	metrics.WriteCounterUint64(w, "carillon_filter_worker_starts_total", stats.Started)
	metrics.WriteCounterUint64(w, "carillon_filter_quarantines_total", stats.Quarantines)
	metrics.WriteCounterUint64(w, `carillon_filter_decisions_total{tier="native"}`, f.matching.decided.Load())
	metrics.WriteCounterUint64(w, `carillon_filter_decisions_total{tier="worker"}`, stats.Decisions)
	metrics.WriteCounterUint64(w, `carillon_filter_failures_total{tier="native"}`, f.matching.failed.Load())
	metrics.WriteCounterUint64(w, `carillon_filter_failures_total{tier="worker"}`, stats.Errors)
}

func (f *filters) close() { f.pool.Close() }
