package main

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// Only a heap that is full all the time may grow, and only for as long.
func TestGarbageOfBusyTimes(t *testing.T) {
	var c collecting
	now := time.Now()
	pass := func(collections int, gap time.Duration, live uint64) (last int) {
		for range collections {
			now = now.Add(gap)
			last = c.next(now, live)
		}
		return last
	}
	for i, step := range []struct {
		collections int
		gap         time.Duration
		live        uint64
		want        int
	}{
		{100, 300 * time.Millisecond, 32 << 20, 50},
		{19, 50 * time.Millisecond, 32 << 20, 50}, // a rush
		{1, 300 * time.Millisecond, 32 << 20, 50},
		{19, 50 * time.Millisecond, 32 << 20, 50},
		{1, 50 * time.Millisecond, 32 << 20, 200},
		{10, 500 * time.Millisecond, 64 << 20, 100}, // there is room now
		{1, 100 * time.Millisecond, 0, 6400},
		{1, 100 * time.Millisecond, 1 << 30, 50},
		{1, 100 * time.Millisecond, 32 << 20, 200},
		{1, 2 * time.Second, 32 << 20, 50},
		{5, 50 * time.Millisecond, 32 << 20, 50},
	} {
		if got := pass(step.collections, step.gap, step.live); got != step.want {
			t.Errorf("step %d: got %d %%, want %d %%", i+1, got, step.want)
		}
	}
}

func TestAfterCollections(t *testing.T) {
	var calls atomic.Int64
	afterCollections(func() { calls.Add(1) })
	eventually(t, "three collections are told", func() bool {
		runtime.GC()
		return calls.Load() >= 3
	})
}
