//go:build unix && !linux

package loadtest

import (
	"os/exec"
	"syscall"
)

// ownGroup puts the process in a group of its own, so that a ^C at the
// terminal reaches the load test alone.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}
