package main

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"carillon/plugins/adapter"
)

// A watcher is a host that checks that what it is told is fresh.
type watcher struct {
	recorder
	t     *testing.T
	began time.Time
}

func (w *watcher) Set(ctx context.Context, states ...adapter.State) error {
	for _, s := range states {
		told, err := strconv.Atoi(s.State)
		if now := time.Since(w.began); err != nil || now-time.Duration(told)*10*time.Millisecond > 510*time.Millisecond {
			w.t.Errorf("after %v it is told that it is %s: an answer to an earlier request", now, s.State)
		}
	}
	return w.recorder.Set(ctx, states...)
}

// A device does everything that it should not. None of that is taken for a value: each register tells the
// time, and no time that is told is older than a request may take. When the device comes to its senses, it is back
// soon.
func TestDeviceGoneMad(t *testing.T) {
	for _, rtu := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(map[place]uint16{{input, 0}: 0, {input, 2}: 0})
			f.rtu = rtu
			w := &watcher{t: t, began: time.Now()}
			random := &dice{r: rand.New(rand.NewPCG(1, 2))}
			f.mu.Lock()
			f.code = func(request) byte {
				f.values[place{input, 0}] = uint16(time.Since(w.began) / (10 * time.Millisecond))
				f.values[place{input, 2}] = f.values[place{input, 0}]
				return 0
			}
			f.instead = func(c net.Conn, right []byte) { misbehave(random, c, right) }
			f.mu.Unlock()
			g := newGateway()
			g.dial = f.dial
			protocol := map[bool]string{false: "tcp", true: "rtu_over_tcp"}[rtu]
			config := `{"devices": [{"address": "d:502", "timeout": "500ms", "interval": "200ms", "protocol": "` + protocol + `", "entities": [
				{"id": "sensor.a", "table": "input", "address": 0}, {"id": "sensor.b", "table": "input", "address": 2}]}]}`
			if err := g.Configure(t.Context(), adapter.Config{JSON: json.RawMessage(config)}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			over := make(chan error, 1)
			go func() { over <- runAll(ctx, g.connect(w)) }()
			time.Sleep(10 * time.Minute)
			f.mu.Lock()
			f.instead = nil
			f.mu.Unlock()
			values := len(w.news())
			time.Sleep(lastRetry + time.Second)
			synctest.Wait()
			if ready, detail := g.Health(); !ready || detail != "" {
				t.Errorf("afterwards: got %v, %q, want ready", ready, detail)
			}
			w.mu.Lock()
			if w.metrics["errors_total"] < 100 || w.metrics["timeouts_total"] < 20 || w.metrics["requests_total"] < 300 || values < 50 {
				t.Errorf("got %v and %d values, want that all happened often", w.metrics, values)
			}
			w.mu.Unlock()
			cancel()
			if err := <-over; err != nil {
				t.Error(err)
			}
		})
	}
}

// dice are the same in every run, but for who throws first.
type dice struct {
	mu sync.Mutex
	r  *rand.Rand // guarded by mu
}

func (d *dice) IntN(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.IntN(n)
}

// misbehave answers wrong, mostly.
func misbehave(random *dice, c net.Conn, right []byte) {
	c.SetWriteDeadline(time.Now().Add(2 * time.Second))
	switch random.IntN(8) {
	case 0: // too late
		time.Sleep(700 * time.Millisecond)
		c.Write(right)
	case 1: // twice, the second time before the next request
		c.Write(right)
		c.Write(right)
	case 2: // in pieces, with something between them
		c.Write(right[:4])
		time.Sleep(50 * time.Millisecond)
		c.Write([]byte{0xff})
		c.Write(right[4:])
	case 3: // in pieces
		c.Write(right[:4])
		time.Sleep(50 * time.Millisecond)
		c.Write(right[4:])
	case 4:
		c.Close()
	case 5:
		noise := make([]byte, random.IntN(2000))
		for i := range noise {
			noise[i] = byte(random.IntN(256))
		}
		c.Write(noise)
	case 6: // nothing
	default:
		c.Write(right)
	}
}
