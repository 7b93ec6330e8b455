package broadcast

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"carillon/internal/sse"
)

// Selections change while events are published and streams read, at sequences
// that the hub has not reached yet; each change is exact.
func TestReselect(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, func(c *Config) { c.portable, c.TapeBytes = p, 16<<10 })
		sels := []Selection{{Domains: []string{"light"}}, {}, {Entities: []string{"*.room_1"}}, {Types: []string{"service_called"}}, {Domains: []string{"lock"}}}
		clients := make([]*client, 4)
		for i := range clients {
			clients[i] = w.open(Request{ID: fmt.Sprint(i), Selection: sels[0], Slow: Policy(i % 2)})
		}
		const total = 20_000
		published := make(chan struct{})
		go func() {
			defer close(published)
			for range total / 20 {
				w.publish(20, mixed)
			}
		}()
		cuts := make([][]uint64, len(clients))
		for k := 1; k <= 12; k++ {
			for i, c := range clients {
				c.readTo(w.hub.Head() / 2) // not all the way, so that some read the journal
				err := w.hub.Reselect(c.id0(), sels[k%len(sels)], func(Selection) ([]byte, uint64) {
					after := w.head() // of the journal, which is ahead
					cuts[i] = append(cuts[i], after)
					return sse.AppendEvent(nil, "", "changed", fmt.Append(nil, after)), after
				})
				if errors.Is(err, ErrBusy) && len(cuts[i]) == k-1 {
					cuts[i] = append(cuts[i], ^uint64(0)) // not made
				} else if err != nil {
					t.Fatalf("Reselect: %v", err)
				}
			}
		}
		<-published
		for i, c := range clients {
			if Policy(i%2) != Replay {
				continue // it may leave events out; the model knows which
			}
			made := slices.DeleteFunc(slices.Clone(cuts[i]), func(cut uint64) bool { return cut == ^uint64(0) })
			c.read(func() bool { return len(c.named("changed")) == len(made) })
			w.pass(w.hub.cfg.BeatEvery)
			c.readTo(total)
			want, from, sel := []uint64(nil), uint64(0), sels[0]
			for k, cut := range cuts[i] {
				if cut == ^uint64(0) {
					continue
				}
				want = append(want, w.want(sel, from, cut)...)
				from, sel = cut, sels[(k+1)%len(sels)]
			}
			want = append(want, w.want(sel, from, total)...)
			if got := c.seqs(); !slices.Equal(got, want) {
				t.Errorf("got %d events, want %d, with changes behind %v", len(got), len(want), cuts[i])
			}
			if got, want := strings.Join(c.named("changed"), " "), strings.Trim(fmt.Sprint(made), "[]"); got != want || len(made) == 0 {
				t.Errorf("got changes behind %q, want %q", got, want)
			}
		}
	})
}

// id0 returns the id under which the stream was opened.
func (c *client) id0() string { return c.stream.id }

func TestReselectRefuses(t *testing.T) {
	w := newWorld(t, nil)
	c := w.open(Request{ID: "a"})
	w.publish(10, mixed)
	late := w.store(5, mixed)
	cut := func(n int, after uint64) func(Selection) ([]byte, uint64) {
		return func(Selection) ([]byte, uint64) { return make([]byte, n), after }
	}
	if err := w.hub.Reselect("b", Selection{}, cut(0, 10)); !errors.Is(err, ErrNoStream) {
		t.Errorf("unknown stream: got %v, want ErrNoStream", err)
	}
	if err := w.hub.Reselect("a", Selection{}, cut(0, 9)); err == nil {
		t.Error("below the head: got no error")
	}
	if err := w.hub.Reselect("a", Selection{}, cut(maxOwned+1, 10)); !errors.Is(err, ErrBusy) {
		t.Errorf("too many bytes: got %v, want ErrBusy", err)
	}
	for range maxChanges { // none can be made before 15 is published
		if err := w.hub.Reselect("a", Selection{Domains: []string{"light"}}, cut(0, 15)); err != nil {
			t.Fatalf("Reselect: %v", err)
		}
	}
	if err := w.hub.Reselect("a", Selection{}, cut(0, 15)); !errors.Is(err, ErrBusy) {
		t.Errorf("too many changes: got %v, want ErrBusy", err)
	}
	w.hub.Streams(func(info StreamInfo) {
		if info.Changes != maxChanges {
			t.Errorf("got %d changes to come, want %d", info.Changes, maxChanges)
		}
	})
	w.hub.Publish(late)
	c.readTo(15)
	until(t, "the changes to be made", func() bool {
		made := false
		w.hub.Streams(func(info StreamInfo) {
			made = info.Changes == 0 && slices.Equal(info.Selection.Domains, []string{"light"})
		})
		return made
	})
	w.publish(20, mixed)
	want := append(w.want(Selection{}, 0, 15), w.want(Selection{Domains: []string{"light"}}, 15, 35)...)
	c.readTo(want[len(want)-1])
	got := c.seqs()
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// What a closed stream had still to get is given back, and its ids are free.
func TestReselectOfALeavingStream(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, portable(p))
		for range 50 {
			c := w.open(Request{ID: "a"})
			go c.conn.Close()
			for err := error(nil); err == nil; {
				err = w.hub.Reselect("a", Selection{Domains: []string{"light"}}, func(Selection) ([]byte, uint64) { return []byte(": x\n\n"), 100 })
				if errors.Is(err, ErrBusy) {
					err = nil
				}
				if err != nil && !errors.Is(err, ErrNoStream) {
					t.Fatalf("Reselect: %v", err)
				}
			}
			c.reason()
		}
		if n := w.hub.owned.Load(); n != 0 {
			t.Errorf("got %d bytes kept for streams that are gone, want 0", n)
		}
		w.pass(0)
		if st := w.hub.Stats(); st.Feeds != 0 || st.Streams != 0 {
			t.Errorf("got %d feeds and %d streams, want none", st.Feeds, st.Streams)
		}
	})
}

func TestAttachWantsOwnID(t *testing.T) {
	w := newWorld(t, nil)
	w.open(Request{ID: "a"})
	_, far := pipe(t)
	if _, err := w.hub.Attach(Request{Conn: far, Format: "flat", ID: "a"}); err == nil {
		t.Error("got a second stream of the same id, want an error")
	}
	if _, err := far.Write([]byte("x")); err != nil {
		t.Errorf("got %v, want the connection still to be the caller's", err)
	}
}

// A change is made as soon as its sequence is published, also if the stream
// wants none of the events up to there.
func TestReselectWaitsForNoEvent(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, portable(p))
		c := w.open(Request{ID: "a", Selection: Selection{Types: []string{"never"}}})
		late := w.store(5, mixed)
		cut := func(Selection) ([]byte, uint64) { return sse.AppendEvent(nil, "", "changed", nil), 5 }
		if err := w.hub.Reselect("a", Selection{}, cut); err != nil {
			t.Fatalf("Reselect: %v", err)
		}
		w.settled() // it has looked, and waits
		w.hub.Publish(late)
		c.read(func() bool { return len(c.named("changed")) == 1 })
	})
}
