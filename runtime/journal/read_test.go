package journal

import (
	"context"
	"testing"

	"carillon/runtime"
)

// Whoever reads learns at once that retention took what he asked for, though
// Bounds may else be a second old.
func TestReadThatPassesOverEventsFreshensBounds(t *testing.T) {
	j := open(t, Options{MaxBytes: 100_000})
	mustAppend(t, j, bigEvent(0))
	if first, _ := j.Bounds(); first != 1 {
		t.Fatalf("got first %d, want 1", first)
	}
	fill(t, j, 1000)
	stale, _ := j.refreshBounds(context.Background(), boundsAge)
	var seq, first uint64
	err := j.Read(context.Background(), 0, func(ev *runtime.Event) bool {
		seq = ev.Seq
		first, _ = j.Bounds()
		return false
	})
	if err != nil || seq < 2 || first != seq {
		t.Errorf("got event %d while the first one is %d (it was %d), %v; want both equal, above 1", seq, first, stale, err)
	}
}
