package worker

import (
	"cmp"
	"encoding/binary"
	"maps"
	goruntime "runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"time"
)

// A heap finds out which filter keeps more and more memory, before the process
// dies of it. When a quarter of the room is in use beside what machines need as
// a rule, what each filter allocates is counted; when half of it is, the filters
// that allocated most are dropped one after the other until one of them turns
// out to have held most of it.
type heap struct {
	room     uint64    // bytes that filters may take
	watching bool      // what each filter allocates is counted
	wary     bool      // watching goes on: the last search found nobody
	pause    time.Time // no search before that
	sample   [1]metrics.Sample
}

const (
	// machineSize is what a filter's machine needs, in bytes: 15 KB at least,
	// 70 KB if it uses much of the library.
	machineSize = 64 << 10
	// searchAgain is the time between a search that found nobody and the next.
	searchAgain = 100 * time.Millisecond
)

// use returns how many quarters of the room are in use beside what so many
// machines need, and how large a quarter is.
func (h *heap) use(machines int) (quarters, quarter uint64) {
	needed := min(uint64(machines)*machineSize, h.room/2)
	quarter = max((h.room-needed)/4, 1)
	return (max(h.live(), needed) - needed) / quarter, quarter
}

// full reports whether there is no room for another machine: machines may have
// half of the room, what they do needs the rest.
func (h *heap) full() bool {
	if h.read("/memory/classes/heap/objects:bytes") <= h.room/2 {
		return false
	}
	goruntime.GC()
	return h.live() > h.room/2
}

func (h *heap) read(name string) uint64 {
	h.sample[0].Name = name
	metrics.Read(h.sample[:])
	return h.sample[0].Value.Uint64()
}

// live is what the last collection left, in bytes.
func (h *heap) live() uint64 { return h.read("/gc/heap/live:bytes") }

// allocated is what was ever allocated, in bytes, to some 10 KB.
func (h *heap) allocated() uint64 { return h.read("/gc/heap/allocs:bytes") }

// suspects is how many filters are looked into at a time: each costs a
// collection of the whole heap.
const suspects = 3

// checkHeap looks for a filter that keeps too much and drops it.
func (s *server) checkHeap() {
	h := &s.heap
	quarters, _ := h.use(len(s.programs))
	switch {
	case quarters == 0:
		if h.watching && !h.wary {
			h.watching = false
			for _, p := range s.programs {
				p.allocated = 0
			}
		}
	case !h.watching:
		h.watching = true
	case quarters >= 2 && time.Now().After(h.pause):
		goruntime.GC()
		if quarters, quarter := h.use(len(s.programs)); quarters >= 2 {
			s.findGreedy(quarter)
		}
	}
}

// findGreedy drops the filter that holds more than much, in bytes. If none does,
// all are opened anew when next asked, and with that lose what they hold.
func (s *server) findGreedy(much uint64) {
	live := s.heap.live()
	all := slices.SortedFunc(maps.Values(s.programs), func(a, b *program) int { return cmp.Compare(b.allocated, a.allocated) })
	for _, p := range all[:min(suspects, len(all))] {
		p.empty()
		goruntime.GC()
		after := s.heap.live()
		if held := live - min(after, live); held > much {
			p.broken = "kept " + strconv.FormatUint(held>>20, 10) + " MiB from event to event"
			s.tellGreedy(p)
			return
		}
		live = after
	}
	for _, p := range all {
		p.empty()
	}
	s.heap.wary, s.heap.pause = true, time.Now().Add(searchAgain)
}

func (s *server) tellGreedy(p *program) {
	b, start := beginFrame(nil, kindGreedy)
	b = binary.AppendUvarint(b, uint64(p.id))
	s.send(endFrame(appendString(b, p.broken), start))
}
