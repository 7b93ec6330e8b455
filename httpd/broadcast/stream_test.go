package broadcast

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http/httptest"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carillon/internal/sse"
)

func portable(on bool) func(*Config) { return func(c *Config) { c.portable = on } }

func TestStreamGetsEverythingInOrder(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, portable(p))
		c := w.open(Request{Prologue: []byte("HTTP/1.1 200 OK\r\n\r\n: hello\n\n")})
		for range 50 {
			w.publish(7, mixed)
		}
		c.readTo(w.head())
		c.expect(Selection{}, 0, w.head())
		if !strings.HasPrefix(string(c.raw), "HTTP/1.1 200 OK\r\n\r\n: hello\n\nid: e0test-1\ndata: {") {
			t.Errorf("got beginning %.80q, want the prologue, then the first event", c.raw)
		}
	})
}

func TestSelections(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, portable(p))
		selections := []Selection{
			{}, {Types: []string{"state_changed"}}, {Domains: []string{"light", "switch"}},
			{Entities: []string{"light.room_1"}}, {Entities: []string{"*.room_1", "lock.*"}},
			{Types: []string{"service_*"}, Domains: []string{"l*"}}, {Types: []string{"*_c*"}, Entities: []string{"light.*", "sensor.room_3"}},
			{Domains: []string{"light"}, Entities: []string{"switch.room_0"}},
		}
		var clients []*client
		for i := range 3 * len(selections) {
			clients = append(clients, w.open(Request{Selection: selections[i%len(selections)]}))
		}
		for range 40 {
			w.publish(5, mixed)
		}
		w.pass(15 * time.Second)
		for i, c := range clients {
			c.readTo(w.head())
			c.expect(selections[i%len(selections)], 0, w.head())
		}
	})
}

func TestResume(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, portable(p))
		w.open(Request{}) // has the tape begin at 0
		w.publish(2000, mixed)
		for _, sel := range []Selection{{}, {Domains: []string{"lock"}}} {
			for _, after := range []uint64{0, 1, 500, 1900, 1999, 2000} {
				c := w.open(Request{Selection: sel, After: after, Resume: true})
				w.publish(40, mixed)
				w.pass(15 * time.Second)
				c.readTo(w.head())
				c.expect(sel, after, w.head())
				c.conn.Close()
			}
		}
	})
}

func TestResumeOnTapeReadsNoJournal(t *testing.T) {
	w := newWorld(t, nil)
	w.open(Request{})
	w.publish(100, plain)
	w.broken = errors.New("journal must not be read")
	c := w.open(Request{After: 40, Resume: true})
	c.readTo(100)
	c.expect(Selection{}, 40, 100)
}

func TestSlowReadersFallOffAndRejoin(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, func(c *Config) { c.portable, c.TapeBytes = p, 2<<10 })
		selections := []Selection{{}, {Domains: []string{"light"}}, {Entities: []string{"*.room_2"}}}
		var clients []*client
		for i := range 12 {
			clients = append(clients, w.open(Request{Selection: selections[i%3]}))
		}
		const total = 6000
		for step := range total / 20 {
			w.publish(20, mixed)
			if c := clients[step%len(clients)]; step > 100 {
				c.readTo(uint64(step)) // far behind the head
			}
		}
		w.pass(15 * time.Second)
		for i, c := range clients {
			c.readTo(total)
			c.expect(selections[i%3], 0, total)
			if gaps := c.named("gap"); gaps != nil {
				t.Errorf("client %d: got gaps %q, want none", i, gaps)
			}
		}
		if st := w.hub.Stats(); st.Replays == 0 {
			t.Errorf("got no replay, want some: the tape is smaller than what was held back")
		}
	})
}

func TestHugeFrames(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, func(c *Config) { c.portable, c.TapeBytes = p, 4<<10 })
		size := func(seq uint64) Event {
			ev := mixed(seq)
			if seq%9 == 0 {
				ev.Value = int(seq) * 4000
			}
			return ev
		}
		sel := Selection{Domains: []string{"light", "lock"}}
		slow, filtered := w.open(Request{}), w.open(Request{Selection: sel})
		for range 100 {
			w.publish(1, size)
		}
		w.pass(15 * time.Second)
		slow.readTo(100)
		slow.expect(Selection{}, 0, 100)
		filtered.readTo(100)
		filtered.expect(sel, 0, 100)
	})
}

func TestSnapshotCut(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		for _, sel := range []Selection{{}, {Domains: []string{"light"}}} {
			w := newWorld(t, portable(p))
			w.publish(10, mixed)
			late := w.store(5, mixed) // the snapshot has these; the hub not yet
			ahead := w.open(Request{Selection: sel, After: 12})
			behind := w.open(Request{Selection: sel, After: 8})
			now := w.open(Request{Selection: sel})
			w.hub.Publish(late[:1])
			w.hub.Publish(late[1:])
			w.publish(30, mixed)
			w.pass(15 * time.Second)
			for c, after := range map[*client]uint64{ahead: 12, behind: 8, now: 10} {
				c.readTo(45)
				c.expect(sel, after, 45)
			}
		}
	})
}

func TestFutureIDs(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, portable(p))
		w.publish(10, plain)
		late := w.store(5, plain)
		known := w.open(Request{After: 13, Resume: true})  // in the journal, not yet at the hub
		future := w.open(Request{After: 16, Resume: true}) // nowhere
		future.read(func() bool { return len(future.named("reset")) > 0 })
		w.hub.Publish(late)
		w.publish(1, plain)
		known.readTo(16)
		known.expect(Selection{}, 13, 16)
		future.readTo(16)
		future.expect(Selection{}, 10, 16)
		want := []string{`{"epoch":"e0test","head":10,"reason":"ahead"}`}
		if got := future.named("reset"); !slices.Equal(got, want) {
			t.Errorf("got resets %q, want %q", got, want)
		}
	})
}

func TestAgedOutIsTold(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, portable(p))
		w.publish(300, mixed)
		w.age(200)
		sel := Selection{Domains: []string{"light"}}
		whole, filtered := w.open(Request{After: 20, Resume: true}), w.open(Request{Selection: sel, After: 20, Resume: true})
		edge := w.open(Request{After: 199, Resume: true})
		for c, s := range map[*client]Selection{whole: {}, filtered: sel, edge: {}} {
			c.readTo(300)
			c.expect(s, 199, 300)
		}
		want := []string{`{"from":21,"to":199,"reason":"aged_out"}`}
		if got := whole.named("gap"); !slices.Equal(got, want) {
			t.Errorf("unfiltered: got gaps %q, want %q", got, want)
		}
		if got := filtered.named("gap"); !slices.Equal(got, want) {
			t.Errorf("filtered: got gaps %q, want %q", got, want)
		}
		if got := edge.named("gap"); got != nil {
			t.Errorf("at the edge: got gaps %q, want none", got)
		}
		if i := slices.IndexFunc(whole.frames, func(f frame) bool { return f.event == "gap" }); i != 0 || whole.frames[0].id != "e0test-199" {
			t.Errorf("got gap at frame %d with id %q, want the first one, with the id before what follows", i, whole.frames[0].id)
		}
	})
}

// The journal forgets while it is read.
func TestAgeingDuringAReplayIsTold(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Replay = func(_ context.Context, after uint64, fn func(*Event) bool) error {
			for _, seq := range []uint64{4, 5, 9, 10} {
				if seq > after && !fn(&Event{Seq: seq}) {
					break
				}
			}
			return nil
		}
	})
	w.store(10, func(uint64) Event { return Event{} })
	w.hub.Publish([]*Event{{Seq: 10}})
	reads := 0
	w.hub.cfg.First = func() uint64 { // 8 is not in the journal, and never was
		if reads++; reads == 1 {
			return 4
		}
		return 8
	}
	c := w.open(Request{After: 3, Resume: true})
	c.readTo(10)
	if got, want := c.seqs(), []uint64{4, 5, 9, 10}; !slices.Equal(got, want) {
		t.Errorf("got events %v, want %v", got, want)
	}
	if got, want := c.named("gap"), []string{`{"from":6,"to":7,"reason":"aged_out"}`}; !slices.Equal(got, want) {
		t.Errorf("got gaps %q, want %q", got, want)
	}
}

// Two streams of a feed stand at one place; between their turns the tape moves
// on by events that the feed does not want.
func TestGatheredBytesAreNotUsedOnceOverwritten(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.portable, c.TapeBytes = true, 2<<10 })
	w.open(Request{Selection: Selection{Types: []string{"wanted"}}})
	f := w.hub.channels["flat"].feeds[(&Selection{Types: []string{"wanted"}}).key()]
	w.publish(1, func(uint64) Event { return Event{Type: "wanted"} })
	g := gather{limit: maxSend}
	if got := g.fill(f, 0); got != supplied {
		t.Fatalf("got %v, want the event", got)
	}
	if got := g.fill(f, 0); got != supplied {
		t.Fatalf("got %v the second time, want the event", got)
	}
	w.publish(1, func(uint64) Event { return Event{Type: "wanted"} })
	if got := g.fill(f, 0); got != supplied || g.to != 2 {
		t.Fatalf("got %v up to %d with one more, want both events", got, g.to)
	}
	if got := g.fillTo(f, 0, 1); got != supplied || g.to != 1 {
		t.Fatalf("got %v up to %d for a stream that may have one, want one", got, g.to)
	}
	w.publish(100, plain)
	if got := g.fill(f, 0); got != lost {
		t.Errorf("got %v after the tape went round, want it lost", got)
	}
	if got := (&gather{limit: maxSend}).fill(f, 0); got != lost {
		t.Errorf("got %v without a gather to reuse, want it lost", got)
	}
}

func TestBrokenJournalEndsReplays(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, portable(p))
		w.publish(10, plain)
		w.broken = errors.New("disk on fire")
		c := w.open(Request{After: 3, Resume: true})
		if got := c.reason(); got != ReplayFailed {
			t.Errorf("got reason %v, want %v", got, ReplayFailed)
		}
	})
}

func TestAttachRefuses(t *testing.T) {
	w := newWorld(t, nil)
	near, far := pipe(t)
	if _, err := w.hub.Attach(Request{Conn: far, Format: "nonsense"}); !errors.Is(err, ErrUnknownFormat) {
		t.Errorf("got %v, want ErrUnknownFormat", err)
	}
	if _, err := far.Write([]byte("x")); err != nil {
		t.Errorf("the connection is unusable after a refusal: %v", err)
	}
	near.Close()
}

func TestTLS(t *testing.T) {
	w := newWorld(t, nil)
	srv := httptest.NewUnstartedServer(nil)
	srv.StartTLS() // for its certificate
	defer srv.Close()
	near, far := pipe(t)
	server := tls.Server(far, srv.TLS)
	go server.Handshake()
	c := w.openOn(tls.Client(near, &tls.Config{InsecureSkipVerify: true}), server, Request{Prologue: []byte(": hi\n\n")})
	for range 100 {
		w.publish(30, mixed)
	}
	c.readTo(3000)
	c.expect(Selection{}, 0, 3000)
	c.conn.Close()
	if got := c.reason(); got != ClientLeft {
		t.Errorf("got reason %v, want %v", got, ClientLeft)
	}
}

func TestStreamsTells(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, portable(p))
		c := w.open(Request{
			Format: "timed", ID: "s1", Remote: "192.0.2.1:5", Label: "wall", Selection: Selection{Domains: []string{"light", "light"}},
		})
		w.publish(8, mixed)
		w.pass(30 * time.Second)
		c.readTo(8)
		w.settled()
		var infos []StreamInfo
		w.hub.Streams(func(info StreamInfo) { infos = append(infos, info) })
		if len(infos) != 1 {
			t.Fatalf("got %d streams, want 1", len(infos))
		}
		got := infos[0]
		if got.ID != "s1" || got.Remote != "192.0.2.1:5" || got.Label != "wall" || got.Format != "timed" ||
			!slices.Equal(got.Selection.Domains, []string{"light"}) {
			t.Errorf("got %+v, want what was asked for", got)
		}
		if got.Events != 2 || got.Position != 8 || got.LagEvents != 0 || got.Blocked || got.Replaying {
			t.Errorf("got %+v, want 2 events, position 8, no lag", got)
		}
		until(t, "all bytes to be counted", func() bool { return w.hub.Stats().Bytes >= uint64(len(c.raw)) })
		if got.LastPing.Sub(got.ConnectedAt) != 30*time.Second {
			t.Errorf("got last ping at %v, connected at %v, want 30 s between", got.LastPing, got.ConnectedAt)
		}
		if st := w.hub.Stats(); st.Streams != 1 || st.Feeds != 1 || st.Published != 8 || st.Delivered != 2 || st.Head != 8 {
			t.Errorf("got %+v, want one stream and feed, 8 published, 2 delivered", st)
		}
	})
}

func TestFeedsGoWithTheirLastStream(t *testing.T) {
	w := newWorld(t, nil)
	for i := range 20 {
		c := w.open(Request{Selection: Selection{Entities: []string{fmt.Sprintf("light.a%d", i)}, Types: []string{"x*"}}})
		c.conn.Close()
		c.reason()
	}
	w.pass(0)
	ch := w.hub.channels["flat"]
	if n := w.hub.Stats().Feeds; n != 0 || len(ch.index.byName) != 0 || len(ch.index.scan) != 0 {
		t.Errorf("got %d feeds, index %v, want none", n, ch.index)
	}
}

// Clients come, go and resume while events and ageing go on; none misses,
// repeats or swaps anything over all its connections.
func TestChurn(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		w := newWorld(t, func(c *Config) {
			c.portable, c.TapeBytes, c.manual, c.BeatEvery = p, 8<<10, false, 100*time.Millisecond
		})
		selections := []Selection{{}, {Domains: []string{"light"}}, {Entities: []string{"*.room_2"}}, {Types: []string{"service_called"}}}
		stop := make(chan struct{})
		var publisher, clients sync.WaitGroup
		publisher.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					w.publish(3, mixed)
					goruntime.Gosched()
				}
			}
		})
		for i := range 8 {
			clients.Go(func() {
				sel, after := selections[i%len(selections)], uint64(0)
				for range 25 {
					c := w.open(Request{Selection: sel, After: after, Resume: true})
					c.readTo(after + 30)
					_, reached, _ := sse.ParseID(c.id)
					c.expect(sel, after, reached)
					after = reached
					c.conn.Close()
				}
			})
		}
		clients.Wait()
		close(stop)
		publisher.Wait()
		until(t, "all streams to be gone", func() bool { return w.hub.Stats().Streams == 0 })
	})
}
