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
	device  *device
	unit    byte
	points  []*point
	buttons []*point // of the points, those that are not polled

	// Owned by its line.
	blocks   []*block
	failures int       // in a row, that it didn't answer
	retry    time.Time // when it is asked again; while there are failures
	regroup  time.Time // when blocks are planned anew; zero: none was split
	splits   int       // how often that was so

	mu sync.Mutex
	// Guarded by mu.
	polls   int               // points that are read by themselves
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

// plan makes the blocks of the station anew, due now. Points that are refused stay as they are, each for itself.
func (s *station) plan(now time.Time) {
	s.regroup = time.Time{}
	s.blocks = slices.DeleteFunc(s.blocks, func(b *block) bool { return b.points[0].refusals == 0 })
	good := slices.DeleteFunc(slices.Clone(s.points), func(p *point) bool { return !p.read() || p.taken || p.refusals > 0 })
	for _, b := range blocks(good, s.device.limits) {
		b.station, b.due = s, now
		s.blocks = append(s.blocks, b)
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

// The times after which what was split is tried as a whole again: it may have been a mood of the device.
const (
	firstRegroup = time.Minute
	lastRegroup  = time.Hour
)

// replace puts parts in the place of a block.
func (s *station) replace(b *block, parts []*block) {
	if s.regroup.IsZero() {
		s.splits++
		s.regroup = time.Now().Add(backOff(s.splits, firstRegroup, lastRegroup))
	}
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
	news = (s.silent == "") != (silent == "")
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
func (s *station) polled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.polls > 0
}

// leaveOut has a point neither read nor told of.
func (s *station) leaveOut(p *point) {
	p.taken = true
	s.blocks = nil // planned anew before the line reads
	s.count(p, -1)
}

// takeBack has a point that was left out read again.
func (s *station) takeBack(p *point, now time.Time) {
	p.taken = false
	s.count(p, 1)
	s.plan(now)
}

func (s *station) count(p *point, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.read() {
		s.polls += n
	}
}
