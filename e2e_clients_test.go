package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// need returns the path of a program. On CI its absence fails the test.
func need(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if file, err := exec.LookPath(name); err == nil {
			return file
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("CI must have %s", names[0])
	}
	t.Skipf("%s is not installed", names[0])
	return ""
}

// lines starts a program and hands over the lines it prints; it is killed at
// the end of the test.
func lines(t *testing.T, program string, args ...string) <-chan string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.SysProcAttr = ownGroup()
	stderr := &lockedBuffer{}
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := make(chan string, 10_000)
	go func() {
		defer close(out)
		scan := bufio.NewScanner(stdout)
		scan.Buffer(nil, 4<<20)
		for scan.Scan() {
			out <- scan.Text()
		}
	}()
	t.Cleanup(func() {
		killGroup(cmd)
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s said: %.2000s", filepath.Base(program), stderr)
		}
	})
	return out
}

func awaitLine(t *testing.T, out <-chan string, what string, want func(string) bool) string {
	t.Helper()
	timeout := time.After(time.Minute)
	var seen []string
	for {
		select {
		case line, open := <-out:
			if !open {
				t.Fatalf("the client ended before %s; it had:\n%s", what, strings.Join(seen, "\n"))
			}
			if want(line) {
				return line
			}
			seen = append(seen, line)
		case <-timeout:
			t.Fatalf("no %s within a minute; the client had:\n%s", what, strings.Join(seen, "\n"))
		}
	}
}

func TestCommandLineClients(t *testing.T) {
	t.Parallel()
	in := serve(t, newHome(t, nil), "-listen", "127.0.0.1:0")
	for name, args := range map[string][]string{
		"curl": {"-sN", "-H", "x-ha-access: " + testToken, "-H", "Content-Type: application/json", in.url + "/api/stream"},
		"http": {"--ignore-stdin", "--stream", in.url + "/api/stream", "x-ha-access:" + testToken},
	} {
		t.Run(name, func(t *testing.T) {
			out := lines(t, need(t, name), args...)
			awaitLine(t, out, "the first ping", func(s string) bool { return s == "data: ping" })
			in.do("POST", "/api/states/light."+name, `{"state":"on"}`)
			line := awaitLine(t, out, "the change", func(s string) bool { return strings.Contains(s, "light."+name) })
			var event frame
			if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "data: ")), &event); err != nil || event.Type != "state_changed" {
				t.Errorf("got %q (%v), want a state_changed", line, err)
			}
		})
	}
}

// TestBrowser drops a page into www/ and lets a real browser tell over REST
// what its EventSource saw.
func TestBrowser(t *testing.T) {
	t.Parallel()
	chromium := need(t, "chromium", "chromium-browser", "google-chrome")
	home := newHome(t, nil)
	write(t, filepath.Join(home, "www", "sse.html"), `<!doctype html><title>sse</title><script>
const token = new URLSearchParams(location.search).get("t");
const tell = (what) => fetch("/api/events/browser_saw?api_password=" + token, {method: "POST", body: JSON.stringify(what)});
const source = new EventSource("/api/stream?api_password=" + token);
source.onopen = () => tell({saw: "open"});
source.onmessage = (e) => {
  if (e.data === "ping") return;
  const event = JSON.parse(e.data);
  if (event.event_type === "state_changed") tell({saw: event.data.entity_id, state: event.data.new_state.state, id: e.lastEventId});
};
</script>`)
	in := serve(t, home, "-listen", "127.0.0.1:0")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	frames := in.stream(ctx, "/api/stream?restrict=browser_saw")
	browse(t, chromium, in.url+"/local/sse.html?t="+testToken)
	awaitFor(t, frames, "open in the browser", time.Minute, func(f frame) bool { return f.Data["saw"] == "open" })
	for i := range 3 {
		state := fmt.Sprint("step ", i)
		in.do("POST", "/api/states/sensor.page", `{"state":"`+state+`"}`)
		f := await(t, frames, state, func(f frame) bool { return f.Data["state"] == state })
		if f.Data["id"] == "" {
			t.Error("the browser saw no id")
		}
	}
}

// browse opens a page in a headless Chromium for the rest of the test.
func browse(t *testing.T, chromium, url string) {
	t.Helper()
	lines(t, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--user-data-dir="+t.TempDir(), "--remote-debugging-port=0", url)
}

// TestNodeClients holds the stream against the two EventSource clients of npm
// that are used most: idle for a minute they don't reconnect, and over a
// restart of the server they lose and repeat nothing.
func TestNodeClients(t *testing.T) {
	node, npm := need(t, "node"), need(t, "npm")
	folder, err := filepath.Abs("examples/clients")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "eventsource")); err != nil {
		install := exec.Command(npm, "ci", "--prefix", folder)
		install.Dir = folder
		if out, err := install.CombinedOutput(); err != nil {
			t.Fatalf("npm ci: %v\n%s", err, out)
		}
	}
	idle := time.Minute
	if testing.Short() {
		idle = time.Second
	}
	for _, library := range []string{"eventsource", "polyfill"} {
		t.Run(library, func(t *testing.T) {
			t.Parallel()
			home := newHome(t, nil)
			in := serve(t, home, "-listen", "127.0.0.1:0")
			address := strings.TrimPrefix(in.url, "http://")
			out := lines(t, node, filepath.Join(folder, "watch.cjs"), library, in.url+"/api/stream?restrict=count&token="+testToken)
			client := &nodeClient{t: t, out: out}
			client.await("open", func(s seen) bool { return s.Seen == "open" })

			fire := func(in *instance, from, to int) {
				for n := from; n < to; n++ {
					in.do("POST", "/api/events/count", fmt.Sprintf(`{"n":%d}`, n))
				}
			}
			fire(in, 0, 5)
			client.expect(0, 5)
			quietUntil := time.After(idle)
			for waiting := true; waiting; {
				select {
				case line := <-out:
					if s := parseSeen(t, line); s.Seen != "message" || s.Data != "ping" {
						t.Errorf("while idle the client saw %s", line)
					}
				case <-quietUntil:
					waiting = false
				}
			}
			fire(in, 5, 10)
			if status := in.signal(syscall.SIGTERM); status != 0 {
				t.Errorf("SIGTERM: got exit status %d, want 0", status)
			}
			again := serve(t, home, "-listen", address)
			fire(again, 10, 20)
			client.expect(5, 20)
			again.signal(syscall.SIGKILL)
			last := serve(t, home, "-listen", address)
			fire(last, 20, 25)
			client.expect(20, 25)
		})
	}
}

// seen is what watch.cjs and watch.mjs print.
type seen struct {
	Seen, ID, Data, Mode string
	Open                 bool
}

func parseSeen(t *testing.T, line string) (s seen) {
	t.Helper()
	if err := json.Unmarshal([]byte(line), &s); err != nil {
		// error lines carry numbers, too, which nobody here reads
		s.Seen = "error"
	}
	return s
}

type nodeClient struct {
	t   *testing.T
	out <-chan string
}

func (c *nodeClient) await(what string, want func(seen) bool) {
	c.t.Helper()
	awaitLine(c.t, c.out, what, func(line string) bool { return want(parseSeen(c.t, line)) })
}

// expect reads the events from..to-1 in order; a lost, repeated or disordered
// one fails.
func (c *nodeClient) expect(from, to int) {
	c.t.Helper()
	next := from
	for next < to {
		c.await(fmt.Sprint("event ", next), func(s seen) bool {
			if s.Seen == "reset" || s.Seen == "gap" || s.Seen == "fault" {
				c.t.Errorf("the client saw %+v", s)
			}
			if s.Seen != "message" || s.Data == "ping" {
				return false
			}
			var f struct{ Data struct{ N int } }
			if err := json.Unmarshal([]byte(s.Data), &f); err != nil || f.Data.N != next {
				c.t.Fatalf("got %s (%v), want event %d", s.Data, err, next)
			}
			return true
		})
		next++
	}
}
