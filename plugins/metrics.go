package plugins

import (
	"fmt"
	"math"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// hostMetrics are the numbers of one host, in a set of their own: they end with it.
type hostMetrics struct {
	set            *metrics.Set
	retries        *metrics.Counter
	reportsDropped *metrics.Counter
}

func (m *hostMetrics) init() {
	m.set = metrics.NewSet()
	m.retries = m.set.NewCounter("carillon_adapter_journal_retries_total")
	m.reportsDropped = m.set.NewCounter("carillon_adapter_reports_dropped_total")
}

func label(name, adapter, more string) string {
	return fmt.Sprintf(`carillon_adapter_%s{adapter=%q%s}`, name, adapter, more)
}

func (m *hostMetrics) failures(adapter string, r Reason) {
	m.set.GetOrCreateCounter(label("failures_total", adapter, fmt.Sprintf(",reason=%q", r))).Inc()
}

// command counts a command; done, refused, timeout or failed became of it.
func (m *hostMetrics) command(adapter, result string, began time.Time) {
	m.set.GetOrCreateCounter(label("commands_total", adapter, fmt.Sprintf(",result=%q", result))).Inc()
	if result == "done" {
		m.set.GetOrCreateSummary(label("command_seconds", adapter, "")).UpdateDuration(began)
	}
}

// gauges shows what is known of an adapter.
func (m *hostMetrics) gauges(a *adapter) {
	for name, value := range map[string]func() float64{
		"queue_items":     func() float64 { return float64(a.stats.queue.Load()) },
		"queue_bytes":     func() float64 { return float64(a.stats.queueBytes.Load()) },
		"credit":          func() float64 { return float64(max(Credit-a.stats.queue.Load(), 0)) },
		"items_total":     func() float64 { return float64(a.stats.items.Load()) },
		"log_lines_total": func() float64 { return float64(a.stats.logLines.Load()) },

		"followed_events_total": func() float64 { return float64(a.stats.followed.Load()) },
		"entities":              func() float64 { return float64(a.entities.count()) },
		"generation":            func() float64 { return float64(a.lastNumber()) },
		"follow_lag":            func() float64 { _, behind := a.lag(); return float64(behind) },
		"ready":                 func() float64 { return map[State]float64{Ready: 1}[a.State()] },
	} {
		m.set.GetOrCreateGauge(label(name, a.name, ""), value)
	}
}

// forget takes away what gauges made.
func (m *hostMetrics) forget(a *adapter) {
	for _, name := range []string{"queue_items", "queue_bytes", "credit", "items_total", "log_lines_total", "entities", "generation", "ready", "follow_lag", "followed_events_total"} {
		m.set.UnregisterMetric(label(name, a.name, ""))
	}
	a.values.clear()
}

// count counts what is not done for an adapter, by reason.
func (a *adapter) count(c *atomic.Int64, reason string, n int) {
	c.Add(int64(n))
	a.host.metrics.set.GetOrCreateCounter(label("dropped_total", a.name, fmt.Sprintf(",reason=%q", reason))).Add(n)
}

// values are the numbers that an adapter shows.
type values struct {
	a *adapter

	mu sync.Mutex
	// Guarded by mu.
	numbers    map[string]*atomic.Uint64 // bits of a float64, by name
	generation int                       // that they are of: the last one that said any
}

// maxValues is how many numbers an adapter may show.
const maxValues = 100

var validMetric = regexp.MustCompile(`^[a-z0-9_]{1,64}$`)

// put takes numbers of a generation in. Those of one before it are forgotten. Names that
// are none, and those over the limit, are counted and left out.
func (v *values) put(generation int, numbers map[string]float64) {
	v.mu.Lock()
	if generation > v.generation {
		v.generation = generation
		v.forget()
	}
	late := generation < v.generation
	v.mu.Unlock()
	if late {
		return
	}
	for name, x := range numbers {
		v.mu.Lock()
		n := v.numbers[name]
		ok := n != nil || validMetric.MatchString(name) && len(v.numbers) < maxValues
		if ok && n == nil {
			n = &atomic.Uint64{}
			if v.numbers == nil {
				v.numbers = map[string]*atomic.Uint64{}
			}
			v.numbers[name] = n
			v.a.host.metrics.set.GetOrCreateGauge(v.name(name), func() float64 { return math.Float64frombits(n.Load()) })
		}
		v.mu.Unlock()
		if !ok {
			v.a.count(&v.a.stats.valuesDropped, "metric", 1)
			continue
		}
		n.Store(math.Float64bits(x))
	}
}

func (v *values) name(name string) string {
	return label("value", v.a.name, fmt.Sprintf(",name=%q", name))
}

func (v *values) clear() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.forget()
}

// forget takes all numbers away. Callers hold mu.
func (v *values) forget() {
	for name := range v.numbers {
		v.a.host.metrics.set.UnregisterMetric(v.name(name))
	}
	v.numbers = nil
}
