package broadcast

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestDrainSpreads(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, func(c *Config) { c.portable, c.Retry = p, time.Second })
		const n = 40
		var mu sync.Mutex
		var ends []time.Duration
		clients := make([]*client, n)
		for i := range clients {
			clients[i] = w.open(Request{})
		}
		w.publish(5, plain)
		for _, c := range clients {
			c.readTo(5)
		}
		const over = 400 * time.Millisecond
		start := time.Now()
		var readers sync.WaitGroup
		for _, c := range clients {
			readers.Go(func() {
				c.read(func() bool { return false })
				mu.Lock()
				defer mu.Unlock()
				ends = append(ends, time.Since(start))
			})
		}
		published := make(chan struct{})
		go func() {
			defer close(published)
			pause := time.NewTicker(time.Millisecond)
			defer pause.Stop()
			for ; w.hub.Stats().Streams > n/2; <-pause.C {
				w.publish(1, plain)
			}
		}()
		if err := w.hub.Drain(context.Background(), over); err != nil {
			t.Fatalf("Drain: %v", err)
		}
		_, far := pipe(t)
		if _, err := w.hub.Attach(Request{Conn: far, Format: "flat"}); !errors.Is(err, ErrClosed) {
			t.Errorf("Attach: got %v, want ErrClosed", err)
		}
		readers.Wait()
		slices.Sort(ends)
		if first, middle := ends[0], ends[n/2]; middle < over/8 || ends[n-1] < over*3/4 || ends[n-1]-first < over/4 {
			t.Errorf("got ends after %v, %v and %v, want them spread over %v", first, middle, ends[n-1], over)
		}
		<-published
		checkFarewells(t, clients)
	})
}

// checkFarewells looks at how streams were drained: after whole frames, with
// different times to wait, some after more events than others.
func checkFarewells(t *testing.T, clients []*client) {
	t.Helper()
	waits, most := map[time.Duration]bool{}, 0
	for _, c := range clients {
		if got := c.reason(); got != Shutdown {
			t.Errorf("got reason %v, want %v", got, Shutdown)
		}
		if len(c.retries) != 1 || c.reader.Pending() || c.retries[0] < time.Second || c.retries[0] > 2*time.Second {
			t.Fatalf("got times to wait %v, pending=%v, want one of 1 to 2 s, and a whole end", c.retries, c.reader.Pending())
		}
		waits[c.retries[0]] = true
		got := c.seqs()
		most = max(most, len(got))
		c.expect(Selection{}, 0, uint64(len(got)))
	}
	if len(waits) < len(clients)/4 {
		t.Errorf("got %d different times to wait for %d streams", len(waits), len(clients))
	}
	if most <= 5 {
		t.Errorf("got at most %d events, want some to come during the drain", most)
	}
}

func TestDrainIsBounded(t *testing.T) {
	w := newWorld(t, nil)
	c := w.open(Request{})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if err := w.hub.Drain(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's error", err)
	}
	if err := w.hub.Close(context.Background()); err != nil { // the rest
		t.Errorf("Close: %v", err)
	}
	if got := c.reason(); got != Shutdown {
		t.Errorf("got reason %v, want %v", got, Shutdown)
	}
}

// A drain does not wait for its time when no stream is left.
func TestDrainEndsWithTheLastStream(t *testing.T) {
	w := newWorld(t, nil)
	clients := []*client{w.open(Request{}), w.open(Request{})}
	drained := make(chan error, 1)
	go func() { drained <- w.hub.Drain(context.Background(), 10*patience) }()
	for _, c := range clients {
		c.conn.Close()
	}
	select {
	case err := <-drained:
		if err != nil {
			t.Errorf("Drain: %v", err)
		}
	case <-time.After(patience):
		t.Errorf("got no end after %v without streams", patience)
	}
}
