package broadcast

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// few events are about five entities; every tenth one is about none.
func few(seq uint64) Event {
	ev := Event{Type: "state_changed", Domain: "light", EntityID: fmt.Sprintf("light.room_%d", seq%5), Value: 300}
	if seq%10 == 0 {
		return Event{Type: "tick", Value: 300}
	}
	ev.Key = ev.EntityID
	return ev
}

// fallBehind has the clients' streams join their tape and leave it, by 32,000
// events, which no connection takes at once.
func (w *world) fallBehind(clients ...*client) {
	w.t.Helper()
	w.publish(1, few)
	for _, c := range clients {
		c.readTo(1)
	}
	w.publish(31_999, few)
}

func roomy(portable bool) func(*Config) {
	return func(c *Config) { c.portable, c.TapeBytes, c.Retry = portable, 2<<20, 3*time.Second }
}

func TestReplayIsTold(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, roomy(p))
		c := w.open(Request{})
		w.fallBehind(c)
		c.readTo(32_000)
		c.expect(Selection{}, 0, 32_000)
		if !c.hasBytes("\n: slow: ") {
			t.Error("got no comment, want one that tells of the replay")
		}
		if st := w.hub.Stats(); st.Slow["replay"] == 0 || st.Gaps != 0 {
			t.Errorf("got %d replays of slow streams and %d gaps, want some and none", st.Slow["replay"], st.Gaps)
		}
	})
}

func TestConflate(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, roomy(p))
		c := w.open(Request{Slow: Conflate})
		sel := Selection{Types: []string{"state_changed"}}
		filtered := w.open(Request{Slow: Conflate, Selection: sel})
		w.fallBehind(c, filtered)
		for _, c := range []*client{c, filtered} {
			c.readTo(32_000)
			leftOut := uint64(0)
			for _, data := range c.named("gap") {
				var g struct{ From, To, Merged, Dropped uint64 }
				if err := json.Unmarshal([]byte(data), &g); err != nil || !strings.Contains(data, `"conflated"`) {
					t.Fatalf("got gap %s, want a conflation", data)
				}
				leftOut += g.Merged + g.Dropped
			}
			got, want := c.seqs(), w.want(sel, 0, 32_000)
			if c != filtered {
				want = w.want(Selection{}, 0, 32_000)
			}
			if len(got)+int(leftOut) != len(want) || leftOut < 20_000 {
				t.Errorf("got %d events and %d left out, want %d in all and most left out", len(got), leftOut, len(want))
			}
			if last := want[len(want)-4:]; !slices.IsSorted(got) || !slices.Equal(got[len(got)-4:], last) {
				t.Errorf("got %v at the end, want %v", got[len(got)-4:], last)
			}
		}
		st := w.hub.Stats()
		if st.Slow["conflate"] == 0 || st.Gaps == 0 || st.Merged == 0 || st.Dropped == 0 {
			t.Errorf("got %+v, want conflations counted", st)
		}
	})
}

// A stream that had a full connection and lags is conflated from the tape too;
// one that keeps up is not.
func TestConflateOnTheTape(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.TapeBytes = 16 << 20 })
	if len(w.hub.pumps) == 1 {
		t.Skip("the portable pump waits for a slow write")
	}
	quick := w.open(Request{Slow: Conflate})
	for range 20 {
		w.publish(100, few)
		quick.readTo(w.head())
	}
	if got := quick.named("gap"); len(got) > 0 {
		t.Errorf("got gaps %v at a reader that keeps up, want none", got)
	}
	slow := w.open(Request{Slow: Conflate})
	w.publish(2000, few)
	w.stuck()
	w.publish(20_000, few)
	slow.readTo(w.head())
	if got := slow.named("gap"); len(got) == 0 {
		t.Errorf("got %d events and no gap, want a conflation", len(slow.seqs()))
	}
}

// What ages out while it is being conflated is told, not lost.
func TestConflateWhileAgeing(t *testing.T) {
	calls := 0
	var w *world
	w = newWorld(t, func(c *Config) {
		c.Readers = 1
		c.Replay = func(ctx context.Context, after uint64, fn func(*Event) bool) error {
			if calls++; calls == 2 { // the survivors are known, and to be read
				w.age(500)
			}
			return w.replay(ctx, after, fn)
		}
	})
	w.publish(1000, func(seq uint64) Event {
		ev := plain(seq)
		ev.Key = fmt.Sprint(seq % 700)
		return ev
	})
	w.publish(4000, func(uint64) Event { return Event{Key: "x", Value: 100} }) // off the tape
	c := w.open(Request{After: 0, Resume: true, Slow: Conflate})
	c.readTo(5000)
	gaps := c.named("gap")
	if len(gaps) != 2 || gaps[0] != `{"from":1,"to":499,"reason":"aged_out"}` ||
		gaps[1] != `{"from":500,"to":5000,"reason":"conflated","merged":3999,"dropped":0}` {
		t.Errorf("got gaps %q, want what aged out and the conflation of the rest", gaps)
	}
	if got := c.seqs(); len(got) != 502 || got[0] != 500 {
		t.Errorf("got %d events from %d on, want 502 from 500 on", len(got), got[0])
	}
}

func TestDisconnect(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, roomy(p))
		c := w.open(Request{Slow: Disconnect})
		w.fallBehind(c)
		c.read(func() bool { return false })
		if got := c.reason(); got != Slow {
			t.Errorf("got reason %v, want %v", got, Slow)
		}
		got := c.seqs()
		c.expect(Selection{}, 0, got[len(got)-1])
		if !c.hasBytes("\n: slow: ") || len(c.retries) != 1 || c.reader.Pending() {
			t.Errorf("got retries %v and pending=%v, want a comment, a time to wait and a whole end", c.retries, c.reader.Pending())
		}
		if d := c.retries[0]; d < 3*time.Second || d > 6*time.Second {
			t.Errorf("got %v to wait, want 3 to 6 s", d)
		}
		if st := w.hub.Stats(); st.Slow["disconnect"] != 1 || st.Closed["slow"] != 1 {
			t.Errorf("got %v and %v, want one slow stream", st.Slow, st.Closed)
		}
		again := w.open(Request{Slow: Disconnect, After: got[len(got)-1], Resume: true})
		again.readTo(32_000)
		again.expect(Selection{}, got[len(got)-1], 32_000)
	})
}

func TestGapsAsData(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, portable(p))
		w.publish(5000, plain)
		w.age(4000)
		gap := `{"from":101,"to":3999,"reason":"aged_out"}`
		for asked, want := range map[bool]string{true: "\ndata: as data: " + gap + "\n\nid: e0test-3999\nevent: gap\ndata: " + gap + "\n\n",
			false: "\nid: e0test-3999\nevent: gap\ndata: " + gap + "\n\n"} {
			c := w.open(Request{Format: "native", After: 100, Resume: true, GapsAsData: asked, Prologue: []byte(": hi\n\n")})
			c.readTo(5000)
			if !c.hasBytes(want) || !asked && c.hasBytes("as data") {
				t.Errorf("asked: %v: got %.300q, want %q in it", asked, c.raw, want)
			}
		}
		c := w.open(Request{Format: "native", After: 9000, Resume: true, GapsAsData: true})
		reset := `{"epoch":"e0test","head":5000,"reason":"ahead"}`
		c.read(func() bool {
			return c.hasBytes("data: as data: " + reset + "\n\nid: e0test-5000\nevent: reset\ndata: " + reset + "\n\n")
		})
		if st := w.hub.Stats(); st.Gaps != 2 || st.Resets != 1 {
			t.Errorf("got %d gaps and %d resets, want 2 and 1", st.Gaps, st.Resets)
		}
	})
}

// An event is encoded once per format, and only for formats in use.
func TestEncodedOnce(t *testing.T) {
	encoded := map[string]int{}
	counting := func(name string) Format {
		return Format{Name: name, Event: nativeName, Append: func(dst []byte, ev *Event) []byte {
			encoded[name]++
			return payload(dst, ev)
		}}
	}
	w := newWorld(t, func(c *Config) { c.Formats = []Format{counting("flat"), counting("native"), counting("cloud")} })
	var clients []*client
	for i := range 6 {
		clients = append(clients, w.open(Request{Format: []string{"flat", "native"}[i%2], Selection: Selection{Domains: [][]string{nil, {"light"}, {"*"}}[i/2]}}))
	}
	w.publish(100, plain)
	for _, c := range clients {
		c.readTo(100)
	}
	w.settled()
	if encoded["flat"] != 100 || encoded["native"] != 100 || encoded["cloud"] != 0 {
		t.Errorf("got %v encodings, want 100 for each of the two formats in use", encoded)
	}
	if got := clients[1].frames[3].event; got != "state_changed" {
		t.Errorf("got event name %q, want state_changed", got)
	}
}

// A stream that begins where another one's conflation is under way is told
// what it does not get all the same.
func TestConflationsShareButTheGap(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.merged = 1 })
	w.publish(5000, func(seq uint64) Event { return Event{Key: fmt.Sprint(seq == 1), Value: 100} })
	for after, want := range []string{`{"from":1,"to":5000,"reason":"conflated","merged":4998,"dropped":0}`,
		`{"from":2,"to":5000,"reason":"conflated","merged":4998,"dropped":0}`} {
		c := w.open(Request{After: uint64(after), Resume: true, Slow: Conflate})
		c.readTo(5000)
		if got := c.named("gap"); len(got) != 1 || got[0] != want {
			t.Errorf("after %d: got gaps %q, want %s", after, got, want)
		}
		if got := c.seqs(); !slices.Equal(got, []uint64{1, 5000}[after:]) {
			t.Errorf("after %d: got events %v, want 1 and 5000, or the latter", after, got)
		}
	}
}

// A stream that stands still inside the last frame of what it was given doesn't
// hold the rest of that.
func TestTrimLetsThePassageGo(t *testing.T) {
	passage := []byte("id: e-1\ndata: one\n\nid: e-2\ndata: two\n\n")
	s := &Stream{state: blocked | chunked, stuck: 1, own: passage[len(passage)-5:]}
	h := &Hub{}
	h.trim(s, 1+trimAfter)
	clear(passage)
	if got, want := string(s.own), "two\n\n"[:5]; got != want {
		t.Errorf("got the rest %q, want %q, apart from the passage", got, want)
	}
}
