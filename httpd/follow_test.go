package httpd

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"carillon/httpd/broadcast"
	"carillon/internal/sse"
)

// A change to another filter shows the states that it takes and leaves, exactly.
func TestReselectFilter(t *testing.T) {
	for _, slow := range []string{"", "slow "} {
		h, _ := startRules(t, Settings{})
		for _, id := range []string{"light.a", "light.b", "sensor.c"} {
			h.set(id, "on", "{}")
		}
		stream := h.open("/api/stream?leave=1&filter=light.a")
		stream.moved()
		c := h.reselect(stream.id(), "filter="+strings.ReplaceAll(slow, " ", "+")+"light.b")
		if c.Entered != 1 || c.Left != 1 || c.At != testEpoch+"-3" {
			t.Errorf("got %+v, want 1 in and 1 out at 3", c)
		}
		if f := stream.message(); f.event != "leave" || f.data != `{"entity_id":"light.a"}` {
			t.Errorf("got %v, want light.a to leave", f)
		}
		if id, _ := entityOf(t, stream.message()); id != "light.b" {
			t.Errorf("got %s, want light.b", id)
		}
		stream.moved()
		h.set("light.a", "off", "{}")
		h.set("light.b", "off", "{}")
		if id, state := entityOf(t, stream.message()); id != "light.b" || state != "off" {
			t.Errorf("got %s %s, want light.b off", id, state)
		}
		c = h.reselect(stream.id(), "domain=light")
		if c.Entered != 1 || c.Left != 0 {
			t.Errorf("without a filter: got %+v, want 1 in", c)
		}
		c = h.reselect(stream.id(), "domain=light&filter=light.+throw")
		for f := stream.message(); f.event != filterErrorEvent; f = stream.message() {
		}
		if c.Entered != 0 || c.Left != 2 {
			t.Errorf("with a filter that throws: got %+v, want 2 out", c)
		}
	}
}

// Several clients change one stream at once, with filters that must be asked
// about states which change all the time: the stream's story stays exact.
func TestReselectFilterUnderLoad(t *testing.T) {
	h, r := startRules(t, Settings{MaxFiltersPerCredential: 50})
	const entities = 4
	var writing, changing sync.WaitGroup
	stop := make(chan struct{})
	for e := range entities {
		writing.Go(func() { count(t, h.runtime, fmt.Sprintf("sensor.e%d", e), 300*time.Microsecond, stop) })
	}
	h.waitFor("entities", func() bool { return len(h.runtime.States()) == entities })
	stream := h.open("/api/stream?snapshot=1&leave=1&filter=sensor.e0")
	done := make(chan struct{})
	go func() { defer close(done); checkSelected(t, stream, entities) }()
	for client := range 3 {
		changing.Go(func() {
			for round := range 20 {
				filter := fmt.Sprintf("filter=sensor.e%d", (client+round)%entities)
				if round%2 == 0 {
					filter += "+slow"
				}
				for h.ask("POST", "/api/stream/"+stream.id(), filter).status == 503 {
					<-time.After(time.Millisecond)
				}
			}
		})
	}
	changing.Wait()
	h.reselect(stream.id(), "filter=sensor.")
	close(stop)
	writing.Wait()
	<-done
	stream.conn.Close()
	h.waitFor("the filters to be gone", func() bool { return r.count() == 0 })
	h.waitFor("nothing to be counted", func() bool { return h.server.tenants.counted() == 0 })
}

// Streams follow their named filter at an exact sequence, with a comment.
func TestFollow(t *testing.T) {
	h, r := startRules(t, Settings{})
	r.save("it", "sensor.")
	const streams = 20
	var open []*streamClient
	for range streams {
		open = append(open, h.open("/api/stream?filter=@it"))
	}
	other := h.open("/api/stream?filter=sensor.")
	stop := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() { count(t, h.runtime, "sensor.x", 300*time.Microsecond, stop) })
	writing.Go(func() { count(t, h.runtime, "light.x", 300*time.Microsecond, stop) })
	later := []string{"light.", "sensor.", "sensor. slow", "light."}
	for _, rule := range later {
		r.save("it", rule)
		h.server.FollowFilters()
		h.waitFor("all to follow", func() bool {
			return h.ask("GET", "/api/filters", "").has(fmt.Sprintf(`"@it@%d":%d`, r.version("it"), streams))
		})
		head := h.runtime.Head()
		h.waitFor("events of the version", func() bool { return h.runtime.Head() > head+20 })
	}
	late := h.open("/api/stream?filter=@it")
	close(stop)
	writing.Wait()
	for _, s := range open {
		checkFollowed(t, s, append([]string{"sensor."}, later...))
	}
	for _, s := range append(open, late, other) {
		s.conn.Close()
	}
	h.waitFor("the filters to be gone", func() bool { return r.count() == 0 })
}

func (r *rules) version(name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.turn[name]
}

// checkFollowed holds what a stream brings, up to the end of the last version's
// entity, against the versions that its comments name: within one, the entity
// goes on by one.
func checkFollowed(t *testing.T, s *streamClient, versions []string) {
	t.Helper()
	version, last := 1, 0
	for ended := false; !ended; {
		f := s.next()
		if f.kind == sse.Comment && strings.HasPrefix(f.data, "filter ") {
			if version, last = version+1, 0; f.data != fmt.Sprintf("filter @it@%d", version) {
				t.Fatalf("got %s, want version %d named", f.data, version)
			}
		}
		if f.kind != sse.Message || f.data == "ping" {
			continue
		}
		id, state := entityOf(t, frame{data: f.data})
		n := 0
		fmt.Sscan(state, &n)
		if !strings.HasPrefix(id, strings.Fields(versions[version-1])[0]) {
			t.Fatalf("version %d: got %s", version, id)
		}
		if last > 0 && state != "end" && n != last+1 {
			t.Errorf("version %d: got %s %d behind %d", version, id, n, last)
		}
		last, ended = n, state == "end" && version == len(versions)
	}
}

// A version that comes while a stream opens is not missed.
func TestFollowWhileOpening(t *testing.T) {
	h, r := startRules(t, Settings{})
	r.save("it", "sensor.")
	h.server.CompileFilter = func(ctx context.Context, spec FilterSpec) (broadcast.Filter, error) {
		f, err := r.compile(ctx, spec)
		r.save("it", "light.")
		return f, err
	}
	stream := h.open("/api/stream?filter=@it")
	h.waitFor("the second version", func() bool { return h.ask("GET", "/api/filters", "").body == `{"@it@2":1}` })
	h.set("light.a", "on", "{}")
	if id, _ := entityOf(t, stream.message()); id != "light.a" {
		t.Errorf("got %s, want light.a", id)
	}
}

// counted returns how much is noted of streams.
func (t *tenants) counted() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.streams) + len(t.moved) + len(t.moving)
}

func TestTenants(t *testing.T) {
	a, b := &rule{text: "a"}, &rule{text: "b"}
	for _, c := range []struct {
		what  string
		steps func(*tenants)
		want  map[broadcast.Filter]int
	}{
		{"a stream", func(s *tenants) { s.take("x", a, 1) }, map[broadcast.Filter]int{a: 1}},
		{"one too many", func(s *tenants) {
			s.take("x", a, 1)
			if s.take("x", b, 1) {
				t.Error("took a second filter")
			}
		}, map[broadcast.Filter]int{a: 1}},
		{"moved", func(s *tenants) {
			s.take("x", a, 1)
			done, _ := s.begin("1", "x", b, 2)
			done(true, a)
		}, map[broadcast.Filter]int{b: 1}},
		{"moved and ended", func(s *tenants) {
			s.take("x", a, 1)
			done, _ := s.begin("1", "x", b, 2)
			done(true, a)
			s.end("1", "x", a)
		}, nil},
		{"moved to none and ended", func(s *tenants) {
			s.take("x", a, 1)
			done, _ := s.begin("1", "x", nil, 2)
			done(true, a)
			s.end("1", "x", a)
		}, nil},
		{"ended while moving", func(s *tenants) {
			s.take("x", a, 1)
			done, _ := s.begin("1", "x", b, 2)
			s.end("1", "x", a)
			done(true, a)
		}, nil},
		{"not moved", func(s *tenants) {
			s.take("x", a, 1)
			done, _ := s.begin("1", "x", b, 2)
			done(false, a)
		}, map[broadcast.Filter]int{a: 1}},
	} {
		var s tenants
		c.steps(&s)
		if got := s.streams["x"]; fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: got %v, want %v", c.what, got, c.want)
		}
		if len(s.moving) != 0 || c.want == nil && len(s.moved)+len(s.streams) != 0 {
			t.Errorf("%s: got %v, %v and %v left", c.what, s.streams, s.moved, s.moving)
		}
	}
}
