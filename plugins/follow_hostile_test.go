//go:build unix

package plugins

import (
	"fmt"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"carillon/plugins/adapter/wire"
	"carillon/runtime"
)

// badFollows follows as the contract forbids, or as a friend would not.
func (f *fake) badFollows() {
	follow := func(w *wire.Follow) { f.send(&wire.FromAdapter{Message: &wire.FromAdapter_Follow{Follow: w}}) }
	switch {
	case f.has("many-follows"):
		for id := range uint64(10_000) {
			follow(&wire.Follow{Id: id + 1, Credit: 1, Snapshot: true})
		}
	case f.has("wrong-follow"):
		follow(&wire.Follow{Id: 2})
	case f.has("long-names"):
		long := strings.Repeat("*a", 1<<19)
		follow(&wire.Follow{Id: 1, Types: []string{long}, Credit: 1})
		follow(&wire.Follow{Id: 2, Entities: slices.Repeat([]string{"*"}, maxNames+1), Credit: 1})
		follow(&wire.Follow{Id: 3, After: "yesterday", Credit: 1})
	case f.has("restless"):
		for id := range uint64(2000) {
			follow(&wire.Follow{Id: id + 1, Credit: 4e9, Snapshot: true})
			f.send(&wire.FromAdapter{Message: &wire.FromAdapter_FollowCredit{FollowCredit: &wire.FollowCredit{Follow: id + 1, Credit: 4e9}}})
			f.send(&wire.FromAdapter{Message: &wire.FromAdapter_Unfollow{Unfollow: &wire.Unfollow{Follow: id + 1}}})
		}
	case f.has("creditless"):
		follow(&wire.Follow{Id: 1, After: "epoch1-0"})
	case f.has("reads-nothing"):
		for id := range uint64(MaxFollows) {
			follow(&wire.Follow{Id: id + 1, After: "epoch1-0", Credit: 4e9, Own: true})
			f.send(&wire.FromAdapter{Message: &wire.FromAdapter_FollowCredit{FollowCredit: &wire.FollowCredit{Follow: id + 1, Credit: 4e9}}})
		}
	}
}

// newFollowed makes a bench whose journal can be followed.
func newFollowed(t testing.TB, change func(*bench), programs ...string) *bench {
	return newBench(t, func(b *bench) {
		b.host.Epoch, b.host.Replay, b.host.First = "epoch1", b.journal.Read, func() uint64 { return 1 }
		if change != nil {
			change(b)
		}
	}, programs...)
}

func TestTooManyFollows(t *testing.T) {
	for words, says := range map[string]string{"many-follows": "more than 16 follows", "wrong-follow": "follow 2 came behind follow 0"} {
		t.Run(words, func(t *testing.T) {
			b := newFollowed(t, func(b *bench) { b.host.times.first, b.host.times.most = time.Hour, time.Hour }, "bad", words)
			b.await("it has failed", func() bool { return b.status("bad").State == BackingOff })
			if got := b.status("bad"); got.Reason != ReasonContract || !strings.Contains(got.Error, says) {
				t.Errorf("got %s: %s, want that %s", got.Reason, got.Error, says)
			}
			b.await("nobody follows", func() bool { b.host.feed.mu.Lock(); defer b.host.feed.mu.Unlock(); return b.host.feed.followers == 0 })
		})
	}
}

func TestFollowsThatAreRefused(t *testing.T) {
	b := newFollowed(t, nil, "lamps", "long-names tell-refusals")
	b.awaitShown("light.lamp", "off")
	for _, says := range []string{"a name in a selection has 1048576 bytes, more than 255", "101 names, more than 100", `"yesterday" is no id of an event`} {
		b.await("it is told that "+says, func() bool { return strings.Contains(strings.ReplaceAll(b.logged(), `\"`, `"`), says) })
	}
	if got := b.status("lamps"); got.Follows != 0 || got.Restarts != 0 {
		t.Errorf("got %d follows, %d restarts, want none", got.Follows, got.Restarts)
	}
}

func TestDeafAdapterHearsNothing(t *testing.T) {
	b := newFollowed(t, func(b *bench) {
		b.host.Adapters = map[string]AdapterConfig{"ears": {Deaf: true}}
		b.host.times.first, b.host.times.most = time.Hour, time.Hour
	}, "ears", "hear")
	b.awaitLogged("set plugins.ears.events to true")
	b.host.SetConfig(nil)
	b.await("it follows", func() bool { return b.status("ears").Follows == 1 })
}

func TestRestlessFollower(t *testing.T) {
	b := newFollowed(t, nil, "lamps", "restless")
	b.awaitShown("light.lamp", "off")
	b.await("no follow is left", func() bool { return b.status("lamps").Follows == 0 })
	if n := goruntime.NumGoroutine(); n > 300 {
		t.Errorf("got %d goroutines", n)
	}
	if got := b.status("lamps"); got.Restarts != 0 {
		t.Errorf("it was restarted: %v", b.failures())
	}
}

// An adapter that has events to hear and takes none does not hold up its own end.
func TestDrainDoesNotWaitForFollows(t *testing.T) {
	b := newFollowed(t, func(b *bench) { b.host.times.drain = 10 * time.Second }, "lamps", "creditless")
	b.awaitShown("light.lamp", "off")
	b.await("it follows", func() bool { return b.status("lamps").Follows == 1 })
	if _, err := b.rt.Fire(t.Context(), runtime.NewEvent{Type: "tick"}); err != nil {
		t.Fatal(err)
	}
	b.await("it is behind", func() bool { return b.status("lamps").FollowLag > 0 })
	began := time.Now()
	if err := b.host.Disable("lamps"); err != nil {
		t.Fatal(err)
	}
	b.awaitState("lamps", Disabled)
	if took := time.Since(began); took > 9*time.Second {
		t.Errorf("it took %v", took)
	}
	if got := b.status("lamps"); got.Counters.Undrained != 0 || got.Follows != 0 {
		t.Errorf("got %+v", got)
	}
}

// An adapter that asks for everything and reads none of it is found out by its beats,
// and costs no memory meanwhile.
func TestFollowerThatReadsNothing(t *testing.T) {
	b := newFollowed(t, func(b *bench) { b.host.times.hang = time.Second }, "lamps", "version=1")
	b.awaitShown("light.lamp", "off")
	large := runtime.NewEvent{Type: "tick", Data: []byte(`{"x":"` + strings.Repeat("x", 10<<10) + `"}`)}
	for range 20 {
		if _, err := b.rt.Fire(t.Context(), slices.Repeat([]runtime.NewEvent{large}, 200)...); err != nil {
			t.Fatal(err)
		}
	}
	var before, during goruntime.MemStats
	goruntime.GC()
	goruntime.ReadMemStats(&before)
	b.put("bad", "reads-nothing")
	b.await("it follows", func() bool { return b.status("bad").Follows == MaxFollows || len(b.failures()) > 0 })
	goruntime.ReadMemStats(&during)
	if grown := int64(during.HeapAlloc) - int64(before.HeapAlloc); grown > 150<<20 {
		t.Errorf("the host took %d MiB", grown>>20)
	}
	b.await("it is ended", func() bool { return slices.Contains(b.failures(), string(ReasonHang)) })
	if _, err := b.call("turn_on", "light.lamp"); err != nil {
		t.Errorf("the other adapter: %v", err)
	}
}

func TestFollowCreditIsBounded(t *testing.T) {
	f := &follower{gave: make(chan struct{}, 1)}
	for range 3 {
		f.give(1<<32 - 1)
	}
	if f.credit != maxFollowCredit {
		t.Errorf("got %d, want %d", f.credit, maxFollowCredit)
	}
}

func TestEventsThatDoNotFit(t *testing.T) {
	s := &session{a: newAdapter(&Host{Epoch: "e"}, "lamps")}
	f := &follower{s: s}
	fits := f.happening(&runtime.Event{Seq: 7, JSON: make([]byte, maxHappening)})
	if fits.Gap != nil || fits.Id != "e-7" {
		t.Errorf("got %v for the largest that fits", fits.Gap)
	}
	large := f.happening(&runtime.Event{Seq: 8, JSON: make([]byte, maxHappening+1)})
	if g := large.Gap; g == nil || g.From != 8 || g.To != 8 || g.Reason != "too_large" || large.Id != "e-8" || large.Json != nil {
		t.Errorf("got %v, want a gap", large.Gap)
	}
}

func TestOwn(t *testing.T) {
	for _, test := range []struct {
		own, source, typ string
		want             bool
	}{
		{"mqtt", "mqtt@3", "state_changed", true}, {"mqtt", "mqtt2@3", "state_changed", false}, {"mqtt", "mqtt", "adapter_log", true},
		{"mqtt", "mqtt@3", "adapter_started", true}, {"api", "api", "state_changed", false}, {"api", "api@1", "tick", true}, {"", "mqtt@3", "tick", false},
	} {
		s := selection{own: test.own}
		if got := s.isOwn(&runtime.Event{Source: test.source, Type: test.typ}); got != test.want {
			t.Errorf("%s of %s to %q: got own %v, want %v", test.typ, test.source, test.own, got, test.want)
		}
	}
}

// BenchmarkFollow is events to one follower, over mutual TLS, as it is told them.
func BenchmarkFollow(x *testing.B) {
	b := newFollowed(x, nil, "ears", "hear")
	b.await("it follows", func() bool { return b.status("ears").Follows == 1 })
	e := runtime.NewEvent{Type: "tick", Source: "api", Data: []byte(fmt.Sprintf(`{"x":%q}`, strings.Repeat("x", 200)))}
	w := b.rt.NewWriter()
	x.ResetTimer()
	for n := 0; n < x.N; n += 500 {
		if _, err := w.Fire(x.Context(), slices.Repeat([]runtime.NewEvent{e}, min(500, x.N-n))...); err != nil {
			x.Fatal(err)
		}
	}
	b.await("all is told", func() bool { s := b.status("ears"); return s.Counters.Followed >= int64(x.N) })
	x.ReportMetric(float64(x.N)/x.Elapsed().Seconds(), "events/s")
}

// BenchmarkFollowLatency is from the writing of an event to the answer that the adapter
// publishes, when that is visible.
func BenchmarkFollowLatency(x *testing.B) {
	b := newFollowed(x, nil, "ears", "hear answer")
	b.await("it follows", func() bool { return b.status("ears").Follows == 1 })
	answers := make(chan struct{}, 1)
	_, cancel := b.rt.Follow(func(batch []*runtime.Event) {
		for _, e := range batch {
			if e.Type == "answer" {
				answers <- struct{}{}
			}
		}
	})
	defer cancel()
	took := make([]time.Duration, 0, x.N)
	for x.Loop() {
		began := time.Now()
		if _, err := b.rt.Fire(x.Context(), runtime.NewEvent{Type: "tick", Source: "api"}); err != nil {
			x.Fatal(err)
		}
		<-answers
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	x.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	x.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
