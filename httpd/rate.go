package httpd

import (
	"net/netip"
	"sync"
	"time"
)

// maxBuckets bounds the addresses that a rate remembers. When it is full, those
// that are at rest make room, and if there are none, all do.
const maxBuckets = 8192

// A rate is a token bucket for each client address; an IPv6 client is its /64
// network. A bucket holds the tokens of one second, and what lies below empty
// by as much again is refused politely; beyond that connections are closed at
// once, so that answering can't be what wears the server out.
type rate struct {
	mu sync.Mutex
	// Guarded by mu.
	buckets map[netip.Addr]bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

type verdict uint8

const (
	rateGranted verdict = iota
	rateRefused
	rateClosed
)

// take takes a token of the address. Zero tokens a second is no limit.
func (r *rate) take(address netip.Addr, perSecond float64, now time.Time) verdict {
	if perSecond <= 0 {
		return rateGranted
	}
	address = network(address)
	full := max(perSecond, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	b, known := r.buckets[address]
	if !known {
		r.makeRoom(perSecond, now)
		b = bucket{full, now}
	}
	b.tokens = min(b.tokens+max(now.Sub(b.at).Seconds(), 0)*perSecond, full)
	b.at = now
	v := rateGranted
	switch {
	case b.tokens >= 1:
		b.tokens--
	case b.tokens >= 1-full:
		b.tokens--
		v = rateRefused
	default:
		v = rateClosed
	}
	r.buckets[address] = b
	return v
}

// makeRoom forgets the addresses whose buckets are full again.
func (r *rate) makeRoom(perSecond float64, now time.Time) {
	if r.buckets == nil {
		r.buckets = map[netip.Addr]bucket{}
	}
	if len(r.buckets) < maxBuckets {
		return
	}
	for address, b := range r.buckets {
		if b.tokens+now.Sub(b.at).Seconds()*perSecond >= max(perSecond, 1) {
			delete(r.buckets, address)
		}
	}
	if len(r.buckets) >= maxBuckets {
		clear(r.buckets)
	}
}
