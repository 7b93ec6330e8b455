package httpd

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"carillon/internal/sse"
)

// Streams and waiting polls share the bounds of a credential and of an address.
func TestPlacesOfCredential(t *testing.T) {
	h := startHome(t, Settings{MaxStreamsPerCredential: 2, JWTKeys: []JWTKey{mustKey(t, "HS256", testSecret)}}, nil)
	ann := "Authorization: Bearer " + signed(t, "ann")
	first := h.openRequest("GET", "/api/stream", "", ann)
	first.moved()
	done := make(chan answer, 1)
	go func() { done <- h.askBare("GET", "/api/events/poll?wait=60", "", ann) }()
	h.waitFor("the poll to wait", func() bool { _, polls := h.server.places.now(); return polls == 1 })
	frames := h.openRequest("GET", "/api/stream", "", ann).ends()
	if len(frames) != 2 || frames[0].kind != sse.Retry || !strings.Contains(frames[1].data, "with this credential") {
		t.Errorf("one more stream: got %v, want retry and the reason", frames)
	}
	h.askBare("GET", "/api/events/poll?wait=1", "", ann).want(t, "one more poll", 429, "with this credential")
	h.openRequest("GET", "/api/stream", "", "Authorization: Bearer "+signed(t, "bob")).moved()
	h.open("/api/stream").moved()
	h.ask("GET", "/metrics", "").want(t, "counted", 200, `carillon_http_refused_total{reason="too_many_streams_of_credential"} 2`)
	h.server.SetSettings(Settings{MaxStreamsPerAddress: 4, JWTKeys: []JWTKey{mustKey(t, "HS256", testSecret)}})
	if frames := h.open("/api/stream").ends(); !strings.Contains(frames[1].data, "from this address") {
		t.Errorf("one more of the address: got %v, want the reason", frames)
	}
	first.conn.Close()
	h.waitFor("the place to be free", func() bool { streams, _ := h.server.places.now(); return streams == 2 })
	h.openRequest("GET", "/api/stream", "", ann).moved()
	h.fire("any", "{}")
	(<-done).want(t, "the poll", 200, `"event_type":"any"`)
	h.stop()
	h.waitFor("all to be gone", func() bool {
		h.server.places.mu.Lock()
		defer h.server.places.mu.Unlock()
		return h.server.places.streams+h.server.places.polls+len(h.server.places.byAddress)+len(h.server.places.byCredential) == 0
	})
}

// With Drain the ends of the streams are spread over its time, each on a frame
// boundary, and those that are left go on until theirs.
func TestDrain(t *testing.T) {
	const over = 600 * time.Millisecond
	h := startHome(t, Settings{Drain: over}, nil)
	var streams []*streamClient
	for range 30 {
		stream := h.open("/api/stream")
		stream.moved()
		streams = append(streams, stream)
	}
	ended := make(chan time.Duration, len(streams))
	began := time.Now()
	for _, stream := range streams {
		go func() {
			for range stream.frames {
			}
			ended <- time.Since(began)
		}()
	}
	go h.stop()
	h.waitFor("the end to begin", h.server.stopping.Load)
	if frames := h.open("/api/stream").ends(); len(frames) == 0 || frames[0].kind != sse.Retry {
		t.Errorf("a new stream: got %v, want to be told to come back", frames)
	}
	var times []time.Duration
	for range streams {
		select {
		case at := <-ended:
			times = append(times, at)
		case <-time.After(patience):
			t.Fatalf("only %d streams ended", len(times))
		}
	}
	h.stop()
	slices.Sort(times)
	if first, last := times[2], times[len(times)-1]; first > over/2 || last < over*2/3 {
		t.Errorf("the streams ended after %v, want them spread over %v", fmt.Sprint(times), over)
	}
}
