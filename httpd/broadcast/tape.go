package broadcast

import (
	"sort"
	"sync"
	"sync/atomic"
)

// A tape is a ring of whole frames, addressed by offsets that only grow. A
// frame may wrap around the ring's end. One goroutine at a time appends.
//
// Readers take bytes out of the ring without a lock of the tape. What keeps a
// byte from being overwritten under them: a reader holds its pump's sending
// lock from before it loads low until it has done with the bytes, and touches
// only offsets of at least low. The writer stores the new low first, then
// calls fence, which takes and gives back the sending lock of every pump, and
// only then writes. So each reader either had its lock after that and saw the
// new low, or had given it back before the first byte changed. Bytes below
// head are written before head is stored and read after it was loaded. The
// kernel's reads are invisible to the race detector, so this argument, and the
// tests that compare every byte received, stand in for it.
type tape struct {
	// Static after construction.
	fence func() // returns once no reader can still use offsets below low
	halt  func() // as fence, but keeps all readers out until resume
	play  func() // lets the readers in again after halt

	// Written by the appender between halt and play; read under a sending lock.
	buf []byte // length is a power of two

	low  atomic.Uint64 // start of the oldest frame that may be read
	head atomic.Uint64 // end of the newest frame

	mu sync.Mutex
	// Guarded by mu. The newest entries of a ring whose length is a power of two.
	index       []entry
	first, next uint64 // ordinals of the oldest entry and of the one to come
	lowSeq      uint64 // everything with a higher sequence is on the tape
	lowEvents   uint64
}

// An entry describes one frame of a tape.
type entry struct {
	start  uint64
	seq    uint64 // of the last event up to the end of this frame
	events uint64 // number of events on the tape up to the end of this frame
}

const (
	minTape   = 1 << 10
	chunks    = 16 // the tail moves by this part of the ring at least
	frameCost = 64 // bytes: the index has room for frames of this mean size
)

func newTape(size int, seq uint64, fence, halt, play func()) *tape {
	t := &tape{fence: fence, halt: halt, play: play, lowSeq: seq}
	t.buf = make([]byte, powerOfTwo(max(size, minTape)))
	t.index = make([]entry, 16)
	return t
}

func powerOfTwo(n int) int {
	p := 1
	for p < n {
		p <<= 1
	}
	return p
}

// append puts one frame on the tape and returns where it starts. seq is that
// of the last event up to it, events is 1 if the frame is an event, else 0.
func (t *tape) append(frame []byte, seq, events uint64) uint64 {
	t.reserve(uint64(len(frame)))
	at := t.head.Load()
	i := at & uint64(len(t.buf)-1)
	n := copy(t.buf[i:], frame)
	copy(t.buf, frame[n:])

	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.lowEvents
	if t.next > t.first {
		before = t.entry(t.next - 1).events
	}
	*t.entry(t.next) = entry{at, seq, before + events}
	t.next++
	t.head.Store(at + uint64(len(frame)))
	return at
}

func (t *tape) entry(ordinal uint64) *entry {
	return &t.index[ordinal&uint64(len(t.index)-1)]
}

// reserve makes room for a frame of n bytes in ring and index.
func (t *tape) reserve(n uint64) {
	if n > uint64(len(t.buf))/4 {
		t.grow(int(n) * 4)
	}
	head, low, size := t.head.Load(), t.low.Load(), uint64(len(t.buf))
	target := low
	if need := head + n; need > low+size {
		target = min(head, max(need-size, low+size/chunks))
	}
	if target = t.reserveEntry(target); target > low {
		t.drop(target)
		t.fence()
	}
}

// reserveEntry makes room in the index, by growth or by moving the target of
// the ring's tail, and returns that target.
func (t *tape) reserveEntry(target uint64) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	size := uint64(len(t.index))
	if t.next-t.first < size {
		return target
	}
	if size*frameCost >= uint64(len(t.buf)) {
		return max(target, t.entry(t.first+size/chunks).start)
	}
	grown := make([]entry, 2*size)
	for i := t.first; i < t.next; i++ {
		grown[i&(2*size-1)] = *t.entry(i)
	}
	t.index = grown
	return target
}

// drop gives up all frames that start before target.
func (t *tape) drop(target uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.first < t.next && t.entry(t.first).start < target {
		e := t.entry(t.first)
		t.lowSeq, t.lowEvents = e.seq, e.events
		t.first++
	}
	t.low.Store(t.start(t.first))
}

// start returns where a frame begins, or the head for the one to come.
func (t *tape) start(ordinal uint64) uint64 {
	if ordinal == t.next {
		return t.head.Load()
	}
	return t.entry(ordinal).start
}

// grow makes the ring at least size bytes long, keeping all frames.
func (t *tape) grow(size int) {
	buf := make([]byte, powerOfTwo(size))
	t.halt()
	defer t.play()
	for at, head := t.low.Load(), t.head.Load(); at < head; {
		from := t.buf[at&uint64(len(t.buf)-1):]
		from = from[:min(uint64(len(from)), head-at)]
		at += uint64(copy(buf[at&uint64(len(buf)-1):], from))
	}
	t.buf = buf
}

// bytes appends the pieces that hold the offsets from..to to dst. The caller
// holds a sending lock, and from is at least low.
func (t *tape) bytes(dst [][]byte, from, to uint64) [][]byte {
	i := from & uint64(len(t.buf)-1)
	n := to - from
	if room := uint64(len(t.buf)) - i; n > room {
		return append(dst, t.buf[i:], t.buf[:n-room])
	}
	return append(dst, t.buf[i:i+n])
}

// search returns the ordinal of the first frame for which f holds.
func (t *tape) search(f func(*entry) bool) uint64 {
	n := sort.Search(int(t.next-t.first), func(i int) bool { return f(t.entry(t.first + uint64(i))) })
	return t.first + uint64(n)
}

// after returns where the first frame with a sequence above seq starts; the
// head if there is none yet. It reports false if events above seq are gone.
func (t *tape) after(seq uint64) (uint64, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if seq < t.lowSeq {
		return 0, false
	}
	return t.start(t.search(func(e *entry) bool { return e.seq > seq })), true
}

// find returns where the frame of the event with this sequence lies, if it is
// on the tape.
func (t *tape) find(seq uint64) (ref, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.search(func(e *entry) bool { return e.seq >= seq })
	if i == t.next || t.entry(i).seq != seq || t.mark(i).events == t.entry(i).events {
		return ref{}, false
	}
	start := t.start(i)
	return ref{off: start, seq: seq, n: uint32(t.start(i+1) - start), kind: isEvent}, true
}

// size returns how many bytes of frames are on the tape.
func (t *tape) size() int64 { return int64(t.head.Load() - t.low.Load()) }

// meanFrame returns the mean length of the frames on the tape.
func (t *tape) meanFrame() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next == t.first {
		return 0
	}
	return (t.head.Load() - t.entry(t.first).start) / (t.next - t.first)
}

// A mark is a place between two frames.
type mark struct {
	ordinal uint64 // of the frame that starts here
	offset  uint64
	seq     uint64 // of the last event before it
	events  uint64 // number of events before it
}

func (t *tape) mark(ordinal uint64) mark {
	m := mark{ordinal, t.start(ordinal), t.lowSeq, t.lowEvents}
	if ordinal > t.first {
		m.seq, m.events = t.entry(ordinal-1).seq, t.entry(ordinal-1).events
	}
	return m
}

// span returns the marks of the frames that start at from and hold limit bytes
// at most, or one frame. It reports false if from is below low.
func (t *tape) span(from, limit uint64) (a, b mark, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if from < t.low.Load() {
		return a, b, false
	}
	i := t.search(func(e *entry) bool { return e.start >= from })
	j := t.next
	if t.head.Load()-from > limit {
		j = max(i+1, t.search(func(e *entry) bool { return e.start > from+limit })-1)
	}
	return t.mark(i), t.mark(j), true
}

// around returns the marks at both ends of the frame that holds the byte at
// offset, which lies between a and b. The caller has held its sending lock
// since a was at or above low. Those frames may have been dropped meanwhile;
// but their entries are overwritten only after the fence that follows a drop.
func (t *tape) around(a, b mark, offset uint64) (start, end mark) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := sort.Search(int(b.ordinal-a.ordinal), func(i int) bool { return t.entry(a.ordinal+uint64(i)).start > offset })
	i := a.ordinal + uint64(n) - 1
	start = a
	if i > a.ordinal {
		e := t.entry(i - 1)
		start = mark{i, t.entry(i).start, e.seq, e.events}
	}
	return start, mark{i + 1, t.start(i + 1), t.entry(i).seq, t.entry(i).events}
}
