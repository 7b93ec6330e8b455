package main

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"carillon/runtime/runtimetest"
)

// A memory is a broker in this process, and the bridge's link to it.
type memory struct {
	b          *bridge
	delivering atomic.Int32 // calls of subscribe and later that are not over

	mu sync.Mutex
	// Guarded by mu.
	filters  map[string]bool
	retained map[string]string
	sent     []outgoing
	asked    []outgoing // of those, what only asks devices how they are
	refusal  error      // of what is published
}

// start runs an adapter over a memory.
func start(t testing.TB, config string) (*memory, *runtimetest.Home) {
	t.Helper()
	b := newBridge()
	m := &memory{b: b, filters: map[string]bool{}, retained: map[string]string{}}
	b.open = m.open
	b.shellies.calm = 0
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "client_id"), []byte("carillon-test\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := runtimetest.StartAdapter(t, b, config, dir)
	h.Until("it runs", func() bool { return b.linked.Load() != nil }) // what is said before would come at any time
	return m, h
}

// open is the bridge's.
func (m *memory) open(context.Context) (link, error) {
	m.subscribe(m.b.settings.discoveryFilters())
	m.b.bornAgain()
	return m, nil
}

func (m *memory) subscribe(topics []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var kept []*message
	for _, filter := range topics {
		m.filters[filter] = true
		for _, topic := range slices.Sorted(maps.Keys(m.retained)) {
			if topicMatches(filter, topic) {
				kept = append(kept, &message{topic: topic, payload: []byte(m.retained[topic]), retained: true})
			}
		}
	}
	m.delivering.Add(1)
	go func() { // the caller is the bridge, which takes them
		defer m.delivering.Add(-1)
		for _, one := range kept {
			m.b.inbox <- one
		}
	}()
}

func (m *memory) unsubscribe(topics []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, filter := range topics {
		delete(m.filters, filter)
	}
}

func (m *memory) later(fn func()) {
	m.delivering.Add(1)
	go func() {
		defer m.delivering.Add(-1)
		fn()
	}()
}

func (m *memory) publish(_ context.Context, out ...outgoing) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refusal == nil {
		m.sent = append(m.sent, out...)
	}
	return m.refusal
}

func (m *memory) health() (bool, string) { return true, "" }

func (m *memory) close() {}

// say publishes as a device does.
func (m *memory) say(topic, payload string, retain bool) {
	m.mu.Lock()
	if retain && payload == "" {
		delete(m.retained, topic)
	} else if retain {
		m.retained[topic] = payload
	}
	wanted := false
	for filter := range m.filters {
		wanted = wanted || topicMatches(filter, topic)
	}
	m.mu.Unlock()
	if wanted {
		m.b.inbox <- &message{topic: topic, payload: []byte(payload)}
	}
}

// quiet waits until all that was said has taken effect.
func (m *memory) quiet(h *runtimetest.Home) {
	for range 2 { // what was retained comes behind what asks for it
		h.Until("announcements are in force", func() bool { _, due := m.b.due(); return !due && len(m.b.inbox) == 0 && m.delivering.Load() == 0 })
		stored := make(chan struct{})
		m.b.inbox <- &message{topic: "homeassistant/sensor/nobody/config", ack: func() { close(stored) }}
		<-stored
	}
}

// next returns what was published next.
func (m *memory) next() (o outgoing, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.sent) > 0 && (strings.HasSuffix(m.sent[0].topic, "/STATUS") || m.sent[0].topic == shelliesCommand) {
		m.asked = append(m.asked, m.sent[0])
		m.sent = m.sent[1:]
	}
	if len(m.sent) == 0 {
		return o, false
	}
	o = m.sent[0]
	m.sent = m.sent[1:]
	return o, true
}
