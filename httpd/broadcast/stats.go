package broadcast

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// counters are the hub's metrics. While the hub is open they are part of what
// metrics.WritePrometheus writes.
type counters struct {
	set     *metrics.Set
	streams atomic.Int64

	opened, published, deliveries, bytes *metrics.Counter
	replays, beats, blocked              *metrics.Counter
	agedOut, conflated, resets           *metrics.Counter
	merged, dropped, trimmed, overflows  *metrics.Counter
	filterErrors                         [2]*metrics.Counter // by feed.tier
	slow                                 [policies]*metrics.Counter
	closed                               [reasons]*metrics.Counter
}

func newCounters(h *Hub) *counters {
	set := metrics.NewSet()
	c := &counters{
		set:        set,
		opened:     set.NewCounter("carillon_stream_opened_total"),
		published:  set.NewCounter("carillon_broadcast_events_total"),
		deliveries: set.NewCounter("carillon_stream_events_total"),
		bytes:      set.NewCounter("carillon_stream_bytes_total"),
		replays:    set.NewCounter("carillon_stream_replay_chunks_total"),
		agedOut:    set.NewCounter(`carillon_stream_gaps_total{reason="aged_out"}`),
		conflated:  set.NewCounter(`carillon_stream_gaps_total{reason="conflated"}`),
		resets:     set.NewCounter(`carillon_stream_resets_total{reason="ahead"}`),
		merged:     set.NewCounter(`carillon_stream_left_out_events_total{reason="merged"}`),
		dropped:    set.NewCounter(`carillon_stream_left_out_events_total{reason="dropped"}`),
		trimmed:    set.NewCounter("carillon_stream_trimmed_total"),
		overflows:  set.NewCounter("carillon_broadcast_lane_overflows_total"),
		beats:      set.NewCounter("carillon_broadcast_beats_total"),
		blocked:    set.NewCounter("carillon_stream_blocked_total"),
	}
	for i, kind := range []string{"at_once", "asked"} {
		c.filterErrors[i] = set.NewCounter(fmt.Sprintf("carillon_broadcast_filter_errors_total{lane=%q}", kind))
	}
	for p := range c.slow {
		c.slow[p] = set.NewCounter(fmt.Sprintf("carillon_stream_slow_total{policy=%q}", Policy(p)))
	}
	for r := range c.closed {
		c.closed[r] = set.NewCounter(fmt.Sprintf("carillon_stream_closed_total{reason=%q}", Reason(r)))
	}
	set.NewGauge("carillon_streams", func() float64 { return float64(c.streams.Load()) })
	set.NewGauge("carillon_broadcast_head", func() float64 { return float64(h.head.Load()) })
	set.NewGauge("carillon_broadcast_feeds", func() float64 { return float64(h.Stats().Feeds) })
	set.NewGauge("carillon_broadcast_filters", func() float64 { return float64(h.Stats().Filters) })
	set.NewGauge("carillon_broadcast_lanes", func() float64 { return float64(h.Stats().Lanes) })
	set.NewGauge("carillon_broadcast_lane_queue", func() float64 { return float64(h.Stats().Undecided) })
	set.NewGauge("carillon_broadcast_tape_bytes", func() float64 { return float64(h.Stats().TapeBytes) })
	return c
}

func (c *counters) register()   { metrics.RegisterSet(c.set) }
func (c *counters) unregister() { metrics.UnregisterSet(c.set, true) }

// gap counts what one stream is told.
func (c *counters) gap(g Gap) {
	switch {
	case g.Reset:
		c.resets.Inc()
	case g.Reason == Conflated:
		c.conflated.Inc()
		c.merged.AddInt64(int64(g.Merged))
		c.dropped.AddInt64(int64(g.Dropped))
	default:
		c.agedOut.Inc()
	}
}

// Stats are totals since New, but for those of the first block, which are of now.
type Stats struct {
	Streams   int
	Feeds     int    // those with a selection, of all formats
	Filters   int    // distinct ones in use
	Lanes     int    // that their filters have
	Undecided int    // events that wait for lanes
	TapeBytes int64  // encoded frames held in memory
	Head      uint64 // sequence of the last event published
	Time      time.Time

	Opened, Published uint64
	Delivered, Bytes  uint64            // events and bytes given to connections, a moment late
	Replays           uint64            // turns of journal reading
	Gaps, Resets      uint64            // told
	Merged, Dropped   uint64            // events left out for conflating streams
	Slow, Closed      map[string]uint64 // how often a stream fell behind, by policy; ended, by reason
}

// Stats returns the hub's totals. It waits for a Publish under way.
func (h *Hub) Stats() Stats {
	c := h.met
	st := Stats{
		Streams: int(c.streams.Load()), Head: h.head.Load(), Time: h.cfg.Now(),
		Opened: c.opened.Get(), Published: c.published.Get(), Delivered: c.deliveries.Get(), Bytes: c.bytes.Get(),
		Replays: c.replays.Get(), Gaps: c.agedOut.Get() + c.conflated.Get(), Resets: c.resets.Get(),
		Merged: c.merged.Get(), Dropped: c.dropped.Get(),
		Slow: make(map[string]uint64, policies), Closed: make(map[string]uint64, reasons),
	}
	for p, n := range c.slow {
		st.Slow[Policy(p).String()] = n.Get()
	}
	for r, n := range c.closed {
		st.Closed[Reason(r).String()] = n.Get()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	st.Filters, st.Lanes = len(h.filters), len(h.lanes)
	for _, l := range h.lanes {
		st.Undecided += len(l.queue)
	}
	for _, ch := range h.channels {
		st.Feeds += len(ch.feeds)
		st.TapeBytes += ch.tape.size()
		if aside := ch.aside.Load(); aside != nil {
			st.TapeBytes += aside.size()
		}
	}
	return st
}
