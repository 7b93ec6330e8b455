//go:build unix

package plugins

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// sleeper starts a process in a group of its own, and tells of its end.
func sleeper(t *testing.T) (*exec.Cmd, <-chan struct{}) {
	cmd := exec.Command("sleep", "600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cmd.Wait()
	}()
	t.Cleanup(func() { cmd.Process.Kill() })
	return cmd, ended
}

// A guard that was killed is started again with the next adapter, and knows of all.
func TestGuardThatIsKilled(t *testing.T) {
	var g guard
	sockets := filepath.Join(t.TempDir(), "a folder")
	if err := os.MkdirAll(filepath.Join(sockets, "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.close)
	log := slog.New(slog.DiscardHandler)
	guarded := func() (*exec.Cmd, <-chan struct{}) {
		cmd, ended := sleeper(t)
		g.add(cmd.Process.Pid, sockets, log)
		return cmd, ended
	}
	_, first := guarded()
	if err := g.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-g.ended
	_, second := guarded()
	third, _ := guarded()
	g.remove(third.Process.Pid)
	g.in.Close() // as the end of the server does
	for i, ended := range []<-chan struct{}{first, second} {
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Errorf("process %d outlives the server", i+1)
		}
	}
	<-g.ended
	if _, err := os.Stat(sockets); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder of the sockets: got %v, want it removed", err)
	}
	if !alive(third.Process.Pid) {
		t.Error("what was taken away from the guard is killed")
	}
}

// One that was stopped, and does not read, is replaced, and kills nobody when it goes on.
func TestGuardThatIsStopped(t *testing.T) {
	var g guard
	t.Cleanup(g.close)
	cmd, ended := sleeper(t)
	log := slog.New(slog.DiscardHandler)
	g.add(cmd.Process.Pid, t.TempDir(), log)
	first := g.cmd
	if err := first.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for i := 0; g.cmd == first && i < 100000; i++ { // until the pipe is full
		g.add(1<<22+i, t.TempDir(), log) // no process has such a number
		g.remove(1<<22 + i)
	}
	if g.cmd == first {
		t.Fatal("the guard that does not read is still in use")
	}
	first.Process.Signal(syscall.SIGCONT)
	g.close()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("the new guard does not know of the process")
	}
}
