package worker

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	goruntime "runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// startWithin is how long a worker may take until it answers.
	startWithin = 10 * time.Second
	// endWithin is how long a worker may take to end by itself.
	endWithin = 200 * time.Millisecond
	// directBytes fit into a pipe that nothing is in.
	directBytes = 32 << 10
)

// A spawning is a process to be started.
type spawning struct {
	cmd  *exec.Cmd
	done chan error
}

// spawnAll starts processes, all from one thread: on Linux they are killed when
// that ends, which is when the Pool is closed or when this process is gone.
func (p *Pool) spawnAll() {
	goruntime.LockOSThread()
	for {
		select {
		case s := <-p.spawn:
			s.done <- s.cmd.Start()
		case <-p.ctx.Done():
			return
		}
	}
}

// A process is a worker that runs. Its methods belong to who has the lane's
// turn.
type process struct {
	cmd     *exec.Cmd
	page    *sharedPage
	place   *atomic.Uint64     // which filter runs; see placeOf
	framed  bool               // the reader keeps place, from frames: there is no page
	loaded  map[uint32]*Filter // what it was told to load
	stdin   io.WriteCloser
	input   chan []byte   // to the writer; closed by end
	free    chan []byte   // buffers that are written
	replies chan any      // *part, loaded, greedy; closed by the reader
	ended   chan struct{} // closed by the reader once the process is reaped
	stderr  excerpt
}

// A greedy is a filter that the worker dropped.
type greedy struct {
	id     uint32
	reason string
}

// start starts a worker and waits until it answers.
func (p *Pool) start() (*process, error) {
	cmd, err := p.command()
	if err != nil {
		return nil, err
	}
	w := &process{
		cmd: cmd, place: new(atomic.Uint64), loaded: map[uint32]*Filter{},
		input: make(chan []byte, 2*window), free: make(chan []byte, 2*window),
		replies: make(chan any, 16), ended: make(chan struct{}),
	}
	if !p.noPage {
		w.page = newSharedPage()
	}
	if w.framed = w.page == nil; !w.framed {
		w.page.pass(cmd)
		w.place = w.page.word()
	}
	cmd.Stderr = &w.stderr
	stdout, err := w.launch(p)
	if err != nil {
		w.closePage()
		return nil, fmt.Errorf("starting a filter worker: %w", err)
	}
	p.started.Add(1)
	go w.write()
	go w.read(stdout)
	w.input <- w.hello(p.o.Memory)
	select {
	case _, ok := <-w.replies:
		if ok {
			return w, nil
		}
		w.end(false)
		return nil, fmt.Errorf("starting a filter worker: %s", w.lastWords())
	case <-time.After(startWithin):
		w.end(true)
		return nil, fmt.Errorf("starting a filter worker: no answer within %v", startWithin)
	}
}

func (p *Pool) command() (*exec.Cmd, error) {
	argv := p.o.Command
	if len(argv) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("finding this program, to start a filter worker: %w", err)
		}
		if name := strings.TrimSuffix(self, ".exe"); strings.HasSuffix(name, ".test") {
			return nil, errors.New("a test's binary is no filter worker: set Options.Command")
		}
		if self, err = executable(); err != nil {
			return nil, fmt.Errorf("finding this program, to start a filter worker: %w", err)
		}
		argv = []string{self, "filter-worker"}
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = []string{} // nothing of ours is a filter's business
	prepare(cmd)
	return cmd, nil
}

// launch starts the process from the spawner's thread.
func (w *process) launch(p *Pool) (stdout io.ReadCloser, err error) {
	if w.stdin, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if stdout, err = w.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	s := spawning{w.cmd, make(chan error, 1)}
	select {
	case p.spawn <- s:
		return stdout, <-s.done
	case <-p.ctx.Done():
		return nil, ErrClosed
	}
}

func (w *process) hello(memory int64) []byte {
	b, start := beginFrame(nil, kindHello)
	b = binary.AppendUvarint(b, protocolVersion)
	b = binary.AppendUvarint(b, uint64(memory))
	page := byte(0)
	if w.page != nil {
		page = 1
	}
	return endFrame(append(b, page), start)
}

// write is the writer.
func (w *process) write() {
	for b := range w.input {
		w.put(b)
	}
	w.stdin.Close()
}

// put writes b and keeps its memory for another message. What can't be written
// is not missed: the reader sees the process's end.
func (w *process) put(b []byte) {
	w.stdin.Write(b)
	select {
	case w.free <- b[:0]:
	default:
	}
}

// buffer returns memory for a message.
func (w *process) buffer() []byte {
	select {
	case b := <-w.free:
		return b
	default:
		return make([]byte, 0, 4<<10)
	}
}

// send gives b to the process; idle says that it waits for it.
func (w *process) send(b []byte, idle bool) {
	if idle && len(b) <= directBytes {
		w.put(b)
		return
	}
	w.input <- b
}

// read is the reader.
func (w *process) read(stdout io.Reader) {
	r := bufio.NewReaderSize(stdout, 64<<10)
	for {
		kind, body, err := readFrame(r, maxReply)
		if err != nil {
			break
		}
		d := &decoder{s: body}
		var reply any
		switch kind {
		case kindReady:
			if d.uint() != protocolVersion {
				d.fail()
			}
			reply = struct{}{}
		case kindAt:
			w.place.Store(d.uint())
			continue
		case kindLoaded:
			reply = d.loaded()
		case kindPart:
			if w.framed {
				w.place.Store(0)
			}
			reply = d.part()
		case kindGreedy:
			reply = greedy{uint32(d.uint()), d.str()}
		default:
			d.fail()
		}
		if d.bad {
			break
		}
		w.replies <- reply
	}
	w.cmd.Process.Kill() // it may still run if what it wrote is nonsense
	io.Copy(io.Discard, r)
	w.cmd.Wait()
	close(w.replies)
	close(w.ended)
}

// end ends the process: by killing it, or by the end of its input.
func (w *process) end(kill bool) {
	if kill {
		w.cmd.Process.Kill()
	}
	close(w.input)
	late := time.NewTimer(endWithin)
	defer late.Stop()
	for {
		select {
		case <-w.replies: // the reader may wait for room
		case <-late.C:
			w.cmd.Process.Kill()
		case <-w.ended:
			w.closePage()
			return
		}
	}
}

func (w *process) closePage() {
	if w.page != nil {
		w.place = new(atomic.Uint64)
		w.page.close()
		w.page = nil
	}
}

// lastWords says how the process ended, once it has.
func (w *process) lastWords() string {
	text := w.stderr.String()
	switch {
	case strings.Contains(text, "out of memory"), strings.Contains(text, "cannot allocate memory"),
		w.cmd.ProcessState != nil && w.cmd.ProcessState.ExitCode() == exitMemory:
		return "took too much memory"
	case strings.Contains(text, "stack"):
		return "called itself too deeply"
	}
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if line != "" {
		line = ": " + clip(line, 200)
	}
	return fmt.Sprintf("ended its process (%v)%s", w.cmd.ProcessState, line)
}

// killed reports whether somebody else killed the process, once it has ended:
// that is no filter's doing.
func (w *process) killed() bool {
	return strings.HasPrefix(w.cmd.ProcessState.String(), "signal: killed")
}

// An excerpt keeps the beginning of what is written to it.
type excerpt struct {
	mu sync.Mutex
	b  []byte // Guarded by mu.
}

const maxExcerpt = 2 << 10

// Write is of io.Writer.
func (x *excerpt) Write(b []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.b = append(x.b, b[:min(len(b), maxExcerpt-len(x.b))]...)
	return len(b), nil
}

func (x *excerpt) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return string(x.b)
}

// slot waits until a process may be started. Idle workers of other domains are
// ended for it, the one first that was used longest ago.
func (p *Pool) slot(ctx context.Context) error {
	for {
		select {
		case p.slots <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-p.ctx.Done():
			return ErrClosed
		default:
		}
		if !p.endIdlest() {
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
			case <-p.ctx.Done():
			}
		}
	}
}

// endIdlest ends the worker that has been idle longest and reports whether
// there was one.
func (p *Pool) endIdlest() bool {
	p.mu.Lock()
	var idlest *lane
	for _, l := range p.lanes {
		select {
		case l.turn <- struct{}{}:
		default:
			continue
		}
		if l.proc == nil || idlest != nil && idlest.used.Before(l.used) {
			<-l.turn
			continue
		}
		if idlest != nil {
			<-idlest.turn
		}
		idlest = l
	}
	p.mu.Unlock()
	if idlest == nil {
		return false
	}
	idlest.stop()
	<-idlest.turn
	return true
}
