package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// gcPercent is half of Go's default: what runs all the time allocates next to nothing, so collections
	// are rare, and what opening a stream leaves behind would otherwise weigh more than the stream.
	gcPercent = 50
	// gcHeadroom is how much a small heap may grow between two collections while many events are stored: each
	// leaves some 3 KB, and half of a heap of 40 MiB is full of that a dozen times a second.
	gcHeadroom = 64 << 20
	// Collections as close as busyGap, of which there were busyAfter one after another, are such a time; one
	// that comes after calmGap ends it.
	busyGap   = 200 * time.Millisecond
	busyAfter = 20
	calmGap   = time.Second
)

// A collecting decides how much garbage there may be.
type collecting struct {
	last  time.Time // when a collection was
	close int       // how many were close to the one before, one after another
}

// next returns the percentage of garbage from a collection on that left so many bytes.
func (c *collecting) next(now time.Time, live uint64) int {
	switch gap := now.Sub(c.last); {
	case gap <= busyGap:
		c.close = min(c.close+1, busyAfter)
	case c.close < busyAfter, gap > calmGap:
		c.close = 0
	}
	c.last = now
	if c.close < busyAfter {
		return gcPercent
	}
	return int(max(gcPercent, gcHeadroom*100/max(live, 1<<20)))
}

// setGC sets how often garbage is collected, unless the environment says so (GOGC).
func setGC() {
	if os.Getenv("GOGC") != "" {
		return
	}
	var c collecting
	percent := gcPercent
	debug.SetGCPercent(percent)
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	afterCollections(func() {
		metrics.Read(sample)
		if next := c.next(time.Now(), sample[0].Value.Uint64()); next < percent*4/5 || next > percent*6/5 { // setting it stops the world
			percent = next
			debug.SetGCPercent(percent)
		}
	})
}

// afterCollections calls fn after each collection, or after one of some that follow closely.
func afterCollections(fn func()) {
	type token struct{ _ [64]byte } // no tiny object, which others might keep alive
	var again func(*token)
	again = func(t *token) {
		fn()
		runtime.SetFinalizer(t, again)
	}
	runtime.SetFinalizer(new(token), again)
}
