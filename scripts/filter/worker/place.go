package worker

import "sync/atomic"

// A place says which filter runs, and on which event of its batch, counted from
// 1 (0: it is being loaded): filter<<32 | event. 0 is none.
func placeOf(filter uint32, event int) uint64 { return uint64(filter)<<32 | uint64(uint32(event)) }

func splitPlace(place uint64) (filter uint32, event int) {
	return uint32(place >> 32), int(uint32(place))
}

// A marker is where the worker keeps its place: on a page of memory that the
// Pool's process sees too, so that it costs nothing and outlives the worker;
// where there is none, in a frame each time, which costs a system call.
type marker struct {
	page *atomic.Uint64
	tell func(place uint64)
}

func (m *marker) set(filter uint32, event int) { m.mark(placeOf(filter, event)) }

func (m *marker) clear() {
	if m.page != nil { // a frame would only say what the part that follows says
		m.page.Store(0)
	}
}

func (m *marker) mark(place uint64) {
	if m.page != nil {
		m.page.Store(place)
	} else {
		m.tell(place)
	}
}
