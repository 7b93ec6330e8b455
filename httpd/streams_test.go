package httpd

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"carillon/internal/sse"
	"carillon/runtime"
)

// A changed answer is what POST /api/stream/<id> tells.
type changed struct {
	ID, At        string
	Entered, Left int
}

func (h *home) reselect(id, parameters string) changed {
	h.t.Helper()
	got := h.ask("POST", "/api/stream/"+id, parameters, "Content-Type: application/x-www-form-urlencoded")
	got.want(h.t, "changing "+id+" to "+parameters, 200, id)
	var c changed
	if err := json.Unmarshal([]byte(got.body), &c); err != nil {
		h.t.Fatal(err)
	}
	return c
}

// entityOf returns the entity of a message in format ha, and its new state.
func entityOf(t *testing.T, f frame) (id, state string) {
	t.Helper()
	var e struct {
		Data struct {
			EntityID string         `json:"entity_id"`
			New      *runtime.State `json:"new_state"`
		}
	}
	if err := json.Unmarshal([]byte(f.data), &e); err != nil {
		t.Fatalf("%v in %v", err, f)
	}
	if e.Data.New != nil {
		state = e.Data.New.State
	}
	return e.Data.EntityID, state
}

func TestReselect(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	for _, name := range []string{"light.a", "light.b", "sensor.c"} {
		h.set(name, "on", "{}")
	}
	stream := h.open("/api/stream?domain=light&leave=1")
	stream.moved()
	c := h.reselect(stream.id(), "entity_id=light.a,sensor.*")
	if c.At != id(3) || c.Entered != 1 || c.Left != 1 || c.ID != stream.id() {
		t.Errorf("got %+v, want one entity come and one gone at 3", c)
	}
	if f := stream.message(); f.event != "leave" || f.data != `{"entity_id":"light.b"}` || f.hasID {
		t.Errorf("got %v, want light.b to leave", f)
	}
	f := stream.message()
	if name, state := entityOf(t, f); name != "sensor.c" || state != "on" || f.hasID || !strings.Contains(f.data, `"old_state":null`) {
		t.Errorf("got %v, want the snapshot of sensor.c", f)
	}
	if f := stream.moved(); f.id != id(3) {
		t.Errorf("got id %s, want 3", f.id)
	}
	h.set("light.b", "off", "{}")
	h.set("sensor.c", "off", "{}")
	if name, state := entityOf(t, stream.message()); name != "sensor.c" || state != "off" {
		t.Errorf("got %s %s, want the change of sensor.c only", name, state)
	}
	c = h.reselect(stream.id(), `{"snapshot":0,"leave":"no"}`)
	if f := stream.moved(); f.id != id(5) || c.Entered != 0 || c.Left != 0 {
		t.Errorf("without snapshot and leave: got %v and %+v, want only id 5", f, c)
	}
	h.set("light.b", "on", "{}")
	if name, _ := entityOf(t, stream.message()); name != "light.b" {
		t.Errorf("got %s, want light.b again", name)
	}
}

func TestReselectRefuses(t *testing.T) {
	h := startHome(t, Settings{MaxNames: 3}, nil)
	stream := h.open("/api/stream")
	stream.moved()
	path := "/api/streams/" + stream.id()
	for body, part := range map[string]string{
		"entity_id=Light":          "is no entity id",
		"domain=a,b,c,d":           "too many names",
		"format=flat":              "format can't be changed",
		"slow=conflate":            "slow can't be changed",
		"leave=perhaps":            "leave must be 1 or 0",
		`{"type":`:                 "line 1",
		"snapshot=2&entity_id=a.b": "snapshot must be",
	} {
		h.ask("POST", path, body).want(t, body, 400, part)
	}
	for _, method := range []string{"GET", "POST", "DELETE"} {
		h.ask(method, "/api/stream/nobody", "").want(t, method+" of no stream", 404, "no such stream")
		h.askBare(method, path, "").want(t, method+" without a credential", 401, "no credential")
	}
	h.ask("PUT", path, "").want(t, "PUT", 405, "DELETE, OPTIONS")
	h.ask("GET", "/api/stream/"+stream.id(), "").want(t, "afterwards", 200, `"selection":{}`)
}

// While others write, a stream whose selection changes again and again gets
// every change of what is selected, once and in order.
func TestReselectUnderLoad(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	const entities = 4
	var writing sync.WaitGroup
	stop := make(chan struct{})
	for e := range entities {
		writing.Go(func() { count(t, h.runtime, fmt.Sprintf("sensor.e%d", e), 300*time.Microsecond, stop) })
	}
	h.waitFor("entities", func() bool { return len(h.runtime.States()) == entities })
	var reading sync.WaitGroup
	for reader := range 4 {
		stream := h.open("/api/stream?snapshot=1&leave=1&entity_id=sensor.e0")
		reading.Go(func() { checkSelected(t, stream, entities) })
		for round := range 40 {
			<-time.After(time.Millisecond)
			h.reselect(stream.id(), fmt.Sprintf("entity_id=sensor.e%d,sensor.e%d", (reader+round)%entities, round%3))
		}
		h.reselect(stream.id(), "entity_id=sensor.*")
	}
	close(stop)
	writing.Wait()
	reading.Wait()
}

// checkSelected reads until each entity has come to its end, and holds the
// messages against what was selected: an entity comes in with a snapshot, goes
// on by one, and goes out with a leave.
func checkSelected(t *testing.T, stream *streamClient, entities int) {
	last := map[string]int{}
	for ended := 0; ended < entities; {
		var f frame
		select {
		case f = <-stream.frames:
		case <-time.After(patience):
			t.Errorf("the stream brought only %v", last)
			return
		}
		if f.kind != sse.Message || f.data == "ping" {
			continue
		}
		name, state := entityOf(t, frame{data: f.data})
		if f.event == "leave" {
			name = f.data[len(`{"entity_id":"`) : len(f.data)-2]
			if _, in := last[name]; !in {
				t.Errorf("%s leaves, but was not there", name)
			}
			delete(last, name)
			continue
		}
		if state == "end" {
			ended++
			continue
		}
		n := 0
		fmt.Sscan(state, &n)
		before, in := last[name]
		if appears := strings.Contains(f.data, `"old_state":null`); in == appears && n != 1 || in && n != before+1 {
			t.Errorf("%s: got %d behind %d, in the selection before: %v, as a snapshot: %v", name, n, before, in, appears)
			return
		}
		last[name] = n
	}
}

func TestLeaveAndGapsAsData(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	h.set("light.a", "on", "{}")
	for format, want := range map[string]string{
		"ha":     `{"event_type":"%s","data":%s}`,
		"flat":   `{"type":"%s","data":%s}`,
		"native": `{"type":"%s","data":%s}`,
	} {
		stream := h.open("/api/stream?gaps=data&snapshot=0&leave=1&entity_id=light.a&format="+format, "Last-Event-ID: other-1")
		next := func() frame {
			for {
				if f := stream.message(); f.event != greetingEvent && !strings.Contains(f.data, `"connection"`) {
					return f
				}
			}
		}
		reset := `{"epoch":"` + testEpoch + `","head":1,"reason":"epoch"}`
		if f := next(); f.data != fmt.Sprintf(want, "reset", reset) || f.event != "" || f.hasID {
			t.Errorf("%s: got %v, want the reset as data", format, f)
		}
		if f := next(); f.data != reset || f.event != "reset" {
			t.Errorf("%s: got %v, want the reset as an event", format, f)
		}
		stream.moved()
		h.reselect(stream.id(), "entity_id=light.b")
		if f := next(); f.data != fmt.Sprintf(want, "leave", `{"entity_id":"light.a"}`) || f.event != "" || f.hasID {
			t.Errorf("%s: got %v, want the leave as data", format, f)
		}
		if f := next(); f.data != `{"entity_id":"light.a"}` || f.event != "leave" {
			t.Errorf("%s: got %v, want the leave as an event", format, f)
		}
	}
}

func TestStreamsList(t *testing.T) {
	h := startHome(t, Settings{Slow: "conflate"}, nil)
	first := h.open("/api/stream?entity_id=light.*&domain=light&leave=1")
	first.moved()
	h.set("light.a", "on", "{}")
	first.message()
	second := h.open("/subscribe_events?slow=disconnect&gaps=data&type=bell&format=native")
	second.moved()
	var list []map[string]any
	read := func() {
		t.Helper()
		if err := json.Unmarshal([]byte(h.ask("GET", "/api/streams", "").body), &list); err != nil || len(list) != 2 {
			t.Fatalf("got %v and %v, want two streams", list, err)
		}
	}
	h.waitFor("what was sent to be counted", func() bool { read(); return list[0]["events"] == 1.0 })
	want := map[string]any{
		"id": first.id(), "credential": "administrator", "remote": "127.0.0.1", "format": "ha", "slow": "conflate", "gaps": "event",
		"leave": true, "position": id(1), "events": 1.0, "state": "live",
	}
	for key, value := range want {
		if list[0][key] != value {
			t.Errorf("%s: got %v, want %v", key, list[0][key], value)
		}
	}
	if got := fmt.Sprint(list[0]["selection"]); got != "map[domain:[light] entity_id:[light.*]]" {
		t.Errorf("got selection %s", got)
	}
	if n := list[0]["bytes"].(float64); n < 500 {
		t.Errorf("got %v bytes, want those of prologue and event", n)
	}
	lag := list[0]["lag"].(map[string]any)
	if _, err := time.Parse(time.RFC3339, list[0]["since"].(string)); err != nil || lag["events"] != 0.0 || lag["bytes"] != 0.0 || lag["kernel_bytes"] == nil {
		t.Errorf("got since %v, lag %v", list[0]["since"], lag)
	}
	if list[1]["slow"] != "disconnect" || list[1]["gaps"] != "data" || list[1]["leave"] != false || list[1]["format"] != "native" {
		t.Errorf("got %v, want what the second stream asked for", list[1])
	}
	h.ask("GET", "/api/stream/"+second.id(), "").want(t, "one stream", 200, `{"id":"`+second.id()+`","credential":"administrator"`)
}

func TestDeleteStream(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	stream, other := h.open("/api/stream"), h.open("/api/stream")
	stream.moved()
	other.moved()
	h.fire("last", "{}")
	stream.message()
	h.ask("DELETE", "/api/streams/"+stream.id(), "").want(t, "ending", 200, "Stream ended.")
	stream.ends()
	h.waitFor("the stream to be gone", func() bool { return h.ask("GET", "/api/stream/"+stream.id(), "").status == 404 })
	h.waitFor("the end to be counted", func() bool {
		return strings.Contains(h.ask("GET", "/metrics", "").body, `carillon_stream_closed_total{reason="ended"} 1`)
	})
	seq := h.fire("after", "{}")
	for f := other.message(); f.id != id(seq); f = other.message() {
		if f.id != id(1) {
			t.Errorf("the other stream: got %v, want both events", f)
		}
	}
}

// A subject may see, change and end its own streams, the administrator all.
func TestStreamsBelongToSubjects(t *testing.T) {
	h := startHome(t, Settings{JWTKeys: []JWTKey{mustKey(t, "HS256", testSecret)}}, nil)
	token := func(subject string) string { return "Authorization: Bearer " + signed(t, subject) }
	ann, bob := h.openRequest("GET", "/api/stream", "", token("ann")), h.openRequest("GET", "/api/stream", "", token("bob"))
	nobody, admin := h.openRequest("GET", "/api/stream", "", token("")), h.open("/api/stream")
	for _, stream := range []*streamClient{ann, bob, nobody, admin} {
		stream.moved()
	}
	for who, want := range map[string][]string{
		token("ann"):                         {ann.id()},
		token("administrator"):               nil,
		token(""):                            nil,
		"Authorization: Bearer " + testToken: {ann.id(), bob.id(), nobody.id(), admin.id()},
	} {
		var list []struct{ ID string }
		if err := json.Unmarshal([]byte(h.askBare("GET", "/api/streams", "", who).body), &list); err != nil {
			t.Fatal(err)
		}
		for _, stream := range []*streamClient{ann, bob, nobody, admin} {
			in := slices.ContainsFunc(list, func(one struct{ ID string }) bool { return one.ID == stream.id() })
			if mine := slices.Contains(want, stream.id()); in != mine {
				t.Errorf("%.60s: got %s in the list: %v, want %v", who, stream.id(), in, mine)
			}
			status := 403
			if slices.Contains(want, stream.id()) {
				status = 200
			}
			h.askBare("GET", "/api/stream/"+stream.id(), "", who).want(t, "GET", status, "")
			h.askBare("POST", "/api/stream/"+stream.id(), "type=x", who).want(t, "POST", status, "")
			if status == 403 {
				h.askBare("DELETE", "/api/stream/"+stream.id(), "", who).want(t, "DELETE", 403, "another credential")
			}
		}
	}
	h.askBare("DELETE", "/api/stream/"+ann.id(), "", token("ann")).want(t, "her own", 200, "")
	ann.ends()
}

const testSecret = "a secret of thirty-two characters or more"

func mustKey(t *testing.T, algorithm, text string) JWTKey {
	t.Helper()
	key, err := ParseJWTKey(algorithm, "", text)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// signed returns a token of a subject, which may be empty, signed with
// testSecret.
func signed(t *testing.T, subject string) string {
	t.Helper()
	claims := jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix()}
	if subject != "" {
		claims["sub"] = subject
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(testSecret))
	if err != nil {
		t.Fatal(err)
	}
	return text
}
