package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
)

// retained is which topics the broker keeps of what the home published. It is kept over
// restarts: what the configuration asks for no more, and what went while the adapter was
// away, would stay on the broker for ever. A topic is in the file a second after it is
// published; a process that is killed before that forgets it.
type retained struct {
	file string // static

	mu sync.Mutex
	// Guarded by mu.
	topics  map[string]bool
	changed bool // since it was saved
	full    bool // some are not remembered
}

const (
	// retainedFile is in the adapter's own folder.
	retainedFile = "retained.json"
	// maxRetained bounds what is remembered: five times the states that a home of 20,000
	// entities has, at some 100 bytes each.
	maxRetained = 100_000
	// maxAtOnce is how many messages are published at once when much is taken back.
	maxAtOnce = 500
)

type retainedWire struct {
	Version int      `json:"version"`
	Topics  []string `json:"topics"`
}

// load reads what an earlier process kept.
func (r *retained) load() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	text, err := os.ReadFile(r.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var w retainedWire
	if err == nil {
		err = json.Unmarshal(text, &w)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", r.file, err)
	}
	for _, topic := range w.Topics[:min(len(w.Topics), maxRetained)] {
		if validTopic(topic) == nil {
			r.topics[topic] = true
		}
	}
	return nil
}

func (r *retained) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.topics)
}

// note takes messages that the broker gets. Sent says that it has them: only then is one
// that is taken back forgotten.
func (r *retained) note(out []outgoing, sent bool) (full bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range out {
		there := r.topics[o.topic]
		switch {
		case o.payload == "" && there && sent:
			delete(r.topics, o.topic)
			r.changed = true
		case o.payload != "" && !there && len(r.topics) < maxRetained:
			r.topics[o.topic] = true
			r.changed = true
		case o.payload != "" && !there && !r.full:
			r.full, full = true, true
		}
	}
	return full
}

// besides returns messages that take back all topics but those that are there.
func (r *retained) besides(present map[string]bool) (out []outgoing) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, topic := range slices.Sorted(maps.Keys(r.topics)) {
		if !present[topic] {
			out = append(out, outgoing{topic: topic, qos: 1, retain: true})
		}
	}
	return out
}

// save keeps the topics, whole or not at all.
func (r *retained) save() error {
	r.mu.Lock()
	if !r.changed {
		r.mu.Unlock()
		return nil
	}
	r.changed = false
	w := retainedWire{Version: 1, Topics: slices.Sorted(maps.Keys(r.topics))}
	r.mu.Unlock() // a slow disk holds nothing up
	text, err := json.MarshalIndent(w, "", " ")
	if err == nil {
		err = writeSynced(r.file+".new", text)
	}
	if err == nil {
		err = os.Rename(r.file+".new", r.file)
	}
	if err != nil {
		r.mu.Lock()
		r.changed = true
		r.mu.Unlock()
	}
	return err
}

// sendRetained publishes messages that the broker keeps, and remembers which those are.
func (p *publication) sendRetained(ctx context.Context, out []outgoing) error {
	for some := range slices.Chunk(out, maxAtOnce) {
		if p.retained.note(some, false) {
			p.b.log.Warn("the broker keeps more states than are remembered: some will stay when they are not published any more", "most", maxRetained)
		}
		if err := p.send(ctx, some); err != nil {
			return err
		}
		p.retained.note(some, true)
	}
	return nil
}

// takeBack takes back all that was published, as no states are any more.
func (p *publication) takeBack(ctx context.Context) error {
	if err := p.sendRetained(ctx, p.retained.besides(nil)); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}
