package journal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	goruntime "runtime"
)

// syncTree brings everything under dir to the disk: the server does not when it
// stops. What is there already costs next to nothing.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if !d.IsDir() && !d.Type().IsRegular() {
			return nil
		}
		return syncFile(path)
	})
}

// syncFile syncs a file or, where the system can, a folder's entries.
func syncFile(path string) error {
	flag := os.O_RDWR
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		if goruntime.GOOS == "windows" {
			return nil
		}
		flag = os.O_RDONLY
	}
	f, err := os.OpenFile(path, flag, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
