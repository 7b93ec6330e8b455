package main

import (
	"errors"
	"slices"
	"time"
)

// A broker that kept the session sends what devices said while the adapter was away at
// once, before they have announced themselves anew. Such messages wait for that.
type early struct {
	until    time.Time // when they are waited for no more
	first    time.Time // when the first of them came
	messages []*message
	bytes    int
}

const (
	// earlyPatience is how long they wait, behind the last announcement, and earlyMost how long at
	// the most: a broker sends few that are not acknowledged, and a device may announce itself
	// all the time.
	earlyPatience = 5 * time.Second
	earlyMost     = 30 * time.Second
	// maxEarly and maxEarlyBytes bound what waits.
	maxEarly      = 10_000
	maxEarlyBytes = 32 << 20
	// maxEarlyTold is of how many the topics are told when they are dropped.
	maxEarlyTold = 20
)

// begin makes them wait from now on.
func (y *early) begin() { y.until = time.Now().Add(earlyPatience) }

// keep keeps a message, if it is early, and reports whether it is.
func (y *early) keep(m *message) bool {
	if time.Now().After(y.until) || len(y.messages) >= maxEarly || y.bytes+len(m.payload) > maxEarlyBytes {
		return false
	}
	m.kept, m.waited = true, true
	if len(y.messages) == 0 {
		y.first = time.Now()
	}
	y.messages = append(y.messages, m)
	y.bytes += len(m.payload)
	return true
}

// replayEarly looks at the messages whose devices are known now, in their order, and
// returns them. Callers hold mu.
func (b *bridge) replayEarly() (replayed []*message) {
	var rest []*message
	for _, m := range b.early.messages {
		if len(b.routes.of(m.topic)) == 0 {
			rest = append(rest, m)
			continue
		}
		m.kept = false
		b.look(m)
		b.early.bytes -= len(m.payload)
		replayed = append(replayed, m)
	}
	b.early.messages = rest
	b.early.begin()
	return replayed
}

// dropEarly lets go of messages whose devices did not come, and of their topics: the broker keeps
// subscriptions of devices that went while the adapter was away.
func (b *bridge) dropEarly() {
	b.mu.Lock()
	defer b.mu.Unlock()
	y := &b.early
	if len(y.messages) == 0 || time.Since(y.first) < earlyMost && (time.Now().Before(y.until) || b.waiting.any()) {
		return
	}
	var topics []string
	rest := early{until: y.until, first: time.Now()}
	for _, m := range y.messages {
		if len(b.routes.of(m.topic)) > 0 { // settle is about to take it
			rest.messages, rest.bytes = append(rest.messages, m), rest.bytes+len(m.payload)
			continue
		}
		if topics = append(topics, m.topic); len(topics) <= maxEarlyTold {
			b.reports.warn("messages are dropped", m.topic, errors.New("no device announced that it listens to it"))
		}
		b.numbers.unclaimed.Add(1)
		b.acks.put(m.ack)
	}
	if len(topics) > maxEarlyTold {
		b.log.Warn("messages are dropped, of which no device announced that it listens to them", "messages", len(topics))
	}
	*y = rest
	slices.Sort(topics)
	b.link.unsubscribe(slices.Compact(topics))
}
