package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"carillon/plugins/adapter"
)

const (
	// settleQuiet is how long announcements wait for more, so that a device is declared
	// once with all its entities; settleMost is how long they wait at the most.
	settleQuiet = 20 * time.Millisecond
	settleMost  = 200 * time.Millisecond
	// maxEntities bounds what may be announced; the host takes as many.
	maxEntities = 20_000
	// maxAnnounced is how many bytes all announcements may have together: those of 20,000
	// entities have some 30 MB, and take five times that when they are understood.
	maxAnnounced = 64 << 20
)

// A device is what entities are grouped by.
type device struct {
	info     deviceInfo
	entities []*entity // in the order of their announcement
}

// waiting are the changes that settle is to make.
type waiting struct {
	devices map[string]bool // by id, to be declared
	removed []removal
	topics  []string  // to subscribe to
	unused  []string  // to listen to no more
	since   time.Time // of the first
	last    time.Time
}

// A removal is an entity that is gone, or another device's now, unless it came back.
type removal struct{ id, device string }

func (w *waiting) any() bool { return len(w.devices)+len(w.removed)+len(w.topics)+len(w.unused) > 0 }

// due returns when announcements are to be put in force, if there are any.
func (b *bridge) due() (time.Duration, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := &b.waiting
	if !w.any() {
		return 0, false
	}
	return max(min(time.Until(w.last.Add(settleQuiet)), time.Until(w.since.Add(settleMost))), 0), true
}

// discovers takes a discovery message, and reports whether it was one.
func (b *bridge) discovers(m *message) bool {
	if rest, ok := strings.CutPrefix(m.topic, b.settings.prefix+"/"); ok && b.settings.prefix != "" && strings.HasSuffix(rest, "/config") {
		b.announce(m, func() ([]*part, error) { return readAnnouncement(m.topic, rest, m.payload) })
		return true
	}
	if rest, ok := strings.CutPrefix(m.topic, tasmotaPrefix); ok && b.settings.tasmota() {
		b.tasmotaSays(m, rest)
		return true
	}
	return b.shellySays(m)
}

// announce puts what a topic announces in place of what it announced before. What can't be
// understood changes nothing.
func (b *bridge) announce(m *message, read func() ([]*part, error)) {
	former := b.announced[m.topic]
	if len(m.payload) == 0 {
		b.withdraw(former)
		return
	}
	if isMigration(m.payload) {
		if former != nil {
			former.leaves = true
		}
		return
	}
	if former != nil && !former.leaves && len(former.wants) == 0 && former.payload == string(m.payload) {
		return
	}
	b.numbers.announcements.Add(1)
	parts, err := read()
	if n := b.announcedBytes - former.size() + len(m.payload); err == nil && n > maxAnnounced {
		err = fmt.Errorf("all announcements have %d bytes together, more than %d", n, maxAnnounced)
	}
	if err != nil {
		b.numbers.rejected.Add(1)
		b.reports.warn("an announcement is not understood", m.topic, err)
		return
	}
	b.replace(&announcement{topic: m.topic, payload: string(m.payload)}, former, parts)
}

// add makes an entity known. It is declared by settle.
func (b *bridge) add(e *entity) {
	b.byKey[e.key] = e
	b.waiting.topics = append(b.waiting.topics, b.routes.add(e)...)
	b.changed("")
	b.announcedElsewhere(e, 1)
	if e.silent {
		return
	}
	if e.device.id == "" && e.id == "" {
		e.id = b.ids.assign(e)
	}
	if e.id != "" {
		b.entities[e.id] = e
	}
	id := e.deviceID()
	d := b.devices[id]
	if d == nil {
		d = &device{}
		b.devices[id] = d
	}
	d.info.merge(e.device)
	d.entities = append(d.entities, e)
	b.changed(id)
}

// merge takes over what another announcement says of the same device: some devices
// describe themselves in one of many.
func (i *deviceInfo) merge(other deviceInfo) {
	i.id = other.id
	for _, f := range []struct {
		mine  *string
		other string
	}{
		{&i.name, other.name}, {&i.manufacturer, other.manufacturer}, {&i.model, other.model}, {&i.serial, other.serial}, {&i.software, other.software},
	} {
		if f.other != "" {
			*f.mine = f.other
		}
	}
}

// name gives the entities of a device their ids, now that its name is known.
func (b *bridge) name(d *device) {
	for _, e := range d.entities {
		e.device = d.info
		if e.id == "" {
			e.id = b.ids.assign(e)
			b.entities[e.id] = e
		}
	}
}

// deviceID is the id of the device that the entity is declared with.
func (e *entity) deviceID() string {
	if e.device.id != "" {
		return e.device.id
	}
	return e.id // it is a device by itself
}

// changed notes that a device is to be declared anew.
func (b *bridge) changed(device string) {
	w := &b.waiting
	now := time.Now()
	if !w.any() || w.since.IsZero() {
		w.since = now
	}
	w.last = now
	if device == "" {
		return
	}
	if w.devices == nil {
		w.devices = map[string]bool{}
	}
	w.devices[device] = true
}

// withdraw takes away all that is left of an announcement.
func (b *bridge) withdraw(a *announcement) {
	if a == nil {
		return
	}
	for _, e := range a.parts {
		b.forget(e, true)
	}
	a.parts = nil
	if b.announced[a.topic] == a {
		delete(b.announced, a.topic)
		b.announcedBytes -= a.size()
	}
}

// forget takes an entity out; for good, if it does not come again right away.
func (b *bridge) forget(e *entity, forGood bool) {
	if b.byKey[e.key] == e {
		delete(b.byKey, e.key)
		b.vacant = b.vacant || forGood
	}
	for purpose := range e.timers {
		b.cancel(e, purpose)
	}
	b.waiting.unused = append(b.waiting.unused, b.routes.remove(e)...)
	b.changed("")
	b.announcedElsewhere(e, -1)
	if e.silent {
		return
	}
	if b.entities[e.id] == e {
		delete(b.entities, e.id)
	}
	id := e.deviceID()
	if d := b.devices[id]; d != nil {
		d.entities = slices.DeleteFunc(d.entities, func(other *entity) bool { return other == e })
		if len(d.entities) == 0 {
			delete(b.devices, id)
		}
		b.changed(id)
	}
	if forGood {
		b.ids.release(e.key)
		if e.declared {
			b.waiting.removed = append(b.waiting.removed, removal{e.id, id})
		}
		e.declared = false
	}
}

// settle puts what was announced in force: entities that are gone are removed, devices
// declared, and only then their topics subscribed to.
func (b *bridge) settle() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.retry()
	b.showFreed()
	w := b.waiting
	b.waiting = waiting{}
	if !w.any() {
		return nil
	}
	changed := slices.Sorted(maps.Keys(w.devices))
	for _, id := range changed {
		if d := b.devices[id]; d != nil {
			b.name(d)
		}
	}
	if err := b.ids.save(); err != nil {
		b.log.Warn("keeping the ids of entities", "err", err)
	}
	for _, r := range w.removed {
		if e := b.entities[r.id]; e != nil && e.deviceID() == r.device {
			continue // it is there again
		}
		if err := b.host.Remove(b.ctx, r.id); err != nil {
			b.log.Warn("removing an entity", "entity_id", r.id, "err", err)
		}
	}
	for _, id := range changed {
		if d := b.devices[id]; d != nil {
			if err := b.declare(id, d); err != nil {
				return err
			}
		}
	}
	replayed := b.replayEarly()
	if err := b.emit(); err != nil {
		return err
	}
	b.acks.put(nil)
	for _, m := range replayed {
		b.acks.put(m.ack)
	}
	b.subscribe(w)
	return nil
}

// declare tells the host of a device as it is now.
func (b *bridge) declare(id string, d *device) error {
	i := d.info
	w := adapter.Device{ID: id, Name: i.name, Manufacturer: i.manufacturer, Model: i.model, Serial: i.serial, Software: i.software}
	for _, e := range d.entities {
		w.Entities = append(w.Entities, e.declaration())
	}
	if err := b.host.Declare(b.ctx, w); err != nil {
		if errors.Is(err, adapter.ErrHostGone) {
			return err
		}
		b.reports.warn("a device can't be declared", id, err)
		return nil
	}
	for _, e := range d.entities {
		e.declared = true
		e.reached = true // declaring made it so
		e.shown = nil
		e.news = e.known
		b.touch(e)
	}
	return nil
}

// subscribe listens to what new entities need, and no more to what nobody needs. What announcements come by
// is needed, also if a device that goes listened to it.
func (b *bridge) subscribe(w waiting) {
	slices.Sort(w.topics)
	topics := slices.Compact(w.topics)
	needed := append(b.settings.discoveryFilters(), topics...)
	unused := slices.DeleteFunc(w.unused, func(topic string) bool { return slices.Contains(needed, topic) })
	b.link.unsubscribe(unused)
	b.link.subscribe(topics)
}
