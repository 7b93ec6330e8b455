package loadtest

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

func pendingStreams(l *live) *atomic.Int64 { return &l.pending }

// Second is what happened in one second of the run.
type Second struct {
	// At is the second's begin, in seconds since publishing began.
	At float64 `json:"at"`
	// Delivered, Bytes and Published are rates a second.
	Delivered float64 `json:"delivered"`
	Bytes     float64 `json:"bytes"`
	Published float64 `json:"published"`
	// P50, P99 and Max are latencies in ms, of events received in this second.
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`

	second int64 // of the run
}

// series collects the latencies of all workers, by second and as a whole.
type series struct {
	done sync.WaitGroup // the collector has ended

	// Owned by collect until done.
	total    *hdrhistogram.Histogram
	bySecond map[int64]*hdrhistogram.Histogram
	quantile map[int64]Second
	by       [3]*hdrhistogram.Histogram // by the condition of the round

	rates []Second // owned by the reporter
}

func newSeries() *series {
	s := &series{total: newHistogram(), bySecond: map[int64]*hdrhistogram.Histogram{}, quantile: map[int64]Second{},
		by: [3]*hdrhistogram.Histogram{newHistogram(), newHistogram(), newHistogram()}}
	s.done.Add(1)
	return s
}

// collect takes the workers' histograms until the channel is closed. A
// second's are kept until those of two seconds later come.
func (s *series) collect(in <-chan interval) {
	defer s.done.Done()
	for i := range in {
		s.by[i.condition].Merge(i.hist)
		if h := s.bySecond[i.second]; h != nil {
			h.Merge(i.hist)
		} else {
			s.bySecond[i.second] = i.hist
		}
		for second := range s.bySecond {
			if second < i.second-1 {
				s.settle(second)
			}
		}
	}
	for second := range s.bySecond {
		s.settle(second)
	}
}

func (s *series) settle(second int64) {
	h := s.bySecond[second]
	delete(s.bySecond, second)
	s.total.Merge(h)
	s.quantile[second] = Second{P50: ms(h.ValueAtQuantile(50)), P99: ms(h.ValueAtQuantile(99)), Max: ms(h.Max())}
}

// ms converts a latency in µs.
func ms(us int64) float64 { return float64(us) / 1000 }

// reporter observes a test for its caller and for the series.
type reporter struct {
	run     *test
	series  *series
	pub     *publisher // nil until publishing
	streams int64
	begin   int64 // run time at which publishing began, ns; 0 before

	name       string
	since      time.Time
	total      time.Duration
	lastShown  time.Time
	shownD     int64 // delivered when shown last
	shownB     int64
	lastSecond int64 // run time of the last entry of rates
	lastD      int64
	lastB      int64
	lastP      int64
}

func (p *reporter) phase(name string, total time.Duration) {
	p.name, p.total, p.since = name, total, time.Now()
	if name == "running" {
		p.lastSecond = p.run.now()
		p.lastD, p.lastB = p.counts()
	}
}

// counts returns deliveries and bytes so far.
func (p *reporter) counts() (delivered, bytes int64) {
	bytes = p.run.sum(func(l *live) *atomic.Int64 { return &l.bytes })
	delivered = p.run.sum(func(l *live) *atomic.Int64 { return &l.delivered })
	if p.run.o.ListenOnly {
		delivered += p.run.sum(func(l *live) *atomic.Int64 { return &l.others })
	}
	return delivered, bytes
}

// tick is called every few milliseconds.
func (p *reporter) tick() {
	if now := p.run.now(); p.begin > 0 && now/int64(time.Second) > p.lastSecond/int64(time.Second) {
		p.second(now)
	}
	if p.run.o.Progress != nil && time.Since(p.lastShown) >= 500*time.Millisecond {
		p.show()
	}
}

// second adds the rates since the last entry to the series, unless it is too
// short to tell: then it becomes part of the next.
func (p *reporter) second(now int64) {
	if now-p.lastSecond < int64(time.Second)/4 {
		return
	}
	delivered, bytes := p.counts()
	published := int64(0)
	if p.pub != nil {
		published = p.pub.sent.Load()
	}
	took := float64(now-p.lastSecond) / 1e9
	p.series.rates = append(p.series.rates, Second{
		At:        float64(p.lastSecond-p.begin) / 1e9,
		Delivered: float64(delivered-p.lastD) / took,
		Bytes:     float64(bytes-p.lastB) / took,
		Published: float64(published-p.lastP) / took,
		second:    (now - 1) / int64(time.Second),
	})
	p.lastSecond, p.lastD, p.lastB, p.lastP = now, delivered, bytes, published
}

func (p *reporter) show() {
	now := time.Now()
	delivered, bytes := p.counts()
	took := now.Sub(p.lastShown).Seconds()
	v := Progress{
		Phase: p.name, Elapsed: now.Sub(p.since), Total: p.total,
		Open: p.run.sum(openStreams), Streams: p.streams, Delivered: delivered,
		DeliveredPerSecond: float64(delivered-p.shownD) / took, BytesPerSecond: float64(bytes-p.shownB) / took,
		Faults:     p.run.sum(func(l *live) *atomic.Int64 { return &l.faults }),
		Reconnects: p.run.sum(func(l *live) *atomic.Int64 { return &l.reconnects }),
		Restarts:   p.run.restarts.Load(),
		Others:     p.run.sum(func(l *live) *atomic.Int64 { return &l.others }),
	}
	if p.name == "draining" {
		v.Pending = p.run.sum(pendingStreams)
	}
	if p.pub != nil {
		v.Published = p.pub.sent.Load()
	}
	p.lastShown, p.shownD, p.shownB = now, delivered, bytes
	p.run.o.Progress(v)
}
