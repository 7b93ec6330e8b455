package httpd

import (
	"fmt"
	"net/netip"
	"sync"
)

// places counts the open streams and the polls that wait.
type places struct {
	mu sync.Mutex
	// Guarded by mu.
	streams, polls int
	byAddress      map[netip.Addr]int
	byCredential   map[string]int
}

// A refusedReason says why there is no place; it is a metric's label.
type refusedReason string

const (
	noReason            refusedReason = ""
	tooManyStreams      refusedReason = "too_many_streams"
	tooManyOfAddress    refusedReason = "too_many_streams_of_address"
	tooManyOfCredential refusedReason = "too_many_streams_of_credential"
	tooManyPolls        refusedReason = "too_many_polls"
	tooManySnapshots    refusedReason = "too_many_snapshots"
	tooManyReadings     refusedReason = "too_many_readings"
	tooManyFilters      refusedReason = "too_many_filters"
	filterNotAsked      refusedReason = "filter_not_asked"
	connectionRate      refusedReason = "connection_rate"
	noDescriptors       refusedReason = "no_descriptors"
)

// why tells a client what its being refused for now means.
func (r refusedReason) why() string {
	switch r {
	case tooManyOfAddress:
		return "Too many streams are open from this address; come back later."
	case tooManyOfCredential:
		return "Too many streams are open with this credential; come back later."
	case tooManyPolls:
		return "Too many polls are waiting; come back later."
	case tooManySnapshots:
		return "Too many snapshots are being read; come back later."
	case tooManyReadings:
		return "Too many polls read the past; come back later."
	case tooManyFilters:
		return "Too many different filters are in use with this credential; come back later, or use parameters that others share."
	case filterNotAsked:
		return "The filter could not be asked about the snapshot; come back later."
	case connectionRate:
		return "Too many connections from this address within a short time; come back later."
	case noDescriptors:
		return "Carillon is short of file descriptors; come back later."
	}
	return "Too many streams are open; come back later."
}

// take counts a stream, or a poll that waits, or returns why there may not be
// another one. Streams and polls share the bounds of an address and of a
// credential. Release gives the place back; it is called once.
func (p *places) take(v visitor, address netip.Addr, poll bool, s *Settings) (refused refusedReason, release func()) {
	address, who := network(address), v.who()
	p.mu.Lock()
	defer p.mu.Unlock()
	count, most, many := &p.streams, s.MaxStreams, tooManyStreams
	if poll {
		count, most, many = &p.polls, s.MaxPolls, tooManyPolls
	}
	switch {
	case *count >= most:
		return many, nil
	case p.byAddress[address] >= s.MaxStreamsPerAddress:
		return tooManyOfAddress, nil
	case s.MaxStreamsPerCredential > 0 && p.byCredential[who] >= s.MaxStreamsPerCredential:
		return tooManyOfCredential, nil
	}
	if p.byAddress == nil {
		p.byAddress, p.byCredential = map[netip.Addr]int{}, map[string]int{}
	}
	*count++
	p.byAddress[address]++
	p.byCredential[who]++
	return noReason, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		*count--
		decrease(p.byAddress, address)
		decrease(p.byCredential, who)
	}
}

func decrease[K comparable](counts map[K]int, key K) {
	if counts[key]--; counts[key] == 0 {
		delete(counts, key)
	}
}

// now returns how many streams and waiting polls there are.
func (p *places) now() (streams, polls int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.streams, p.polls
}

func (s *Server) refused(reason refusedReason) {
	s.metrics.GetOrCreateCounter(fmt.Sprintf("carillon_http_refused_total{reason=%q}", string(reason))).Inc()
}
