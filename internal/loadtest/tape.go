package loadtest

import (
	"bytes"
	"hash/maphash"
	"slices"

	"carillon/internal/sse"
)

// tape is what the streams of one worker have received, once. As all streams
// of a test should get the same bytes, the first one to get some writes them
// down and they are parsed; for each other stream the comparison of its bytes
// with the tape's is a full check of them, at the speed of memcmp.
//
// Offsets count from the beginning of the test; the tape keeps the newest.
// A stream is on the tape only from a frame boundary on, so that the bytes
// between its place and the frame's begin are the stream's own too.
type tape struct {
	recorder
	keep    int // bytes to keep at least, once there are so many
	most    int // bounds each of the two generations of known frames
	buf     []byte
	base    uint64   // offset of buf[0], a frame boundary
	recs    []record // frames that end after base
	recBase uint64   // number of recs[0]
	walls   []uint64 // where a torn frame stops; the next one begins a byte further
	places  [2]map[uint64]place
	seed    maphash.Seed
	reader  sse.Reader
	start   uint64 // offset of the reader's first byte
}

// place is a frame that is known by its hash, and where a stream that just
// got it may join the tape.
type place struct {
	rec  record
	end  uint64 // offset after it
	next uint64 // number of the frame that follows it
	on   bool   // end and next are set
}

// leastFrame is about the least that a frame takes, in bytes: as many are
// known as fit on a tape.
const leastFrame = 128

// newTape returns a tape for events of the run, whose data has size bytes;
// run may be empty and size -1 if they are not known.
func newTape(run string, size, keep int) *tape {
	t := &tape{keep: keep, most: max(keep/leastFrame, 1024), seed: maphash.MakeSeed()}
	t.run, t.size, t.epochs, t.order = run, size, map[string]int32{}, &order{}
	t.places[0] = map[uint64]place{}
	t.reader.On = t.frame
	return t
}

func (t *tape) head() uint64 { return t.base + uint64(len(t.buf)) }

// next returns the number that the next frame will have.
func (t *tape) next() uint64 { return t.recBase + uint64(len(t.recs)) }

// from returns the bytes that a stream at pos has to match: as far as the
// head or a torn frame. walled reports the latter.
func (t *tape) from(pos uint64) (rest []byte, walled bool) {
	for _, w := range t.walls {
		if w >= pos {
			return t.buf[pos-t.base : w-t.base], true
		}
	}
	return t.buf[pos-t.base:], false
}

// partial returns the bytes of the frame that a stream at pos, whose next
// frame has the number next, is within.
func (t *tape) partial(pos, next uint64) []byte {
	begin := t.base
	if next > t.recBase {
		begin = t.recs[next-1-t.recBase].end
	}
	for _, w := range t.walls {
		if w < pos {
			begin = max(begin, w+1)
		}
	}
	return t.buf[begin-t.base : pos-t.base]
}

// append writes down what a stream at the head has received.
func (t *tape) append(p []byte) error {
	t.buf = append(t.buf, p...)
	_, err := t.reader.Write(p)
	return err
}

// frame is called by the reader.
func (t *tape) frame(f sse.Frame) {
	if f.Kind != sse.Message && f.Kind != sse.Moved {
		return
	}
	key := t.key(f)
	p := t.known(key, f)
	p.rec.end = t.start + uint64(t.reader.Offset())
	t.recs = append(t.recs, p.rec)
	t.remember(key, place{rec: p.rec, end: p.rec.end, next: t.next(), on: true})
}

// key identifies a frame by its contents.
func (t *tape) key(f sse.Frame) uint64 {
	var h maphash.Hash
	h.SetSeed(t.seed)
	if f.HasID {
		h.Write(f.ID)
	}
	h.WriteByte('\n')
	h.Write(f.Event)
	h.WriteByte('\n')
	h.Write(f.Data)
	return h.Sum64()
}

// known returns the frame's record, parsing it only the first time.
func (t *tape) known(key uint64, f sse.Frame) place {
	for _, m := range t.places {
		if p, ok := m[key]; ok {
			return p
		}
	}
	p := place{rec: t.record(f)}
	t.remember(key, p)
	return p
}

func (t *tape) remember(key uint64, p place) {
	if len(t.places[0]) >= t.most {
		t.places[1], t.places[0] = t.places[0], map[uint64]place{}
	}
	t.places[0][key] = p
}

// join returns the place of a stream that has just got the frame of key and
// stands at a frame boundary: after that frame if the tape has it, else at
// the head. A torn frame at the head is walled off first.
func (t *tape) join(key uint64) (pos, next uint64) {
	for _, m := range t.places {
		if p, ok := m[key]; ok && p.on && p.end >= t.base {
			return p.end, p.next
		}
	}
	if t.reader.Pending() {
		t.wall()
	}
	for _, m := range t.places {
		if p, ok := m[key]; ok {
			t.remember(key, place{rec: p.rec, end: t.head(), next: t.next(), on: true})
		}
	}
	return t.head(), t.next()
}

// wall ends the torn frame at the head and begins a new one behind a byte
// that belongs to no stream.
func (t *tape) wall() {
	t.walls = append(t.walls, t.head())
	t.buf = append(t.buf, 0)
	t.reader.Reset()
	t.start = t.head()
}

// full reports whether the tape should slide before it takes more.
func (t *tape) full() bool { return len(t.buf) >= 2*t.keep }

// slideTo returns the frame boundary that slide is going to make the base.
func (t *tape) slideTo() uint64 {
	aim := t.head() - uint64(t.keep)
	i, _ := slices.BinarySearchFunc(t.recs, aim, func(r record, aim uint64) int {
		if r.end <= aim {
			return -1
		}
		return 1
	})
	to := t.base
	if i > 0 {
		to = t.recs[i-1].end
	}
	for _, w := range t.walls {
		if w < aim {
			to = max(to, w+1)
		}
	}
	return to
}

// slide forgets what lies before the offset to, of slideTo. No stream may
// have its place there any more.
func (t *tape) slide(to uint64) {
	n := copy(t.buf, t.buf[to-t.base:])
	t.buf = t.buf[:n]
	t.base = to
	gone := 0
	for gone < len(t.recs) && t.recs[gone].end <= to {
		gone++
	}
	t.recs = slices.Delete(t.recs, 0, gone)
	t.recBase += uint64(gone)
	t.walls = slices.DeleteFunc(t.walls, func(w uint64) bool { return w < to })
}

// match reports whether p begins with, or is the beginning of, rest, and how
// much of p that covers.
func match(p, rest []byte) (n int, ok bool) {
	n = min(len(p), len(rest))
	return n, bytes.Equal(p[:n], rest[:n])
}
