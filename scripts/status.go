package scripts

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// Status is how one script is.
type Status struct {
	Name          string    `json:"name"` // from the manifest, else the file's
	Description   string    `json:"description,omitempty"`
	File          string    `json:"file"`
	Generation    int       `json:"generation"`         // in service, else the last that was; 0 when there was none
	State         string    `json:"state"`              // Running, Failed or Stopped
	Error         *Error    `json:"error"`              // why the last save is not in service, or why it stopped; else null
	LastError     *Error    `json:"last_error"`         // the last error of a handler of this generation; else null
	LoadedAt      time.Time `json:"loaded_at,omitzero"` // of the generation in service
	Entities      int64     `json:"entities"`           // that it has now
	Subscriptions int64     `json:"subscriptions"`      // that it has now
	Timers        int64     `json:"timers"`             // that wait now
	Handled       int64     `json:"handled"`            // runs of handlers for events, commands and timers
	Errors        int64     `json:"errors"`             // of handlers
	Missed        int64     `json:"missed"`             // events that found no room
	BusySeconds   float64   `json:"busy_seconds"`       // spent in JavaScript, waits for the journal included
	Reads         []string  `json:"reads,omitempty"`    // what the manifest asks for
}

// What Status.State says.
const (
	Running = "running" // a generation is in service
	Failed  = "failed"  // none is: the file has an error and there was no version before
	Stopped = "stopped" // none is: it broke down
)

// stats are the numbers of one generation.
type stats struct {
	handled, errors, missed, busy atomic.Int64
	entities, subs, timers        atomic.Int64
	last                          atomic.Pointer[Error]
}

func (s *stats) ran(d time.Duration) {
	s.busy.Add(int64(d))
	metricHandler.Update(d.Seconds())
}

func (s *stats) failed(e *Error) {
	s.errors.Add(1)
	s.last.Store(e)
}

// count notes for Status what the generation has.
func (g *generation) count() {
	g.stats.entities.Store(int64(len(g.devices)))
	g.stats.subs.Store(int64(len(g.subs)))
	g.stats.timers.Store(int64(g.timers.Len()))
}

// Status returns how each script is, sorted by file.
func (h *Host) Status() []Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]Status, 0, len(h.scripts))
	for name, s := range h.scripts {
		if s.known {
			list = append(list, s.status(name))
		}
	}
	slices.SortFunc(list, func(a, b Status) int { return strings.Compare(a.File, b.File) })
	return list
}

// status is called with the host's mu held.
func (s *script) status(name string) Status {
	st := Status{Name: name, File: name, Generation: s.number, State: Failed, Error: s.failure}
	g := s.current
	if g == nil {
		if s.broke {
			st.State = Stopped
		}
		return st
	}
	if g.manifest.Name != "" {
		st.Name = g.manifest.Name
	}
	st.Description, st.Reads = g.manifest.Description, g.manifest.Read
	st.State, st.LoadedAt, st.LastError = Running, s.loadedAt, g.stats.last.Load()
	st.Entities, st.Subscriptions, st.Timers = g.stats.entities.Load(), g.stats.subs.Load(), g.stats.timers.Load()
	st.Handled, st.Errors, st.Missed = g.stats.handled.Load(), g.stats.errors.Load(), g.stats.missed.Load()
	st.BusySeconds = time.Duration(g.stats.busy.Load()).Seconds()
	return st
}

var (
	metricLoads          = metrics.NewCounter("carillon_script_loads_total")
	metricErrors         = metrics.NewCounter("carillon_script_errors_total")
	metricMissed         = metrics.NewCounter("carillon_script_missed_events_total")
	metricReportsDropped = metrics.NewCounter("carillon_script_reports_dropped_total")
	metricHandler        = metrics.NewSummary("carillon_script_handler_seconds")
)

func countFailure(r reason) {
	metrics.GetOrCreateCounter(`carillon_script_load_failures_total{reason="` + string(r) + `"}`).Inc()
}
