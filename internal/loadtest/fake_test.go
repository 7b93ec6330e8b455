package loadtest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carillon/internal/sse"
)

// fake is a small event server with faults on demand. As it is, it is right:
// it keeps all events and resumes by Last-Event-ID.
type fake struct {
	// Static once serving.
	chunked bool
	noIDs   bool // nothing to resume by
	// mangle returns what stream i gets instead of the frame of event seq,
	// written piece by piece; a nil piece breaks the connection.
	mangle func(i int, seq uint64, frame []byte) [][]byte
	// post is called with the sequence before events are stored. It may
	// block, answer by itself (true), or panic.
	post func(w http.ResponseWriter, seq uint64) (answered bool)
	// stored is called once they are.
	stored func(seq uint64)
	// passes returns whether stream i with the filter gets the event seq,
	// if that is not to be by its keys (nil).
	passes func(i int, filter string, seq uint64) bool
	// asked is called with the query of each stream. May be nil.
	asked func(query string)

	server *httptest.Server

	mu      sync.Mutex
	events  [][]byte // frames; event seq is at seq-1
	keys    []int64  // what filters select by, of each
	more    chan struct{}
	streams int
}

func startFake(t *testing.T, f *fake) *fake {
	t.Helper()
	f.more = make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/events", f.takeEvents)
	mux.HandleFunc("GET /api/stream", f.stream)
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		fmt.Fprintf(w, "go_memstats_heap_inuse_bytes %d\ngo_memstats_stack_inuse_bytes 1000\n", 1e6+1e3*f.streams)
	})
	f.server = httptest.NewUnstartedServer(mux)
	f.server.Config.ErrorLog = nil
	f.server.Start()
	t.Cleanup(func() {
		f.server.CloseClientConnections()
		f.server.Close()
	})
	return f
}

func (f *fake) takeEvents(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer secret" {
		http.Error(w, `{"message":"no"}`, http.StatusUnauthorized)
		return
	}
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, 1<<20)
	var payloads []json.RawMessage
	for lines.Scan() {
		var ev struct {
			EventType string          `json:"event_type"`
			Data      json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(lines.Bytes(), &ev); err != nil || ev.EventType != EventType {
			http.Error(w, "bad line", http.StatusBadRequest)
			return
		}
		payloads = append(payloads, []byte(fmt.Sprintf(`{"event_type":%q,"data":%s,"origin":"REMOTE"}`, ev.EventType, ev.Data)))
	}
	f.mu.Lock()
	seq := uint64(len(f.events) + 1)
	f.mu.Unlock()
	if f.post != nil && f.post(w, seq) {
		return
	}
	f.mu.Lock()
	for _, p := range payloads {
		m, _ := parseMark(p)
		f.keys = append(f.keys, m.K)
		frame := sse.AppendSeqEvent(nil, "abcdefgh", uint64(len(f.events)+1), "", p)
		if f.noIDs {
			frame = sse.AppendEvent(nil, "", "", p)
		}
		f.events = append(f.events, frame)
	}
	close(f.more)
	f.more = make(chan struct{})
	seq = uint64(len(f.events))
	f.mu.Unlock()
	if f.stored != nil {
		f.stored(seq)
	}
	fmt.Fprintln(w, `{"message":"fired"}`)
}

func (f *fake) stream(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer secret" {
		http.Error(w, `{"message":"no"}`, http.StatusUnauthorized)
		return
	}
	if f.asked != nil {
		f.asked(r.URL.RawQuery)
	}
	f.mu.Lock()
	i, at := f.streams, uint64(len(f.events))
	f.streams++
	f.mu.Unlock()
	if _, seq, ok := sse.ParseID(r.Header.Get("Last-Event-ID")); ok {
		at = seq
	}
	w.Header().Set("Content-Type", "text/event-stream")
	if !f.chunked {
		w.Header().Set("Transfer-Encoding", "identity")
	}
	filter := r.URL.Query().Get("filter")
	out := http.NewResponseController(w)
	hello := sse.AppendRetry(sse.AppendComment(nil, fmt.Sprint("stream ", i)), time.Second)
	if !f.noIDs {
		hello = sse.AppendID(hello, sse.FormatID("abcdefgh", at))
	}
	w.Write(hello)
	out.Flush()
	for {
		f.mu.Lock()
		frames, keys, more := f.events[at:], f.keys[at:], f.more
		f.mu.Unlock()
		for n, frame := range frames {
			at++
			if !f.passing(i, filter, keys[n], at) {
				continue
			}
			pieces := [][]byte{frame}
			if f.mangle != nil {
				pieces = f.mangle(i, at, frame)
			}
			for _, p := range pieces {
				if p == nil {
					panic(http.ErrAbortHandler)
				}
				w.Write(p)
				out.Flush()
			}
		}
		select {
		case <-more:
		case <-r.Context().Done():
			return
		}
	}
}

// passing reports whether stream i with the filter, empty for none, gets the
// event at seq with the key.
func (f *fake) passing(i int, filter string, key int64, seq uint64) bool {
	switch {
	case filter == "":
		return true
	case f.passes != nil:
		return f.passes(i, filter, seq)
	}
	return slices.Contains(keysOf(filter), key)
}

// options are for a short test of f.
func (f *fake) options(t *testing.T) Options {
	t.Helper()
	u, err := url.Parse(f.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Target: u.JoinPath("/api/stream"), Post: u.JoinPath("/api/events"), Token: "secret",
		Streams: 20, Rate: 200, Size: 200, Duration: 500 * time.Millisecond, Tick: 5 * time.Millisecond,
		Drain: 10 * time.Second, Settle: 20 * time.Millisecond, OpenTimeout: time.Minute, Workers: 2,
		Notes: &testNotes{t: t},
	}
}

// testNotes puts a test's notes on its log.
type testNotes struct{ t *testing.T }

func (n *testNotes) Write(p []byte) (int, error) {
	n.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}
