package loadtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	goruntime "runtime"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report is what a test found. Its JSON form is the file that -json writes.
type Report struct {
	Command     string    `json:"command,omitempty"`
	Date        time.Time `json:"date"`
	Machine     Machine   `json:"machine"`
	Target      string    `json:"target"` // without credentials
	Selections  []string  `json:"selections,omitempty"`
	OwnServer   bool      `json:"own_server"`
	ListenOnly  bool      `json:"listen_only"`
	Interrupted bool      `json:"interrupted"`
	Problem     string    `json:"problem,omitempty"` // what ended the test early

	Streams     int     `json:"streams"`
	Opened      int64   `json:"opened"`
	OpenAtEnd   int64   `json:"open_at_end"`
	OpenSeconds float64 `json:"open_seconds"`
	Reconnects  int64   `json:"reconnects"`

	Rate             float64 `json:"rate"`
	Size             int     `json:"size"`
	Published        int64   `json:"published"`
	PublishSeconds   float64 `json:"publish_seconds"`
	PublishRetries   int64   `json:"publish_retries"`
	SlowestPublishMs float64 `json:"slowest_publish_ms"`

	// Delivered counts events of the test that streams received, all events
	// if only listening; Others, all other events; Bytes, what came on the
	// wire, since the streams were opened.
	Delivered int64   `json:"delivered"`
	Others    int64   `json:"others"`
	Bytes     int64   `json:"bytes"`
	Seconds   float64 `json:"seconds"` // from the first event's time to the last delivery

	faults
	FaultyStreams int      `json:"faulty_streams"`
	Examples      []string `json:"examples,omitempty"` // of faults
	Gaps          int64    `json:"gap_frames"`
	Resets        int64    `json:"reset_frames"`

	Filters *FiltersReport `json:"filters,omitempty"` // nil without filters
	Stalled *StalledReport `json:"stalled,omitempty"` // nil if all streams were read
	Chaos   *ChaosReport   `json:"chaos,omitempty"`   // nil without chaos
	Latency *Latency       `json:"latency,omitempty"` // nil if no event had a mark
	Server  *ServerCost    `json:"server,omitempty"`  // nil if its process is not known
	Client  time.Duration  `json:"client_cpu_ns"`
	Series  []Second       `json:"series"`

	serverCPU time.Duration
}

// FiltersReport is what the streams asked for beside their selection.
type FiltersReport struct {
	Distinct int    `json:"distinct"`
	Text     string `json:"text"`   // how they divide the events, for people
	Errors   int64  `json:"errors"` // filter_error frames
}

// Latency is from an event's intended time to its arrival, in ms.
type Latency struct {
	Count       int64        `json:"count"`
	Mean        float64      `json:"mean_ms"`
	P50         float64      `json:"p50_ms"`
	P90         float64      `json:"p90_ms"`
	P99         float64      `json:"p99_ms"`
	P999        float64      `json:"p99_9_ms"`
	Max         float64      `json:"max_ms"`
	Percentiles []Percentile `json:"percentiles"` // ascending
}

// Percentile is one point of the distribution.
type Percentile struct {
	Percent float64 `json:"percent"`
	Ms      float64 `json:"ms"`
}

// ServerCost is what the server's process used. Memory is in bytes, before
// the streams were opened and after; HeapStacks is 0 if the server's /metrics
// did not tell.
type ServerCost struct {
	PID              int     `json:"pid"`
	CPUSeconds       float64 `json:"cpu_seconds"`
	CPUPerDelivery   float64 `json:"cpu_per_delivery_us"`
	RSSBefore        int64   `json:"rss_before"`
	RSSAfter         int64   `json:"rss_after"`
	RSSPerStream     float64 `json:"rss_per_stream"`
	HeapStacksBefore int64   `json:"heap_stacks_before"`
	HeapStacksAfter  int64   `json:"heap_stacks_after"`
	HeapPerStream    float64 `json:"heap_stacks_per_stream"`
}

// Machine is where the test ran.
type Machine struct {
	Host   string `json:"host"`
	System string `json:"system"`
	CPU    string `json:"cpu,omitempty"`
	CPUs   int    `json:"cpus"`
	Go     string `json:"go"`
}

func thisMachine() Machine {
	host, _ := os.Hostname()
	return Machine{Host: host, System: goruntime.GOOS + "/" + goruntime.GOARCH, CPU: cpuModel(), CPUs: goruntime.NumCPU(), Go: goruntime.Version()}
}

// withoutSecrets returns the address without user, password and credentials in the query.
func withoutSecrets(u *url.URL) string {
	c := *u
	c.User = nil
	c.RawQuery = queryWithoutSecrets(c.RawQuery)
	return c.String()
}

func queryWithoutSecrets(query string) string {
	q, _ := url.ParseQuery(query) // what can't be parsed is left out
	for _, name := range []string{"token", "api_password", "authorization", "access_token", "jwt"} {
		if q.Has(name) {
			q.Set(name, "***")
		}
	}
	return strings.NewReplacer("%2A", "*", "%2C", ",").Replace(q.Encode())
}

// OK reports whether every stream got everything once and in order, and
// nothing ended the test early.
func (r *Report) OK() bool {
	return r.total() == 0 && r.Problem == "" && !r.Interrupted && (r.ListenOnly || r.Rate == 0 || r.Delivered > 0)
}

func (r *Report) addWorker(w *worker) {
	r.Opened += w.ever
	r.Reconnects += w.reconnects
	r.Delivered += w.delivered
	r.Others += w.others
	if r.Filters != nil {
		r.Filters.Errors += w.filterErrors
	}
	r.Bytes += w.bytes
	r.Gaps += w.gaps
	r.Resets += w.resets
	r.faults.add(w.faults)
	if w.mischief != nil && r.Chaos != nil {
		r.Chaos.add(w.mischief.done)
	}
	r.FaultyStreams += w.faultyStreams()
	r.Examples = append(r.Examples, w.examples[:min(len(w.examples), maxExamples-len(r.Examples))]...)
}

func (r *Report) addMemory(before, after usage) {
	if !before.known || !after.known {
		return
	}
	n := float64(r.Streams)
	r.Server = &ServerCost{RSSBefore: before.rss, RSSAfter: after.rss, RSSPerStream: float64(after.rss-before.rss) / n}
	if before.heapStacks > 0 && after.heapStacks > 0 {
		r.Server.HeapStacksBefore, r.Server.HeapStacksAfter = before.heapStacks, after.heapStacks
		r.Server.HeapPerStream = float64(after.heapStacks-before.heapStacks) / n
	}
}

func (r *Report) addSeries(s *series) {
	if r.ListenOnly {
		r.Delivered += r.Others
		r.Others = 0
	}
	if r.Server != nil {
		r.Server.CPUSeconds = r.serverCPU.Seconds()
		if r.Delivered > 0 {
			r.Server.CPUPerDelivery = r.Server.CPUSeconds * 1e6 / float64(r.Delivered)
		}
	}
	for _, sec := range s.rates {
		q := s.quantile[sec.second]
		sec.P50, sec.P99, sec.Max = q.P50, q.P99, q.Max
		r.Series = append(r.Series, sec)
	}
	r.Latency = latency(s.total)
	if r.Stalled != nil {
		r.Stalled.addLatency(s.by)
	}
}

// latency reads a histogram; nil if there is nothing in it.
func latency(h *hdrhistogram.Histogram) *Latency {
	if h.TotalCount() == 0 {
		return nil
	}
	at := func(q float64) float64 { return ms(h.ValueAtQuantile(q)) }
	l := &Latency{Count: h.TotalCount(), Mean: h.Mean() / 1000, P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: ms(h.Max())}
	// Ten points for each further nine, as far as the count carries.
	for tail := 1.0; tail > 0.5/float64(h.TotalCount()); tail *= 0.8 {
		l.Percentiles = append(l.Percentiles, Percentile{100 - 100*tail, at(100 - 100*tail)})
	}
	l.Percentiles = append(l.Percentiles, Percentile{100, l.Max})
	return l
}

// WriteJSON writes the report as indented JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("writing report: %w", err)
	}
	return nil
}
