package main

import (
	"context"
	"log/slog"
	"maps"
	"os"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v4/host"

	"carillon/plugins/adapter"
)

// patience is how long one kind may take to be read.
const patience = 5 * time.Second

// secondRound is when rates are known first, whatever the interval.
const secondRound = time.Second

// A machine is the adapter.
type machine struct {
	settings settings // set by Configure before Run
	sources  []*source
	now      func() time.Time // the clock that what is gone is timed by

	// Owned by Run.
	device   adapter.Device
	declared map[string]*sensor // by entity id
	tried    time.Time          // when it was declared last

	mu       sync.Mutex
	troubles map[string]string // why a kind could not be read, by kind; guarded by mu
	taken    []string          // why sensors are left out; guarded by mu
}

func newMachine() *machine {
	return &machine{sources: newSources(), now: time.Now, declared: map[string]*sensor{}, troubles: map[string]string{}}
}

// Run is the Adapter's.
func (m *machine) Run(ctx context.Context, h *adapter.Host) error {
	m.device = m.describeMachine(ctx)
	m.keepIncluded()
	next := time.NewTimer(0)
	defer next.Stop()
	for first := true; ; first = false {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
		began := time.Now()
		all, troubles := m.round(ctx)
		if ctx.Err() != nil {
			return nil // what is missing was not waited for
		}
		m.note(h.Log(), troubles)
		if err := m.publish(ctx, h, all, troubles); err != nil {
			return err
		}
		took := time.Since(began)
		h.Metric("round_seconds", took.Seconds())
		wait := m.settings.every
		if first {
			wait = min(wait, secondRound)
		}
		next.Reset(max(wait-took, 0))
	}
}

// keepIncluded drops the sources that are not asked for.
func (m *machine) keepIncluded() {
	m.sources = slices.DeleteFunc(m.sources, func(s *source) bool { return !m.settings.includes(s.kind) })
}

// describeMachine says what machine this is.
func (m *machine) describeMachine(ctx context.Context) adapter.Device {
	name := m.settings.Name
	if name == "" {
		name, _ = os.Hostname()
	}
	if name == "" {
		name = "This machine"
	}
	d := adapter.Device{ID: m.settings.Prefix, Name: name, Model: goruntime.GOOS + "/" + goruntime.GOARCH}
	if platform, _, version, err := host.PlatformInformationWithContext(ctx); err == nil {
		d.Software = strings.TrimSpace(platform + " " + version)
	}
	return d
}

// round reads everything, all kinds at once, and returns what was wrong by kind.
// It ends with ctx.
func (m *machine) round(ctx context.Context) (all []reading, troubles map[string]error) {
	results := make([]chan result, len(m.sources))
	for i, s := range m.sources {
		results[i] = s.start(ctx, &m.settings)
	}
	late, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	troubles = map[string]error{}
	for i, s := range m.sources {
		r := result{err: errLate}
		select {
		case r = <-results[i]:
		case <-late.Done():
			select { // the others may have answered since
			case r = <-results[i]:
			default:
			}
		}
		for i := range r.readings {
			r.readings[i].kind = s.kind
		}
		all = append(all, r.readings...)
		troubles[s.kind] = r.err
	}
	return all, troubles
}

// note keeps what is wrong with each kind, and tells when that changes.
func (m *machine) note(log *slog.Logger, troubles map[string]error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for kind, err := range troubles {
		text := ""
		if err != nil {
			text = err.Error()
		}
		switch before := m.troubles[kind]; {
		case text == before:
		case text == "":
			log.Info("it can be read again", "kind", kind)
		default:
			log.Warn("some of it can't be read", "kind", kind, "err", text)
		}
		m.troubles[kind] = text
	}
}

// Health is the Healther's: the machine is well as long as anything can be
// read.
func (m *machine) Health() (ready bool, detail string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(m.troubles)) {
		if why := m.troubles[kind]; why != "" {
			parts = append(parts, kind+": "+why)
		}
	}
	ready = len(parts) == 0 || len(parts) < len(m.troubles)
	return ready, strings.Join(append(parts, m.taken...), "; ")
}
