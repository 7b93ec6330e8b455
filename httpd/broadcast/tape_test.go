package broadcast

import (
	"bytes"
	"testing"
)

// readTape returns the bytes from..to, as a pump would send them.
func readTape(t *tape, from, to uint64) []byte {
	return bytes.Join(t.bytes(nil, from, to), nil)
}

// The fence comes after low is moved and before the first byte below it
// changes: that is all that keeps a send from reading what is overwritten.
func TestFenceStandsBetweenLowAndOverwriting(t *testing.T) {
	var tp *tape
	fences := 0
	var kept []byte // what is readable, before each append
	var keptLow uint64
	fence := func() {
		fences++
		if tp.low.Load() <= keptLow {
			t.Errorf("fence %d: got low %d, want above %d", fences, tp.low.Load(), keptLow)
		}
		if got := readTape(tp, keptLow, keptLow+uint64(len(kept))); !bytes.Equal(got, kept) {
			t.Errorf("fence %d: the bytes from %d have changed already", fences, keptLow)
		}
	}
	const size = 4 << 10
	tp = newTape(size, 0, fence, func() {}, func() {})
	for seq := range uint64(1000) {
		keptLow = tp.low.Load()
		kept = readTape(tp, keptLow, tp.head.Load())
		frame := bytes.Repeat([]byte{byte(seq)}, int(20+seq*7%90))
		before := fences
		at := tp.append(frame, seq+1, 1)
		if got := readTape(tp, at, tp.head.Load()); !bytes.Equal(got, frame) {
			t.Fatalf("frame %d: got %q, want %q", seq, got, frame)
		}
		if keptLow != tp.low.Load() && fences == before {
			t.Fatalf("frame %d: low moved without a fence", seq)
		}
		if used := tp.head.Load() - tp.low.Load(); used > size {
			t.Fatalf("frame %d: got %d readable bytes in a ring of %d", seq, used, size)
		}
	}
	if fences == 0 || fences > 500 {
		t.Errorf("got %d fences, want some, but not one for each append", fences)
	}
}

func TestTapeGrowsForHugeFrames(t *testing.T) {
	halted := false
	tp := newTape(minTape, 0, func() {}, func() { halted = true }, func() { halted = false })
	var all []byte
	for seq, size := range []int{100, 200, 5000, 10, 70_000, 300} {
		frame := bytes.Repeat([]byte{byte('a' + seq)}, size)
		all = append(all, frame...)
		tp.append(frame, uint64(seq+1), 1)
	}
	if got := readTape(tp, 0, tp.head.Load()); !bytes.Equal(got, all) {
		t.Errorf("got %d bytes, want all %d of them as they were", len(got), len(all))
	}
	if halted {
		t.Error("the readers are still halted")
	}
}

// Tiny frames fill the index before the ring: the tape then forgets earlier.
func TestTapeIndexIsBounded(t *testing.T) {
	tp := newTape(16<<10, 0, func() {}, func() {}, func() {})
	for seq := range uint64(10_000) {
		tp.append([]byte("ab\n"), seq+1, 1)
	}
	if n := len(tp.index); n > 16<<10/frameCost {
		t.Errorf("got room for %d frames in the index, want at most %d", n, 16<<10/frameCost)
	}
	low := tp.lowSeq
	if low < 9000 || low >= 10_000 {
		t.Errorf("got everything above %d, want the newest few hundred", low)
	}
	at, ok := tp.after(low)
	if _, gone := tp.after(low - 1); !ok || gone || at != tp.low.Load() {
		t.Errorf("after(%d): got %d, %v; after(%d): got %v; want low, true, false", low, at, ok, low-1, gone)
	}
}

// An event is found by its sequence while it is on the tape, also if a beat that
// has the same sequence stays longer.
func TestTapeFindsEvents(t *testing.T) {
	tp := newTape(minTape, 7, func() {}, func() {}, func() {})
	tp.append([]byte("first\n"), 8, 1)
	tp.append([]byte("beat\n"), 8, 0)
	second := tp.append([]byte("second\n"), 10, 1)
	for seq, want := range map[uint64]ref{8: {off: 0, seq: 8, n: 6}, 10: {off: second, seq: 10, n: 7}, 7: {}, 9: {}, 11: {}} {
		if got, ok := tp.find(seq); got != want || ok != (want.n > 0) {
			t.Errorf("find(%d): got %+v, %v, want %+v", seq, got, ok, want)
		}
	}
	tp.drop(1)
	if got, ok := tp.find(8); ok {
		t.Errorf("find(8) with only its beat left: got %+v, want nothing", got)
	}
	if _, ok := tp.find(10); !ok {
		t.Error("find(10): got nothing, want the event that is left")
	}
}

func TestMarksTellPlaces(t *testing.T) {
	tp := newTape(minTape, 7, func() {}, func() {}, func() {})
	tp.append([]byte("first\n"), 8, 1)  // 0..6
	tp.append([]byte("beat\n"), 8, 0)   // 6..11
	tp.append([]byte("second\n"), 9, 1) // 11..18
	a, b, ok := tp.span(0, 1000)
	if want := (mark{3, 18, 9, 2}); !ok || a != (mark{0, 0, 7, 0}) || b != want {
		t.Errorf("span: got %v, %v, %v, want all frames, to %v", a, b, ok, want)
	}
	if _, b, _ := tp.span(0, 12); b != (mark{2, 11, 8, 1}) {
		t.Errorf("span of 12 bytes: got an end at %v, want before the third frame", b)
	}
	if _, b, _ := tp.span(6, 1); b.offset != 11 {
		t.Errorf("span of 1 byte: got an end at %v, want after one frame", b)
	}
	for offset, want := range map[uint64][2]uint64{0: {0, 6}, 5: {0, 6}, 6: {6, 11}, 12: {11, 18}, 17: {11, 18}} {
		if x, y := tp.around(a, b, offset); x.offset != want[0] || y.offset != want[1] {
			t.Errorf("around(%d): got %d..%d, want %d..%d", offset, x.offset, y.offset, want[0], want[1])
		}
	}
}
