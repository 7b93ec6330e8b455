package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"carillon/internal/loadtest"
)

// load runs streams against an instance while during does something to it, and
// fails unless every stream got every event once and in order.
func load(t *testing.T, in *instance, streams int, rate float64, duration time.Duration, during func()) *loadtest.Report {
	t.Helper()
	target := parseURL(t, in.url+"/api/stream?restrict=loadtest")
	post := parseURL(t, in.url+"/api/events")
	opened := make(chan struct{})
	first := true
	type end struct {
		report *loadtest.Report
		err    error
	}
	ended := make(chan end, 1)
	go func() {
		report, err := loadtest.Run(t.Context(), loadtest.Options{
			Target: target, Post: post, Streams: streams, Rate: rate, Size: 120, Duration: duration,
			Drain: 30 * time.Second, OpenTimeout: time.Minute, Token: testToken,
			Progress: func(p loadtest.Progress) {
				if first && p.Phase == "running" && p.Delivered > 0 {
					first = false
					close(opened)
				}
			},
		})
		ended <- end{report, err}
	}()
	select {
	case <-opened:
		during()
	case e := <-ended:
		t.Fatalf("the load test ended early: %+v %v", e.report, e.err)
	}
	e := <-ended
	if e.err != nil {
		t.Fatal(e.err)
	}
	if !e.report.OK() || e.report.Delivered == 0 || e.report.Gaps+e.report.Resets > 0 {
		var text strings.Builder
		e.report.WriteText(&text)
		t.Errorf("the streams were not complete:\n%s\n%s", text.String(), strings.Join(e.report.Examples, "\n"))
	}
	return e.report
}

func parseURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestKilledServerLosesNothing(t *testing.T) {
	t.Parallel()
	home := newHome(t, nil)
	in := serve(t, home, "-listen", "127.0.0.1:0")
	address := strings.TrimPrefix(in.url, "http://")
	report := load(t, in, 1000, 200, 6*time.Second, func() {
		in.signal(syscall.SIGKILL)
		serve(t, home, "-listen", address)
	})
	if report.Reconnects < 1000 {
		t.Errorf("got %d reconnects, want every stream to have been cut", report.Reconnects)
	}
}

func TestConfigurationReloadsUnderLoad(t *testing.T) {
	t.Parallel()
	home := newHome(t, nil)
	in := serve(t, home, "-listen", "127.0.0.1:0")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told := in.stream(ctx, "/api/stream?restrict=config_reloaded,config_rejected")
	await(t, told, "the first ping", func(f frame) bool { return f.raw == "ping" })
	file := filepath.Join(home, configFile)
	report := load(t, in, 1000, 100, 8*time.Second, func() {
		for i := range 5 {
			write(t, file, fmt.Sprintf("# good\nlimits:\n  body: %dKiB\n", 512+i))
			await(t, told, "config_reloaded", func(f frame) bool { return f.Type == "config_reloaded" })
			write(t, file, strings.Repeat("# broken\n", i)+"limits:\n  boddy: 1MiB\n")
			f := await(t, told, "config_rejected", func(f frame) bool { return f.Type == "config_rejected" })
			if line, want := f.Data["line"], float64(i+2); line != want {
				t.Errorf("rejected configuration: got line %v of %v, want %v", line, f.Data, want)
			}
		}
	})
	if report.Reconnects != 0 {
		t.Errorf("got %d reconnects, want none", report.Reconnects)
	}
}

// TestScriptReloadsUnderLoad saves a device 50 times, at times broken, while
// streams are open: nothing is lost and what the process holds does not grow.
func TestScriptReloadsUnderLoad(t *testing.T) {
	t.Parallel()
	script := func(n int) string {
		return fmt.Sprintf(`
const d = device('sensor.reloaded', {});
d.set('version %d');
every('50ms', () => d.set('version %d', {at: Date.now()}));
on('loadtest', () => {});
d.command('ask', () => 'version %d');
`, n, n, n)
	}
	home := newHome(t, map[string]string{"reloaded.js": script(0)})
	in := serve(t, home, "-listen", "127.0.0.1:0")
	file := filepath.Join(home, "scripts", "reloaded.js")
	answers := func(n int) bool {
		status, text := in.request("POST", "/api/services/sensor/ask?return_response", `{"entity_id":"sensor.reloaded"}`)
		return status == 200 && strings.Contains(text, fmt.Sprintf(`"version %d"`, n))
	}
	eventually(t, "the first version answers", func() bool { return answers(0) })
	var before, after held
	load(t, in, 200, 100, 25*time.Second, func() {
		before = in.held()
		for n := 1; n <= 50; n++ {
			if n%10 == 0 {
				write(t, file, "device('sensor.reloaded', {}).set('broken';\n")
				eventually(t, "the broken version is told", func() bool {
					return strings.Contains(in.do("GET", "/api/scripts", ""), "reloaded.js")
				})
				if !answers(n - 1) {
					t.Errorf("a broken save took version %d out of service", n-1)
				}
			}
			write(t, file, script(n))
			eventually(t, fmt.Sprint("version ", n, " answers"), func() bool { return answers(n) })
		}
		eventually(t, "goroutines and descriptors are back where they were", func() bool {
			after = in.held()
			return after.goroutines <= before.goroutines+5 && after.descriptors <= before.descriptors+3
		})
	})
	if after.goroutines > before.goroutines+5 || after.descriptors > before.descriptors+3 {
		t.Errorf("50 reloads: from %+v to %+v", before, after)
	}
}

// held is what a process holds.
type held struct{ goroutines, descriptors int }

func (in *instance) held() (h held) {
	in.t.Helper()
	for _, line := range strings.Split(in.do("GET", "/metrics", ""), "\n") {
		fmt.Sscanf(line, "go_goroutines %d", &h.goroutines)
		fmt.Sscanf(line, "process_open_fds %d", &h.descriptors)
	}
	if h.goroutines == 0 {
		in.t.Fatal("/metrics tells no go_goroutines")
	}
	return h
}

func TestSecondInstanceIsRefused(t *testing.T) {
	t.Parallel()
	home := newHome(t, nil)
	in := serve(t, home, "-listen", "127.0.0.1:0")
	var stderr lockedBuffer
	status := runServe([]string{"-home", home, "-listen", "127.0.0.1:0"}, &lockedBuffer{}, &stderr)
	if want := fmt.Sprint(in.cmd.Process.Pid); status != 1 || !strings.Contains(stderr.String(), want) {
		t.Errorf("got exit status %d and %q, want 1 and the process %s named", status, stderr.String(), want)
	}
	if status, _ := in.request("GET", "/healthz", ""); status != 200 {
		t.Errorf("the first instance: got %d", status)
	}
}

func TestDeletedDataIsAnotherEpoch(t *testing.T) {
	t.Parallel()
	home := newHome(t, nil)
	in := serve(t, home, "-listen", "127.0.0.1:0")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	frames := in.stream(ctx, "/api/stream")
	await(t, frames, "the first ping", func(f frame) bool { return f.raw == "ping" })
	in.do("POST", "/api/events/mark", "")
	id := await(t, frames, "mark", func(f frame) bool { return f.Type == "mark" }).ID
	in.signal(syscall.SIGTERM)
	if err := os.RemoveAll(filepath.Join(home, "data")); err != nil {
		t.Fatal(err)
	}
	again := serve(t, home, "-listen", "127.0.0.1:0")
	reset := await(t, again.stream(ctx, "/api/stream?since="+id), "reset", func(f frame) bool { return f.Event == "reset" })
	if strings.Contains(reset.raw, strings.Split(id, "-")[0]) {
		t.Errorf("reset: got %s, want another epoch than that of %s", reset.raw, id)
	}
}

// TestGarbage throws random bytes and half requests at the port; the server
// goes on.
func TestGarbage(t *testing.T) {
	t.Parallel()
	in := serve(t, newHome(t, nil), "-listen", "127.0.0.1:0")
	address := strings.TrimPrefix(in.url, "http://")
	random := rand.New(rand.NewPCG(7, 7))
	starts := []string{"", "", "GET /api/stream HTTP/1.1\r\n", "POST /api/events HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n", "GET / HTTP/1.1\r\nLast-Event-ID: "}
	for range 10_000 {
		conn, err := net.DialTimeout("tcp", address, 5*time.Second)
		if err != nil {
			t.Fatalf("the server takes no connections: %v", err)
		}
		junk := make([]byte, random.IntN(300))
		for i := range junk {
			junk[i] = byte(random.Uint32())
		}
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		fmt.Fprint(conn, starts[random.IntN(len(starts))])
		conn.Write(junk)
		if random.IntN(50) == 0 {
			conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			conn.Read(make([]byte, 512)) // an answer, a close, or nothing yet: all will do
		}
		conn.Close()
	}
	if got := in.do("GET", "/api/", ""); !strings.Contains(got, "API running.") {
		t.Errorf("after the garbage: got %s", got)
	}
	eventually(t, "the connections are gone", func() bool { return in.held().descriptors < 100 })
}
