//go:build unix

package loadtest

import "syscall"

// endGroup asks, or with force makes, the processes of a group end.
func endGroup(pid int, force bool) {
	sig := syscall.SIGTERM
	if force {
		sig = syscall.SIGKILL
	}
	syscall.Kill(-pid, sig)
}
