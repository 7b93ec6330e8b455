//go:build unix

package scripts

import (
	"errors"
	"fmt"
	"io"
	"os"
	goruntime "runtime"

	"golang.org/x/sys/unix"
)

// readRegular reads the regular file at path, whose elements are no links. It
// never waits for data: a FIFO or a device that has taken the file's place is
// opened without waiting, and refused.
func readRegular(path string) (string, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	})
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return "", err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return "", errNotRegular
	}
	if goruntime.GOOS == "linux" {
		// A folder on the way may have become a link since it was looked at.
		if opened, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil && opened != path {
			return "", errReplaced
		}
	}
	return readAll(rawFile(fd))
}

// A rawFile is read without the poller: what has no data for now (as
// /proc/kmsg) is an error, not a wait.
type rawFile int

func (f rawFile) Read(b []byte) (int, error) {
	n, err := retry(func() (int, error) { return unix.Read(int(f), b) })
	switch {
	case errors.Is(err, unix.EAGAIN):
		return 0, errors.New("it has no data for now")
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

func retry(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR {
			return n, err
		}
	}
}
