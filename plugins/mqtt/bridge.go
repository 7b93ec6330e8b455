package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"carillon/plugins/adapter"
)

// inboxDepth is how many messages may wait to be looked at: what a broker sends at once
// when a home of a thousand entities connects. Beyond it the broker waits.
const inboxDepth = 8192

// maxRun is how many messages are looked at before what they say is published: enough to
// share the cost of publishing, few enough for the first not to wait.
const maxRun = 256

// A bridge is the adapter.
type bridge struct {
	// Static after Configure.
	settings settings
	stateDir string
	open     func(ctx context.Context) (link, error) // in place of connect, for tests

	// Static after Run began.
	ctx   context.Context
	host  *adapter.Host
	log   *slog.Logger
	link  link
	inbox chan *message
	acks  acker

	publication *publication // nil: nothing of the home is published
	linked      atomic.Pointer[link]

	numbers numbers
	reports reports

	mu sync.Mutex // held while something of the home changes, until the host was told
	// Guarded by mu.
	announced map[string]*announcement // by topic
	entities  map[string]*entity       // by id
	byKey     map[string]*entity
	devices   map[string]*device // by id
	routes    routes
	ids       ids
	tasmotas  map[string]*tasmota // by MAC address
	dirty     []*entity
	events    []event
	waiting   waiting // announcements that are not in force yet
}

// An event is to be fired.
type event struct {
	typ  string
	data map[string]any
}

func newBridge() *bridge {
	return &bridge{
		inbox:     make(chan *message, inboxDepth),
		announced: map[string]*announcement{}, entities: map[string]*entity{}, byKey: map[string]*entity{}, devices: map[string]*device{},
		tasmotas: map[string]*tasmota{},
	}
}

// Run is the Adapter's.
func (b *bridge) Run(ctx context.Context, h *adapter.Host) error {
	b.ctx, b.host, b.log = ctx, h, h.Log()
	b.reports.log = b.log
	if err := b.ids.load(b.stateDir); err != nil {
		return err
	}
	h.OnCommand(b.obey)
	acking, stopAcking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAcking()
	b.acks.init(h, b.log)
	go b.acks.run(acking)
	if b.settings.Publish != nil {
		b.publication = newPublication(b)
	}
	open := b.connect
	if b.open != nil {
		open = b.open
	}
	link, err := open(ctx)
	if err != nil {
		return err
	}
	b.link = link
	b.linked.Store(&link)
	defer link.close()
	publishing := b.publish(ctx)
	err = b.loop(ctx)
	<-publishing
	return err
}

// loop takes messages until ctx ends, and those that have come by then.
func (b *bridge) loop(ctx context.Context) error {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	flush := time.NewTimer(time.Hour)
	defer flush.Stop()
	for {
		select {
		case m := <-b.inbox:
			if err := b.take(m); err != nil {
				return err
			}
		case <-flush.C:
			if err := b.settle(); err != nil {
				return err
			}
		case <-second.C:
			b.numbers.tell(b)
			continue
		case <-ctx.Done():
			for len(b.inbox) > 0 {
				if err := b.take(<-b.inbox); err != nil {
					return err
				}
			}
			return nil
		}
		if wait, due := b.due(); due {
			flush.Reset(wait)
		}
	}
}

// take looks at a message and those that wait behind it, and publishes what they say.
func (b *bridge) take(m *message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	run := []*message{m}
	for len(run) < maxRun && len(b.inbox) > 0 {
		run = append(run, <-b.inbox)
	}
	for _, m := range run {
		b.numbers.messages.Add(1)
		b.look(m)
	}
	if err := b.emit(); err != nil {
		return err
	}
	for _, m := range run {
		if m.ack != nil {
			b.acks.put(m.ack)
		}
	}
	return nil
}

// look takes what one message says.
func (b *bridge) look(m *message) {
	if b.discovers(m) {
		return
	}
	for _, in := range b.routes.of(m.topic) {
		e := in.e
		if m.decode(); !m.isUTF {
			b.refused(e, m, fmt.Errorf("the message is no UTF-8"))
			continue
		}
		value, err := m.render(in.template, e)
		if err == nil {
			err = in.apply(m, value)
		}
		if err != nil {
			b.refused(e, m, err)
		} else if !in.quiet {
			e.heard(b)
		}
		b.touch(e)
	}
}

// heard notes that the device told of the entity.
func (e *entity) heard(b *bridge) {
	if e.patience > 0 {
		e.stale = false
		b.after(e, "stale", e.patience, func() { e.stale = true })
	}
	for _, answer := range e.answers {
		close(answer)
	}
	e.answers = nil
}

// refused notes that a message for an entity was not understood.
func (b *bridge) refused(e *entity, m *message, err error) {
	b.numbers.refused.Add(1)
	b.reports.warn("a message of a device is not understood", m.topic, err, "entity_id", e.id, "announced", e.part.topic)
}

// touch says that there may be news of an entity.
func (b *bridge) touch(e *entity) {
	if !e.dirty && e.declared {
		e.dirty = true
		b.dirty = append(b.dirty, e)
	}
}

// fire says that something happened.
func (b *bridge) fire(typ string, data map[string]any) { b.events = append(b.events, event{typ, data}) }

// emit publishes all news, in their order. Callers hold mu.
func (b *bridge) emit() error {
	var states []adapter.State
	var story context.Context
	flush := func() error {
		if len(states) == 0 {
			return nil
		}
		ctx := story
		if ctx == nil {
			ctx = b.ctx
		}
		err := b.host.Set(ctx, states...)
		states = nil
		return err
	}
	now := time.Now()
	for _, e := range b.dirty {
		e.dirty = false
		yes, news := e.available(), e.news
		if yes == e.reached && !(yes && news) {
			continue
		}
		own := e.storyAt(now)
		if own != story {
			if err := flush(); err != nil {
				return err
			}
			story = own
		}
		was := e.reached
		e.reached = yes
		switch {
		case yes && e.known:
			e.news = false
			states = append(states, adapter.State{EntityID: e.id, State: cut(e.state, maxState), Attributes: e.attributes(), Force: e.forced && news})
		case yes != was:
			if err := flush(); err != nil {
				return err
			}
			if err := b.host.Available(b.ctx, e.id, yes); err != nil {
				return err
			}
		}
	}
	clear(b.dirty)
	b.dirty = b.dirty[:0]
	if err := flush(); err != nil {
		return err
	}
	for _, ev := range b.events {
		if err := b.host.Fire(b.ctx, ev.typ, ev.data); err != nil {
			return err
		}
	}
	b.events = nil
	return nil
}

// maxState is the longest state in bytes: one that is longer is cut.
const maxState = adapter.MaxState

// after calls fn later and publishes what it changed, unless a later call for the same
// purpose replaces it. Callers hold mu.
func (b *bridge) after(e *entity, purpose string, d time.Duration, fn func()) {
	if t := e.timers[purpose]; t != nil {
		t.t.Stop()
	}
	t := &timer{}
	e.timers[purpose] = t
	t.t = time.AfterFunc(d, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if e.timers[purpose] != t || b.ctx.Err() != nil {
			return
		}
		delete(e.timers, purpose)
		fn()
		b.touch(e)
		if err := b.emit(); err != nil {
			b.log.Warn("publishing what time brought", "entity_id", e.id, "err", err)
		}
	})
}

// cancel takes back what after was told. Callers hold mu.
func (b *bridge) cancel(e *entity, purpose string) {
	if t := e.timers[purpose]; t != nil {
		t.t.Stop()
		delete(e.timers, purpose)
	}
}
