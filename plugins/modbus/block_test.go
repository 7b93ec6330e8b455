package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// points makes points of holding registers: "0+1 1+2" is one at 0, and one of two registers at 1.
func points(text string) (all []*point) {
	for _, word := range strings.Fields(text) {
		p := &point{id: word, domain: "sensor", place: place{holding, 0}, every: time.Second}
		fmt.Sscanf(word, "%d+%d", &p.place.address, &p.length)
		all = append(all, p)
	}
	return all
}

// layout tells what blocks read: "0+3: 0+1 1+2".
func layout(all []*block) string {
	var parts []string
	for _, b := range all {
		part := fmt.Sprintf("%d+%d:", b.start.address, b.count)
		for _, p := range b.points {
			part += " " + p.id
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, " | ")
}

func TestBlocks(t *testing.T) {
	for _, test := range []struct {
		points string
		limits limits
		want   string
	}{
		{"1+2 0+1", limits{registers: 125}, "0+3: 0+1 1+2"},
		{"0+1 2+1", limits{registers: 125}, "0+1: 0+1 | 2+1: 2+1"},
		{"0+1 2+1 9+1", limits{registers: 125, gap: 1}, "0+3: 0+1 2+1 | 9+1: 9+1"},
		{"0+1 0+1 0+2 1+1", limits{registers: 125}, "0+2: 0+1 0+1 0+2 1+1"},
		{"0+4 1+1 2+4", limits{registers: 4}, "0+4: 0+4 1+1 | 2+4: 2+4"},
		{"0+60 60+60 120+6", limits{registers: 125}, "0+120: 0+60 60+60 | 120+6: 120+6"},
		{"65534+2 65532+2", limits{registers: 125}, "65532+4: 65532+2 65534+2"},
		{"0+10 10+1", limits{registers: 4}, "0+10: 0+10 | 10+1: 10+1"},
	} {
		if got := layout(blocks(points(test.points), test.limits)); got != test.want {
			t.Errorf("%s with %+v: got %s, want %s", test.points, test.limits, got, test.want)
		}
	}
}

func TestBlocksKeepApart(t *testing.T) {
	all := points("0+1 1+1 2+1 3+1")
	all[1].place.table, all[2].every = input, time.Minute
	if got, want := layout(blocks(all, limits{registers: 125, gap: 5})), "0+4: 0+1 3+1 | 2+1: 2+1 | 1+1: 1+1"; got != want {
		t.Errorf("tables and intervals: got %s, want %s", got, want)
	}
}

func TestSplit(t *testing.T) {
	for points1, want := range map[string]string{
		"0+1 2+1 3+1":     "0+1: 0+1 | 2+2: 2+1 3+1", // the gap first
		"0+1 1+1 2+1 3+1": "0+2: 0+1 1+1 | 2+2: 2+1 3+1",
		"0+2 0+1":         "0+1: 0+1 | 0+2: 0+2",
		"0+1":             "",
	} {
		b := blocks(points(points1), limits{registers: 125, gap: 10})
		if len(b) != 1 {
			t.Fatalf("%s: got %d blocks, want 1", points1, len(b))
		}
		if got := layout(b[0].split()); got != want {
			t.Errorf("%s: got %s, want %s", points1, got, want)
		}
	}
}

// FuzzBlocks holds that every point is read by exactly one block, whole; that blocks keep the limits;
// that what is read though nobody wants it is no longer than the gap; and that splitting ends at
// single points.
func FuzzBlocks(f *testing.F) {
	f.Add([]byte{0, 1, 1, 2, 9, 4, 200, 1}, uint8(124), uint8(0))
	f.Add([]byte{3, 4, 3, 1, 5, 2, 250, 9, 251, 1}, uint8(7), uint8(3))
	f.Fuzz(func(t *testing.T, data []byte, most, gap uint8) {
		l := limits{registers: int(most)%mostRegisters + 1, bits: 8*int(most) + 1, gap: int(gap)}
		var all []*point
		for i := 0; i+1 < len(data); i += 2 {
			p := &point{place: place{holding, uint16(data[i])}, length: int(data[i+1]%4) + 1, every: time.Duration(data[i+1]>>2&1) * time.Second}
			if data[i+1]&128 != 0 {
				p.place.table, p.length = coil, 1
			}
			p.length = min(p.length, l.registers)
			all = append(all, p)
		}
		read := map[*point]int{}
		for _, b := range blocks(all, l) {
			check(t, b, l, read)
			splitAll(t, b, len(b.points))
		}
		for _, p := range all {
			if read[p] != 1 {
				t.Errorf("%v is read %d times", p.place, read[p])
			}
		}
	})
}

// check checks one block, and counts what it reads.
func check(t *testing.T, b *block, l limits, read map[*point]int) {
	t.Helper()
	if most := map[bool]int{false: l.registers, true: l.bits}[b.start.table.bits()]; b.count < 1 || b.count > most {
		t.Errorf("a block reads %d, and at most %d are allowed", b.count, most)
	}
	end := int(b.start.address)
	for _, p := range b.points {
		read[p]++
		if p.place.table != b.start.table || p.every != b.every || p.place.address < b.start.address || p.end() > int(b.start.address)+b.count {
			t.Errorf("%v with %d is not within block %v with %d", p.place, p.length, b.start, b.count)
		}
		if unwanted := int(p.place.address) - end; unwanted > l.gap {
			t.Errorf("%d are read that nobody wants, more than %d", unwanted, l.gap)
		}
		end = max(end, p.end())
	}
	if end != int(b.start.address)+b.count {
		t.Errorf("a block ends at %d, and its points at %d", int(b.start.address)+b.count, end)
	}
}

// splitAll splits until there is nothing to split.
func splitAll(t *testing.T, b *block, depth int) {
	t.Helper()
	parts := b.split()
	n := 0
	for _, part := range parts {
		n += len(part.points)
		splitAll(t, part, depth-1)
	}
	if depth < 0 || parts != nil && n != len(b.points) || parts == nil && len(b.points) != 1 {
		t.Fatalf("a block of %d points is split into %d parts with %d", len(b.points), len(parts), n)
	}
}
