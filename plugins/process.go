package plugins

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	goruntime "runtime"
)

// A process is an adapter's process, and go-plugin's runner.Runner for it. Its
// output never reaches go-plugin but for the first line.
type process struct {
	// Static after start.
	cmd     *exec.Cmd
	spawn   *spawner
	guard   *guard
	sockets *socketFolder
	log     *slog.Logger
	memory  int64
	hello   *hello
	lines   func(stream, line string, more int) // gets stdout behind the first line, and stderr
	exited  chan struct{}                       // closed by wait

	ended error         // how it ended; valid once exited
	quiet chan struct{} // closed by wait: what it printed is read

	mu sync.Mutex
	// Guarded by mu.
	reaped bool   // its number may be another's by now
	killed bool   // by us
	said   string // the line of its standard error that tells most of why it ended
}

// A spawner starts processes, all on one thread that lives as long as it: Linux
// kills a process when the thread that started it ends.
type spawner struct {
	jobs  chan func()
	limit func(pid int, bytes int64) error // bounds a process's memory
}

func (s *spawner) run(ctx context.Context) {
	goruntime.LockOSThread() // and never unlocked: the thread ends with this goroutine
	for {
		select {
		case job := <-s.jobs:
			job()
		case <-ctx.Done():
			return
		}
	}
}

func (s *spawner) start(ctx context.Context, cmd *exec.Cmd) error {
	started := make(chan error, 1)
	select {
	case s.jobs <- func() { started <- startProgram(cmd) }:
		return <-started
	case <-ctx.Done():
		return ctx.Err()
	}
}

// startProgram starts cmd. A program that was just written may still be open for
// writing in a child that another goroutine is starting: that takes milliseconds.
func startProgram(cmd *exec.Cmd) error {
	for tries := 0; ; tries++ {
		attempt := *cmd
		err := attempt.Start()
		if err == nil {
			*cmd = attempt
			return nil
		}
		if !isBusy(err) || tries == 50 {
			return err
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Start implements runner.Runner.
func (p *process) Start(ctx context.Context) error {
	outR, outW, err := os.Pipe()
	if err != nil {
		return err
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		outR.Close()
		outW.Close()
		return err
	}
	p.cmd.Stdout, p.cmd.Stderr = outW, errW
	err = p.spawn.start(ctx, p.cmd)
	outW.Close()
	errW.Close()
	if err != nil {
		outR.Close()
		errR.Close()
		return &failure{Reason: ReasonStart, Err: unstarted(err)}
	}
	p.guard.add(p.cmd.Process.Pid, p.sockets.get(), p.log)
	limited := p.limitMemory() // before wait: its number is its own until it is reaped
	var readers sync.WaitGroup
	readers.Go(func() { p.readOut(outR) })
	readers.Go(func() {
		readLines(errR, func(line string, more int) {
			p.note(line)
			p.lines("stderr", line, more)
		})
	})
	go p.wait(&readers, outR, errR)
	if limited != nil {
		p.hello.Close() // go-plugin won't read it
		p.kill()
		return limited
	}
	return nil
}

// unstarted says what is wrong with an executable that the system doesn't start. What it says
// names the copy that is executed, which the user has not seen.
func unstarted(err error) error {
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("it is no program for this machine, nor a script that begins with #! (%w)", syscall.ENOEXEC)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("what runs it is not on this machine: what a script names behind #!, or the loader of a program (%w)", fs.ErrNotExist)
	}
	return err
}

// ends matches lines with which a Go program ends, behind which come its goroutines; blames
// those of Node.js and Python; and details what comes behind these: places, the parts of an
// object, and versions.
var (
	ends    = regexp.MustCompile(`^(panic|fatal error): `)
	blames  = regexp.MustCompile(`^(Uncaught )?[\w.$]*(Error|Exception)( \[\w+\])?: `)
	details = regexp.MustCompile(`^(\s.*|[{}\]].*|Node\.js v.*)?$`)
)

// note keeps what a line tells of the process's end: the last one, or the one before its
// details that says why.
func (p *process) note(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ends.MatchString(p.said) || blames.MatchString(p.said) && details.MatchString(line) || strings.TrimSpace(line) == "" {
		return
	}
	p.said = line
}

// how returns how the process ended, with what it said last. It has exited.
func (p *process) how() error {
	var exit *exec.ExitError
	if !errors.As(p.ended, &exit) || !exit.Exited() {
		return p.ended // it was killed, which is not its own doing
	}
	select {
	case <-p.quiet:
	case <-time.After(20 * time.Millisecond): // somebody else holds its standard error open
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.said == "" {
		return p.ended
	}
	return fmt.Errorf("%w, and it said: %.300s", p.ended, p.said)
}

// limitMemory bounds the memory of the process, if that is asked for.
func (p *process) limitMemory() error {
	if p.memory == 0 {
		return nil
	}
	if err := p.spawn.limit(p.cmd.Process.Pid, p.memory); err != nil {
		return &failure{Reason: ReasonStart, Err: fmt.Errorf("bounding its memory: %w", err), permanent: true}
	}
	return nil
}

// wait notices the end of the process, then ends what it started.
func (p *process) wait(readers *sync.WaitGroup, pipes ...*os.File) {
	var err error
	if awaitExit(p.cmd.Process.Pid) {
		p.mu.Lock()
		killGroup(p.cmd.Process)
		p.guard.remove(p.cmd.Process.Pid)
		err = p.cmd.Wait()
	} else {
		err = p.cmd.Wait()
		p.mu.Lock()
		killGroup(p.cmd.Process)
		p.guard.remove(p.cmd.Process.Pid)
	}
	p.reaped = true
	p.mu.Unlock()
	if p.ended = err; err == nil {
		p.ended = errors.New("exit status 0")
	}
	close(p.exited)
	// Its last words may still be in the pipes, and somebody who left the group may
	// hold them open for ever.
	go func() {
		readers.Wait()
		close(p.quiet)
	}()
	select {
	case <-p.quiet:
	case <-time.After(200 * time.Millisecond):
	}
	for _, f := range pipes {
		f.Close()
	}
}

// kill ends the process and its group, and waits until it is gone.
func (p *process) kill() {
	p.mu.Lock()
	started := p.pid() != 0
	if started && !p.reaped {
		p.killed = true
		killGroup(p.cmd.Process)
	}
	p.mu.Unlock()
	if started {
		<-p.exited
	}
}

// wasKilled reports whether it ended by kill. It is to be called when it has
// exited.
func (p *process) wasKilled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.killed && p.cmd.ProcessState.ExitCode() <= 0
}

// A hello is the first line of stdout, for go-plugin to read.
type hello struct {
	io.ReadCloser
	w *io.PipeWriter
}

func newHello() *hello {
	r, w := io.Pipe()
	return &hello{r, w}
}

// readOut gives go-plugin the first line, and what follows to the log.
func (p *process) readOut(r io.Reader) {
	in := bufio.NewReaderSize(r, maxHello)
	line, err := in.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		line = fmt.Appendf(nil, "a line of more than %d bytes", maxHello)
	}
	if len(line) > 0 {
		p.hello.w.Write(append(bytes.TrimRight(line, "\r\n"), '\n')) // it fails when go-plugin has given up, which says why
	}
	p.hello.w.Close()
	readLines(in, func(line string, more int) { p.lines("stdout", line, more) })
}

// Wait implements runner.Runner.
func (p *process) Wait(context.Context) error {
	<-p.exited
	return p.ended
}

// Kill implements runner.Runner.
func (p *process) Kill(context.Context) error {
	p.kill()
	return nil
}

// Stdout implements runner.Runner.
func (p *process) Stdout() io.ReadCloser { return p.hello }

// Stderr implements runner.Runner.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name implements runner.Runner.
func (p *process) Name() string { return p.cmd.Path }

// ID implements runner.Runner.
func (p *process) ID() string { return strconv.Itoa(p.pid()) }

func (p *process) pid() int {
	if p.cmd == nil || p.cmd.Process == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Diagnose implements runner.Runner.
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.Runner. An adapter is on this machine.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	switch network {
	case "unix":
		return network, address, nil
	case "tcp":
		host, _, err := net.SplitHostPort(address)
		if ip := net.ParseIP(host); err == nil && ip.IsLoopback() {
			return network, address, nil
		}
	}
	return "", "", fmt.Errorf("it listens on %.100s %.200q, which is not on this machine", network, address)
}

// HostToPlugin implements runner.Runner.
func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
