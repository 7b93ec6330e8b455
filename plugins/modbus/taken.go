package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"carillon/plugins/adapter"
)

// tryTaken is how often an id that a script or another adapter has is asked for again: nothing
// tells of its end, and each try is one refused item.
const tryTaken = time.Minute

// A declarer is what of adapter.Host tells of devices.
type declarer interface {
	Declare(ctx context.Context, d adapter.Device) error
	Available(ctx context.Context, id string, yes bool) error
	Flush(ctx context.Context) error
	Log() *slog.Logger
}

// declare tells of a device. An entity that a script or another adapter has is named and left out, since
// the server refuses a device that has any such. If those are the same as before, nothing has changed. Once its
// line runs, only that calls declare.
func (g *gateway) declare(ctx context.Context, h declarer, d *device) error {
	for taken := map[string]string{}; ; {
		d.Entities = nil
		for _, p := range d.points {
			if taken[p.id] == "" {
				d.Entities = append(d.Entities, p.entity())
			}
		}
		if len(d.Entities) == 0 || sameKeys(taken, d.taken) && d.declared {
			g.noteTaken(h.Log(), d, taken)
			return nil
		}
		err := h.Declare(ctx, d.Device)
		if err == nil {
			err = stillAway(ctx, h, d)
		}
		if err == nil {
			err = h.Flush(ctx)
		}
		if err == nil {
			d.declared = true
			g.noteTaken(h.Log(), d, taken)
			return nil
		}
		id := d.culprit(err)
		if id == "" || taken[id] != "" || d.declared && d.taken[id] == "" {
			return fmt.Errorf("declaring %s: %w", d.ID, err)
		}
		taken[id] = err.Error()
	}
}

// stillAway says again what a declaration makes available: it is not, as before.
func stillAway(ctx context.Context, h declarer, d *device) error {
	for _, p := range d.points {
		if p.away {
			if err := h.Available(ctx, p.id, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// culprit returns the entity that the server names where it refuses the device; empty if the error is another one.
func (d *device) culprit(err error) string {
	var refused *adapter.ItemErrors
	if !errors.As(err, &refused) {
		return ""
	}
	words := strings.Fields(err.Error())
	for _, p := range d.points {
		if slices.Contains(words, p.id) {
			return p.id
		}
	}
	return ""
}

// noteTaken keeps which entities are left out, has their stations read the others only, and tells what has changed.
func (g *gateway) noteTaken(log *slog.Logger, d *device, taken map[string]string) {
	for _, p := range d.points {
		was, why := d.taken[p.id], taken[p.id]
		switch {
		case why != "" && was == "":
			log.Error("the entity is refused, and left out until nobody else has its id: give it another one", "device", d.ID, "entity_id", p.id, "err", why)
			g.outlets[p.id].station.leaveOut(p)
		case why == "" && was != "":
			log.Info("an entity that was left out is there", "device", d.ID, "entity_id", p.id)
			g.outlets[p.id].station.takeBack(p, time.Now())
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	d.taken = taken
}

// reclaim asks for what is left out again and again, until ctx ends.
func (g *gateway) reclaim(ctx context.Context, h declarer) {
	again := time.NewTicker(g.tryTaken)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
		for _, d := range g.devices {
			if !g.anyTaken(d) {
				continue
			}
			l := g.outlets[d.points[0].id].line
			err := l.command(ctx, func(ctx context.Context) error { return g.declare(ctx, h, d) })
			if err != nil && ctx.Err() == nil {
				h.Log().Warn("asking for entities that others have", "device", d.ID, "err", err)
			}
		}
	}
}

func (g *gateway) anyTaken(d *device) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(d.taken) > 0
}

// runWith runs the lines until ctx ends, or one has an error, and asks for what is left out meanwhile.
func (g *gateway) runWith(ctx context.Context, h declarer, lines []*line) error {
	within, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	asking.Go(func() { g.reclaim(within, h) })
	defer asking.Wait()
	defer cancel()
	return runAll(ctx, lines)
}

func sameKeys(a, b map[string]string) bool {
	return maps.EqualFunc(a, b, func(string, string) bool { return true })
}
