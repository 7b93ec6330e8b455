package worker

import (
	"cmp"
	"encoding/binary"
	"maps"
	goruntime "runtime"
	"runtime/metrics"
	"slices"
	"strconv"
)

// A heap finds out which filter keeps more and more memory, before the process
// dies of it. From a quarter of the room on, what each filter allocates is
// counted; at half of it, the filters that allocated most are dropped one after
// the other until one of them turns out to have held most of it.
type heap struct {
	room     uint64 // bytes that filters may take
	watching bool   // what each filter allocates is counted
	wary     bool   // watching goes on: the last search found nobody
	sample   [1]metrics.Sample
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
	live := h.live()
	switch {
	case live < h.room/4:
		if h.watching && !h.wary {
			h.watching = false
			for _, p := range s.programs {
				p.allocated = 0
			}
		}
	case !h.watching:
		h.watching = true
	case live >= h.room/2:
		goruntime.GC()
		if live = h.live(); live >= h.room/2 {
			s.findGreedy(live)
		}
	}
}

// findGreedy drops the filter that holds most of the heap, of which live bytes
// are in use. If none does, all are loaded anew, and with that lose what they
// hold.
func (s *server) findGreedy(live uint64) {
	all := slices.SortedFunc(maps.Values(s.programs), func(a, b *program) int { return cmp.Compare(b.allocated, a.allocated) })
	for _, p := range all[:min(suspects, len(all))] {
		p.empty()
		goruntime.GC()
		after := s.heap.live()
		if held := live - min(after, live); held > s.heap.room/4 {
			p.broken = "the filter kept " + strconv.FormatUint(held>>20, 10) + " MiB from event to event"
			s.tellGreedy(p)
			return
		}
		live = after
	}
	for _, p := range all {
		p.empty()
	}
	s.heap.wary = true
	goruntime.GC()
}

func (s *server) tellGreedy(p *program) {
	b, start := beginFrame(nil, kindGreedy)
	b = binary.AppendUvarint(b, uint64(p.id))
	s.send(endFrame(appendString(b, p.broken), start))
}
