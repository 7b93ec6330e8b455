package broadcast

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"
)

func TestClientLeaves(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, portable(p))
		leave := map[string]func(*net.TCPConn){
			"close":      func(c *net.TCPConn) { c.Close() },
			"half-close": func(c *net.TCPConn) { c.CloseWrite() },
			"reset":      func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
			"chat":       func(c *net.TCPConn) { c.Write([]byte("GET / HTTP/1.1\r\n\r\n")); c.Close() },
		}
		for name, f := range leave {
			c := w.open(Request{Prologue: []byte(": hi\n\n")})
			c.read(func() bool { return len(c.frames) > 0 })
			start := time.Now()
			f(c.conn.(*net.TCPConn))
			if got := c.reason(); got != ClientLeft {
				t.Errorf("%s: got reason %v, want %v", name, got, ClientLeft)
			}
			if d := time.Since(start); d > time.Second {
				t.Errorf("%s: noticed after %v, want within a second", name, d)
			}
		}
		until(t, "no stream left", func() bool { return w.hub.Stats().Streams == 0 })
		if st := w.hub.Stats(); st.Closed["client_left"] != uint64(len(leave)) {
			t.Errorf("got closed %v, want %d client_left", st.Closed, len(leave))
		}
	})
}

func TestFlood(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, portable(p))
		c := w.open(Request{})
		c.conn.Write(make([]byte, maxNoise/2)) // allowed
		w.publish(1, plain)
		c.readTo(1)
		go func() {
			for {
				if _, err := c.conn.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}()
		if got := c.reason(); got != Flooded {
			t.Errorf("got reason %v, want %v", got, Flooded)
		}
	})
}

func TestMaxAge(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, portable(p))
		c, other := w.open(Request{MaxAge: 3 * time.Second}), w.open(Request{})
		w.publish(5, plain)
		w.pass(2 * time.Second)
		w.publish(5, plain)
		c.readTo(10)
		w.pass(time.Second)
		if got := c.reason(); got != MaxAge {
			t.Errorf("got reason %v, want %v", got, MaxAge)
		}
		c.read(func() bool { return false })
		c.expect(Selection{}, 0, 10)
		if c.reader.Pending() {
			t.Error("got an end within a frame, want one between frames")
		}
		w.publish(1, plain)
		other.readTo(11)
	})
}

func TestMaxAgeOfABlockedStreamEndsBetweenFrames(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, portable(p))
		c := w.open(Request{MaxAge: time.Second})
		big := func(uint64) Event { return Event{Value: 200_000} }
		for range 40 { // more than the kernel holds
			w.publish(1, big)
		}
		w.stuck()
		w.pass(2 * time.Second)
		c.read(func() bool { return false })
		if got := c.reason(); got != MaxAge {
			t.Errorf("got reason %v, want %v", got, MaxAge)
		}
		if n := len(c.seqs()); n == 0 || n == 40 || c.reader.Pending() {
			t.Errorf("got %d events and pending=%v, want some whole ones", n, c.reader.Pending())
		}
	})
}

func TestStalled(t *testing.T) {
	w := newWorld(t, nil)
	if len(w.hub.pumps) == 1 {
		t.Skip("the portable pump has write deadlines instead")
	}
	c := w.open(Request{})
	w.publish(40, func(uint64) Event { return Event{Value: 200_000} })
	w.stuck()
	until(t, "the stream to be given up", func() bool { // the kernels may still move something
		w.pass(stallAfter * time.Second)
		return w.hub.Stats().Streams == 0
	})
	if got := c.reason(); got != Stalled {
		t.Errorf("got reason %v, want %v", got, Stalled)
	}
}

func TestEnd(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, portable(p))
		c := w.open(Request{Prologue: []byte(": bye\n\n"), ID: "one"})
		if err := w.hub.End("two", Ended); !errors.Is(err, ErrNoStream) {
			t.Errorf("got %v, want ErrNoStream", err)
		}
		w.hub.End("one", Ended)
		w.hub.End("one", Ended)
		if got := c.reason(); got != Ended {
			t.Errorf("got reason %v, want %v", got, Ended)
		}
		c.read(func() bool { return false })
		if !c.hasBytes(": bye\n\n") {
			t.Errorf("got %q, want the prologue before the end", c.raw)
		}
	})
}

func TestCloseDrains(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, func(c *Config) { c.portable, c.TapeBytes = p, 16<<10 })
		sel := Selection{Domains: []string{"light"}}
		clients := []*client{w.open(Request{}), w.open(Request{Selection: sel}), w.open(Request{})}
		w.publish(3000, mixed)
		replayed := w.open(Request{After: 100, Resume: true})
		done := make(chan error, 1)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		go func() { done <- w.hub.Close(ctx) }()
		for i, c := range append(clients, replayed) {
			c.read(func() bool { return false })
			s, after := Selection{}, uint64(0)
			if i == 1 {
				s = sel
			} else if i == 3 {
				after = 100
			}
			c.expect(s, after, 3000)
			if got := c.reason(); got != Shutdown {
				t.Errorf("client %d: got reason %v, want %v", i, got, Shutdown)
			}
		}
		if err := <-done; err != nil {
			t.Errorf("Close: %v", err)
		}
		_, far := pipe(t)
		if _, err := w.hub.Attach(Request{Conn: far, Format: "flat"}); !errors.Is(err, ErrClosed) {
			t.Errorf("Attach after Close: got %v, want ErrClosed", err)
		}
	})
}

func TestCloseIsBounded(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, portable(p))
		c := w.open(Request{})
		w.publish(100, func(uint64) Event { return Event{Value: 100_000} })
		w.stuck()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := w.hub.Close(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's error", err)
		}
		if got := c.reason(); got != Shutdown {
			t.Errorf("got reason %v, want %v", got, Shutdown)
		}
	})
}
