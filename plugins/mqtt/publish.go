package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"carillon/plugins/adapter"
)

// A publication brings what happens in the home to the broker: states as they are, retained,
// and every event of the types that are asked for.
type publication struct {
	// Static after construction.
	b        *bridge
	s        *publishSettings
	file     string // keeps where to go on with events
	retained *retained

	kept string // what file holds; owned by keepPlace, then by who waited for it

	mu sync.Mutex
	// Guarded by mu.
	born  chan struct{} // closed and replaced when the broker was reached
	after string        // the last event that the broker has
}

// eventsFile is in the adapter's own folder.
const eventsFile = "events_after"

// publish begins to publish what the configuration asks for, and takes back what it asked for
// before. The channel is closed at the end.
func (b *bridge) publish(ctx context.Context) <-chan struct{} {
	done := make(chan struct{})
	p := b.publication
	if err := p.retained.load(); err != nil {
		b.log.Warn("what the broker keeps of the home is not known: it is not taken back", "err", err)
	}
	text, _ := os.ReadFile(p.file) // without it, from now on
	p.after = strings.TrimSpace(string(text))
	p.kept = p.after
	var all sync.WaitGroup
	states, before := p.s.States == nil || *p.s.States, p.retained.size() > 0
	switch {
	case states:
		all.Go(func() { p.keep(ctx, "states", p.states) })
	case before:
		all.Go(func() { p.keep(ctx, "states", p.takeBack) })
	}
	if states || before || len(p.s.Events) > 0 {
		all.Go(func() { p.keepPlace(ctx) })
	}
	if len(p.s.Events) > 0 {
		all.Go(func() { p.keep(ctx, "events", p.happenings) })
	}
	go func() {
		all.Wait()
		p.save()
		close(done)
	}()
	return done
}

func newPublication(b *bridge) *publication {
	p := &publication{
		b: b, s: b.settings.Publish, file: filepath.Join(b.stateDir, eventsFile), born: make(chan struct{}),
		retained: &retained{file: filepath.Join(b.stateDir, retainedFile), topics: map[string]bool{}},
	}
	if p.s == nil {
		p.s = &publishSettings{States: new(bool)} // nothing, and what was published before is taken back
	}
	return p
}

// bornAgain says that the broker was reached: it may have forgotten what it kept.
func (b *bridge) bornAgain() {
	b.refreshShellies()
	if p := b.publication; p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		close(p.born)
		p.born = make(chan struct{})
	}
}

// keep runs one part of the publication for each time that the broker is reached.
func (p *publication) keep(ctx context.Context, what string, run func(context.Context) error) {
	for ctx.Err() == nil {
		p.mu.Lock()
		born := p.born
		p.mu.Unlock()
		if ready, _ := p.b.link.health(); ready {
			during, cancel := context.WithCancel(ctx)
			stop := context.AfterFunc(ctx, cancel)
			go func() {
				select {
				case <-born:
					cancel()
				case <-during.Done():
				}
			}()
			err := run(during)
			cancel()
			stop()
			switch {
			case ctx.Err() != nil || errors.Is(err, adapter.ErrHostGone) || errors.Is(err, adapter.ErrNoEvents):
				return
			case !errors.Is(err, context.Canceled):
				p.b.reports.warn("publishing to the broker is interrupted", what, err)
			}
		}
		select {
		case <-born:
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// states publishes the present states and then each change.
func (p *publication) states(ctx context.Context) error {
	r := &roll{present: map[string]bool{}}
	selection := adapter.Selection{Types: []string{"state_changed"}, Domains: p.s.Domains, Entities: p.s.Entities}
	// Without present states a mark is what says so.
	return p.b.host.Follow(ctx, adapter.Follow{Selection: selection, Snapshot: true, Own: p.s.Own, Marks: true}, func(list []adapter.Happening) error {
		return p.show(ctx, r, list)
	})
}

// A roll is which topics the present states have.
type roll struct {
	present map[string]bool
	called  bool // all present states were told
}

// show publishes states. Behind the present ones it takes back what the broker keeps besides.
func (p *publication) show(ctx context.Context, r *roll, list []adapter.Happening) error {
	var out []outgoing
	for _, h := range list {
		if h.Gap != nil {
			return fmt.Errorf("changes are missing (%s): the present states are published again", h.Gap.Reason)
		}
		messages := p.state(h)
		out = append(out, messages...)
		if r.called {
			continue
		}
		for _, o := range messages {
			r.present[o.topic] = true
		}
		if !h.Present || h.ID != "" {
			r.called = true
			out = append(out, p.retained.besides(r.present)...)
			r.present = nil
		}
	}
	return p.sendRetained(ctx, out)
}

// state makes the messages of one state; an entity that is gone takes its messages with it.
func (p *publication) state(h adapter.Happening) []outgoing {
	var e struct {
		Data struct {
			New *struct {
				State      string          `json:"state"`
				Attributes json.RawMessage `json:"attributes"`
			} `json:"new_state"`
		} `json:"data"`
	}
	domain, object, ok := strings.Cut(h.EntityID, ".")
	if err := json.Unmarshal(h.JSON, &e); err != nil || !ok {
		return nil // a mark
	}
	topic := p.s.Prefix + "/" + domain + "/" + object
	state := outgoing{topic: topic + "/state", qos: 1, retain: true}
	attributes := outgoing{topic: topic + "/attributes", qos: 1, retain: true}
	if e.Data.New != nil {
		state.payload, attributes.payload = e.Data.New.State, string(e.Data.New.Attributes)
	}
	if !p.s.Attributes {
		return []outgoing{state}
	}
	return []outgoing{state, attributes}
}

// happenings publishes events, each of them once the broker was reached.
func (p *publication) happenings(ctx context.Context) error {
	// Of which entities is decided here: a selection of entities takes no event without one.
	selection := adapter.Selection{Types: p.s.Events}
	return p.b.host.Follow(ctx, adapter.Follow{Selection: selection, After: p.place(), Own: p.s.Own, Marks: true}, func(list []adapter.Happening) error {
		return p.tell(ctx, list)
	})
}

// tell publishes events, and keeps where to go on behind them.
func (p *publication) tell(ctx context.Context, list []adapter.Happening) error {
	var out []outgoing
	last := ""
	for _, h := range list {
		if h.ID != "" {
			last = h.ID
		}
		switch {
		case h.Gap != nil:
			text, err := json.Marshal(map[string]any{"from": h.Gap.From, "to": h.Gap.To, "reason": h.Gap.Reason})
			if err != nil {
				return err
			}
			p.b.log.Warn("events can't be published any more", "from", h.Gap.From, "to", h.Gap.To, "reason", h.Gap.Reason)
			out = append(out, outgoing{topic: p.s.Prefix + "/gap", payload: string(text), qos: 1})
		case !h.Mark && p.s.concerns(h.EntityID):
			out = append(out, outgoing{topic: p.s.Prefix + "/event/" + topicLevel(h.Type), payload: string(h.JSON), qos: 1})
		}
	}
	if err := p.send(ctx, out); err != nil {
		return err
	}
	if last != "" {
		p.mu.Lock()
		p.after = last
		p.mu.Unlock()
	}
	return nil
}

// concerns reports whether events of an entity are published; those of none always are.
func (s *publishSettings) concerns(entity string) bool {
	domain, _, _ := strings.Cut(entity, ".")
	return entity == "" || adapter.Matches(s.Domains, domain) && adapter.Matches(s.Entities, entity)
}

// topicLevel makes one level of a topic of an event's type.
func topicLevel(typ string) string {
	return strings.NewReplacer("/", "_", "+", "_", "#", "_").Replace(typ)
}

// send publishes messages, and returns when the broker has them.
func (p *publication) send(ctx context.Context, out []outgoing) error {
	if len(out) == 0 {
		return nil
	}
	if err := p.b.link.publish(ctx, out...); err != nil {
		return err
	}
	p.b.numbers.published.Add(int64(len(out)))
	return nil
}

// place is where to go on with events.
func (p *publication) place() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.after
}

// keepPlace saves, once a second at the most, until ctx ends.
func (p *publication) keepPlace(ctx context.Context) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-second.C:
			p.save()
		case <-ctx.Done():
			return
		}
	}
}

// save keeps where to go on after a restart, and what the broker keeps.
func (p *publication) save() {
	if after := p.place(); after != p.kept {
		err := os.WriteFile(p.file+".new", []byte(after+"\n"), 0o600)
		if err == nil {
			err = os.Rename(p.file+".new", p.file)
		}
		if err != nil {
			p.b.reports.warn("which events the broker has can't be kept", p.s.Prefix, err)
		} else {
			p.kept = after
		}
	}
	if err := p.retained.save(); err != nil {
		p.b.reports.warn("what the broker keeps of the home can't be kept", p.s.Prefix, err)
	}
}
