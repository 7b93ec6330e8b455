package loadtest

import (
	"os/exec"
	"syscall"
)

// ownGroup puts the process in a group of its own, so that a ^C at the
// terminal reaches the load test alone, and lets it end if its parent dies.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
