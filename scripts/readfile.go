package scripts

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// readFile returns what the file at name holds, at most maxRead bytes of it.
// Allowed says whether a path may be read: it is asked for name, and for where
// name's links lead, unless that is within the same /proc or /sys. Only
// regular files are read, and none that makes the reader wait for data.
func readFile(name string, allowed func(path string) error) (string, error) {
	if err := allowed(name); err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return "", reading(name, err)
	}
	if slashed := filepath.ToSlash(real); real != name && (secret(slashed) || !sameKernelTree(name, slashed)) {
		if err := allowed(real); err != nil {
			return "", fmt.Errorf("%s leads to another file: %w", name, err)
		}
	}
	// Opening a device can do something to it, so look before.
	info, err := os.Lstat(real)
	if err == nil && !info.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		return "", reading(name, err)
	}
	content, err := readRegular(real)
	if err != nil {
		return "", reading(name, err)
	}
	return strings.ToValidUTF8(content, "\uFFFD"), nil
}

var (
	errNotRegular = errors.New("it is no regular file")
	errReplaced   = errors.New("it was replaced while it was opened; try again")
	errTooLarge   = fmt.Errorf("it is larger than %d bytes", maxRead)
)

func reading(name string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return fmt.Errorf("reading %s: %w", name, err)
}

// readAll reads r to its end, or fails when that is not within maxRead.
func readAll(r io.Reader) (string, error) {
	content, err := io.ReadAll(io.LimitReader(r, maxRead+1))
	if err == nil && len(content) > maxRead {
		err = errTooLarge
	}
	return string(content), err
}
