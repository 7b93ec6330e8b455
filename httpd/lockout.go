package httpd

import (
	"net/netip"
	"sync"
	"time"
)

// maxLocks bounds the addresses that lockouts remembers: 8,192 of about 100
// bytes each. When it is full, the one that would be forgotten first makes room.
const maxLocks = 8192

// lockouts counts wrong credentials by address. An IPv6 client is its /64
// network, which one household has as a whole. A right credential doesn't clear
// the count, or whoever shares an address with a busy client could guess for
// ever.
type lockouts struct {
	mu sync.Mutex
	// Guarded by mu.
	byAddress map[netip.Addr]*failures
}

type failures struct {
	count int
	until time.Time // when the count is forgotten, and with it the lock
}

// lockedFor returns how long the address is still locked out, 0 if it isn't.
func (l *lockouts) lockedFor(address netip.Addr, now time.Time, s *Settings) time.Duration {
	if s.LockoutAfter < 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.byAddress[network(address)]
	if f == nil || f.count < s.LockoutAfter {
		return 0
	}
	return max(f.until.Sub(now), 0)
}

// fail counts one wrong credential. The one that reaches the limit locks.
func (l *lockouts) fail(address netip.Addr, now time.Time, s *Settings) {
	if s.LockoutAfter < 0 {
		return
	}
	address = network(address)
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.byAddress[address]
	if f == nil || !now.Before(f.until) {
		if f == nil && len(l.byAddress) >= maxLocks {
			l.makeRoom(now)
		}
		if l.byAddress == nil {
			l.byAddress = make(map[netip.Addr]*failures)
		}
		f = &failures{until: now.Add(s.LockoutWindow)}
		l.byAddress[address] = f
	}
	f.count++
	if f.count == s.LockoutAfter {
		f.until = now.Add(s.LockoutTime)
	}
}

// makeRoom forgets what is over, or else the entry that ends first. mu is held.
func (l *lockouts) makeRoom(now time.Time) {
	var first netip.Addr
	for address, f := range l.byAddress {
		if !now.Before(f.until) {
			delete(l.byAddress, address)
		} else if !first.IsValid() || f.until.Before(l.byAddress[first].until) {
			first = address
		}
	}
	if len(l.byAddress) >= maxLocks {
		delete(l.byAddress, first)
	}
}

func network(address netip.Addr) netip.Addr {
	address = address.Unmap()
	if !address.Is6() {
		return address
	}
	prefix, _ := address.WithZone("").Prefix(64)
	return prefix.Addr()
}
