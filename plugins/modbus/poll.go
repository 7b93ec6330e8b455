package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"carillon/plugins/adapter"
)

// maxFailures is how often in a row a device may say that it is busy before what it doesn't tell is
// unavailable.
const maxFailures = 3

// poll reads a block and publishes what it brings. Its error is the host's.
func (l *line) poll(ctx context.Context, b *block, now time.Time) error {
	s := b.station
	if late := now.Sub(b.due); s.failures == 0 && late >= b.every {
		l.count("polls_skipped_total", int(late/b.every))
	}
	next := now.Add(b.every - now.Sub(b.due)%b.every)
	b.due = next
	data, err := l.request(ctx, s, readOf(b.start.table, b.start.address, b.count))
	var refusal exception
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil && (!errors.As(err, &refusal) || refusal.absent()):
		return l.lost(ctx, s, err)
	}
	if err := l.answered(ctx, s); err != nil {
		return err
	}
	b.due = next // which may have become sooner for all of the station
	switch {
	case err == nil:
		b.failures = 0
		return l.show(ctx, b, data)
	case refusal.lasting():
		return l.refused(ctx, b, refusal)
	}
	if b.failures++; b.failures < maxFailures {
		return nil
	}
	for _, p := range b.points {
		if err := l.unreadable(ctx, s, p, refusal); err != nil {
			return err
		}
	}
	return nil
}

// answered notes that a station has answered.
func (l *line) answered(ctx context.Context, s *station) error {
	if s.failures > 0 {
		s.failures = 0
		s.hurry(time.Now())
	}
	if s.tell("") {
		l.count("units_silent", -1)
		l.h.Log().Info("the device answers again", "device", s.device.ID, "unit_id", s.unit)
	}
	for _, p := range s.buttons {
		if err := l.back(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// lost notes that a station didn't answer. Without a connection no station of the line did.
func (l *line) lost(ctx context.Context, s *station, why error) error {
	lost := []*station{s}
	if errors.Is(why, errUnreachable) {
		lost = l.stations
	}
	for _, s := range lost {
		if !s.polled() {
			continue // nobody would ask it again
		}
		s.failures++
		s.retry = time.Now().Add(backOff(s.failures, firstRetry, lastRetry))
		if s.tell(why.Error()) {
			l.count("units_silent", 1)
			l.h.Log().Warn("the device doesn't answer", "device", s.device.ID, "address", l.address, "unit_id", s.unit, "err", why)
		}
		for _, p := range s.points {
			if err := l.away(ctx, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// refused finds out what of a block a device refuses.
func (l *line) refused(ctx context.Context, b *block, why exception) error {
	if parts := b.split(); parts != nil {
		b.due = time.Now()
		b.station.replace(b, parts)
		return nil
	}
	p := b.points[0]
	p.refusals++
	b.due = time.Now().Add(max(backOff(p.refusals, firstRefusal, lastRefusal), b.every))
	return l.unreadable(ctx, b.station, p, why)
}

// unreadable notes that a device refuses to tell a point.
func (l *line) unreadable(ctx context.Context, s *station, p *point, why exception) error {
	text := fmt.Sprintf("reading %s: %v", p.place, why)
	if s.refuse(p.id, text) {
		l.h.Log().Warn("an entity can't be read", "entity_id", p.id, "device", s.device.ID, "place", p.place.String(), "err", why)
	}
	return l.away(ctx, p)
}

// away makes a point unavailable.
func (l *line) away(ctx context.Context, p *point) error {
	if p.away || p.taken {
		return nil
	}
	err := l.h.Available(ctx, p.id, false)
	p.away = err == nil
	return err
}

// back makes a point available.
func (l *line) back(ctx context.Context, p *point) error {
	if !p.away {
		return nil
	}
	err := l.h.Available(ctx, p.id, true)
	p.away = err != nil // a command's time may be up
	return err
}

// show publishes what a block brought, also what is as it was: the server makes no event of that, unless somebody
// else has changed or removed the entity.
func (l *line) show(ctx context.Context, b *block, data []byte) error {
	states := make([]adapter.State, 0, len(b.points))
	plan := false
	for _, p := range b.points {
		if b.station.refuse(p.id, "") {
			l.h.Log().Info("the entity can be read again", "entity_id", p.id)
		}
		if p.refusals > 0 {
			p.refusals, plan = 0, true
		}
		text, strange := p.state(data, b.start.address)
		if strange && !p.strange {
			l.h.Log().Warn("an entity has a value that its configuration has no word for", "entity_id", p.id, "raw", p.raw(data, b.start.address))
		}
		p.strange = p.strange || strange
		states = append(states, adapter.State{EntityID: p.id, State: text})
	}
	if now, s := time.Now(), b.station; plan || !s.regroup.IsZero() && now.After(s.regroup) {
		s.plan(now)
	}
	if err := l.h.Set(ctx, states...); err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	for _, p := range b.points {
		if err := l.back(ctx, p); err != nil {
			return fmt.Errorf("publishing: %w", err)
		}
	}
	return nil
}
