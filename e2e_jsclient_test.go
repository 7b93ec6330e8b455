package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// TestJavaScriptClient runs the client's own tests.
func TestJavaScriptClient(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(need(t, "node"), "--test", filepath.Join("examples", "clients", "carillon.test.mjs")).CombinedOutput()
	if err != nil {
		t.Errorf("node --test: %v\n%s", err, out)
	}
}

// follow starts watch.mjs on a stream of the events named count.
func follow(t *testing.T, url string, more ...string) *nodeClient {
	t.Helper()
	args := append([]string{filepath.Join("examples", "clients", "watch.mjs"), url + "/api/stream?restrict=count", testToken}, more...)
	return &nodeClient{t: t, out: lines(t, need(t, "node"), args...)}
}

func (in *instance) count(from, to int) {
	in.t.Helper()
	for n := from; n < to; n++ {
		in.do("POST", "/api/events/count", fmt.Sprintf(`{"n":%d}`, n))
	}
}

// TestJavaScriptClientOverRestarts holds the client against a server that
// stops, and one that is killed: nothing is lost or repeated, and beats come.
func TestJavaScriptClientOverRestarts(t *testing.T) {
	t.Parallel()
	home := newHome(t, nil)
	write(t, filepath.Join(home, configFile), "stream: {beat: 300ms, retry: 100ms}\n")
	in := serve(t, home, "-listen", "127.0.0.1:0")
	address := strings.TrimPrefix(in.url, "http://")
	client := follow(t, in.url)
	client.await("open", func(s seen) bool { return s.Seen == "state" })
	client.await("a beat", func(s seen) bool { return s.Seen == "beat" && s.ID != "" })
	in.count(0, 10)
	client.expect(0, 10)
	for i, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		in.signal(sig)
		in = serve(t, home, "-listen", address)
		in.count(10+i*10, 20+i*10)
		client.expect(10+i*10, 20+i*10)
	}
	client.await("a beat", func(s seen) bool { return s.Seen == "beat" && s.ID != "" })
	in.signal(syscall.SIGTERM)
	if err := os.RemoveAll(filepath.Join(home, "data")); err != nil {
		t.Fatal(err)
	}
	in = serve(t, home, "-listen", address)
	client.await("a reset", func(s seen) bool { return s.Seen == "reset" })
	in.count(30, 35)
	client.expect(30, 35)
}

// TestJavaScriptClientPolls puts a proxy between that holds streams back for a
// while: the client polls, and comes back, without loss or repetition.
func TestJavaScriptClientPolls(t *testing.T) {
	t.Parallel()
	in := serve(t, newHome(t, nil), "-listen", "127.0.0.1:0")
	var passes atomic.Bool
	forward := httputil.NewSingleHostReverseProxy(parseURL(t, in.url))
	forward.FlushInterval = -1
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/stream" && !passes.Load() {
			<-r.Context().Done()
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		proxy.CloseClientConnections()
		proxy.Close()
	})
	client := follow(t, proxy.URL, "300", "1000")
	client.await("polling", func(s seen) bool { return s.Seen == "state" && s.Open && s.Mode == "poll" })
	client.await("the first answer", func(s seen) bool { return s.Seen == "beat" })
	in.count(0, 50)
	client.expect(0, 50)
	passes.Store(true)
	in.count(50, 60)
	client.expect(50, 60)
	client.await("the stream", func(s seen) bool { return s.Seen == "state" && s.Open && s.Mode == "stream" })
	in.count(60, 70)
	client.expect(60, 70)
}
