package httpd

import "sync"

// turns has one caller after the other change a stream. Callers for different
// streams don't wait for each other.
type turns struct {
	mu   sync.Mutex
	byID map[string]*turn // of streams that somebody changes; guarded by mu
}

type turn struct {
	sync.Mutex
	waiting int // callers that have it or wait for it; guarded by turns.mu
}

// take waits until nobody else changes the stream, and returns what ends that.
func (t *turns) take(id string) (done func()) {
	t.mu.Lock()
	own := t.byID[id]
	if own == nil {
		own = &turn{}
		if t.byID == nil {
			t.byID = make(map[string]*turn)
		}
		t.byID[id] = own
	}
	own.waiting++
	t.mu.Unlock()
	own.Lock()
	return func() {
		own.Unlock()
		t.mu.Lock()
		defer t.mu.Unlock()
		if own.waiting--; own.waiting == 0 {
			delete(t.byID, id)
		}
	}
}

// slots bound how many requests do something at once that takes memory or time.
// Those that ask a slow filter have their own: others don't wait for them.
type slots struct{ quick, slow chan struct{} }

func newSlots(n int) slots {
	return slots{make(chan struct{}, n), make(chan struct{}, n)}
}

// of returns the channel that holds a token for each request of one kind.
func (s slots) of(slow bool) chan struct{} {
	if slow {
		return s.slow
	}
	return s.quick
}
