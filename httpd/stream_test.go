package httpd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"carillon/internal/sse"
	"carillon/runtime"
)

func TestStreamPrologue(t *testing.T) {
	h := startHome(t, Settings{Retry: 3 * time.Second}, nil)
	seq := h.fire("before", "{}")
	stream := h.open("/api/stream")
	id := stream.id()
	want := "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache, no-transform\r\n" +
		"X-Accel-Buffering: no\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\nX-Stream-Id: " + id + "\r\n\r\n"
	if stream.head != want {
		t.Errorf("got head %q, want %q", stream.head, want)
	}
	if f := stream.next(); f.kind != sse.Comment || strings.TrimSpace(f.data) != "stream "+id || len(id) < 20 {
		t.Errorf("got %v first, want a comment with the stream's id %s", f, id)
	}
	if f := stream.next(); f.kind != sse.Retry || f.retry < 3*time.Second || f.retry > 6*time.Second {
		t.Errorf("got %v, want retry of 3 to 6 s", f)
	}
	if f := stream.next(); f.kind != sse.Message || f.data != "ping" || f.hasID || f.event != "" {
		t.Errorf("got %v, want an unnamed ping without id", f)
	}
	if f := stream.moved(); f.id != sse.FormatID(testEpoch, seq) {
		t.Errorf("got id %s, want the head %d", f.id, seq)
	}
	seq = h.fire("after", `{"n":1}`)
	f := stream.message()
	var event struct {
		Type   string `json:"event_type"`
		Data   map[string]int
		Origin string
	}
	if err := json.Unmarshal([]byte(f.data), &event); err != nil || event.Type != "after" || event.Data["n"] != 1 || event.Origin != "LOCAL" {
		t.Errorf("got %s and %v, want the event", f.data, err)
	}
	if f.id != sse.FormatID(testEpoch, seq) || f.event != "" {
		t.Errorf("got id %q, event %q, want id %d, no name", f.id, f.event, seq)
	}
}

func TestFlatStream(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	h.set("light.kitchen", "on", `{"brightness":255}`)
	h.set("light.hall", "off", `{}`)
	h.set("switch.kitchen", "off", `{}`)
	stream := h.openRequest("GET", "/subscribe_events?token="+testToken+"&type=state&domain=light,switch&entity_id=light.kitchen,switch.kitchen", "")
	var hello struct{ Type, Status, ID, Timestamp string }
	if err := json.Unmarshal([]byte(stream.message().data), &hello); err != nil ||
		hello.Type != "connection" || hello.Status != "connected" || hello.ID == "" || hello.Timestamp == "" {
		t.Errorf("got %+v and %v, want the connection message", hello, err)
	}
	for _, id := range []string{"light.kitchen", "switch.kitchen"} {
		if f := stream.message(); !strings.HasPrefix(f.data, `{"type":"state_changed","entity_id":"`+id+`","domain":"`) || f.hasID {
			t.Errorf("got %v, want the snapshot of %s without id", f, id)
		}
	}
	if f := stream.moved(); f.id != testEpoch+"-3" {
		t.Errorf("got id %q behind the snapshot, want %s-3", f.id, testEpoch)
	}
	h.set("light.hall", "on", `{}`)
	h.set("light.kitchen", "off", `{}`)
	if f := stream.message(); !strings.Contains(f.data, `"entity_id":"light.kitchen","domain":"light","state":"off","attributes":{}`) || f.id != testEpoch+"-5" {
		t.Errorf("got %v, want the change of light.kitchen with id 5", f)
	}
	stats := h.ask("GET", "/get_sse_stats", "")
	stats.want(t, "stats", 200, `"id":"`+hello.ID+`"`)
	stats.want(t, "stats", 200, `"entity:light.kitchen":1`)
	var told struct {
		Statistics struct{ ClientStats []clientStats }
	}
	if err := json.Unmarshal([]byte(stats.body), &told); err != nil || len(told.Statistics.ClientStats) != 1 {
		t.Fatalf("stats: got %v in %s, want one client", err, stats.body)
	}
	if c := told.Statistics.ClientStats[0]; c.LastActivity < c.ConnectedAt {
		t.Errorf("stats: got last active at %s, before it connected at %s", c.LastActivity, c.ConnectedAt)
	}
	h.ask("GET", "/api/events", "").want(t, "listeners", 200, `[{"event":"state_changed","listener_count":1}]`)
}

func TestFlatWithoutEntitiesHasNoSnapshot(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	h.set("light.kitchen", "on", `{}`)
	h.open("/subscribe_events?domain=light").moved()
	h.open("/subscribe_events?entity_id=light.kitchen&snapshot=0").moved()
}

func TestSelection(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	streams := map[string]*streamClient{
		"light.a light.b tick": h.open("/api/stream"),
		"light.a light.b":      h.open("/api/stream?entity_id=light.*"),
		"light.b":              h.open("/api/stream?entity_id=*.b,*.nobody&domain=light"),
		"tick":                 h.open("/api/stream?restrict=tick,tock"),
		"light.a":              h.openRequest("POST", "/api/stream", `{"entity_id":["light.a"],"type":"state"}`, "X-HA-Access: "+testToken, "Content-Type: application/json"),
		"light.a tick":         h.openRequest("POST", "/api/stream?type=tick", "events=state&entity_id=light.a,sensor.tick", "X-HA-Access: "+testToken),
	}
	for _, stream := range streams {
		stream.moved()
	}
	h.set("light.a", "on", `{}`)
	h.set("light.b", "on", `{}`)
	h.fire("tick", `{"entity_id":"sensor.tick"}`)
	for want, stream := range streams {
		var got []string
		for range strings.Fields(want) {
			switch data := stream.message().data; {
			case strings.Contains(data, `"event_type":"tick"`):
				got = append(got, "tick")
			default:
				var change struct {
					Data struct {
						EntityID string `json:"entity_id"`
					}
				}
				if err := json.Unmarshal([]byte(data), &change); err != nil {
					t.Fatal(err)
				}
				got = append(got, change.Data.EntityID)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("got %v, want %s", got, want)
		}
	}
}

// Every form of an id brings what was missed, once and in order, and what
// comes live behind it.
func TestResume(t *testing.T) {
	h := startHome(t, Settings{}, func(s *Server) {
		s.SeqAt = func(_ context.Context, at time.Time) (uint64, error) {
			if at.Year() == 2026 {
				return 3, nil
			}
			return 1000, nil
		}
	})
	for i := range 6 {
		h.fire("tick", fmt.Sprintf(`{"n":%d}`, i+1))
	}
	id := testEpoch + "-3"
	live := h.fire("tick", `{"n":7}`)
	for _, c := range []struct{ path, header string }{
		{"/api/stream", "Last-Event-ID: " + id},
		{"/api/stream?lastEventId=" + id, "X: y"},
		{"/api/stream?last_event_id=" + id, "X: y"},
		{"/api/stream?evs_last_event_id=" + id, "X: y"},
		{"/api/stream?since=" + id, "X: y"},
		{"/api/stream?since=2026-01-01T00:00:00Z", "X: y"},
		{"/api/stream?type=tick&snapshot=1", "last-event-id: " + id},
		{"/api/stream?lastEventId=" + testEpoch + "-6", "Last-Event-ID: " + id},
	} {
		stream := h.open(c.path, c.header)
		for seq := uint64(4); seq <= live; seq++ {
			if f := stream.message(); f.id != sse.FormatID(testEpoch, seq) || !strings.Contains(f.data, fmt.Sprintf(`"n":%d}`, seq)) {
				t.Fatalf("%s, %s: got %v, want event %d", c.path, c.header, f, seq)
			}
		}
	}
	stream := h.open("/api/stream?since=2031-01-01T00:00:00Z")
	h.fire("tick", `{"n":8}`)
	if f := stream.message(); !strings.Contains(f.data, `"n":8}`) {
		t.Errorf("since a time to come: got %v, want what happens now", f)
	}
}

func TestReset(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	h.set("light.a", "on", `{}`)
	for _, c := range []struct{ id, reason string }{
		{"anotherepoch-1", "epoch"},
		{"1234", "unknown_id"},
		{"{\"x\":1}", "unknown_id"},
		{testEpoch + "-99", "ahead"},
	} {
		stream := h.open("/api/stream?snapshot=1", "Last-Event-ID: "+c.id)
		f := stream.message()
		if want := `{"epoch":"` + testEpoch + `","head":1,"reason":"` + c.reason + `"}`; f.event != "reset" || f.data != want || f.hasID {
			t.Errorf("%s: got %v, want reset %s", c.id, f, want)
		}
		if f := stream.message(); !strings.Contains(f.data, `"entity_id":"light.a","old_state":null,"new_state":{`) {
			t.Errorf("%s: got %v, want the snapshot", c.id, f)
		}
		if f := stream.moved(); f.id != testEpoch+"-1" {
			t.Errorf("%s: got id %s, want %s-1", c.id, f.id, testEpoch)
		}
	}
}

// A snapshot that was asked for stands in for what the journal has lost.
func TestSnapshotInsteadOfLostEvents(t *testing.T) {
	h := startHome(t, Settings{}, func(s *Server) { s.First = func() uint64 { return 3 } })
	for i := range 4 {
		h.set("light.a", fmt.Sprint(i), `{}`)
	}
	stream := h.open("/api/stream?snapshot=1", "Last-Event-ID: "+testEpoch+"-1")
	if f := stream.message(); f.event != "gap" || f.data != `{"from":2,"to":4,"reason":"aged_out"}` {
		t.Errorf("got %v, want the gap 2 to 4", f)
	}
	if f := stream.message(); !strings.Contains(f.data, `"state":"3"`) || f.hasID {
		t.Errorf("got %v, want the snapshot", f)
	}
	if f := stream.moved(); f.id != testEpoch+"-4" {
		t.Errorf("got id %s, want %s-4", f.id, testEpoch)
	}
	if f := h.open("/api/stream?snapshot=1", "Last-Event-ID: "+testEpoch+"-2").message(); f.id != testEpoch+"-3" {
		t.Errorf("behind an event that is still there: got %v, want event 3", f)
	}
}

// While many writers are at work, a snapshot and what follows it add up to
// exactly what happened: no change is missing, none comes twice.
func TestSnapshotIsCutExactly(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	const entities, readers = 4, 30
	var writing, reading sync.WaitGroup
	opened := make(chan struct{})
	for e := range entities {
		writing.Go(func() { count(t, h.runtime, fmt.Sprintf("sensor.e%d", e), time.Millisecond, opened) })
	}
	h.waitFor("changes", func() bool { return h.runtime.Head() > 10 })
	for range readers {
		stream := h.open("/api/stream?snapshot=1&entity_id=sensor.*")
		reading.Go(func() { checkContinuous(t, stream, entities) })
	}
	close(opened)
	writing.Wait()
	reading.Wait()
}

// count sets an entity to 1, 2, 3 and so on, and to "end" when stop is closed.
func count(t *testing.T, r *runtime.Runtime, id string, pause time.Duration, stop <-chan struct{}) {
	for n := 1; ; n++ {
		if pause > 0 {
			<-time.After(pause)
		}
		change := runtime.Change{EntityID: id, State: fmt.Sprint(n)}
		select {
		case <-stop:
			change.State = "end"
		default:
		}
		if _, err := r.Set(t.Context(), change); err != nil {
			t.Error(err)
			return
		}
		if change.State == "end" {
			return
		}
	}
}

// checkContinuous reads until each entity has come to its end.
func checkContinuous(t *testing.T, stream *streamClient, entities int) {
	last := map[string]int{}
	cut := false
	for ended := 0; ended < entities; {
		var f frame
		select {
		case f = <-stream.frames:
		case <-time.After(patience):
			t.Errorf("the stream brought only %v", last)
			return
		}
		cut = cut || f.kind == sse.Moved
		if f.kind != sse.Message || f.data == "ping" {
			continue
		}
		var event struct {
			Data struct {
				New *runtime.State `json:"new_state"`
			} `json:"data"`
		}
		if err := json.Unmarshal([]byte(f.data), &event); err != nil {
			t.Error(err)
			return
		}
		id := event.Data.New.EntityID
		if event.Data.New.State == "end" {
			ended++
			continue
		}
		n, err := strconv.Atoi(event.Data.New.State)
		if err != nil || cut && n != last[id]+1 {
			t.Errorf("%s: got %s behind %d", id, event.Data.New.State, last[id])
			return
		}
		last[id] = n
	}
}

// The states in a prologue are those of the event whose id it gives, however
// fast they change meanwhile.
func TestPrologueIsCutExactly(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	var writing sync.WaitGroup
	done := make(chan struct{})
	for e := range 3 {
		writing.Go(func() { count(t, h.runtime, fmt.Sprintf("sensor.e%d", e), 0, done) })
	}
	type cut struct {
		seq    uint64
		states map[string]string
	}
	var cuts []cut
	for range 8000 {
		o := &opening{query: query{format: formatFlat, snapshot: true}}
		b, seq, _, err := h.server.prologue(o)
		if err != nil {
			t.Fatal(err)
		}
		c := cut{seq, map[string]string{}}
		reader := sse.Reader{On: func(f sse.Frame) {
			var m struct {
				Type, State string
				EntityID    string `json:"entity_id"`
			}
			if f.Kind == sse.Message && json.Unmarshal(f.Data, &m) == nil && m.Type == runtime.StateChanged {
				c.states[m.EntityID] = m.State
			}
		}}
		if _, err := reader.Write(b[bytes.Index(b, []byte("\r\n\r\n"))+4:]); err != nil {
			t.Fatal(err)
		}
		cuts = append(cuts, c)
	}
	close(done)
	writing.Wait()
	states, next := map[string]string{}, 0
	check := func(before uint64) {
		for ; next < len(cuts) && cuts[next].seq < before; next++ {
			if !maps.Equal(cuts[next].states, states) {
				t.Fatalf("at %d: got %v, want %v", cuts[next].seq, cuts[next].states, states)
			}
		}
	}
	err := h.server.Replay(t.Context(), 0, func(e *runtime.Event) bool {
		check(e.Seq)
		states[e.EntityID] = e.New().State
		return true
	})
	if check(h.runtime.Head() + 1); err != nil || next != len(cuts) {
		t.Errorf("compared %d of %d prologues: %v", next, len(cuts), err)
	}
}

func TestPaddingAndMaxAge(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	stream := h.open("/api/stream?padding=true&max_age=1")
	padded := false
	for _, f := range stream.ends() {
		padded = padded || f.kind == sse.Comment && len(f.data) >= 2047
	}
	if !padded {
		t.Error("got no comment of 2 KiB, want one")
	}
	h.server.SetSettings(Settings{MaxAge: time.Second})
	h.open("/api/stream").ends()
}

func TestStreamParametersRefused(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	h.ask("GET", "/api/stream?max_age=soon", "").want(t, "max_age", 400, "max_age must be")
	h.ask("POST", "/api/stream", "{").want(t, "body", 400, "line 1, byte 1")
	h.ask("GET", "/api/stream?since=2026-01-01T00:00:00Z", "").want(t, "since a time", 400, "takes no times")
	h.ask("PUT", "/api/stream", "").want(t, "PUT", 405, "GET, HEAD, POST, OPTIONS")
	head := h.ask("HEAD", "/api/stream", "")
	if got := head.header.Get("Content-Type"); head.status != 200 || got != "text/event-stream" {
		t.Errorf("HEAD: got %d %s, want 200 text/event-stream", head.status, got)
	}
}

func TestStreamLimits(t *testing.T) {
	h := startHome(t, Settings{MaxStreams: 2}, nil)
	first := h.open("/api/stream")
	first.moved()
	h.open("/api/stream").moved()
	for _, path := range []string{"/api/stream", "/subscribe_events"} {
		frames := h.open(path).ends()
		if len(frames) < 2 || frames[0].kind != sse.Retry || !strings.Contains(frames[1].data, "Too many streams") {
			t.Errorf("%s over the limit: got %v, want retry and the reason", path, frames)
		}
		if path == "/subscribe_events" && (len(frames) != 3 || !strings.HasPrefix(frames[2].data, `{"type":"error","message":"Too many`)) {
			t.Errorf("%s over the limit: got %v, want an error message", path, frames)
		}
	}
	h.ask("GET", "/metrics", "").want(t, "counted", 200, `carillon_http_refused_total{reason="too_many_streams"} 2`)
	first.conn.Close()
	h.waitFor("the place to be free", func() bool {
		streams, _ := h.server.places.now()
		return streams == 1
	})
	h.open("/api/stream").moved()
	h.server.SetSettings(Settings{MaxStreamsPerAddress: 2})
	h.open("/api/stream").ends()
}

// While the server stops, streams end on a frame boundary, new ones are told to
// come back, and other requests get 503.
func TestShutdown(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	stream := h.open("/api/stream")
	stream.moved()
	h.fire("last", "{}")
	h.server.stopping.Store(true)
	h.ask("GET", "/api/", "").want(t, "stopping", 503, "stopping")
	h.askBare("GET", "/readyz", "").want(t, "stopping", 503, "stopping")
	h.askBare("GET", "/healthz", "").want(t, "stopping", 200, "ok")
	if frames := h.open("/api/stream").ends(); len(frames) != 2 || frames[0].retry < 5*time.Second {
		t.Errorf("a new stream: got %v, want retry of at least 5 s and a comment", frames)
	}
	h.stop()
	if frames := stream.ends(); len(frames) == 0 || !strings.Contains(frames[len(frames)-1].data, `"event_type":"last"`) {
		t.Errorf("the open stream: got %v, want the last event, whole", frames)
	}
}

// A snapshot that is too long for the hub is written before it gets the stream.
func TestLongSnapshot(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	long, err := json.Marshal(map[string]string{"text": strings.Repeat("x", 2000)})
	if err != nil {
		t.Fatal(err)
	}
	changes := make([]runtime.Change, 200)
	for i := range changes {
		changes[i] = runtime.Change{EntityID: fmt.Sprintf("sensor.e%d", i), State: "on", Attributes: long}
	}
	if _, err := h.runtime.Set(t.Context(), changes...); err != nil {
		t.Fatal(err)
	}
	stream := h.open("/api/stream?snapshot=1")
	for range changes {
		if f := stream.message(); !strings.Contains(f.data, `"old_state":null`) {
			t.Fatalf("got %v, want a state", f)
		}
	}
	stream.moved()
	seq := h.fire("after", "{}")
	if f := stream.message(); f.id != sse.FormatID(testEpoch, seq) {
		t.Errorf("got %v, want event %d", f, seq)
	}
	if n := len(h.server.openings.quick); n != 0 {
		t.Errorf("got %d snapshots under way, want none", n)
	}
}

func TestFirstEventOfAnEmptyHome(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	stream := h.open("/api/stream?type=" + url.QueryEscape("*"))
	if f := stream.moved(); f.id != testEpoch+"-0" {
		t.Errorf("got id %s, want %s-0", f.id, testEpoch)
	}
	h.fire("first", "{}")
	if f := stream.message(); f.id != testEpoch+"-1" {
		t.Errorf("got %v, want event 1", f)
	}
}
