package httpd

import (
	"sync"

	"carillon/httpd/broadcast"
)

// tenants counts the streams and polls of each credential by their filters, to
// bound the different ones. A stream costs it nothing but that count: what its
// filter is now is noted only of those that got another one than they began
// with.
type tenants struct {
	mu sync.Mutex
	// Guarded by mu.
	streams map[string]map[broadcast.Filter]int
	moved   map[string]broadcast.Filter // by stream id; nil for none
	moving  map[string]*move            // by stream id
}

// A move is a stream's change of filter that is under way.
type move struct {
	closed bool // the stream ended meanwhile
}

// take counts one more stream of a filter, or reports false if the credential
// has as many different ones as it may. A nil filter is none; most 0 is no bound.
func (t *tenants) take(who string, f broadcast.Filter, most int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.add(who, f, most)
}

// drop is the reverse of take.
func (t *tenants) drop(who string, f broadcast.Filter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remove(who, f)
}

// end drops what a stream has now that began with a filter. It is called once.
func (t *tenants) end(id, who string, f broadcast.Filter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now, ok := t.moved[id]; ok {
		delete(t.moved, id)
		f = now
	}
	if m := t.moving[id]; m != nil {
		m.closed = true
	}
	t.remove(who, f)
}

// begin notes that a stream is to get the filter f, for one caller at a time.
// Done is called with whether it did, and what it had.
func (t *tenants) begin(id, who string, f broadcast.Filter, most int) (done func(ok bool, had broadcast.Filter), free bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.add(who, f, most) {
		return nil, false
	}
	m := &move{}
	if t.moving == nil {
		t.moving, t.moved = make(map[string]*move), make(map[string]broadcast.Filter)
	}
	t.moving[id] = m
	return func(ok bool, had broadcast.Filter) {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.moving, id)
		if !ok || m.closed { // who ended it has dropped what it had
			t.remove(who, f)
			return
		}
		t.remove(who, had)
		if f != nil || had != nil {
			t.moved[id] = f
		}
	}, true
}

// add is take with mu held.
func (t *tenants) add(who string, f broadcast.Filter, most int) bool {
	if f == nil {
		return true
	}
	own := t.streams[who]
	if own[f] == 0 && most > 0 && len(own) >= most {
		return false
	}
	if own == nil {
		if t.streams == nil {
			t.streams = make(map[string]map[broadcast.Filter]int)
		}
		own = make(map[broadcast.Filter]int)
		t.streams[who] = own
	}
	own[f]++
	return true
}

// remove is drop with mu held.
func (t *tenants) remove(who string, f broadcast.Filter) {
	own := t.streams[who]
	if f == nil || own == nil {
		return
	}
	decrease(own, f)
	if len(own) == 0 {
		delete(t.streams, who)
	}
}
