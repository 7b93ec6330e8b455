package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestTailPrintsAndResumes(t *testing.T) {
	const data = `{"event_type":"state_changed","data":{"entity_id":"light.a","old_state":%s,"new_state":%s},"time_fired":"2026-01-01T00:00:00.123456+00:00"}`
	frames := []string{
		"data: ping\n\n",
		"id: abcdefgh-1\ndata: " + fmt.Sprintf(data, `null`, `{"state":"on"}`) + "\n\n",
		"id: abcdefgh-2\ndata: " + fmt.Sprintf(data, `{"state":"on"}`, `{"state":"off"}`) + "\n\nid: abcdefgh-3\ndata: torn",
		"event: gap\ndata: {\"from\":3,\"to\":3}\n\n",
		"id: abcdefgh-4\ndata: " + fmt.Sprintf(data, `{"state":"on"}`, `null`) + "\n\n",
		"id: abcdefgh-5\ndata: {\"event_type\":\"command_result\",\"data\":{\"entity_id\":\"light.a\",\"ok\":true}}\n\n",
	}
	var conns atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := conns.Add(1)
		if r.Header.Get("Authorization") != "Bearer secret" || r.URL.RawQuery != "domain=light&restrict=state_changed" || r.URL.Path != "/api/stream" {
			http.Error(w, "got "+r.URL.String(), http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		fmt.Fprint(w, "retry: 1\n\n")
		switch {
		case n == 1:
			fmt.Fprint(w, strings.Join(frames[:3], ""))
		case n == 2:
			panic(http.ErrAbortHandler)
		case r.Header.Get("Last-Event-ID") != "abcdefgh-2":
			fmt.Fprintf(w, "data: resumed after %q\n\n", r.Header.Get("Last-Event-ID"))
		default:
			fmt.Fprint(w, frames[3], frames[4], frames[1], frames[5])
		}
	}))
	defer server.Close()
	for _, raw := range []bool{false, true} {
		conns.Store(0)
		var stdout, stderr bytes.Buffer
		args := []string{"-n", "4", "-type", "state_changed", "-domain", "light", server.URL + "/?token=secret"}
		if raw {
			args = append([]string{"-json"}, args...)
		}
		if code := runTail(args, &stdout, &stderr); code != 0 {
			t.Fatalf("got status %d, %s", code, stderr.String())
		}
		got := regexp.MustCompile(`(?m)^[\d-]{2}:[\d-]{2}:[\d-]{2}\.[\d-]{3}`).ReplaceAllString(stdout.String(), "TIME")
		want := `TIME  state_changed     light.a                       on  (new)
TIME  state_changed     light.a                       off  (was on)
--- gap {"from":3,"to":3}
TIME  state_changed     light.a                       (removed)
TIME  command_result    light.a                       {"entity_id":"light.a","ok":true}
`
		if raw {
			want = strings.NewReplacer("id: abcdefgh-1\ndata: ", "", "id: abcdefgh-2\ndata: ", "", "\n\nid: abcdefgh-3\ndata: torn", "\n",
				"event: gap\ndata: ", "--- gap ", "id: abcdefgh-4\ndata: ", "", "id: abcdefgh-5\ndata: ", "", "\n\n", "\n").Replace(strings.Join(frames[1:], ""))
		}
		if got != want {
			t.Errorf("raw %v: got\n%s\nwant\n%s", raw, got, want)
		}
		if !strings.Contains(stderr.String(), "at fault: event 1 came after 4\n") {
			t.Errorf("got %q on stderr, want the repeated event told", stderr.String())
		}
		if strings.Contains(stderr.String(), "secret") {
			t.Errorf("got the token on stderr: %s", stderr.String())
		}
	}
}

func TestTailRefused(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/html" {
			fmt.Fprint(w, "<html>")
			return
		}
		http.Error(w, "who are you?", http.StatusUnauthorized)
	}))
	defer server.Close()
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{server.URL, 1, "401 Unauthorized (text/plain): who are you?\nhint: give the token"},
		{server.URL + "/html", 1, "(text/html): <html>"},
		{"ftp://x", 2, "is not an address"},
		{"a b", 2, "one URL is enough"},
		{"-nonsense", 2, "flag provided but not defined: -nonsense (`carillon tail -h` shows the flags)"},
		{"http://127.0.0.1:1 -n x", 2, "invalid value"},
		{"-h", 0, "carillon tail -type state_changed"},
	} {
		var stdout, stderr bytes.Buffer
		begin := time.Now()
		code := runTail(strings.Fields(c.args), &stdout, &stderr)
		said, silent := &stderr, &stdout
		if c.code == 0 { // help is what was asked for
			said, silent = silent, said
		}
		if code != c.code || !strings.Contains(said.String(), c.want) || silent.Len() > 0 {
			t.Errorf("%s: got %d, %q, %q, want %d, %q", c.args, code, stdout.String(), stderr.String(), c.code, c.want)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("%s took %v", c.args, took)
		}
	}
}
