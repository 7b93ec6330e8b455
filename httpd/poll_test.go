package httpd

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carillon/internal/sse"
)

// polled is the answer to a poll.
type polled struct {
	Events []json.RawMessage
	Next   string
	Head   string
	Gap    *struct {
		From, To uint64
		Reason   string
	}
	Reset *struct {
		Epoch  string
		Head   uint64
		Reason string
	}
}

func (h *home) poll(parameters string) polled {
	h.t.Helper()
	got := h.ask("GET", "/api/events/poll?"+parameters, "")
	got.want(h.t, parameters, 200, `{"events":[`)
	var p polled
	if err := json.Unmarshal([]byte(got.body), &p); err != nil {
		h.t.Fatalf("%s: %v in %s", parameters, err, got.body)
	}
	return p
}

// numbers returns the member n of the events' data.
func (p polled) numbers(t *testing.T) (all []int) {
	t.Helper()
	for _, text := range p.Events {
		var e struct{ Data struct{ N int } }
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		all = append(all, e.Data.N)
	}
	return all
}

func id(seq uint64) string { return sse.FormatID(testEpoch, seq) }

func TestPoll(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	for n := 1; n <= 10; n++ {
		h.fire([]string{"odd", "even"}[(n+1)%2], fmt.Sprintf(`{"n":%d}`, n))
	}
	for _, c := range []struct {
		parameters string
		want       []int
		next       uint64
	}{
		{"", nil, 10},
		{"wait=0", nil, 10},
		{"since=" + id(0), []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 10},
		{"since=" + id(7), []int{8, 9, 10}, 10},
		{"since=" + id(10), nil, 10},
		{"since=" + id(7) + "&type=odd", []int{9}, 10},
		{"since=" + id(7) + "&type=none", nil, 10},
		{"since=" + id(0) + "&limit=3", []int{1, 2, 3}, 3},
		{"since=" + id(0) + "&limit=2&restrict=even", []int{2, 4}, 5},
		{"last_event_id=" + id(8) + "&since=" + id(1), []int{9, 10}, 10},
	} {
		p := h.poll(c.parameters)
		if got := p.numbers(t); !slices.Equal(got, c.want) || p.Next != id(c.next) || p.Head != id(10) || p.Gap != nil || p.Reset != nil {
			t.Errorf("%s: got %v, next %s, head %s, gap %v, reset %v; want %v, next %d, head 10", c.parameters, got, p.Next, p.Head, p.Gap, p.Reset, c.want, c.next)
		}
	}
	posted := h.ask("POST", "/api/events/poll", `{"type":["odd"],"since":"`+id(6)+`","format":"flat"}`, "Content-Type: application/json")
	posted.want(t, "POST", 200, `[{"type":"odd","timestamp":"`)
	h.ask("GET", "/api/events/poll", "", "Last-Event-ID: "+id(9)).want(t, "header", 200, `"n":10}`)
	h.askBare("GET", "/api/events/poll", "").want(t, "without a credential", 401, "no credential")
	h.ask("DELETE", "/api/events/poll", "").want(t, "DELETE", 405, "GET, HEAD, POST, OPTIONS")
	for parameters, part := range map[string]string{
		"wait=61":    "wait must be 0 to 60 seconds",
		"wait=-1":    "wait must be",
		"wait=NaN":   "wait must be",
		"limit=0":    "limit must be a whole number from 1 to 10000",
		"limit=many": "limit must be",
		"since=x":    "since must be",
		"format=xml": "format must be",
	} {
		h.ask("GET", "/api/events/poll?"+parameters, "").want(t, parameters, 400, part)
	}
}

func TestPollFormats(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	h.set("light.a", "on", "{}")
	for format, part := range map[string]string{
		"":            `{"event_type":"state_changed",`,
		"ha":          `{"event_type":"state_changed",`,
		"flat":        `{"type":"state_changed","entity_id":"light.a",`,
		"native":      `{"id":"epochone-1","sequence":1,`,
		"cloudevents": `{"specversion":"1.0","id":"epochone-1",`,
	} {
		p := h.poll("since=" + id(0) + "&format=" + format)
		if len(p.Events) != 1 || !strings.HasPrefix(string(p.Events[0]), part) {
			t.Errorf("%s: got %s, want it to begin with %s", format, p.Events, part)
		}
	}
}

func TestPollWaits(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	waiting := func() bool { _, polls := h.server.places.now(); return polls == 1 }
	answers := make(chan polled)
	go func() { answers <- h.poll("type=bell&wait=60") }()
	h.waitFor("the poll to wait", waiting)
	h.fire("noise", `{"n":1}`)
	h.fire("noise", `{"n":2}`)
	h.fire("bell", `{"n":3}`)
	select {
	case p := <-answers:
		if got := p.numbers(t); !slices.Equal(got, []int{3}) || p.Next != id(3) {
			t.Errorf("got %v, next %s, want event 3", got, p.Next)
		}
	case <-time.After(patience):
		t.Fatal("the event did not end the wait")
	}
	if p := h.poll("type=bell&wait=0.05&since=" + id(0)); len(p.Events) != 1 {
		t.Errorf("with an event there already: got %s, want it", p.Events)
	}
	h.fire("noise", `{"n":4}`)
	if p := h.poll("type=bell&wait=0.05&since=" + id(3)); len(p.Events) != 0 || p.Next != id(4) {
		t.Errorf("nothing in time: got %s, next %s, want none and 4", p.Events, p.Next)
	}
	go func() { answers <- h.poll("type=bell&wait=60") }()
	h.waitFor("the poll to wait", waiting)
	go h.stop()
	select {
	case p := <-answers:
		if len(p.Events) != 0 || p.Next != id(4) {
			t.Errorf("at the shutdown: got %s, next %s, want none and 4", p.Events, p.Next)
		}
	case <-time.After(patience):
		t.Fatal("the shutdown did not end the wait")
	}
}

func TestPollResetGapAndSnapshot(t *testing.T) {
	first := uint64(1)
	h := startHome(t, Settings{}, func(s *Server) { s.First = func() uint64 { return first } })
	h.set("light.a", "1", "{}")
	h.set("light.b", "1", "{}")
	h.set("light.a", "2", "{}")
	for since, reason := range map[string]string{"another-1": "epoch", id(99): "ahead"} {
		p := h.poll("wait=60&since=" + since)
		if p.Reset == nil || p.Reset.Reason != reason || p.Reset.Epoch != testEpoch || p.Reset.Head != 3 || p.Next != id(3) || len(p.Events) != 0 {
			t.Errorf("since %s: got %+v, want a reset for %s to 3", since, p, reason)
		}
		if p = h.poll("snapshot=1&since=" + since); p.Reset == nil || len(p.Events) != 2 {
			t.Errorf("since %s with a snapshot: got %+v, want reset and two states", since, p)
		}
	}
	p := h.poll("snapshot=1&entity_id=light.a")
	if len(p.Events) != 1 || !strings.Contains(string(p.Events[0]), `"old_state":null,"new_state":{"entity_id":"light.a","state":"2"`) || p.Next != id(3) {
		t.Errorf("got %+v, want the state of light.a as of 3", p)
	}
	if p = h.poll("snapshot=1&since=" + id(2)); len(p.Events) != 1 || p.Gap != nil {
		t.Errorf("a snapshot with an id that is known: got %+v, want what was missed", p)
	}
	first = 3
	h.server.recent.begin(3) // nothing in memory
	h.server.recent.events = nil
	if p = h.poll("since=" + id(0)); p.Gap == nil || p.Gap.From != 1 || p.Gap.To != 2 || p.Gap.Reason != "aged_out" || len(p.Events) != 1 || p.Next != id(3) {
		t.Errorf("got %+v, want the gap 1 to 2 and event 3", p)
	}
	if p = h.poll("snapshot=1&since=" + id(0)); p.Gap == nil || p.Gap.To != 3 || len(p.Events) != 2 || p.Next != id(3) {
		t.Errorf("got %+v, want the gap 1 to 3 and the snapshot", p)
	}
	if p = h.poll("since=" + id(2)); p.Gap != nil || len(p.Events) != 1 {
		t.Errorf("behind the gap: got %+v, want event 3", p)
	}
}

// A batch ends at 1 MiB, and the next one goes on behind it; more than memory
// keeps comes from the journal.
func TestPollIsBounded(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	const events = 3000
	pad := strings.Repeat("x", 1000)
	for n := 1; n <= events; n++ {
		h.fire("tick", fmt.Sprintf(`{"n":%d,"pad":%q}`, n, pad))
	}
	if _, _, kept := h.server.recent.behind(nil, 0); kept {
		t.Fatal("memory keeps all events, want the journal to be asked")
	}
	since, next, polls := id(0), 1, 0
	for ; next <= events; polls++ {
		got := h.ask("GET", "/api/events/poll?type=tick&since="+since, "")
		if len(got.body) > maxBatchBytes+1000 {
			t.Fatalf("got %d bytes, want %d at most", len(got.body), maxBatchBytes)
		}
		var p polled
		if err := json.Unmarshal([]byte(got.body), &p); err != nil || len(p.Events) == 0 {
			t.Fatalf("got %d events and %v, want some", len(p.Events), err)
		}
		for _, n := range p.numbers(t) {
			if n != next {
				t.Fatalf("got event %d, want %d", n, next)
			}
			next++
		}
		since = p.Next
	}
	if polls < 3 || polls > 8 {
		t.Errorf("got %d batches for 3.5 MB, want about 4", polls)
	}
}

// A client that goes from stream to poll and back, with several events
// between, while others write, gets everything once and in order.
func TestMovingBetweenStreamAndPoll(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	stop := make(chan struct{})
	var writing sync.WaitGroup
	for w := range 3 {
		writing.Go(func() {
			for n := 1; ; n++ {
				select {
				case <-stop:
					return
				case <-time.After(200 * time.Microsecond):
					h.fire(fmt.Sprintf("type%d", w), fmt.Sprintf(`{"n":%d}`, n))
				}
			}
		})
	}
	h.waitFor("events", func() bool { return h.runtime.Head() > 5 })
	var reading sync.WaitGroup
	for reader := range 4 {
		reading.Go(func() {
			m := mover{h: h, at: id(0), random: rand.New(rand.NewPCG(uint64(reader), 7))}
			for rounds, over := 0, time.Now().Add(patience); rounds < 12 || m.next[0] < 100; rounds++ {
				m.readStream()
				m.readPolls()
				if m.wrong != "" || time.Now().After(over) {
					t.Errorf("got %d events in %d rounds, want hundreds; %s", m.next[0], rounds, m.wrong)
					return
				}
			}
		})
	}
	reading.Wait()
	close(stop)
	writing.Wait()
}

// A mover is a client that checks what it reads in either way.
type mover struct {
	h      *home
	random *rand.Rand
	at     string
	next   [3]int // the number of the last event by type
	wrong  string
}

func (m *mover) take(text string) {
	var e struct {
		Type string `json:"event_type"`
		Data struct{ N int }
	}
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		m.wrong = fmt.Sprint(err, " in ", text)
		return
	}
	w := e.Type[len(e.Type)-1] - '0'
	if m.next[w]++; e.Data.N != m.next[w] && m.wrong == "" {
		m.wrong = fmt.Sprintf("at %s: got event %d of %s, want %d", m.at, e.Data.N, e.Type, m.next[w])
	}
}

func (m *mover) readStream() {
	stream := m.h.open("/api/stream?type=type*", "Last-Event-ID: "+m.at)
	for range 1 + m.random.IntN(40) {
		f := stream.next()
		if f.kind == sse.Message && f.data != "ping" {
			m.take(f.data)
		}
		if f.hasID {
			m.at = f.id
		}
	}
	stream.conn.Close()
}

func (m *mover) readPolls() {
	for range 1 + m.random.IntN(3) {
		p := m.h.poll(fmt.Sprintf("type=type*&wait=5&limit=%d&since=%s", 1+m.random.IntN(50), m.at))
		for _, text := range p.Events {
			m.take(string(text))
		}
		if p.Gap != nil || p.Reset != nil {
			m.wrong = fmt.Sprintf("got %+v", p)
		}
		m.at = p.Next
	}
}

func TestPollLimits(t *testing.T) {
	h := startHome(t, Settings{MaxPolls: 1}, nil)
	answered := make(chan struct{})
	go func() { h.poll("wait=60"); close(answered) }()
	h.waitFor("the poll to wait", func() bool { _, polls := h.server.places.now(); return polls == 1 })
	refused := h.ask("GET", "/api/events/poll?wait=1", "")
	refused.want(t, "one more", 429, "Too many polls")
	if refused.header.Get("Retry-After") == "" {
		t.Error("got no Retry-After")
	}
	h.poll("since=" + id(0)) // which does not wait
	h.ask("GET", "/metrics", "").want(t, "counted", 200, `carillon_http_refused_total{reason="too_many_polls"} 1`)
	h.ask("GET", "/metrics", "").want(t, "counted", 200, `carillon_polls_waiting 1`)
	h.fire("any", "{}")
	<-answered
	if _, polls := h.server.places.now(); polls != 0 {
		h.waitFor("the place to be free", func() bool { _, polls := h.server.places.now(); return polls == 0 })
	}
}
