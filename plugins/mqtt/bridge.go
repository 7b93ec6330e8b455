package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"carillon/plugins/adapter"
	"carillon/plugins/mqtt/template"
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
	patience time.Duration                           // answerPatience, but in tests

	// Static after Run began.
	ctx   context.Context
	host  *adapter.Host
	log   *slog.Logger
	link  link
	inbox chan *message
	acks  acker

	publication *publication
	linked      atomic.Pointer[link]

	numbers numbers
	reports reports

	mu sync.Mutex // held while something of the home changes, until the host was told
	// Guarded by mu.
	announced      map[string]*announcement // by topic
	vacant         bool                     // an entity went since retry
	entities       map[string]*entity       // by id
	byKey          map[string]*entity
	devices        map[string]*device // by id
	routes         routes
	ids            ids
	tasmotas       map[string]*tasmota // by MAC address
	shellies       shellies
	away           bool // the broker is lost
	dirty          []*entity
	effects        []effect // that the host was not told yet
	announcedBytes int      // of all that was announced
	gone           error    // why the host can't be told any more
	waiting        waiting  // announcements that are not in force yet
	early          early
}

func newBridge() *bridge {
	return &bridge{
		inbox:     make(chan *message, inboxDepth),
		announced: map[string]*announcement{}, entities: map[string]*entity{}, byKey: map[string]*entity{}, devices: map[string]*device{},
		tasmotas: map[string]*tasmota{}, shellies: newShellies(), patience: answerPatience,
	}
}

// Run is the Adapter's.
func (b *bridge) Run(ctx context.Context, h *adapter.Host) error {
	b.ctx, b.host, b.log = ctx, h, h.Log()
	b.early.begin()
	b.reports.log = b.log
	if err := b.ids.load(b.stateDir); err != nil {
		return err
	}
	h.OnCommand(b.obey)
	acking, stopAcking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAcking()
	b.acks.init(h, b.log)
	go b.acks.run(acking)
	b.publication = newPublication(b)
	if b.settings.shelly() {
		id, err := clientID(b.stateDir)
		if err != nil {
			return err
		}
		b.settings.source = id
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
	stopAcking()
	<-b.acks.done // while the broker still hears it
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
			b.dropEarly()
			b.tendShellies()
			continue
		case <-ctx.Done():
			for len(b.inbox) > 0 {
				if err := b.take(<-b.inbox); err != nil {
					return err
				}
			}
			return b.settle() // what was taken back would be there for ever
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
		if m.ack != nil && !m.kept {
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
	inputs := b.routes.of(m.topic)
	if len(inputs) > 0 && b.settings.publishes(m.topic) {
		b.numbers.refused.Add(1)
		b.reports.warn("a device listens to what the adapter publishes", m.topic, errors.New("it is not heard, as it would have no end"), "announced", inputs[0].e.part.topic)
		return
	}
	if len(inputs) == 0 && (m.ack == nil || !b.early.keep(m)) {
		b.numbers.unclaimed.Add(1)
	}
	for _, in := range inputs {
		e := in.e
		if e.dirty && e.by != m {
			b.collect() // what it was before is an event of its own
		}
		e.by = m
		if m.decode(); !m.isUTF {
			b.refused(e, m, fmt.Errorf("the message is no UTF-8"))
			continue
		}
		before := e.standing
		value, err := m.render(in.template, e)
		if err == nil {
			err = in.apply(m, value)
		}
		if long := e.shorten(before); long != nil {
			err = long
		}
		skipped := skips(err)
		switch {
		case err != nil && !skipped:
			b.refused(e, m, err)
		case in.quiet:
		case skipped:
			e.lives(b)
		default:
			e.heard(b)
		}
		b.touch(e)
	}
}

// shorten puts the state back to what it was before, if it is too long.
func (e *entity) shorten(before standing) error {
	n := utf8.RuneCountInString(e.state)
	if n <= adapter.MaxState {
		return nil
	}
	e.standing = before
	return fmt.Errorf("the state has %d characters, more than %d", n, adapter.MaxState)
}

// skips reports whether an error is a template's that says that a message is not for it.
func skips(err error) bool {
	var failure *template.Error
	return errors.As(err, &failure) && failure.Skips
}

// lives notes that the device is there.
func (e *entity) lives(b *bridge) {
	if e.patience > 0 {
		e.stale = false
		b.after(e, "stale", e.patience, func() { e.stale = true })
	}
}

// heard notes that the device told of the entity.
func (e *entity) heard(b *bridge) {
	e.lives(b)
	for _, r := range e.replies {
		r.end(nil)
	}
	e.replies = nil
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
func (b *bridge) fire(typ string, data map[string]any) {
	b.effects = append(b.effects, effect{typ: typ, data: data})
}

// An effect is what the host is to be told: a state, that an entity can be reached or not,
// or an event.
type effect struct {
	story context.Context // of the command that it came of; nil: of none
	state *adapter.State

	entityID string // that can be reached or not
	reached  bool

	typ  string // of the event
	data map[string]any
}

// collect makes effects of what entities are now. Callers hold mu.
func (b *bridge) collect() {
	now := time.Now()
	for i, e := range b.dirty {
		b.dirty[i] = nil
		e.dirty = false
		yes, was, news := e.available() && !b.away, e.reached, e.news
		e.reached = yes
		switch {
		case yes && e.known && (news || !was):
			e.news = false
			attributes := e.attributes()
			if was && !e.forced && e.shown != nil && e.shown.State == e.state && reflect.DeepEqual(e.shown.Attributes, attributes) {
				continue // most messages tell of many entities, and change few
			}
			e.shown = &adapter.State{EntityID: e.id, State: e.state, Attributes: attributes, Force: e.forced && news}
			b.effects = append(b.effects, effect{story: e.storyAt(now), state: e.shown})
		case yes != was:
			b.effects = append(b.effects, effect{entityID: e.id, reached: yes})
		}
	}
	b.dirty = b.dirty[:0]
}

// setAway says whether the broker is lost, and with it all devices.
func (b *bridge) setAway(yes bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away == yes {
		return
	}
	b.away = yes
	for _, id := range slices.Sorted(maps.Keys(b.entities)) {
		b.touch(b.entities[id])
	}
	if err := b.emit(); err != nil {
		b.log.Warn("telling that devices can't be reached", "err", err)
	}
}

// emit tells the host all effects, in their order. What can't be told is reported, and is
// no reason to end: a retained message would end each process after it. Callers hold mu.
func (b *bridge) emit() error {
	b.collect()
	effects := b.effects
	b.effects = nil
	for len(effects) > 0 {
		n := 1
		for n < len(effects) && effects[0].state != nil && effects[n].state != nil && effects[n].story == effects[0].story {
			n++
		}
		err := b.tell(effects[:n])
		for i := 0; err != nil && n > 1 && i < n; i++ { // none of them was told
			b.untold(effects[i], b.tell(effects[i:i+1]))
		}
		if n == 1 {
			b.untold(effects[0], err)
		}
		if b.gone != nil {
			return fmt.Errorf("publishing: %w", b.gone)
		}
		effects = effects[n:]
	}
	return nil
}

// tell tells the host one effect, or states of one story.
func (b *bridge) tell(effects []effect) error {
	first := effects[0]
	switch {
	case first.state != nil:
		states := make([]adapter.State, len(effects))
		for i, one := range effects {
			states[i] = *one.state
		}
		if first.story != nil {
			return b.host.Set(first.story, states...)
		}
		return b.host.Set(b.ctx, states...)
	case first.entityID != "":
		return b.host.Available(b.ctx, first.entityID, first.reached)
	}
	return b.host.Fire(b.ctx, first.typ, first.data)
}

// untold notes that the host did not take an effect, if there is an error.
func (b *bridge) untold(f effect, err error) {
	about := f.typ
	switch {
	case err == nil:
		return
	case errors.Is(err, adapter.ErrHostGone) || errors.Is(err, context.Canceled):
		b.gone = err
		return
	case f.state != nil:
		about = f.state.EntityID
	case f.entityID != "":
		about = f.entityID
	}
	if e := b.entities[about]; e != nil {
		e.shown = nil
	}
	b.numbers.refused.Add(1)
	b.reports.warn("what a device says can't be told", about, err)
}

// after calls fn later and publishes what it changed, unless a later call for the same
// purpose replaces it. Callers hold mu.
func (b *bridge) after(e *entity, purpose string, d time.Duration, fn func()) {
	if t := e.timers[purpose]; t != nil {
		t.t.Stop()
	}
	t := &timer{due: time.Now().Add(d)}
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
