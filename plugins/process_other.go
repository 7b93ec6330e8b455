//go:build !unix

package plugins

import (
	"errors"
	"os"
	"os/exec"
)

func prepare(*exec.Cmd, *account) error { return nil }

func limitMemory(int, int64) error {
	return errors.New("memory can be bounded on Linux only: take memory out of its configuration")
}

func awaitExit(int) bool { return false }

func killGroup(p *os.Process) { p.Kill() }

func isBusy(error) bool { return false }

// An account is a user that an adapter runs as.
type account struct{}

func (*account) own(string) error { return nil }

func findAccount(string) (*account, error) {
	return nil, errors.New("an adapter can't run as another user on this system: take user out of its configuration")
}

// Executables are known by their name, *.exe.
const byPermission = false
