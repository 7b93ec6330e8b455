package main

import (
	"log/slog"
	"sync"
	"sync/atomic"
)

// reports tell of what is wrong with what devices send: each thing once, since
// devices repeat themselves, and a few things of one topic, since values are in many.
type reports struct {
	log *slog.Logger

	mu sync.Mutex
	// Guarded by mu.
	told  map[string]bool
	count map[string]int // by what is wrong and name
}

const (
	// maxReports is how many things are remembered; then all are told again.
	maxReports = 2000
	// maxOfTopic is how many things of one kind are told of one topic.
	maxOfTopic = 5
)

// warn logs that something about a topic is wrong.
func (r *reports) warn(what, topic string, err error, more ...any) {
	r.about("topic", what, topic, err, more...)
}

// about does the same for what is no topic: kind says what the name is of.
func (r *reports) about(kind, what, name string, err error, more ...any) {
	name, text := cut(name, 300), cut(err.Error(), 500)
	about := what + "\x00" + name
	key := about + "\x00" + text
	r.mu.Lock()
	again := r.told[key] || r.count[about] > maxOfTopic
	if !again {
		if len(r.told) >= maxReports || r.told == nil {
			r.told, r.count = map[string]bool{}, map[string]int{}
		}
		r.told[key] = true
		if r.count[about]++; r.count[about] > maxOfTopic {
			text += "; and more, which is not told"
		}
	}
	r.mu.Unlock()
	if !again {
		r.log.Warn(what, append([]any{kind, name, "err", text}, more...)...)
	}
}

// numbers are what the adapter counts.
type numbers struct {
	messages, announcements, rejected, refused, published, losses, oversized, dropped, unclaimed atomic.Int64
}

// tell makes metrics of the numbers.
func (n *numbers) tell(b *bridge) {
	b.mu.Lock()
	entities, devices := len(b.entities), len(b.devices)
	b.mu.Unlock()
	for name, v := range map[string]int64{
		"messages_total": n.messages.Load(), "announcements_total": n.announcements.Load(), "announcements_rejected_total": n.rejected.Load(),
		"messages_refused_total": n.refused.Load(), "published_total": n.published.Load(), "connection_losses_total": n.losses.Load(),
		"messages_oversized_total": n.oversized.Load(), "broker_dropped_total": n.dropped.Load(),
		"messages_unclaimed_total": n.unclaimed.Load(),
		"entities":                 int64(entities), "devices": int64(devices), "inbox": int64(len(b.inbox)),
	} {
		b.host.Metric(name, float64(v))
	}
}
