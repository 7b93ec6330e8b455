//go:build unix

package plugins

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"
)

// A guard is a process that ends what the server leaves behind when it is killed: the
// process groups of the adapters, and the folder of their sockets. Linux kills an adapter when its parent dies, but not what
// the adapter has started, and other systems kill nothing. It is started with the first
// adapter.
type guard struct {
	mu sync.Mutex
	// Guarded by mu.
	in     *os.File // tells it what there is; nil: it does not run
	cmd    *exec.Cmd
	ended  chan struct{} // closed when it has ended
	groups []int

	// Of the last add.
	sockets string
	log     *slog.Logger
}

// guardScript reads the numbers of groups that begin (+) and end (-), and kills those that
// are left when the server is gone, and removes the folder $1.
const guardScript = `trap '' INT TERM HUP
groups=
while read -r sign group; do
  left=
  for g in $groups; do [ "$g" = "$group" ] || left="$left $g"; done
  groups=$left
  [ "$sign" = - ] || groups="$groups $group"
done
for g in $groups; do kill -KILL "-$g"; done
rm -rf -- "$1"
`

// guardPatience is how long the guard may take to read a line, or to end.
const guardPatience = time.Second

// add has a group killed, and the folder removed, when the server is killed. It is the same
// folder each time.
func (g *guard) add(group int, sockets string, log *slog.Logger) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.groups = append(g.groups, group)
	g.sockets, g.log = sockets, log
	if g.in == nil || !g.tell('+', group) {
		g.renew()
	}
}

// remove says that a group has ended. It is called before its number can be another's.
func (g *guard) remove(group int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.groups = slices.DeleteFunc(g.groups, func(other int) bool { return other == group })
	if g.in != nil && !g.tell('-', group) {
		g.renew()
	}
}

// renew starts the process, in place of one that somebody has ended or stopped. Callers hold
// mu.
func (g *guard) renew() {
	g.kill()
	if err := g.start(); err != nil {
		g.log.Warn("starting the guard of the adapters: what they start may outlive a server that is killed", "err", err)
		return
	}
	for _, group := range g.groups {
		g.tell('+', group)
	}
}

// close ends the guard.
func (g *guard) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stop()
}

// tell writes a line. Callers hold mu.
func (g *guard) tell(sign rune, group int) bool {
	g.in.SetWriteDeadline(time.Now().Add(guardPatience))
	_, err := fmt.Fprintf(g.in, "%c %d\n", sign, group)
	return err == nil
}

// start starts the process. Callers hold mu.
func (g *guard) start() error {
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command("/bin/sh", "-c", guardScript, "guard", g.sockets)
	cmd.Args[0] = "carillon-guard"
	cmd.Dir, cmd.Env, cmd.Stdin = "/", []string{"PATH=/usr/bin:/bin"}, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a terminal's signals are not for it
	if err := cmd.Start(); err != nil {
		in.Close()
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cmd.Wait()
	}()
	g.in, g.cmd, g.ended = in, cmd, ended
	return nil
}

// stop ends the process, if it runs. Callers hold mu.
func (g *guard) stop() {
	if g.in == nil {
		return
	}
	g.in.Close()
	select {
	case <-g.ended:
		g.in = nil
	case <-time.After(guardPatience):
		g.kill()
	}
}

// kill ends the process, if it runs, without its doing anything. Callers hold mu.
func (g *guard) kill() {
	if g.in == nil {
		return
	}
	g.cmd.Process.Kill()
	<-g.ended
	g.in.Close()
	g.in = nil
}
