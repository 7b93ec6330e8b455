package loadtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"strings"
	"sync"
	"time"
)

const (
	startTimeout = 20 * time.Second
	stopTimeout  = 10 * time.Second
)

// Server is a server process of our own, on a free port of the loopback
// address and with a temporary home.
type Server struct {
	// URL is its address, without path and credentials; Token, its administrator's token.
	URL   *url.URL
	Token string
	PID   int

	dir    string
	exited chan struct{} // closed once the process has gone
	output *output
}

// StartServer runs "<exe> serve -home <temporary> -listen 127.0.0.1:0", with
// more arguments if there are any, and waits until it prints its address, at
// most 20 s. env is added to this process's environment. The caller must Stop
// it; if this process dies first, the server ends too (on Linux).
func StartServer(ctx context.Context, exe string, env []string, args ...string) (*Server, error) {
	dir, err := os.MkdirTemp("", "carillon-loadtest-")
	if err != nil {
		return nil, fmt.Errorf("making a temporary home: %w", err)
	}
	var token [16]byte
	rand.Read(token[:])
	s := &Server{Token: hex.EncodeToString(token[:]), dir: dir, exited: make(chan struct{}), output: &output{found: make(chan *url.URL, 1)}}
	cmd := exec.Command(exe, append([]string{"serve", "-home", filepath.Join(dir, "home"), "-listen", "127.0.0.1:0"}, args...)...)
	cmd.Env = append(append(os.Environ(), env...), "CARILLON_TOKEN="+s.Token)
	cmd.Stdout, cmd.Stderr = addressFinder{s.output}, s.output
	cmd.WaitDelay = time.Second
	if err := s.run(cmd); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("starting server: %w", err)
	}
	s.PID = cmd.Process.Pid
	select {
	case s.URL = <-s.output.found:
		return s, nil
	case <-s.exited:
		err = errors.New("it ended at once")
	case <-time.After(startTimeout):
		err = fmt.Errorf("it printed no address within %v", startTimeout)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	s.Stop()
	return nil, fmt.Errorf("starting server: %w; its output: %s", err, s.output.last())
}

// run starts the process. The thread that starts it must live as long as it,
// for the system ends the process when that thread ends.
func (s *Server) run(cmd *exec.Cmd) error {
	ownGroup(cmd)
	started := make(chan error)
	go func() {
		goruntime.LockOSThread()
		defer goruntime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
			close(s.exited)
		}
	}()
	return <-started
}

// Stop ends the server and its children, at first politely, and removes its
// home. It blocks until the process has gone.
func (s *Server) Stop() error {
	var err error
	select {
	case <-s.exited:
		err = fmt.Errorf("the server ended by itself; its last output: %s", s.output.last())
	default:
		endGroup(s.PID, false)
	}
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
		err = fmt.Errorf("the server did not stop within %v and was killed", stopTimeout)
	}
	endGroup(s.PID, true)
	<-s.exited
	if e := os.RemoveAll(s.dir); e != nil && err == nil {
		err = fmt.Errorf("removing the temporary home: %w", e)
	}
	return err
}

// output looks for the address in what the server prints and keeps the end
// of it for error messages.
type output struct {
	found chan *url.URL // gets one, from the first line on stdout that has it

	mu   sync.Mutex // guards done and text
	done bool
	text []byte
}

// maxOutput bounds what is kept of the output.
const maxOutput = 4 << 10

var address = regexp.MustCompile(`(https?://[^\s/?]+)\S*[?&]token=\S*\s`)

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	if len(o.text) > maxOutput {
		o.text = append(o.text[:0], o.text[len(o.text)-maxOutput:]...)
	}
	return len(p), nil
}

// addressFinder is the writer for stdout, where the address comes.
type addressFinder struct{ *output }

func (o addressFinder) Write(p []byte) (int, error) {
	n, err := o.output.Write(p)
	o.mu.Lock()
	defer o.mu.Unlock()
	if m := address.FindSubmatch(o.text); m != nil && !o.done {
		if u, err := url.Parse(string(m[1])); err == nil {
			o.done = true
			o.found <- u
		}
	}
	return n, err
}

// last returns the last lines of the output, without tokens.
func (o *output) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	text := regexp.MustCompile(`token=\S+`).ReplaceAll(bytes.TrimSpace(o.text), []byte("token=***"))
	if len(text) == 0 {
		return "(none)"
	}
	lines := strings.Split(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}
