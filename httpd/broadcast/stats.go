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
	replays, gaps, beats, blocked        *metrics.Counter
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
		gaps:       set.NewCounter("carillon_stream_gaps_total"),
		beats:      set.NewCounter("carillon_broadcast_beats_total"),
		blocked:    set.NewCounter("carillon_stream_blocked_total"),
	}
	for r := range c.closed {
		c.closed[r] = set.NewCounter(fmt.Sprintf("carillon_stream_closed_total{reason=%q}", Reason(r)))
	}
	set.NewGauge("carillon_streams", func() float64 { return float64(c.streams.Load()) })
	set.NewGauge("carillon_broadcast_head", func() float64 { return float64(h.head.Load()) })
	set.NewGauge("carillon_broadcast_feeds", func() float64 { return float64(h.Stats().Feeds) })
	set.NewGauge("carillon_broadcast_tape_bytes", func() float64 { return float64(h.Stats().TapeBytes) })
	return c
}

func (c *counters) register()   { metrics.RegisterSet(c.set) }
func (c *counters) unregister() { metrics.UnregisterSet(c.set, true) }

// Stats are totals since New, but for the first five, which are of now.
type Stats struct {
	Streams   int
	Feeds     int    // filtered feeds, of all formats
	TapeBytes int64  // encoded frames held in memory
	Head      uint64 // sequence of the last event published
	Time      time.Time

	Opened, Published uint64
	Delivered, Bytes  uint64 // events and bytes given to connections, a moment late
	Replays, Gaps     uint64 // turns of journal reading, and gaps told
	Closed            map[string]uint64
}

// Stats returns the hub's totals. It waits for a Publish under way.
func (h *Hub) Stats() Stats {
	c := h.met
	st := Stats{
		Streams: int(c.streams.Load()), Head: h.head.Load(), Time: h.cfg.Now(),
		Opened: c.opened.Get(), Published: c.published.Get(), Delivered: c.deliveries.Get(), Bytes: c.bytes.Get(),
		Replays: c.replays.Get(), Gaps: c.gaps.Get(), Closed: make(map[string]uint64, reasons),
	}
	for r, n := range c.closed {
		st.Closed[Reason(r).String()] = n.Get()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, ch := range h.channels {
		st.Feeds += len(ch.feeds)
		st.TapeBytes += int64(ch.tape.head.Load() - ch.tape.low.Load())
	}
	return st
}

// A StreamInfo tells about one stream.
type StreamInfo struct {
	ID, Remote, Label, Format string
	Selection                 Selection // canonical; shared, not to be changed
	ConnectedAt               time.Time
	LastSent                  time.Time // to the second
	LastPing                  time.Time // of its format; zero if there was none since it connected
	Bytes, Events             uint64    // given to its connection
	Position                  uint64    // it has all of its selection up to this sequence
	Lag                       uint64    // events that it lacks; sequences, while it reads the journal
	Blocked, Replaying        bool      // its connection takes no more for now; it reads the journal
}

// Streams calls fn for every stream, one at a time. It waits for the pass that
// each pump has under way, so it must not be called from OnClose.
func (h *Hub) Streams(fn func(StreamInfo)) {
	pings := h.lastPings()
	for _, p := range h.pumps {
		var infos []StreamInfo
		done := make(chan struct{})
		p.ask(func() {
			p.each(func(s *Stream) { infos = append(infos, h.info(s, pings)) })
			close(done)
		})
		select {
		case <-done:
		case <-p.ended():
			continue
		}
		for _, info := range infos {
			fn(info)
		}
	}
}

func (h *Hub) lastPings() map[*channel]int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	pings := make(map[*channel]int64, len(h.channels))
	for _, ch := range h.channels {
		pings[ch] = ch.pinged
	}
	return pings
}

func (h *Hub) info(s *Stream, pings map[*channel]int64) StreamInfo {
	f := s.member.feed
	head := h.head.Load()
	info := StreamInfo{
		ID: s.id, Remote: s.remote, Label: s.label, Format: f.ch.format.Name, Selection: f.sel,
		ConnectedAt: time.UnixMilli(s.opened), LastSent: h.birth.Add(time.Duration(s.sent) * time.Second),
		Bytes: s.bytes, Events: s.events, Position: s.pos,
		Blocked: s.is(blocked), Replaying: s.is(replays),
	}
	if info.LastSent.Before(info.ConnectedAt) { // it is cut to the second
		info.LastSent = info.ConnectedAt
	}
	if ping := time.Unix(0, pings[f.ch]); ping.After(info.ConnectedAt) {
		info.LastPing = ping
	}
	lag, known := uint64(0), false
	if s.is(joined) {
		lag, known = f.behind(s.cursor)
	}
	switch {
	case !known:
		info.Lag = max(head, s.pos) - s.pos
	case lag == 0:
		info.Position = max(head, s.pos)
	default:
		info.Lag = lag
	}
	return info
}
