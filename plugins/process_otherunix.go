//go:build unix && !linux

package plugins

import (
	"errors"
	"os/exec"
	"syscall"
)

func prepare(cmd *exec.Cmd, as *account) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if as != nil {
		cmd.SysProcAttr.Credential = as.credential()
	}
	return nil
}

func limitMemory(int, int64) error {
	return errors.New("memory can be bounded on Linux only: take memory out of its configuration")
}

func awaitExit(int) bool { return false }
