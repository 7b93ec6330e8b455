package httpd

import (
	"sort"
	"sync"

	"carillon/runtime"
)

const (
	// recentEvents and recentBytes bound what is kept for polls that come back
	// at once: seconds of a busy home.
	recentEvents = 4096
	recentBytes  = 1 << 20
)

// recent keeps the last events, so that a poll that comes back for what
// happened in between need not read the journal, and wakes those that wait.
type recent struct {
	mu sync.Mutex
	// Guarded by mu.
	events []*runtime.Event // in order, without a hole from after on
	bytes  int
	after  uint64        // the sequence behind which events begin
	head   uint64        // the sequence of the last event
	moved  chan struct{} // closed at the next event; nil if nobody waits
}

func (r *recent) begin(after uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.after, r.head = after, after
}

// add takes what the journal's tail brought. It is called in order.
func (r *recent) add(batch []*runtime.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, batch...)
	for _, e := range batch {
		r.bytes += len(e.JSON)
	}
	r.head = batch[len(batch)-1].Seq
	if len(r.events) > recentEvents || r.bytes > recentBytes {
		r.shorten()
	}
	if r.moved != nil {
		close(r.moved)
		r.moved = nil
	}
}

// shorten leaves half of what may be kept, so that it is rarely called.
func (r *recent) shorten() {
	n := 0
	for ; len(r.events)-n > recentEvents/2 || r.bytes > recentBytes/2; n++ {
		r.bytes -= len(r.events[n].JSON)
		r.after = r.events[n].Seq
	}
	left := copy(r.events, r.events[n:])
	clear(r.events[left:])
	r.events = r.events[:left]
}

// behind appends the events behind a sequence to dst and returns the sequence
// of the last one there is, or reports false if it does not have all of them.
func (r *recent) behind(dst []*runtime.Event, after uint64) (events []*runtime.Event, head uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if after < r.after || after > r.head {
		return dst, r.head, false
	}
	i := sort.Search(len(r.events), func(i int) bool { return r.events[i].Seq > after })
	return append(dst, r.events[i:]...), r.head, true
}

// wait returns a channel that is closed once there is more than after.
func (r *recent) wait(after uint64) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.head > after {
		now := make(chan struct{})
		close(now)
		return now
	}
	if r.moved == nil {
		r.moved = make(chan struct{})
	}
	return r.moved
}
