package broadcast

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"carillon/internal/sse"
)

// Streams with filters of all kinds follow new versions of them at exact
// sequences while events are published, their lanes overflow and fail, and
// their readers are slow by turns: each gets the events of the version that
// holds, with its data, once and in order.
func TestFiltersChangeWhileEventsCome(t *testing.T) {
	bothPumps(t, func(t *testing.T, portable bool) {
		w, filters := filtered(t, func(c *Config) { c.portable, c.TapeBytes, c.laneQueue = portable, 16<<10, 300 })
		versions := []*testFilter{
			every(2), projecting(3), throwing(5), every(3).in("a"), projecting(2).in("a"), throwing(4).in("b"), every(1).in("b"), every(1),
		}
		const total, streams, changes = 6000, 16, 6
		clients := make([]*client, streams)
		cuts := make([][]plainChange, streams)
		for i := range clients {
			sel := Selection{Filter: versions[i%len(versions)]}
			clients[i] = w.open(Request{ID: fmt.Sprint(i), Selection: sel, Format: []string{"flat", "timed"}[i%2]})
			cuts[i] = []plainChange{{sel: sel}}
		}
		published := make(chan struct{})
		go func() {
			defer close(published)
			for k := range total / 20 {
				w.publish(20, mixed)
				filters.fail(nil, nil)
				if k%50 == 0 {
					filters.fail(errors.New("as the test wants"), nil)
				}
			}
			filters.fail(nil, nil)
		}()
		for k := range changes {
			for i, c := range clients {
				c.readTo(w.hub.Head() / 2)
				change := plainChange{sel: Selection{Filter: versions[(i+k*3+1)%len(versions)], Types: [][]string{nil, {"s*"}}[k%2]}}
				err := w.hub.Reselect(c.stream.id, change.sel, func(was Selection) ([]byte, uint64) {
					if last := cuts[i][len(cuts[i])-1].sel; was.Filter != last.Filter || !slices.Equal(was.Types, last.Types) {
						t.Errorf("change %d of stream %d: got %v as the selection before, want %v", k, i, was, last)
					}
					change.after = w.head()
					return sse.AppendComment(nil, "a new version"), change.after
				})
				if err == nil {
					cuts[i] = append(cuts[i], change)
				} else if !errors.Is(err, ErrBusy) {
					t.Fatalf("Reselect: %v", err)
				}
			}
		}
		<-published
		w.decided()
		w.pass(w.hub.cfg.BeatEvery)
		for i, c := range clients {
			c.readTo(total)
			c.expectVersions(i%2 == 1, cuts[i], total)
		}
		if w.hub.Stats().Replays == 0 {
			t.Error("got no replay, want some: the tape is small")
		}
	})
}

// expectVersions checks that the client got what its selections take, each from
// its sequence on, with the data that their filters give.
func (c *client) expectVersions(wrapped bool, versions []plainChange, to uint64) {
	c.t.Helper()
	var got, want []string
	for _, f := range c.frames {
		if f.kind == sse.Message && f.event == "" && f.data[0] == '{' {
			got = append(got, f.id+" "+f.data)
		}
	}
	for i, v := range versions {
		end := to
		if i+1 < len(versions) {
			end = versions[i+1].after
		}
		for _, ev := range c.w.events[v.after:end] {
			data, ok := taken(v.sel.canonical(), ev)
			switch {
			case !ok:
				continue
			case data == nil:
				data = payload(nil, ev)
			case wrapped:
				data = projected(nil, ev, data)
			}
			want = append(want, fmt.Sprintf("%s-%d %s", testEpoch, ev.Seq, data))
		}
	}
	for i := range max(len(got), len(want)) {
		if i == len(got) || i == len(want) || got[i] != want[i] {
			c.t.Fatalf("got %d events, want %d; first difference at %d: got %.60q, want %.60q; versions %v",
				len(got), len(want), i, got[min(i, len(got)-1)], want[min(i, len(want)-1)], versions)
		}
	}
}
