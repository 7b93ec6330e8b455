package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A batch is the answer to a poll.
type batch struct {
	Events     []frame
	Next, Head string
	Gap, Reset any
}

func (in *instance) poll(parameters string) (b batch) {
	in.t.Helper()
	if err := json.Unmarshal([]byte(in.do("GET", "/api/events/poll?"+parameters, "")), &b); err != nil {
		in.t.Fatal(err)
	}
	return b
}

// TestPollOverRestart polls, goes on in a stream, and comes back to polling
// after the server was killed: nothing is lost, nothing comes twice.
func TestPollOverRestart(t *testing.T) {
	t.Parallel()
	home := newHome(t, nil)
	in := serve(t, home, "-listen", "127.0.0.1:0")
	next, fired := 0, 0
	fire := func(in *instance, n int) {
		for range n {
			in.do("POST", "/api/events/count", fmt.Sprintf(`{"n":%d}`, fired))
			fired++
		}
	}
	take := func(f frame) {
		t.Helper()
		if f.Data["n"] != float64(next) {
			t.Fatalf("got %v, want event %d", f.Data, next)
		}
		next++
	}
	at := in.poll("").Next
	fire(in, 5)
	b := in.poll("type=count&limit=3&since=" + at)
	for _, f := range b.Events {
		take(f)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	frames := in.stream(ctx, "/api/stream?type=count&since="+b.Next)
	fire(in, 5)
	for next < 8 {
		f := await(t, frames, fmt.Sprint("event ", next), func(f frame) bool { return f.Type == "count" })
		take(f)
		at = f.ID
	}
	cancel()
	fire(in, 5)
	in.signal(syscall.SIGKILL)
	again := serve(t, home, "-listen", "127.0.0.1:0")
	fire(again, 2)
	for next < fired {
		b = again.poll("type=count&wait=10&limit=4&since=" + at)
		if b.Gap != nil || b.Reset != nil || len(b.Events) == 0 {
			t.Fatalf("got %+v, want events", b)
		}
		for _, f := range b.Events {
			take(f)
		}
		at = b.Next
	}
}

// TestLiveStream changes, lists and ends a stream of the binary.
func TestLiveStream(t *testing.T) {
	t.Parallel()
	in := serve(t, newHome(t, map[string]string{"hall.js": "device('light.hall', {}).set('on');"}), "-listen", "127.0.0.1:0")
	eventually(t, "the script runs", func() bool { s, _ := in.request("GET", "/api/states/light.hall", ""); return s == 200 })
	in.do("POST", "/api/states/sensor.x", `{"state":"1"}`)
	frames := in.stream(t.Context(), "/api/stream?format=native&domain=light&leave=1&snapshot=1&slow=conflate")
	hello := await(t, frames, "the stream's id", func(f frame) bool { return f.Event == "stream" })
	var id struct{ ID string }
	if err := json.Unmarshal([]byte(hello.raw), &id); err != nil || id.ID == "" {
		t.Fatalf("got %s and %v, want the stream's id", hello.raw, err)
	}
	await(t, frames, "the snapshot", func(f frame) bool { return f.Event == "state_changed" && strings.Contains(f.raw, "light.hall") })
	in.do("POST", "/api/stream/"+id.ID, `{"domain":["sensor"]}`)
	await(t, frames, "the leave", func(f frame) bool { return f.Event == "leave" && f.raw == `{"entity_id":"light.hall"}` })
	await(t, frames, "the new one", func(f frame) bool { return f.Event == "state_changed" && strings.Contains(f.raw, `"old_state":null`) })
	in.do("POST", "/api/states/sensor.x", `{"state":"2"}`)
	f := await(t, frames, "a change", func(f frame) bool { return f.Event == "state_changed" })
	if !strings.Contains(f.raw, `"source":"api"`) || !strings.Contains(f.raw, `"id":"`+f.ID+`"`) {
		t.Errorf("got %s, want the envelope of event %s", f.raw, f.ID)
	}
	if list := in.do("GET", "/api/streams", ""); !strings.Contains(list, id.ID) || !strings.Contains(list, `"slow":"conflate"`) {
		t.Errorf("got %s, want the stream", list)
	}
	in.do("DELETE", "/api/stream/"+id.ID, "")
	for range frames { // until the end
	}
	if text := in.do("GET", "/api/events/poll?since=0&entity_id=light.hall&format=native", ""); !strings.Contains(text, `"source":"hall.js@1"`) {
		t.Errorf("got %s, want the generation hall.js@1", text)
	}
}

// TestLimitsReload lowers and raises limits by the configuration while streams
// are open.
func TestLimitsReload(t *testing.T) {
	t.Parallel()
	home := newHome(t, nil)
	in := serve(t, home, "-listen", "127.0.0.1:0")
	told := in.stream(t.Context(), "/api/stream?type=config_reloaded")
	await(t, told, "the first ping", func(f frame) bool { return f.raw == "ping" })
	configure := func(text string) {
		write(t, filepath.Join(home, configFile), text)
		f := await(t, told, "the new configuration", func(f frame) bool { return f.Type == "config_reloaded" })
		if restart := f.Data["needs_restart"]; restart != nil {
			t.Errorf("%s: got %v for the next start, want none", text, restart)
		}
	}
	refused := func(reason string) bool {
		resp, err := http.Get(in.url + "/api/stream?token=" + testToken)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		beginning := make([]byte, 4096)
		n, _ := io.ReadAtLeast(resp.Body, beginning, 20)
		return resp.StatusCode == 200 && strings.Contains(string(beginning[:n]), reason)
	}
	for _, c := range []struct{ text, reason string }{
		{"limits:\n  streams_per_credential: 1\n", "with this credential"},
		{"limits:\n  streams_per_address: 1\n", "from this address"},
		{"limits:\n  streams: 1\n", "Too many streams are open;"},
	} {
		configure(c.text)
		if !refused(c.reason) {
			t.Errorf("%s: a further stream is not refused for it", c.text)
		}
	}
	configure("stream: {slow: disconnect}\nlimits:\n  polls: 5\n")
	frames := in.stream(t.Context(), "/api/stream?format=native")
	await(t, frames, "the stream's id", func(f frame) bool { return f.Event == "stream" })
	if list := in.do("GET", "/api/streams", ""); !strings.Contains(list, `"slow":"disconnect"`) {
		t.Errorf("got %s, want the configured policy", list)
	}
	configure("limits:\n  connections_per_second: 1\n")
	eventually(t, "connections are too many", func() bool { return refused("Too many connections") })
	write(t, filepath.Join(home, configFile), "")
	await(t, told, "the last configuration", func(f frame) bool { return f.Type == "config_reloaded" })
	metrics := in.do("GET", "/metrics", "")
	for _, reason := range []string{"too_many_streams", "too_many_streams_of_address", "too_many_streams_of_credential", "connection_rate"} {
		if !strings.Contains(metrics, `carillon_http_refused_total{reason="`+reason+`"}`) {
			t.Errorf("/metrics does not count %s", reason)
		}
	}
}

// TestStreamsDrain ends a server with open streams: their ends are spread over
// server.drain, and who comes back to the next one has lost nothing.
func TestStreamsDrain(t *testing.T) {
	t.Parallel()
	home := newHome(t, nil)
	write(t, filepath.Join(home, configFile), "server:\n  drain: 1s\n")
	in := serve(t, home, "-listen", "127.0.0.1:0")
	address := strings.TrimPrefix(in.url, "http://")
	var ends [20]chan time.Duration
	began := make(chan time.Time, len(ends))
	for i := range ends {
		frames := in.stream(t.Context(), "/api/stream")
		await(t, frames, "the first ping", func(f frame) bool { return f.raw == "ping" })
		ends[i] = make(chan time.Duration, 1)
		go func() {
			for range frames {
			}
			ends[i] <- time.Since(<-began)
		}()
	}
	last := in.poll("").Next
	start := time.Now()
	for range ends {
		began <- start
	}
	if status := in.signal(syscall.SIGTERM); status != 0 {
		t.Errorf("got exit status %d, want 0", status)
	}
	early, late := 0, 0
	for i := range ends {
		switch at := <-ends[i]; {
		case at < 400*time.Millisecond:
			early++
		case at > 600*time.Millisecond:
			late++
		}
	}
	if early == 0 || late == 0 {
		t.Errorf("of 20 streams %d ended early and %d late, want them spread over a second", early, late)
	}
	again := serve(t, home, "-listen", address)
	again.do("POST", "/api/events/after", "")
	frames := again.stream(t.Context(), "/api/stream?type=after&since="+last)
	await(t, frames, "what came after", func(f frame) bool {
		if f.Event == "gap" || f.Event == "reset" {
			t.Errorf("got %s", f.raw)
		}
		return f.Type == "after"
	})
}

// TestShortOfDescriptors runs a server with few descriptors and more clients
// than it can hold: those that have a stream keep it, further ones are told to
// come back, and the server says so and is ready all the while.
func TestShortOfDescriptors(t *testing.T) {
	t.Parallel()
	const limit, clients = 160, 250
	shell := need(t, "sh")
	home := newHome(t, nil)
	in := start(t, home, exec.Command(shell, "-c", fmt.Sprintf(`ulimit -n %d && exec "$@"`, limit), "sh",
		os.Args[0], "serve", "-home", home, "-listen", "127.0.0.1:0"))
	address := strings.TrimPrefix(in.url, "http://")
	var streams []net.Conn
	refused := 0
	for range clients {
		conn, text := openRaw(t, address)
		if strings.Contains(text, "X-Stream-Id") {
			streams = append(streams, conn)
		} else if refused++; text != "" && !strings.Contains(text, "retry: ") {
			t.Fatalf("got %q, want to be told when to come back", text)
		}
	}
	if len(streams) < 60 || refused < clients-limit {
		t.Fatalf("%d of %d clients got a stream and %d none, with %d descriptors", len(streams), clients, refused, limit)
	}
	if status, text := in.request("GET", "/readyz", ""); status != 200 {
		t.Errorf("/readyz: got %d %s, want 200", status, text)
	}
	metrics := in.do("GET", "/metrics", "")
	if !strings.Contains(metrics, `carillon_http_refused_total{reason="no_descriptors"}`) {
		t.Error("/metrics does not count no_descriptors")
	}
	for range 200 { // which never ask for anything
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if n := strings.Count(in.log.String(), "short of file descriptors"); n != 1 {
		t.Errorf("got %d lines in the log, want 1", n)
	}
	streams[0].Close()
	eventually(t, "an event can be fired", func() bool { s, _ := in.tryRequest("POST", "/api/events/still"); return s == 200 })
	for i, conn := range streams[1:] {
		if !readsUntil(conn, `"event_type":"still"`) {
			t.Errorf("stream %d did not get the event", i+1)
		}
	}
}

// openRaw asks for a stream and returns the beginning of the answer, or nothing
// if the connection is closed.
func openRaw(t *testing.T, address string) (net.Conn, string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(conn, "GET /api/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", testToken)
	var text []byte
	buf := make([]byte, 1024)
	for !strings.Contains(string(text), "retry: ") {
		n, err := conn.Read(buf)
		text = append(text, buf[:n]...)
		if err != nil {
			break
		}
	}
	return conn, string(text)
}

func readsUntil(conn net.Conn, part string) bool {
	var text []byte
	buf := make([]byte, 4096)
	for !strings.Contains(string(text), part) {
		n, err := conn.Read(buf)
		text = append(text, buf[:n]...)
		if err != nil {
			return false
		}
	}
	return true
}

// tryRequest is request for a server that may close the connection.
func (in *instance) tryRequest(method, path string) (int, error) {
	req, err := http.NewRequest(method, in.url+path, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+testToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}
