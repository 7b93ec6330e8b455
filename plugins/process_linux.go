package plugins

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// prepare gives the process a group of its own, and has it killed when the
// server dies.
func prepare(cmd *exec.Cmd, as *account) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if as != nil {
		cmd.SysProcAttr.Credential = as.credential()
	}
	return nil
}

// limitMemory bounds the data segment: an address space would not do, as Go
// programs reserve a great deal of it.
func limitMemory(pid int, bytes int64) error {
	limit := unix.Rlimit{Cur: uint64(bytes), Max: uint64(bytes)}
	return unix.Prlimit(pid, unix.RLIMIT_DATA, &limit, nil)
}

// awaitExit waits until the process has ended, and leaves it unreaped, so that
// its number still is its own.
func awaitExit(pid int) bool {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err == nil
		}
	}
}
