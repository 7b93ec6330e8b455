package broadcast

import (
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// A channel is one format in use: its tapes and its feeds.
type channel struct {
	// Static after construction.
	format Format
	epoch  string
	head   *atomic.Uint64 // the hub's
	tape   *tape
	aside  atomic.Pointer[tape]   // frames for filtered feeds alone; nil until there is one
	ping   atomic.Pointer[[]byte] // newest ping for silent filtered feeds; its bytes never change

	newTape   func(seq uint64) *tape // static, as is leastRefs
	leastRefs int

	// Guarded by Hub.mu.
	whole    *feed // the unfiltered one; nil until a stream asks for it
	feeds    map[feedKey]*feed
	index    feedIndex
	quiet    int64 // Unix nanoseconds of the last event or ping on the tape
	pinged   int64 // Unix nanoseconds of the last ping on the tape
	quietest int64 // no feed's quiet is below
	payload  []byte
	frame    []byte
	other    []byte // as frame, for the aside tape
	last     ref    // the newest event on the tape
	placed   placed
	matching []*feed
	unused   time.Time // since when it has no stream; zero if it has
}

// A feed is all streams with the same format and selection. The unfiltered
// feed is its tape; any other has a ring of references into the tapes.
type feed struct {
	// Static after construction.
	ch     *channel
	sel    Selection // canonical
	whole  bool
	asData bool   // what its filter throws is told as data, too
	lane   *lane  // of its filter, if that has one
	since  uint64 // the hub's head when it began

	streams atomic.Int32
	members []*member // guarded by Hub.mu; one for each pump that had a stream of it
	quiet   int64     // guarded by Hub.mu; Unix nanoseconds of the last event or ping
	failure *failure  // guarded by Hub.mu; nil until its filter threw

	next atomic.Uint64 // ordinal of the reference to come; stored under mu

	mu sync.Mutex
	// Guarded by mu.
	refs  []ref  // ring, its length 0 or a power of two
	first uint64 // ordinal of the oldest reference
	base  uint64 // every match with a higher sequence is, or was, in refs
}

// A ref is one frame of a filtered feed.
type ref struct {
	off  uint64 // on its tape, if it lies on one
	seq  uint64 // of the event, or of the last one before it
	n    uint32 // length of the frame
	kind refKind
}

type refKind uint32

const (
	isEvent refKind = iota
	isBeat          // on the tape, no event
	isPing          // the channel's ping, not on a tape
	isAside         // an event on the aside tape
	isNote          // on the aside tape, no event
	isHole          // nothing: the feed lacks what lies before, up to its sequence
)

func (k refKind) event() bool { return k == isEvent || k == isAside }
func (k refKind) aside() bool { return k == isAside || k == isNote }

// tapeOf returns the tape that frames of a kind lie on; nil for none.
func (ch *channel) tapeOf(k refKind) *tape {
	switch {
	case k.aside():
		return ch.aside.Load()
	case k == isPing || k == isHole:
		return nil
	}
	return ch.tape
}

const (
	minRefs = 1
	// maxRefs bounds what a feed keeps for its slowest stream (24 KiB); beyond
	// it the stream reads the journal. A feed with many streams keeps a 32nd of
	// that for each of them, since a pass over them takes longer, up to about as
	// many as a tape of short frames has (768 KiB).
	maxRefs       = 1024
	refsShare     = 32
	maxSharedRefs = 32 << 10
)

// A member is the part of a feed that one pump has.
type member struct {
	feed  *feed
	pump  pump
	dirty atomic.Bool   // it stands in the pump's list of work
	done  atomic.Uint64 // no stream on the feed has its cursor below; a hint only

	streams []*Stream // owned by the pump
}

// touch tells the member's pump that the feed has something new.
func (m *member) touch() {
	if !m.dirty.Load() && !m.dirty.Swap(true) {
		m.pump.touch(m)
	}
}

// touch is called with Hub.mu held.
func (f *feed) touch() {
	for _, m := range f.members {
		m.touch()
	}
}

// head returns the sequence up to which the feed has everything that it ever
// will: what it lacks of that is in the journal only.
func (f *feed) head() uint64 {
	if f.lane != nil {
		return max(f.lane.head.Load(), f.since)
	}
	return f.ch.head.Load()
}

func (f *feed) ref(ordinal uint64) *ref {
	return &f.refs[ordinal&uint64(len(f.refs)-1)]
}

// append adds a reference. It is called with Hub.mu held.
func (f *feed) append(r ref) {
	f.mu.Lock()
	next := f.next.Load()
	if int(next-f.first) == len(f.refs) {
		f.makeRoom(next)
	}
	*f.ref(next) = r
	f.next.Store(next + 1)
	f.mu.Unlock()
	f.touch()
}

// makeRoom gives up the oldest reference if no stream needs it or the ring has
// its bound; else it lets the ring grow.
func (f *feed) makeRoom(next uint64) {
	if len(f.refs) > 0 && (f.first < f.needed(next) || len(f.refs) >= f.maxRefs()) {
		f.base = max(f.base, f.ref(f.first).seq)
		f.first++
		return
	}
	f.resize(max(minRefs, 2*len(f.refs)), next)
}

func (f *feed) maxRefs() int {
	return min(max(f.ch.leastRefs, f.ch.leastRefs/refsShare*int(f.streams.Load())), maxSharedRefs)
}

func (f *feed) resize(size int, next uint64) {
	refs := make([]ref, size)
	for i := f.first; i < next; i++ {
		refs[i&uint64(size-1)] = *f.ref(i)
	}
	f.refs = refs
}

// needed returns the first ordinal that some stream may still want.
func (f *feed) needed(next uint64) uint64 {
	for _, m := range f.members {
		next = min(next, m.done.Load())
	}
	return next
}

// shrink gives memory back once every stream has everything. It is called with
// Hub.mu held.
func (f *feed) shrink() {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := f.next.Load()
	if len(f.refs) <= minRefs || f.needed(next) < next {
		return
	}
	for next-f.first > minRefs {
		f.base = max(f.base, f.ref(f.first).seq)
		f.first++
	}
	f.resize(minRefs, next)
}

// join returns the cursor of a stream that has everything up to seq. It
// reports false if the feed lacks something that comes after. The feed must be
// complete up to seq: the caller has seen its head at seq or above.
func (f *feed) join(seq uint64) (cursor uint64, ok bool) {
	if f.whole {
		return f.ch.tape.after(seq)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if seq < f.base {
		return 0, false
	}
	next := f.next.Load()
	cursor = f.first + uint64(sort.Search(int(next-f.first), func(i int) bool {
		return f.ref(f.first+uint64(i)).seq > seq
	}))
	return cursor, f.holds(cursor, next)
}

// holds reports whether the frames from..next are still on their tapes. As the
// offsets rise, it looks at the first one on each tape only. It is called with
// mu held.
func (f *feed) holds(from, next uint64) bool {
	var main, aside bool // that tape's first frame was seen
	aside = f.sel.Filter == nil
	for i := from; i < next && !(main && aside); i++ {
		r := f.ref(i)
		t := f.ch.tapeOf(r.kind)
		if t == nil || r.kind.aside() && aside || !r.kind.aside() && main {
			continue
		}
		if r.off < t.low.Load() {
			return false
		}
		main, aside = main || !r.kind.aside(), aside || r.kind.aside()
	}
	return true
}

// end returns the cursor of a stream that has everything.
func (f *feed) end() uint64 {
	if f.whole {
		return f.ch.tape.head.Load()
	}
	return f.next.Load()
}

// behind returns how many frames of the feed a stream at cursor lacks, of the
// unfiltered feed how many events, and their bytes. It reports false if they
// are not all there.
func (f *feed) behind(cursor uint64) (frames, bytes uint64, ok bool) {
	if f.whole {
		a, b, ok := f.ch.tape.span(cursor, 1<<62)
		return b.events - a.events, b.offset - a.offset, ok
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	next := f.next.Load()
	for i := max(cursor, f.first); i < next; i++ {
		bytes += uint64(f.ref(i).n)
	}
	return next - cursor, bytes, cursor >= f.first
}
