package broadcast

import (
	"context"
	"slices"
	"testing"
	"time"

	"carillon/internal/sse"
)

// count returns how many of the client's frames are of a kind with that data.
func (c *client) count(kind sse.Kind, data string) int {
	n := 0
	for _, f := range c.frames {
		if f.kind == kind && f.data == data {
			n++
		}
	}
	return n
}

func TestBeatsCarryTheHead(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, portable(p))
		whole, never := w.open(Request{}), w.open(Request{Selection: Selection{Types: []string{"never"}}})
		w.publish(5, plain)
		w.pass(14 * time.Second)
		w.publish(5, plain)
		w.pass(time.Second)
		w.publish(1, plain)
		w.pass(15 * time.Second)
		for _, c := range []*client{whole, never} {
			c.readTo(11)
			c.read(func() bool { return c.count(sse.Moved, "") == 2 })
			var beats []string
			for _, f := range c.frames {
				if f.kind == sse.Moved {
					beats = append(beats, f.id)
				}
			}
			if want := []string{"e0test-10", "e0test-11"}; !slices.Equal(beats, want) {
				t.Errorf("got beats %q, want %q", beats, want)
			}
		}
		if i := slices.IndexFunc(whole.frames, func(f frame) bool { return f.kind == sse.Moved }); i != 10 {
			t.Errorf("got the first beat as frame %d, want it after all ten events", i)
		}
	})
}

func TestBeatComesEarlyRatherThanLate(t *testing.T) {
	w := newWorld(t, nil)
	c := w.open(Request{})
	w.publish(1, plain)
	w.mu.Lock()
	w.now = w.now.Add(14800 * time.Millisecond)
	w.mu.Unlock()
	w.hub.tick(250 * time.Millisecond)
	c.read(func() bool { return c.count(sse.Moved, "") == 1 })
}

func TestPingsOnlyInSilence(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, portable(p))
		whole := w.open(Request{Format: "ha"})
		lively := w.open(Request{Format: "ha", Selection: Selection{Domains: []string{"light"}}})
		silent := w.open(Request{Format: "ha", Selection: Selection{Types: []string{"never"}}})
		for range 12 { // two minutes
			w.publish(1, plain)
			w.pass(10 * time.Second)
		}
		for range 11 { // nearly two minutes of silence
			w.pass(10 * time.Second)
		}
		w.publish(1, plain)
		w.pass(15 * time.Second)
		for c, want := range map[*client]int{whole: 2, lively: 2, silent: 4} {
			c.read(func() bool { return c.count(sse.Message, "ping") >= want })
			c.readTo(13)
			if got := c.count(sse.Message, "ping"); got != want {
				t.Errorf("got %d pings, want %d", got, want)
			}
		}
	})
}

func TestTimedPingsGoToAll(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, portable(p))
		whole := w.open(Request{Format: "timed"})
		some := w.open(Request{Format: "timed", Selection: Selection{Domains: []string{"light"}}})
		for range 7 {
			w.publish(1, plain)
			w.pass(10 * time.Second)
		}
		for _, c := range []*client{whole, some} {
			c.readTo(7)
			c.read(func() bool { return c.count(sse.Message, "ping 1700000060") == 1 })
			if c.count(sse.Message, "ping 1700000030") != 1 {
				t.Errorf("got %q, want a ping at 30 s too", c.raw)
			}
		}
	})
}

// A stream whose replay makes no progress still hears something.
func TestSignOfLifeWhileTheJournalIsSlow(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		gate := make(chan struct{})
		w := newWorld(t, func(c *Config) {
			c.portable = p
			read := c.Replay
			c.Replay = func(ctx context.Context, after uint64, fn func(*Event) bool) error {
				<-gate
				return read(ctx, after, fn)
			}
		})
		w.publish(20, plain)
		c := w.open(Request{After: 3, Resume: true})
		w.settle(c)
		w.pass(replayBeat * time.Second)
		c.read(func() bool { return c.count(sse.Moved, "") == 1 })
		if c.id != "e0test-3" {
			t.Errorf("got id %q, want that of the position", c.id)
		}
		close(gate)
		c.readTo(20)
		c.expect(Selection{}, 3, 20)
	})
}

// settle waits until a reader has the client's stream.
func (w *world) settle(c *client) {
	w.t.Helper()
	until(w.t, "the stream to be replayed", func() bool {
		found := false
		w.hub.Streams(func(info StreamInfo) { found = found || info.Replaying })
		return found
	})
}

func TestTicksRunByThemselves(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.manual, c.Now, c.BeatEvery = false, nil, 50*time.Millisecond })
	c := w.open(Request{})
	c.read(func() bool { return c.count(sse.Moved, "") >= 3 })
}
