package loadtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	startTimeout = 20 * time.Second
	stopTimeout  = 10 * time.Second
)

// ServerOptions says how to run a server process.
type ServerOptions struct {
	// Exe is the program; it is run as "<Exe> serve -home <temporary> -listen 127.0.0.1:<free port>".
	Exe string
	// Env is added to this process's environment, Args to the command line.
	Env, Args []string
	// Config is the home's carillon.yaml; empty leaves it to the server to make a home.
	Config string
}

// Server is a server process of our own, on a free port of the loopback
// address and with a temporary home. It belongs to one goroutine at a time.
type Server struct {
	// URL is its address, without path and credentials; Token, its administrator's token.
	URL   *url.URL
	Token string
	PID   int // changes with Restart

	o      ServerOptions
	dir    string
	listen string
	exited chan struct{} // closed once the process has gone
	output *output
}

// StartServer runs a server and waits until it prints its address, at most
// 20 s. The caller must Stop it; if this process dies first, the server ends
// too (on Linux).
func StartServer(ctx context.Context, o ServerOptions) (*Server, error) {
	port, err := freePort()
	if err != nil {
		return nil, fmt.Errorf("starting server: %w", err)
	}
	dir, err := os.MkdirTemp("", "carillon-loadtest-")
	if err != nil {
		return nil, fmt.Errorf("making a temporary home: %w", err)
	}
	var token [16]byte
	rand.Read(token[:])
	s := &Server{Token: hex.EncodeToString(token[:]), o: o, dir: dir, listen: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
	if o.Config != "" {
		err = errors.Join(os.Mkdir(s.home(), 0o700), os.WriteFile(filepath.Join(s.home(), "carillon.yaml"), []byte(o.Config), 0o600))
	}
	if err == nil {
		err = s.start(ctx)
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("starting server: %w", err)
	}
	return s, nil
}

func (s *Server) home() string { return filepath.Join(s.dir, "home") }

// start runs a process on the server's home and port. After an error there
// is none.
func (s *Server) start(ctx context.Context) error {
	cmd := exec.Command(s.o.Exe, append([]string{"serve", "-home", s.home(), "-listen", s.listen}, s.o.Args...)...)
	cmd.Env = append(append(os.Environ(), s.o.Env...), "CARILLON_TOKEN="+s.Token)
	s.output = &output{found: make(chan *url.URL, 1)}
	cmd.Stdout, cmd.Stderr = addressFinder{s.output}, s.output
	cmd.WaitDelay = time.Second
	s.exited = make(chan struct{})
	if err := s.run(cmd); err != nil {
		close(s.exited)
		return err
	}
	s.PID = cmd.Process.Pid
	var err error
	select {
	case s.URL = <-s.output.found:
		return nil
	case <-s.exited:
		err = errors.New("it ended at once")
	case <-time.After(startTimeout):
		err = fmt.Errorf("it printed no address within %v", startTimeout)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	s.end(false)
	return fmt.Errorf("%w; its output: %s", err, s.output.last())
}

// run starts the process. The thread that starts it must live as long as it,
// for the system ends the process when that thread ends.
func (s *Server) run(cmd *exec.Cmd) error {
	ownGroup(cmd)
	started, exited := make(chan error), s.exited
	go func() {
		goruntime.LockOSThread()
		defer goruntime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
			close(exited)
		}
	}()
	return <-started
}

// Restart ends the process, at once if killed, else politely, and starts
// another one on the same home and port. It blocks until that one has printed
// its address; after an error there is none.
func (s *Server) Restart(ctx context.Context, killed bool) error {
	select {
	case <-s.exited:
		return fmt.Errorf("the server ended by itself; its last output: %s", s.output.last())
	default:
	}
	if err := s.end(killed); err != nil {
		return err
	}
	return s.start(ctx)
}

// end ends the process and its children. It is done when they have gone; the
// error is that of a process that had to be killed and should not.
func (s *Server) end(killed bool) (err error) {
	select {
	case <-s.exited:
	default:
		endGroup(s.PID, killed)
	}
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
		err = fmt.Errorf("the server did not stop within %v and was killed", stopTimeout)
	}
	endGroup(s.PID, true)
	<-s.exited
	return err
}

// Stop ends the server and its children, at first politely, and removes its
// home. It blocks until the process has gone.
func (s *Server) Stop() error {
	var err error
	select {
	case <-s.exited:
		err = fmt.Errorf("the server ended by itself; its last output: %s", s.output.last())
	default:
		err = s.end(false)
	}
	if e := os.RemoveAll(s.dir); e != nil && err == nil {
		err = fmt.Errorf("removing the temporary home: %w", e)
	}
	return err
}

// Ports are looked for below those that systems give to outgoing connections
// (from 32768 on Linux, 49152 elsewhere): while the server is away, a stream
// that comes back could be given its port, and meet itself there.
const firstPort, lastPort = 10_000, 32_000

// freePort finds a port of the loopback address that nobody listens on.
func freePort() (port int, err error) {
	for range 100 {
		port = firstPort + mathrand.IntN(lastPort-firstPort)
		l, e := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if e == nil {
			l.Close()
			return port, nil
		}
		err = e
	}
	return 0, fmt.Errorf("finding a free port: %w", err)
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
