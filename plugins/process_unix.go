//go:build unix

package plugins

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// killGroup ends a process and all that it started. It is called before the
// process is reaped.
func killGroup(p *os.Process) {
	if p.Pid > 1 && syscall.Kill(-p.Pid, syscall.SIGKILL) == nil {
		return
	}
	p.Kill() // it has ended, or is not yet the leader of its group
}

func isBusy(err error) bool { return errors.Is(err, syscall.ETXTBSY) }

// An account is a user that an adapter runs as.
type account struct{ uid, gid uint32 }

func (a *account) credential() *syscall.Credential {
	return &syscall.Credential{Uid: a.uid, Gid: a.gid}
}

// own gives a folder to the user.
func (a *account) own(dir string) error { return os.Chown(dir, int(a.uid), int(a.gid)) }

func findAccount(name string) (*account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return nil, fmt.Errorf("there is no user %.100q", name)
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &account{uint32(uid), uint32(gid)}, nil
}

// Executables are known by their permission to be executed.
const byPermission = true
