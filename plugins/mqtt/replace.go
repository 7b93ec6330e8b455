package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// replace puts an announcement's parts in place of those of the former one.
func (b *bridge) replace(now, former *announcement, parts []*part) {
	var built []*entity
	for _, p := range parts {
		e, missed, err := b.build(p)
		for _, what := range missed {
			b.reports.warn("an announcement asks for more than is supported", p.key, errors.New(what))
		}
		if err == nil {
			built = append(built, e)
			continue
		}
		b.numbers.rejected.Add(1)
		b.reports.warn("an announcement is not understood", p.key, err)
		if old := former.find(p.key); old != nil { // what it was stays
			now.parts = append(now.parts, former.takeOut(old))
		}
	}
	b.withdraw(former.rest(built))
	for _, e := range built {
		old := b.byKey[e.key]
		from := former
		if old != nil && !former.has(old) {
			from = b.announced[old.part.topic]
		}
		switch {
		case old != nil && from != former && (from == nil || !from.leaves || !from.has(old)):
			b.leaveOut(now, e, fmt.Errorf("its unique_id is that of %s", old.part.key))
			continue
		case old == nil && len(b.byKey) >= maxEntities:
			b.leaveOut(now, e, fmt.Errorf("there are %d entities already", maxEntities))
			continue
		case old != nil:
			b.succeed(e, from.takeOut(old))
		}
		now.parts = append(now.parts, e)
		b.add(e)
	}
	b.withdraw(former)
	b.announcedBytes += now.size()
	if b.announced[now.topic] = now; len(now.parts) == 0 && len(now.wants) == 0 {
		b.withdraw(now) // a correction may say the same
	}
}

// leaveOut notes that an entity can't be there now. Announced again it may be.
func (b *bridge) leaveOut(now *announcement, e *entity, why error) {
	now.wants = append(now.wants, e.key)
	b.numbers.rejected.Add(1)
	b.reports.warn("an announcement is left out", e.part.key, why)
}

// succeed puts an entity in the place of what it was before its announcement changed.
func (b *bridge) succeed(e, old *entity) {
	off := old.timers["off"]
	b.forget(old, false)
	e.inherit(old)
	if old.declared && old.deviceID() != e.deviceID() {
		b.waiting.removed = append(b.waiting.removed, removal{e.id, old.deviceID()})
	}
	if off != nil && e.offDelay > 0 {
		b.offAfter(e, time.Until(off.due))
	}
}

// inherit takes over what was known before the announcement was changed.
func (e *entity) inherit(old *entity) {
	e.id, e.declared, e.reached, e.json = old.id, old.declared, old.reached, old.json
	if old.known {
		e.state, e.known, e.attrs = old.state, true, maps.Clone(old.attrs)
		e.resting, e.closes = old.resting, old.closes
	}
	if e.lamp != nil && old.lamp != nil {
		e.lamp.inherit(old.lamp)
	}
	var before []*input
	for _, in := range old.inputs {
		if in.quiet {
			before = append(before, in)
		}
	}
	i := 0
	for _, in := range e.inputs {
		if !in.quiet {
			continue
		}
		for j, was := range before {
			if was.topic == in.topic && j < len(old.reach.said) {
				e.reach.said[i], e.reach.last = old.reach.said[j], old.reach.last
			}
		}
		i++
	}
}

// retry looks again at announcements of which something was left out, after what was in its way
// was taken away: a device that announces itself by another topic does so before it takes the
// old one back.
func (b *bridge) retry() {
	if !b.vacant || len(b.byKey) >= maxEntities {
		return
	}
	b.vacant = false
	for _, topic := range slices.Sorted(maps.Keys(b.announced)) {
		a := b.announced[topic]
		if a != nil && slices.ContainsFunc(a.wants, func(key string) bool { return b.byKey[key] == nil }) {
			if a.again != nil {
				a.again()
				continue
			}
			b.discovers(&message{topic: topic, payload: []byte(a.payload)})
		}
	}
}
