package main

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// A station is a unit that answers, or doesn't: a device, or a part of one that has a unit id of its own.
type station struct {
	// Static after construction.
	device *device
	unit   byte
	points []*point

	// Owned by its line.
	blocks   []*block
	failures int       // in a row, that it didn't answer
	retry    time.Time // when it is asked again; while there are failures

	mu sync.Mutex
	// Guarded by mu.
	asked   bool              // it has answered, or was found not to
	silent  string            // why it doesn't answer; "": it does
	refused map[string]string // what it refuses of itself, and why, by entity
}

// The pauses after which a silent station is asked again.
const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// The pauses after which a register that was refused is asked for again: firmware is replaced, and a
// device that starts may refuse what it has.
const (
	firstRefusal = 10 * time.Second
	lastRefusal  = 10 * time.Minute
)

// backOff returns how long to wait after n failures in a row.
func backOff(n int, first, last time.Duration) time.Duration {
	return min(first<<min(n-1, 20), last)
}

// plan makes the blocks of the station, due now but for points that were refused.
func (s *station) plan(now time.Time) {
	var good []*point
	s.blocks = nil
	for _, p := range s.points {
		switch {
		case !p.read():
		case p.refusals == 0:
			good = append(good, p)
		default:
			for _, b := range blocks([]*point{p}, s.device.limits) {
				b.due = now.Add(backOff(p.refusals, firstRefusal, lastRefusal))
				s.blocks = append(s.blocks, b)
			}
		}
	}
	for _, b := range blocks(good, s.device.limits) {
		b.due = now
		s.blocks = append(s.blocks, b)
	}
	for _, b := range s.blocks {
		b.station = s
	}
}

// hurry makes all that the station can tell due.
func (s *station) hurry(now time.Time) {
	for _, b := range s.blocks {
		if b.points[0].refusals == 0 {
			b.due = now
		}
	}
}

// replace puts parts in the place of a block.
func (s *station) replace(b *block, parts []*block) {
	i := slices.Index(s.blocks, b)
	for _, part := range parts {
		part.station, part.due = s, b.due
	}
	s.blocks = slices.Replace(s.blocks, i, i+1, parts...)
}

// next returns the block that is due first, and when.
func (s *station) next() (b *block, due time.Time) {
	for _, each := range s.blocks {
		if b == nil || each.due.Before(b.due) {
			b = each
		}
	}
	if b == nil {
		return nil, due
	}
	if s.failures > 0 {
		return b, s.retry
	}
	return b, b.due
}

// tell notes whether the station answers, and reports whether that is news.
func (s *station) tell(silent string) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	news = (s.silent == "") != (silent == "") || !s.asked && silent != ""
	s.asked, s.silent = true, silent
	return news
}

// refuse notes why an entity is refused; "": it is not. It reports whether that is news.
func (s *station) refuse(entity, why string) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.refused[entity]
	if why == "" {
		delete(s.refused, entity)
		return before != ""
	}
	if s.refused == nil {
		s.refused = map[string]string{}
	}
	s.refused[entity] = why
	return before != why
}

// report returns how the station is doing.
func (s *station) report() (asked bool, silent string, refused []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(s.refused)) {
		refused = append(refused, id+": "+s.refused[id])
	}
	return s.asked, s.silent, refused
}

// polled reports whether anything of the station is read by itself.
func (s *station) polled() bool { return slices.ContainsFunc(s.points, (*point).read) }
