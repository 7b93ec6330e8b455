package filter

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Bounds of a route: how many conjuncts it has, and of how many values the
// first may be. Those behind it have one value, as an entry is in all places
// that its route leads to.
const (
	maxRoute  = 4
	maxValues = 256
)

// route returns the conjuncts that the index holds p by: first the one that is
// likely to be true of the fewest events. Behind one that may throw none will
// do, as p throws on events that the index would keep from it.
func (p *Program) route() []*conjunct {
	var route []*conjunct
	for i := range p.conjuncts {
		c := &p.conjuncts[i]
		if c.shape != nil && c.shape.usable() {
			route = append(route, c)
		}
		if c.throws {
			break
		}
	}
	slices.SortStableFunc(route, func(a, b *conjunct) int { return cmp.Compare(a.shape.share(), b.shape.share()) })
	for i, c := range route {
		switch {
		case i == maxRoute, i > 0 && len(c.shape.values) > 1:
			return slices.Clip(route[:i])
		case c.shape.kind > byPrefix: // bounds lead nowhere
			return slices.Clip(route[:i+1])
		}
	}
	return slices.Clip(route)
}

// usable reports whether an index can hold what has this shape. A prefix that
// ends in half a character can't be found in the bytes of a string.
func (sh *shape) usable() bool {
	switch sh.kind {
	case byValue:
		return len(sh.values) <= maxValues
	case byPrefix:
		return !halves(sh.prefix)
	}
	return true
}

// shares are guesses of how many in 1000 events have a certain value at a path;
// otherShare stands for every other path.
var shares = map[string]int{
	"e.entity_id": 1, "e.domain": 30, "e.source": 50, "e.state": 100, "e.old.state": 100, "(e.old?.state)": 100, "e.unit": 100, "e.type": 500,
}

const (
	otherShare  = 5
	prefixShare = 10   // how many values a prefix stands for
	boundShare  = 1000 // so that it comes last
)

// share is a guess of how many in 1000 events the conjunct is true of.
func (sh *shape) share() int {
	one, ok := shares[sh.path]
	if !ok {
		one = otherShare
	}
	switch sh.kind {
	case byValue:
		return len(sh.values) * one
	case byPrefix:
		return prefixShare * one
	}
	return boundShare
}

// maxKeyValues is how many values an index key shows.
const maxKeyValues = 8

// IndexKey says what of the event leads to the program in a Set, such as
// `e.domain in ["light"]`. It is empty if nothing does: then the program is
// evaluated on every event.
func (p *Program) IndexKey() string {
	route := p.route()
	if len(route) == 0 {
		return ""
	}
	sh := route[0].shape
	path := strings.TrimSuffix(strings.TrimPrefix(sh.path, "("), ")") // of a chain
	switch sh.kind {
	case byPrefix:
		return clip(path+" starts with "+shown(stringValue(sh.prefix), maxValue), maxText)
	case byAbove:
		return clip(path+" from "+formatNumber(sh.limit), maxText)
	case byBelow:
		return clip(path+" up to "+formatNumber(sh.limit), maxText)
	}
	var values []string
	for _, v := range sh.values[:min(len(sh.values), maxKeyValues)] {
		values = append(values, shown(v, maxValue))
	}
	if more := len(sh.values) - len(values); more > 0 {
		values = append(values, fmt.Sprintf("… %d more", more))
	}
	return clip(path+" in ["+strings.Join(values, ", ")+"]", maxMessage)
}
