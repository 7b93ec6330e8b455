package loadtest

import (
	"fmt"
	"net/url"
	"strings"
)

// spread says which of a number of filters take which events. Each event has
// a key in its data, and a filter takes two of them: one that is its own, and
// one that it shares with the other filters of its group. Nine events in ten
// have the keys 1 to filters by turns, and are for one filter; the tenth has
// those of the groups by turns, and is for all filters of one. So what a
// stream must get is known from its filter and an event's number alone.
type spread struct{ filters, groups int64 }

const (
	// sharedEvery is how many events there are to one that is for a group.
	sharedEvery = 10
	// maxGroups is how many groups there are, unless there are fewer filters.
	maxGroups = 10
	// MaxFilters bounds the filters of a test.
	MaxFilters = 1_000_000
)

// newSpread returns the spread over n filters, nil for none.
func newSpread(n int) *spread {
	if n == 0 {
		return nil
	}
	return &spread{filters: int64(n), groups: int64(min(n, maxGroups))}
}

// key returns what event n carries for the filters to select by; 0 without any.
func (s *spread) key(n int64) int64 {
	switch {
	case s == nil:
		return 0
	case n%sharedEvery == 0:
		return s.filters + 1 + (n/sharedEvery-1)%s.groups
	}
	return 1 + (n-1-n/sharedEvery)%s.filters
}

// filter returns the one with the given number, from 0. They are written in
// different ways by turns.
func (s *spread) filter(number int64) string {
	own, shared := number+1, s.filters+1+number%s.groups
	switch number % 3 {
	case 0:
		return fmt.Sprintf("e => e.data.k === %d || e.data.k === %d", own, shared)
	case 1:
		return fmt.Sprintf("e => [%d, %d].includes(e.data.k)", own, shared)
	}
	return fmt.Sprintf("e => e.type === '%s' && (e.data.k === %d || e.data.k === %d)", EventType, own, shared)
}

// query returns the parameter that asks for the filter with the number.
func (s *spread) query(number int64) string {
	return "filter=" + url.QueryEscape(s.filter(number))
}

// text tells it in a line, for a test with streams.
func (s *spread) text(streams int64) string {
	each := strings.TrimSuffix(amount(per(float64(streams), float64(s.filters))), " ") + " streams"
	if streams == s.filters {
		each = "1 stream"
	}
	text := fmt.Sprintf("%s, %s each, as %s", plural(s.filters, "distinct filter"), each, s.filter(0))
	if s.filters == 1 {
		return text + "; it takes all events"
	}
	return text + fmt.Sprintf("; %d of %d events are for one of them, the others for %s",
		sharedEvery-1, sharedEvery, strings.TrimSuffix(amount(per(float64(s.filters), float64(s.groups))), " "))
}

// taking is which events a stream gets: those that the filter with the number
// takes. A nil one takes all.
type taking struct {
	spread
	number int64
}

// from returns the first event taken whose number is n or above; n is 1 or above.
func (t *taking) from(n int64) int64 {
	if t == nil {
		return n
	}
	shared := (n - 1) / sharedEvery // events of groups before n
	own := n - 1 - shared           // the others
	own += ahead(own, t.number, t.filters)
	shared += ahead(shared, t.number%t.groups, t.groups)
	return min(own+own/(sharedEvery-1)+1, (shared+1)*sharedEvery)
}

// ahead returns how far it is from n to the next number that leaves rest when
// it is divided by by.
func ahead(n, rest, by int64) int64 {
	return ((rest-n)%by + by) % by
}

// takes reports whether event n is among them.
func (t *taking) takes(n int64) bool { return t == nil || t.from(n) == n }

// count returns how many events from first to last, both included, are taken.
func (t *taking) count(first, last int64) int64 {
	switch {
	case last < first:
		return 0
	case t == nil:
		return last - first + 1
	}
	return t.upTo(last) - t.upTo(first-1)
}

// upTo returns how many events from 1 to n are taken.
func (t *taking) upTo(n int64) int64 {
	shared := n / sharedEvery
	return hits(n-shared, t.number, t.filters) + hits(shared, t.number%t.groups, t.groups)
}

// hits returns how many numbers from 0 to n-1 leave rest when divided by by.
func hits(n, rest, by int64) int64 {
	if n <= rest {
		return 0
	}
	return (n-rest-1)/by + 1
}
