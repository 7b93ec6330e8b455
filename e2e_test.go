package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"carillon/internal/sse"
	"carillon/plugins/adapter"
)

// TestMain lets the test binary be the carillon that the tests start.
func TestMain(m *testing.M) {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	filterWorkerArgv = []string{self, filterWorkerCommand}
	if os.Getenv("CARILLON_BE_THE_BINARY") != "" || len(os.Args) > 1 && os.Args[1] == filterWorkerCommand {
		main()
		return
	}
	if os.Getenv(adapter.Handshake.MagicCookieKey) != "" {
		beAdapter()
	}
	os.Setenv("CARILLON_BE_THE_BINARY", "1") // for what the tests start, and what that starts
	os.Exit(m.Run())
}

const testToken = "end-to-end-token"

// An instance is a carillon serve of its own process.
type instance struct {
	t    testing.TB
	cmd  *exec.Cmd
	home string
	url  string // http://127.0.0.1:port
	log  *lockedBuffer
	gone chan struct{} // closed when the process has ended
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var addressLine = regexp.MustCompile(`(http://[^/\s]+)/\?token=(\S+)`)

// serve starts a carillon on home and waits until it prints its address.
func serve(t testing.TB, home string, args ...string) *instance {
	t.Helper()
	return start(t, home, exec.Command(os.Args[0], append([]string{"serve", "-home", home}, args...)...))
}

// start starts a command that serves home.
func start(t testing.TB, home string, cmd *exec.Cmd) *instance {
	t.Helper()
	in := &instance{t: t, home: home, cmd: cmd, log: &lockedBuffer{}, gone: make(chan struct{})}
	in.cmd.Env = append(os.Environ(), "CARILLON_TOKEN="+testToken)
	in.cmd.Stderr = in.log
	stdout, err := in.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := in.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			fmt.Fprintln(in.log, lines.Text())
			if m := addressLine.FindStringSubmatch(lines.Text()); m != nil {
				address <- m[1]
			}
		}
		in.cmd.Wait()
		close(in.gone)
	}()
	t.Cleanup(func() {
		in.signal(syscall.SIGKILL)
		if strings.Contains(in.log.String(), "WARNING: DATA RACE") {
			t.Error("the server has a data race")
		}
		if t.Failed() {
			t.Logf("what %s said:\n%.8000s", home, in.log)
		}
	})
	select {
	case in.url = <-address:
	case <-in.gone:
		t.Fatalf("serve ended:\n%s", in.log)
	case <-time.After(30 * time.Second):
		t.Fatalf("serve printed no address within 30 s:\n%s", in.log)
	}
	return in
}

// newHome returns an empty folder whose scripts are those given, by name.
func newHome(t testing.TB, scripts map[string]string) string {
	t.Helper()
	home := filepath.Join(t.TempDir(), "home")
	write(t, filepath.Join(home, configFile), "")
	for name, text := range scripts {
		write(t, filepath.Join(home, "scripts", name), text)
	}
	return home
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// signal ends the process, waits until it has, and returns its exit status.
func (in *instance) signal(sig syscall.Signal) int {
	in.t.Helper()
	in.cmd.Process.Signal(sig)
	select {
	case <-in.gone:
	case <-time.After(time.Minute):
		in.cmd.Process.Kill()
		in.t.Errorf("serve did not end within a minute of %v", sig)
		<-in.gone
	}
	return in.cmd.ProcessState.ExitCode()
}

// request sends a request with the token and returns status and body.
func (in *instance) request(method, path, body string) (int, string) {
	in.t.Helper()
	req, err := http.NewRequest(method, in.url+path, strings.NewReader(body))
	if err != nil {
		in.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		in.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		in.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, string(text)
}

// do is request for what must succeed.
func (in *instance) do(method, path, body string) string {
	in.t.Helper()
	status, text := in.request(method, path, body)
	if status/100 != 2 {
		in.t.Fatalf("%s %s: got %d %s", method, path, status, text)
	}
	return text
}

// A frame is one event of a stream, with what Home Assistant's payload says.
type frame struct {
	ID, Event string
	Type      string         `json:"event_type"`
	Data      map[string]any `json:"data"`
	raw       string
}

// entity returns the entity and its new state, for a state_changed.
func (f frame) entity() (id, state string) {
	next, _ := f.Data["new_state"].(map[string]any)
	id, _ = f.Data["entity_id"].(string)
	state, _ = next["state"].(string)
	return id, state
}

// stream opens a stream and hands its frames to a channel, which is closed when
// the stream ends.
func (in *instance) stream(ctx context.Context, path string) <-chan frame {
	in.t.Helper()
	req, err := http.NewRequestWithContext(ctx, "GET", in.url+path, nil)
	if err != nil {
		in.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		in.t.Fatal(err)
	}
	if resp.StatusCode != 200 {
		in.t.Fatalf("GET %s: got %s", path, resp.Status)
	}
	frames := make(chan frame, 10_000)
	go func() {
		defer close(frames)
		defer resp.Body.Close()
		reader := sse.Reader{On: func(f sse.Frame) {
			if len(f.Data) > 0 {
				read := frame{ID: string(f.ID), Event: string(f.Event), raw: string(f.Data)}
				json.Unmarshal(f.Data, &read)
				frames <- read
			}
		}}
		io.Copy(&reader, resp.Body)
	}()
	return frames
}

// await returns the first frame for which want is true; it fails after a while.
func await(t testing.TB, frames <-chan frame, what string, want func(frame) bool) frame {
	t.Helper()
	return awaitFor(t, frames, what, time.Minute, want)
}

// awaitAll returns the first frame for which each of wants is true, in whatever order they come.
func awaitAll(t testing.TB, frames <-chan frame, what string, wants ...func(frame) bool) []frame {
	t.Helper()
	got, left := make([]frame, len(wants)), len(wants)
	met := make([]bool, len(wants))
	await(t, frames, what, func(f frame) bool {
		for i, want := range wants {
			if !met[i] && want(f) {
				got[i], met[i], left = f, true, left-1
			}
		}
		return left == 0
	})
	return got
}

func awaitFor(t testing.TB, frames <-chan frame, what string, limit time.Duration, want func(frame) bool) frame {
	t.Helper()
	timeout := time.After(limit)
	var seen []string
	for {
		select {
		case f, open := <-frames:
			if !open {
				t.Fatalf("the stream ended before %s; it had:\n%s", what, strings.Join(seen, "\n"))
			}
			if want(f) {
				return f
			}
			seen = append(seen, fmt.Sprintf("%.200s", f.raw))
		case <-timeout:
			t.Fatalf("no %s within %v; the stream had:\n%s", what, limit, strings.Join(seen, "\n"))
		}
	}
}

// eventually fails unless ok becomes true within a minute.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within a minute: %s", what)
}
