package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A health that is asked for at the very start waits for the first answers, so that nobody is told
// of trouble that is none.
const (
	patience = 500 * time.Millisecond
	look     = 10 * time.Millisecond
)

// Health is the Healther's: the adapter can do its work if any device answers.
func (g *gateway) Health() (ready bool, detail string) {
	for end := time.Now().Add(patience); ; <-time.After(look) {
		ready, asked, detail := g.survey()
		if ready || asked || time.Now().After(end) {
			return ready, detail
		}
	}
}

// survey reports whether any station answers, whether all were asked, and what is wrong.
func (g *gateway) survey() (ready, asked bool, detail string) {
	g.mu.Lock()
	lines, parts := g.lines, slices.Clone(g.refused)
	for _, d := range g.devices {
		for _, id := range slices.Sorted(maps.Keys(d.taken)) {
			parts = append(parts, d.taken[id])
		}
	}
	g.mu.Unlock()
	asked = true
	for _, l := range lines {
		for _, s := range l.stations {
			was, silent, refused := s.report()
			polled := s.polled()
			ready = ready || silent == "" && (was || !polled)
			asked = asked && (was || !polled)
			if silent != "" {
				parts = append(parts, fmt.Sprintf("%s (unit %d at %s): %s", s.device.ID, s.unit, l.address, silent))
			}
			parts = append(parts, refused...)
		}
	}
	if !ready && !asked {
		parts = append(parts, "no device has answered yet")
	}
	return ready, asked && len(lines) > 0, shorten(parts)
}

// maxDetail is how many troubles a health tells of.
const maxDetail = 20

func shorten(parts []string) string {
	if n := len(parts) - maxDetail; n > 0 {
		parts = append(parts[:maxDetail:maxDetail], fmt.Sprintf("and %d more", n))
	}
	return strings.Join(parts, "; ")
}
