package broadcast

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"carillon/internal/sse"
)

// A lane that takes long delays the streams of its own filters only. They are
// told how far it is, and lack nothing in the end; a filter that comes later
// does not wait for what was before it.
func TestLanesWaitForNobody(t *testing.T) {
	bothPumps(t, func(t *testing.T, portable bool) {
		w, filters := filtered(t, func(c *Config) { c.portable = portable })
		w.publish(10, mixed)
		sels := []Selection{{}, {Filter: every(2)}, {Filter: every(2).in("other")}, {Filter: every(2).in("slow")}, {Filter: every(3).in("slow")}}
		var clients []*client
		for _, sel := range sels[:4] {
			clients = append(clients, w.open(Request{Selection: sel}))
		}
		release := filters.hold("slow")
		w.publish(1, mixed)
		until(t, "the slow lane to be asked", func() bool { return filters.asking("slow") })
		w.publish(1000, mixed)
		for i, sel := range sels[:3] {
			clients[i].read(func() bool { return len(clients[i].seqs()) == len(w.want(sel, 10, 1011)) })
		}
		late := w.open(Request{Selection: sels[4], After: 5, Resume: true})
		late.readTo(1011)
		w.pass(w.hub.cfg.BeatEvery)
		held := clients[3]
		held.readTo(10)
		if got := held.seqs(); len(got) != 0 || held.id != fmt.Sprintf("%s-%d", testEpoch, 10) {
			t.Errorf("held: got events %v and id %q, want a beat at 10", got, held.id)
		}
		lag := uint64(0)
		w.hub.Streams(func(info StreamInfo) { lag = max(lag, info.LagEvents) })
		if lag < 1000 {
			t.Errorf("held: got a lag of %d, want that of the lane", lag)
		}
		release()
		w.settled()
		w.publish(9, mixed)
		w.settled()
		w.pass(w.hub.cfg.BeatEvery)
		for i, c := range append(clients, late) {
			c.readTo(1020)
			c.expect(sels[i], []uint64{10, 10, 10, 10, 5}[i], 1020)
		}
		if got := w.hub.Stats(); got.Lanes != 2 || got.Undecided != 0 {
			t.Errorf("got %+v, want 2 lanes and nothing undecided", got)
		}
	})
}

// What a lane has no room for comes from the journal, also what it was being
// asked about; that is no stream's fault, nor that of one whose selection is to
// change within it.
func TestLaneOverflow(t *testing.T) {
	bothPumps(t, func(t *testing.T, portable bool) {
		w, filters := filtered(t, func(c *Config) { c.portable, c.laneQueue = portable, 50 })
		sel := Selection{Filter: throwing(5).in("slow")}
		steady := w.open(Request{Selection: sel, Slow: Disconnect})
		changing := w.open(Request{Selection: sel, Slow: Disconnect, ID: "changing"})
		w.publish(10, mixed)
		w.settled()
		release := filters.hold("slow")
		w.publish(1, mixed)
		until(t, "the lane to be asked again", func() bool { return w.hub.Stats().Undecided == 0 })
		w.publish(9, mixed)
		cut := func(Selection) ([]byte, uint64) { return nil, 20 }
		if err := w.hub.Reselect("changing", Selection{Filter: every(2).in("slow")}, cut); err != nil {
			t.Fatalf("Reselect: %v", err)
		}
		w.publish(80, mixed) // overflows at 62, and leaves 38
		release()
		steady.readTo(99) // what is not decided about by then is 63 to 100
		w.settled()
		w.pass(w.hub.cfg.BeatEvery)
		steady.readTo(100)
		steady.expect(sel, 0, 100)
		changing.readTo(100)
		if got, want := changing.seqs(), append(w.want(sel, 0, 20), w.want(Selection{Filter: every(2)}, 20, 100)...); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("changing: got %v, want %v", got, want)
		}
		if got := w.hub.met.overflows.Get(); got != 1 {
			t.Errorf("got %d overflows, want 1", got)
		}
		if got := w.hub.Stats().Slow["disconnect"]; got != 0 {
			t.Errorf("got %d streams called slow, want none", got)
		}
	})
}

// The past is read with the filter's decisions also where it was read before
// without.
func TestFilterReadsWhatWasReadWithout(t *testing.T) {
	w, filters := filtered(t, func(c *Config) { c.TapeBytes = minTape })
	w.publish(2000, mixed)
	before := w.open(Request{After: 1, Resume: true})
	before.readTo(2000)
	for _, sel := range []Selection{{Filter: every(7)}, {Filter: projecting(100)}, {Filter: every(9).in("a"), Types: []string{"s*"}}} {
		c := w.open(Request{Selection: sel, After: 1, Resume: true})
		c.readTo(2000)
		if sel.Filter.String() != "projecting 100" {
			c.expect(sel, 1, 2000)
		}
	}
	filters.fail(nil, errors.New("as the test wants"))
	c := w.open(Request{Selection: Selection{Filter: every(2).in("a")}, After: 1, Resume: true})
	if got := c.reason(); got != ReplayFailed {
		t.Errorf("got the end %v, want %v", got, ReplayFailed)
	}
}

// Streams of one feed that read the past share what their filter says of it.
func TestResumesShareDecisions(t *testing.T) {
	w, filters := filtered(t, func(c *Config) { c.TapeBytes = minTape })
	const total, streams = 20_000, 40
	w.publish(total, mixed)
	sels := []Selection{{Filter: throwing(9)}, {Filter: projecting(3).in("a"), Domains: []string{"light", "lock"}}}
	var clients []*client
	for i := range streams {
		clients = append(clients, w.open(Request{Selection: sels[i%2], After: 1 + uint64(i)*100, Resume: true}))
	}
	for i, c := range clients {
		c.readTo(total)
		if i%2 == 0 {
			c.expect(sels[0], 1+uint64(i)*100, total)
		}
	}
	filters.mu.Lock()
	defer filters.mu.Unlock()
	if want := total + total/2; filters.past > want*5/4 {
		t.Errorf("got %d decisions about the past for %d streams, want hardly more than %d", filters.past, streams, want)
	}
}

// A lane that can't be asked is asked again, for the same events.
func TestLaneIsAskedAgain(t *testing.T) {
	w, filters := filtered(t, nil)
	sel := Selection{Filter: every(1).in("a")}
	c := w.open(Request{Selection: sel})
	filters.fail(errors.New("as the test wants"), nil)
	w.publish(20, mixed)
	until(t, "the lane to be asked", func() bool { return filters.asking("a") })
	w.publish(20, mixed)
	filters.fail(nil, nil)
	c.readTo(40)
	c.expect(sel, 0, 40)
}

// Close gives the streams of a lane what it has yet to decide about, and a
// change of selection is made as soon as the lane has come to it.
func TestCloseWaitsForLanes(t *testing.T) {
	bothPumps(t, func(t *testing.T, portable bool) {
		w, filters := filtered(t, func(c *Config) { c.portable = portable })
		sel, never := Selection{Filter: every(2).in("a")}, Selection{Filter: every(1000).in("a")}
		c := w.open(Request{Selection: sel})
		changing := w.open(Request{Selection: never, ID: "changing"})
		release := filters.hold("a")
		w.publish(9, mixed)
		cut := func(Selection) ([]byte, uint64) { return sse.AppendEvent(nil, "", "changed", nil), 9 }
		if err := w.hub.Reselect("changing", Selection{Types: []string{"never"}}, cut); err != nil {
			t.Fatalf("Reselect: %v", err)
		}
		release()
		changing.read(func() bool { return len(changing.named("changed")) == 1 })
		release = filters.hold("a")
		w.publish(11, mixed)
		closed := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			closed <- w.hub.Close(ctx)
		}()
		until(t, "the hub to close", func() bool {
			_, err := w.hub.Attach(Request{})
			return errors.Is(err, ErrClosed)
		})
		release()
		c.read(func() bool { return false })
		c.expect(sel, 0, 20)
		if err := <-closed; err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

// Errors of a lane count apart from those of filters that decide at once.
func TestFilterErrorsAreCounted(t *testing.T) {
	w, _ := filtered(t, nil)
	sels := []Selection{{Filter: throwing(10)}, {Filter: throwing(5).in("a")}}
	for _, sel := range sels {
		w.open(Request{Selection: sel})
	}
	w.publish(100, mixed)
	w.settled()
	if got := [2]uint64{w.hub.met.filterErrors[0].Get(), w.hub.met.filterErrors[1].Get()}; got != [2]uint64{10, 20} {
		t.Errorf("got %d errors, want 10 at once and 20 asked", got)
	}
	w.publish(100, mixed)
	c := w.open(Request{Selection: Selection{Filter: throwing(10)}, After: 1, Resume: true, Slow: Conflate})
	c.readTo(199)
	want := FilterError{Epoch: testEpoch, Seq: 10, Message: "TypeError: \"no\" 10", Errors: 20, Filter: "throwing 10"}
	if got := c.named("filter_error"); len(got) != 1 || got[0] != string(want.AppendJSON(nil)) {
		t.Errorf("conflated: got %q, want %s", got, want.AppendJSON(nil))
	}
}
