package broadcast

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// drainStep is the time between two parts of a drain.
const drainStep = 20 * time.Millisecond

// Drain ends all streams, spread evenly over a time, in random order: each on
// a frame boundary, with a comment and a time to wait from Config.Retry to
// twice that before its reader comes back. Events go on meanwhile to those that
// are left; Attach returns ErrClosed from now on. Drain returns when all were
// told to end or no stream is left, or an error when ctx is done. Close does the
// rest.
func (h *Hub) Drain(ctx context.Context, over time.Duration) error {
	h.mu.Lock()
	h.draining = true
	h.mu.Unlock()
	lists := make([][]*Stream, len(h.pumps))
	for i, p := range h.pumps {
		h.inspect(p, func(s *Stream) { lists[i] = append(lists[i], s) })
		rand.Shuffle(len(lists[i]), func(a, b int) { lists[i][a], lists[i][b] = lists[i][b], lists[i][a] })
	}
	ticker := time.NewTicker(drainStep)
	defer ticker.Stop()
	for start, before := time.Now(), 0.0; ; {
		part := 1.0
		if over > 0 {
			part = min(1, float64(time.Since(start))/float64(over))
		}
		for i, p := range h.pumps {
			n := float64(len(lists[i]))
			h.dismiss(p, lists[i][int(before*n):int(part*n)])
		}
		if before = part; part == 1 || h.met.streams.Load() == 0 {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("spreading the end of streams over %v: %w", over, ctx.Err())
		}
	}
}

// dismiss ends streams of one pump.
func (h *Hub) dismiss(p pump, list []*Stream) {
	if len(list) == 0 {
		return
	}
	p.ask(func() {
		for _, s := range list {
			h.farewell(s, Shutdown, "the server is stopping: come back soon")
			p.finish(s, Shutdown)
		}
	})
}
