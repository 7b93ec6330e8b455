package plugins

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"carillon/runtime"
)

// A State is how an adapter is.
type State string

// The states.
const (
	Starting   State = "starting"
	Ready      State = "ready"
	Degraded   State = "degraded"    // in service, and not able to do all of its work
	BackingOff State = "backing_off" // it crashed and is started again soon
	Failed     State = "failed"      // it is not started again until it changes or somebody asks for it
	Disabled   State = "disabled"    // by configuration or on request
	Draining   State = "draining"    // on its way to disabled
)

// Status is how one adapter is, for people.
type Status struct {
	Name       string    `json:"name"`
	File       string    `json:"file"`              // the executable
	SHA256     string    `json:"sha256,omitempty"`  // of the one that runs
	Version    string    `json:"version,omitempty"` // as the adapter says
	Summary    string    `json:"summary,omitempty"` // as the adapter says
	Exclusive  bool      `json:"exclusive"`
	Discovers  bool      `json:"discovers"`  // it can look for devices, see Discover
	Generation int       `json:"generation"` // in service, else the last that was tried
	State      State     `json:"state"`
	Since      time.Time `json:"since"` // when State became what it is
	PID        int       `json:"pid,omitempty"`
	Reason     Reason    `json:"reason,omitempty"`  // why it is not ready, or why the last change is not in force
	Error      string    `json:"error,omitempty"`   // the same in words
	RetryAt    time.Time `json:"retry_at,omitzero"` // when it is started again, if it backs off
	Restarts   int       `json:"restarts"`          // starts after the first
	Entities   int       `json:"entities"`
	Refused    int64     `json:"refused"`           // items of the last generation that are not stored
	Refusal    string    `json:"refusal,omitempty"` // why the first of them is not
	Counters   Counters  `json:"counters"`
	Queue      int64     `json:"queue"`       // items that are not in the journal yet
	QueueBytes int64     `json:"queue_bytes"` // of their batches
	Credit     int64     `json:"credit"`      // items that it may send besides
	Follows    int       `json:"follows"`     // that it has of what happens in the home
	FollowLag  uint64    `json:"follow_lag"`  // how many sequences the last of them is behind the head
}

// Counters count what an adapter did, over all of its generations.
type Counters struct {
	Items       int64 `json:"items"`        // received
	Refused     int64 `json:"refused"`      // items that are not stored, and were named in the acknowledgement
	Dropped     int64 `json:"dropped"`      // items that could not be stored for the end of the server
	Commands    int64 `json:"commands"`     // asked
	Failures    int64 `json:"failures"`     // of commands
	LateResults int64 `json:"late_results"` // of commands that nobody waited for
	LogLines    int64 `json:"log_lines"`
	LogDropped  int64 `json:"log_dropped"` // lines of the log over the limit
	Undrained   int64 `json:"undrained"`   // generations that did not end in time when asked to
	Followed    int64 `json:"followed"`    // events that it was told
	FollowGaps  int64 `json:"follow_gaps"` // gaps that it was told
}

// stats are the numbers of one adapter.
type stats struct {
	items, refusedItems, dropped, commands, failures, lateResults, logLines, logDropped, valuesDropped, undrained, followed, followGaps, discoveries atomic.Int64

	queue, queueBytes atomic.Int64
}

func (s *stats) counters() Counters {
	return Counters{
		Items: s.items.Load(), Refused: s.refusedItems.Load(), Dropped: s.dropped.Load(),
		Commands: s.commands.Load(), Failures: s.failures.Load(), LateResults: s.lateResults.Load(),
		LogLines: s.logLines.Load(), LogDropped: s.logDropped.Load(), Undrained: s.undrained.Load(),
		Followed: s.followed.Load(), FollowGaps: s.followGaps.Load(),
	}
}

// State returns the present state.
func (a *adapter) State() State {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status.State
}

// set changes the state.
func (a *adapter) set(s State, why Reason, text string) {
	defer a.host.settled()
	a.mu.Lock()
	defer a.mu.Unlock()
	st := &a.status
	if st.State != s {
		st.State, st.Since = s, time.Now()
	}
	st.Reason, st.Error, st.RetryAt = why, text, time.Time{}
	switch s {
	case Ready, Degraded, Draining:
	case Failed, Disabled, BackingOff:
		a.degraded = false
		st.PID = 0
	default:
		st.PID = 0
	}
}

// starting notes that it is being started. What went wrong the last time stays to be
// read: a process that hangs at its start is starting for most of the time.
func (a *adapter) starting() {
	a.mu.Lock()
	why, text := a.status.Reason, a.status.Error
	again := a.status.State == BackingOff
	a.mu.Unlock()
	if !again {
		why, text = "", ""
	}
	a.set(Starting, why, text)
}

// retryAt notes when the next try is.
func (a *adapter) retryAt(when time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status.RetryAt = when
}

// note says why the last change is not in force; nil says that it is.
func (a *adapter) note(f *failure) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turned = f
}

// running notes which generation is in service.
func (a *adapter) running(g *generation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	st := &a.status
	st.Generation, st.Version, st.Summary = g.number, g.desc.Version, g.desc.Summary
	st.Exclusive, st.Discovers = g.desc.Exclusive, g.desc.Discovers
	st.SHA256, st.PID = g.program.sum, g.process.pid()
	a.inUse = g
}

// waits notes that a generation is not ready yet, which is to take the place of one that is gone.
func (a *adapter) waits(g *generation, detail string) {
	a.set(Starting, ReasonUnhealthy, "a change is on trial, and not ready yet: "+detail)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status.PID = g.process.pid()
}

// feels notes what a generation says of its health.
func (a *adapter) feels(g *generation, ready bool, detail string) {
	g.ready.Store(ready)
	if ready {
		g.former.Store(false)
	}
	a.mu.Lock()
	if a.inUse != g || g.retired.Load() {
		a.mu.Unlock()
		return
	}
	before := a.degraded
	st := &a.status
	st.RetryAt = time.Time{}
	next, reason := Ready, Reason("")
	if !ready {
		next, reason = Degraded, ReasonUnhealthy
	}
	if st.State != next {
		st.State, st.Since = next, time.Now()
	}
	st.Reason, st.Error = reason, detail
	a.degraded = !ready
	a.mu.Unlock()
	a.host.settled()
	switch {
	case !ready && !before:
		a.log().Warn("adapter is degraded", "generation", g.source, "detail", detail)
		a.host.report(runtime.AdapterDegraded, g.source, map[string]any{"adapter": a.name, "generation": g.number, "detail": detail})
	case ready && before:
		a.log().Info("adapter has recovered", "generation", g.source)
		a.host.report(runtime.AdapterRecovered, g.source, map[string]any{"adapter": a.name, "generation": g.number})
	}
}

// noticed notes at once that a generation has ended by itself.
func (a *adapter) noticed(g *generation, why *failure) {
	if g.retired.Load() {
		return
	}
	a.mu.Lock()
	if a.inUse == g {
		a.inUse, a.degraded = nil, false
		a.status.State, a.status.Since, a.status.PID = BackingOff, time.Now(), 0
		a.status.Reason, a.status.Error = why.Reason, why.Error()
	}
	a.mu.Unlock()
	a.routes.lost(g.session, why)
}

// lastNumber returns the number of the last generation that was made.
func (a *adapter) lastNumber() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

// lastSource is what the last generation is called.
func (a *adapter) lastSource() string { return fmt.Sprintf("%s@%d", a.name, a.lastNumber()) }

// lag returns how many follows the generation in service has, and how far the last
// of them is behind.
func (a *adapter) lag() (follows int, behind uint64) {
	a.mu.Lock()
	g := a.inUse
	a.mu.Unlock()
	if g == nil {
		return 0, 0
	}
	return g.session.lag()
}

// describe returns the adapter's status.
func (a *adapter) describe() Status {
	a.mu.Lock()
	st := a.status
	if a.want.spec != nil {
		st.File = a.want.spec.file
	}
	if st.Generation = max(st.Generation, 0); a.inUse == nil {
		st.Generation = a.last
	}
	st.Restarts = max(a.last-1, 0)
	if f := a.turned; f != nil && (st.State == Ready || st.State == Degraded) {
		st.Reason, st.Error = f.Reason, strings.TrimSuffix("the last change is not in force: "+f.Error()+"\n"+st.Error, "\n")
	}
	a.mu.Unlock()
	st.Follows, st.FollowLag = a.lag()
	st.Refused, st.Refusal = a.refusals()
	st.Entities, st.Counters = a.entities.count(), a.stats.counters()
	st.Queue, st.QueueBytes = a.stats.queue.Load(), a.stats.queueBytes.Load()
	st.Credit = max(Credit-st.Queue, 0)
	return st
}
