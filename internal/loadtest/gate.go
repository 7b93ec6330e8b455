package loadtest

import (
	"sync"
	"time"
)

// maxOpening is how many connections may be on their way at once: as many as
// the shortest usual listen backlog holds, so that none is dropped there and
// retried by the kernel a second later.
const maxOpening = 128

// gate paces the opening of connections for all workers.
type gate struct {
	every int64 // ns from one to the next; 0 for as fast as they come

	mu      sync.Mutex
	opening int
	next    int64
}

func newGate(perSecond int) *gate {
	g := &gate{}
	if perSecond > 0 {
		g.every = int64(time.Second) / int64(perSecond)
	}
	return g
}

// try takes a place if there is one at the run time now, in ns; else it
// returns when to ask again at the latest. A place is given back by done.
func (g *gate) try(now int64) (ok bool, wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opening >= maxOpening {
		return false, 5 * time.Millisecond
	}
	if now < g.next {
		return false, time.Duration(g.next - now)
	}
	g.next = max(g.next, now-int64(10*time.Millisecond)) + g.every
	g.opening++
	return true, 0
}

func (g *gate) done() {
	g.mu.Lock()
	g.opening--
	g.mu.Unlock()
}
