package plugins

import (
	"sort"
	"sync"

	"carillon/runtime"
)

// A feed is the newest events, for all that follow them: each is but a place in
// it, and reads the journal when its place has left. So a follower that stalls
// costs nothing, and the goroutine that brings the events waits for nobody. It is
// empty while nobody follows.
type feed struct {
	mu sync.Mutex
	// Guarded by mu.
	followers int
	events    []*runtime.Event // all that are behind after, up to head
	bytes     int              // of their JSON
	after     uint64
	head      uint64
	news      chan struct{} // closed when events come; nil: nobody waits
}

// What the feed holds: 80 ms of 100,000 small events a second.
const (
	feedEvents = 8192
	feedBytes  = 8 << 20
)

// begin takes the events of a runtime in until leave is called.
func (f *feed) begin(rt *runtime.Runtime) (leave func()) {
	after, leave := rt.Follow(f.take)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.head < after {
		f.head, f.after = after, after
	}
	return leave
}

// join makes the feed hold events, until as many left as joined.
func (f *feed) join() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.followers++
}

func (f *feed) part() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.followers--; f.followers == 0 {
		f.events, f.bytes, f.after = nil, 0, f.head
	}
}

// take takes events in. It runs on the tail's goroutine.
func (f *feed) take(batch []*runtime.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.head = batch[len(batch)-1].Seq
	if f.followers == 0 {
		f.after = f.head
		return
	}
	f.events = append(f.events, batch...)
	for _, e := range batch {
		f.bytes += len(e.JSON)
	}
	f.trim()
	if f.news != nil {
		close(f.news)
		f.news = nil
	}
}

// trim lets go of the oldest. The caller holds mu.
func (f *feed) trim() {
	n := 0
	for len(f.events)-n > feedEvents || f.bytes > feedBytes {
		f.bytes -= len(f.events[n].JSON)
		f.after = f.events[n].Seq
		f.events[n] = nil
		n++
	}
	f.events = f.events[n:]
}

// behind appends to buf what is behind a place, as much as fits into its
// capacity. What it does not hold any more has to be read from the journal, up to
// the sequence lost; 0 if there is no need. If nothing is there, news is closed when
// something is.
func (f *feed) behind(place uint64, buf []*runtime.Event) (events []*runtime.Event, lost uint64, news <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if place < f.after {
		return buf, f.after, nil
	}
	n := sort.Search(len(f.events), func(i int) bool { return f.events[i].Seq > place })
	found := f.events[n:]
	events = append(buf, found[:min(len(found), cap(buf)-len(buf))]...)
	if len(found) == 0 {
		if f.news == nil {
			f.news = make(chan struct{})
		}
		news = f.news
	}
	return events, 0, news
}
