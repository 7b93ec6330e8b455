package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/shirou/gopsutil/v4/disk"

	"carillon/plugins/adapter"
)

// A reading is one value. Units, device classes and state classes are those of
// Home Assistant: https://developers.home-assistant.io/docs/core/entity/sensor
type reading struct {
	kind        string // of its source; set by round
	id          string // the entity's; set by publish
	domain      string // "sensor" if empty
	object      string // what the id ends in; made of any text
	name        string // behind the device's
	value       string // empty: not known yet
	unit        string
	deviceClass string
	stateClass  string
	icon        string
	attributes  map[string]any
}

// unique returns the entity's id: one that is not taken.
func (r *reading) unique(prefix string, taken map[string]bool) string {
	domain := r.domain
	if domain == "" {
		domain = "sensor"
	}
	base := domain + "." + prefix + "_" + slug(r.object)
	id := base
	for n := 2; taken[id]; n++ {
		id = base + "_" + strconv.Itoa(n)
	}
	return id
}

// entity declares what the reading is of.
func (r *reading) entity(id string) adapter.Entity {
	attributes := map[string]any{"friendly_name": r.name}
	for key, value := range map[string]string{
		"unit_of_measurement": r.unit, "device_class": r.deviceClass, "state_class": r.stateClass, "icon": r.icon,
	} {
		if value != "" {
			attributes[key] = value
		}
	}
	return adapter.Entity{ID: id, Attributes: attributes}
}

// maxSlug keeps ids short: some names are whole paths.
const maxSlug = 100

// slug makes a part of an id of any text: lower-case letters, digits and single
// underscores, never empty.
func slug(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case b.Len() >= maxSlug:
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "_"):
			b.WriteByte('_')
		}
	}
	if s := strings.Trim(b.String(), "_"); s != "" {
		return s
	}
	return "unnamed"
}

// number writes a value with as many decimals.
func number(x float64, decimals int) string { return strconv.FormatFloat(x, 'f', decimals, 64) }

const (
	mib = 1 << 20
	gib = 1 << 30
)

// A source reads one kind. It remembers what rates need.
type source struct {
	kind string
	read func(ctx context.Context, s *settings) ([]reading, error)
	busy atomic.Bool // a call of read has not returned yet
}

type result struct {
	readings []reading
	err      error
}

var errLate = errors.New("it has not answered for 5 s")

// kinds are what can be included.
var kinds = []string{"cpu", "memory", "disks", "network", "temperatures", "batteries"}

func newSources() []*source {
	return []*source{
		{kind: "cpu", read: (&processors{}).read},
		{kind: "memory", read: readMemory},
		{kind: "disks", read: (&disks{usage: disk.UsageWithContext}).read},
		{kind: "network", read: (&networks{}).read},
		{kind: "temperatures", read: readTemperatures},
		{kind: "batteries", read: readBatteries},
	}
}

// start begins to read. The channel gets the result; if an earlier call hangs
// still, at once that it is late.
func (s *source) start(ctx context.Context, settings *settings) chan result {
	done := make(chan result, 1)
	if !s.busy.CompareAndSwap(false, true) {
		done <- result{err: errLate}
		return done
	}
	go func() {
		defer s.busy.Store(false)
		readings, err := s.read(ctx, settings)
		if err != nil {
			err = fmt.Errorf("reading: %w", err)
		}
		done <- result{readings, err}
	}()
	return done
}
