package main

import (
	"cmp"
	"slices"
	"time"
)

// A block is what one request reads: neighbouring points of one table and interval.
type block struct {
	// Static after construction.
	station *station
	start   place
	count   int // registers or bits
	points  []*point
	every   time.Duration

	// Owned by the line.
	due      time.Time
	failures int // in a row, that the device answered with an exception of the moment
}

// limits are what a request of a device may read.
type limits struct {
	registers, bits int // at most, together
	gap             int // registers or bits that nobody wants, at most, between two that somebody does
}

// blocks groups points so that each is read by one request. A point that is longer than the limits
// has a request of its own.
func blocks(points []*point, l limits) (all []*block) {
	points = slices.Clone(points)
	slices.SortStableFunc(points, func(a, b *point) int {
		return cmp.Or(cmp.Compare(a.place.table, b.place.table), cmp.Compare(a.every, b.every),
			cmp.Compare(a.place.address, b.place.address), cmp.Compare(a.length, b.length))
	})
	for _, p := range points {
		if n := len(all); n > 0 && all[n-1].take(p, l) {
			continue
		}
		all = append(all, &block{start: p.place, count: p.length, points: []*point{p}, every: p.every})
	}
	return all
}

// take takes a point in that does not begin before the last, and reports whether it could.
func (b *block) take(p *point, l limits) bool {
	end := int(b.start.address) + b.count
	most := l.registers
	if p.place.table.bits() {
		most = l.bits
	}
	count := max(p.end(), end) - int(b.start.address)
	if p.place.table != b.start.table || p.every != b.every || int(p.place.address) > end+l.gap || count > most {
		return false
	}
	b.count = count
	b.points = append(b.points, p)
	return true
}

// split returns the blocks to try when the device refuses to read b: first without gaps, then halves. It
// returns nil if there is but one point.
func (b *block) split() []*block {
	if len(b.points) == 1 {
		return nil
	}
	roomy := limits{registers: mostRegisters, bits: mostBits}
	if parts := blocks(b.points, roomy); len(parts) > 1 {
		return parts
	}
	half := len(b.points) / 2
	return append(blocks(b.points[:half], roomy), blocks(b.points[half:], roomy)...)
}
