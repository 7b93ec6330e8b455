package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"carillon/internal/sse"
)

// ringServer is the least that a load test needs: events go to all streams.
// Of every hundred, it withholds as many as drop from one stream.
func ringServer(t *testing.T, drop bool) *httptest.Server {
	t.Helper()
	var mu sync.Mutex
	var streams []chan []byte
	seq := uint64(0)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/stream", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "restrict=loadtest" {
			http.Error(w, "got "+r.URL.RawQuery, http.StatusBadRequest)
			return
		}
		events := make(chan []byte, 1000)
		mu.Lock()
		streams = append(streams, events)
		mu.Unlock()
		w.Header().Set("Content-Type", "text/event-stream")
		http.NewResponseController(w).Flush()
		for {
			select {
			case frame := <-events:
				w.Write(frame)
				http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	mux.HandleFunc("POST /api/events", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		for lines := bufio.NewScanner(r.Body); lines.Scan(); {
			seq++
			frame := sse.AppendSeqEvent(nil, "abcdefgh", seq, "", lines.Bytes())
			for i, events := range streams {
				if !drop || i > 0 || seq != 10 {
					events <- frame
				}
			}
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server
}

func TestLoadtestCommand(t *testing.T) {
	for _, drop := range []bool{false, true} {
		dir := t.TempDir()
		var stdout, stderr bytes.Buffer
		code := runLoadtest([]string{"-streams", "10", "-rate", "100", "-duration", "300ms", "-settle", "10ms", "-drain", "500ms",
			"-token", "secret", "-json", filepath.Join(dir, "r.json"), "-html", filepath.Join(dir, "r.html"), ringServer(t, drop).URL}, &stdout, &stderr)
		want, lost := 0, 0
		verdict := "ok: every stream got every event unaltered, once and in order"
		if drop {
			want, lost, verdict = 1, 1, "FAULTY: 1 lost, 0 repeated, 0 disordered, 0 altered in 1 stream\n"
		}
		if code != want || !strings.Contains(stdout.String(), verdict) {
			t.Errorf("got status %d, want %d with %q:\n%s%s", code, want, verdict, stdout.String(), stderr.String())
		}
		var r struct {
			Command            string
			Published, Lost    int
			Delivered, Streams int
			Latency            struct{ Count int }
		}
		text, err := os.ReadFile(filepath.Join(dir, "r.json"))
		if err == nil {
			err = json.Unmarshal(text, &r)
		}
		if err != nil || r.Published != 30 || r.Delivered != 300-lost || r.Lost != lost || r.Latency.Count != r.Delivered {
			t.Errorf("got %+v, %v from the JSON report", r, err)
		}
		html, err := os.ReadFile(filepath.Join(dir, "r.html"))
		if err != nil || !bytes.Contains(html, []byte(strings.TrimSpace(verdict))) {
			t.Errorf("got %v, %.200q, want a page with the verdict", err, html)
		}
		if all := stdout.String() + stderr.String() + string(text) + string(html); strings.Contains(all, "secret") {
			t.Error("got the token in a report")
		}
	}
}

func TestLoadtestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"-h", 0, "carillon loadtest -streams 10000"},
		{"-listen-only", 2, "needs the URL"},
		{"http://a http://b", 2, "one URL is enough"},
		{"-selection %zz", 2, "invalid URL escape"},
		{"-stalled 1000 http://127.0.0.1:1", 1, "at least one must"},
		{"-chaos -reconnect=false http://127.0.0.1:1", 1, "streams that reconnect"},
		{"-nonsense", 2, "flag provided but not defined"},
		{"-path x http://127.0.0.1:1", 1, `-path "x" must begin with /`},
		{"-streams 0 http://127.0.0.1:1", 1, "at least 1"},
		{"-streams 100000000 http://127.0.0.1:1", 1, "use -streams"},
	} {
		var stdout, stderr bytes.Buffer
		code := runLoadtest(strings.Fields(c.args), &stdout, &stderr)
		said := &stderr
		if c.code == 0 { // help is what was asked for
			said = &stdout
		}
		if code != c.code || !strings.Contains(said.String(), c.want) {
			t.Errorf("%s: got %d, %q, want %d, %q", c.args, code, said, c.code, c.want)
		}
	}
}

func TestLoadtestAddresses(t *testing.T) {
	for _, c := range []struct{ args, target, post, token, command string }{
		{"http://h:1", "http://h:1/api/stream?restrict=loadtest", "http://h:1/api/events", "", "http://h:1"},
		{"http://h:1/?token=T", "http://h:1/api/stream?restrict=loadtest", "http://h:1/api/events", "T", "http://h:1/?***"},
		{"h:1", "http://h:1/api/stream?restrict=loadtest", "http://h:1/api/events", "", "h:1"},
		{"-path /subscribe_events http://h:1/?type=x", "http://h:1/subscribe_events?type=x", "http://h:1/api/events", "", "-path /subscribe_events http://h:1/?***"},
		{"-selection type=a -selection= http://h:1/?b=c", "http://h:1/api/stream?b=c", "http://h:1/api/events", "", "-selection type=a -selection= http://h:1/?***"},
		{"-selection token=secret http://h:1/s", "http://h:1/s", "http://h:1/api/events", "", "-selection *** http://h:1/s"},
		{"-token T http://h:1/s?a=b", "http://h:1/s?a=b", "http://h:1/api/events", "T", "-token *** http://h:1/s?***"},
		{"-token=T -header A:b -listen-only https://h/", "https://h/api/stream", "", "T", "-token=*** -header *** -listen-only https://h/"},
	} {
		l := &loadtestFlags{stderr: &bytes.Buffer{}}
		err := l.parse(strings.Fields(c.args))
		if err == nil {
			err = l.target()
		}
		if err != nil {
			t.Errorf("%s: %v", c.args, err)
			continue
		}
		post := ""
		if l.o.Post != nil {
			post = l.o.Post.String()
		}
		got := fmt.Sprint(l.o.Target, " ", post, " ", l.o.Token, " ", l.command)
		if want := fmt.Sprint(c.target, " ", c.post, " ", c.token, " carillon loadtest ", c.command); got != want {
			t.Errorf("%s: got\n%s, want\n%s", c.args, got, want)
		}
	}
}
