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
type account struct {
	uid, gid uint32
	groups   []uint32 // all that it is in: those of serial ports, pins and cameras let it in
}

func (a *account) credential() *syscall.Credential {
	return &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: a.groups}
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
	ids, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("finding the groups of the user %.100q: %w", name, err)
	}
	numbers := make([]uint32, 0, len(ids)+2)
	for _, text := range append([]string{u.Uid, u.Gid}, ids...) {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, uint32(n))
	}
	return &account{numbers[0], numbers[1], numbers[2:]}, nil
}

// Executables are known by their permission to be executed.
const byPermission = true
