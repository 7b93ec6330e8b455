package broadcast

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
)

// Many streams that resume all over one region cost hardly more than one.
func TestResumesShareTheReading(t *testing.T) {
	var reads, given atomic.Int64
	w := newWorld(t, func(c *Config) {
		replay := c.Replay
		c.TapeBytes, c.Readers = 4<<10, 2
		c.Replay = func(ctx context.Context, after uint64, fn func(*Event) bool) error {
			reads.Add(1)
			return replay(ctx, after, func(ev *Event) bool {
				given.Add(1)
				return fn(ev)
			})
		}
	})
	const events, streams = 5000, 40
	w.publish(events, mixed)
	sels := []Selection{{}, {Domains: []string{"light"}}, {Entities: []string{"lock.room_3"}}, {Types: []string{"service_*"}}}
	clients := make([]*client, streams)
	after := func(i int) uint64 { return uint64(i * 7919 % events) }
	for i := range clients {
		clients[i] = w.open(Request{Selection: sels[i%len(sels)], After: after(i), Resume: true})
	}
	for i, c := range clients {
		c.readTo(events)
		c.expect(sels[i%len(sels)], after(i), events)
	}
	// Two readers may begin at the same time in the midst of what the other one
	// will read; but no stream reads for itself alone.
	if reads.Load() > streams/2 || given.Load() > 3*events {
		t.Errorf("got %d readings of %d events for %d streams, want at most %d of %d", reads.Load(), given.Load(), streams, streams/2, 3*events)
	}
	s := &w.hub.readers.shelf
	held := func() (int, int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.bytes, len(s.passages)
	}
	if bytes, _ := held(); bytes == 0 {
		t.Error("got an empty shelf, want passages")
	}
	s.forget(passageKept)
	if bytes, n := held(); bytes != 0 || n != 0 {
		t.Errorf("got %d bytes on the shelf that nobody asked for, want none", bytes)
	}
}

// A shelf with room for hardly anything costs time and nothing else.
func TestASmallShelfIsEnough(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.TapeBytes, c.ReplayBytes = 4<<10, 1 })
	w.publish(3000, mixed)
	for i := range 10 {
		sel := []Selection{{}, {Domains: []string{"light"}}}[i%2]
		c := w.open(Request{Selection: sel, After: uint64(i * 293), Resume: true})
		c.readTo(3000)
		c.expect(sel, uint64(i*293), 3000)
	}
	s := &w.hub.readers.shelf
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.passages[w.hub.channels["flat"]]); n > 1 {
		t.Errorf("got %d passages on the shelf, want at most the newest", n)
	}
}

// The names of a passage find what looking at each of its events finds.
func TestPassageMatchesAsSelectionsDo(t *testing.T) {
	p := &passage{}
	for seq := range uint64(300) {
		ev := mixed(seq)
		p.marks = append(p.marks, frameMark{seq: seq + 1, end: uint32(seq + 1)})
		p.about = append(p.about, about{ev.Type, ev.Domain, ev.EntityID})
	}
	rnd := rand.New(rand.NewPCG(7, 7))
	pick := func(names ...string) []string {
		return slices.DeleteFunc(names, func(string) bool { return rnd.IntN(3) > 0 })
	}
	for range 500 {
		sel := Selection{
			Types:    pick("state_changed", "service_called", "s*"),
			Domains:  pick("light", "lock", "s*"),
			Entities: pick("light.room_1", "lock.room_2", "sensor.*", "*.room_3"),
		}.canonical()
		from, to := p.between(uint64(rnd.IntN(300)), uint64(rnd.IntN(320)))
		var want []uint32
		for i := from; i < to; i++ {
			if a := p.about[i]; sel.Matches(a.typ, a.domain, a.entity) {
				want = append(want, uint32(i))
			}
		}
		if got := p.match(nil, &sel, sel.keys(), from, to); !slices.Equal(got, want) {
			t.Fatalf("%+v in %d..%d: got %v, want %v", sel, from, to, got, want)
		}
	}
}

// What a shelf has no room for is what was not asked for for longest.
func TestShelfKeepsWhatIsAskedFor(t *testing.T) {
	ch := &channel{}
	s := shelf{most: 4 * frameExtra, passages: make(map[*channel][]*passage)}
	for i := range uint64(4) {
		s.add(ch, &passage{after: i * 10, end: i*10 + 10}, 0)
	}
	s.at(ch, 5, 0, false)
	s.add(ch, &passage{after: 40, end: 50}, 0)
	s.add(ch, &passage{after: 45, end: 60}, 0) // overlaps
	var got []string
	for _, p := range s.passages[ch] {
		got = append(got, fmt.Sprint(p.after, "-", p.end))
	}
	if want := []string{"0-10", "20-30", "30-40", "40-50"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if from, to := s.room(ch, 15); from != 10 || to != 20 {
		t.Errorf("got room %d to %d, want 10 to 20", from, to)
	}
}

// What streams share of a passage counts on the shelf, and goes with it.
func TestShelfCountsExtracts(t *testing.T) {
	ch := &channel{}
	s := shelf{most: 8 * frameExtra, passages: make(map[*channel][]*passage)}
	old, used := &passage{after: 0, end: 10}, &passage{after: 10, end: 20}
	s.add(ch, old, 0)
	s.add(ch, used, 0)
	s.grow(used, 4*frameExtra)
	if got, want := s.bytes, 6*frameExtra; got != want || len(s.passages[ch]) != 2 {
		t.Errorf("got %d bytes in %d passages, want %d in 2", got, len(s.passages[ch]), want)
	}
	s.grow(used, 3*frameExtra)
	if got, want := s.bytes, 8*frameExtra; got != want || len(s.passages[ch]) != 1 || s.passages[ch][0] != used {
		t.Errorf("got %d bytes in %v, want %d in the one that grew", got, s.passages[ch], want)
	}
	s.grow(old, frameExtra)
	s.forget(passageKept)
	if s.bytes != 0 {
		t.Errorf("got %d bytes on an empty shelf", s.bytes)
	}
}

// A job that ends inside an extract leaves the rest of it as it is, and counts
// only the errors of its own part.
func TestJobTakesPartOfAnExtract(t *testing.T) {
	x := &extract{data: []byte("aabbcc"), marks: []frameMark{{2, 2}, {4, 4}, {6, 6}}, failures: []thrown{{1, "x"}, {3, "y"}, {5, "z"}}}
	f := &feed{ch: &channel{epoch: testEpoch}, sel: Selection{Filter: throwing(2)}}
	j := &job{feed: f, pos: 1, told: 1}
	j.takeExtract(x, 5)
	j.data = append(j.data, "XX"...)
	if string(j.data) != "aabbXX" || string(x.data) != "aabbcc" || j.pos != 5 || j.told != 4 || j.events != 2 {
		t.Errorf("got %q of %q, position %d, told %d, %d events", j.data, x.data, j.pos, j.told, j.events)
	}
	if got := j.failure; got.Seq != 3 || got.Errors != 2 || got.Message != "y" {
		t.Errorf("got the failure %+v, want two from 3 on", got)
	}
}
