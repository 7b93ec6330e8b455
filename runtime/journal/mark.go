package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A mark is the small file that tells the next Open how this one ended.
type mark struct {
	Boot  string `json:"boot"`  // bootID of the process that had the journal open
	Clean bool   `json:"clean"` // closed, with everything synced
	Head  uint64 `json:"head"`  // the last sequence known to be stored when it was written
}

const markFile = "journal.json"

// readMark returns the mark; none is the zero mark, and so is a torn one.
func readMark(dir string) (mark, error) {
	var m mark
	text, err := os.ReadFile(filepath.Join(dir, markFile))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, err
	}
	if json.Unmarshal(text, &m) != nil {
		return mark{}, nil
	}
	return m, nil
}

// crashed reports whether the machine may have gone down while the journal was
// open, so that what was written last may be lost.
func (m mark) crashed(boot string) bool {
	return !m.Clean && (m.Boot == "" || m.Boot != boot)
}

// write replaces the mark; with sync it is on the disk afterwards.
func (m mark) write(dir string, sync bool) error {
	name := filepath.Join(dir, markFile)
	f, err := os.OpenFile(name+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	text, _ := json.Marshal(m)
	_, err = f.Write(append(text, '\n'))
	if err == nil && sync {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(name+".tmp", name)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if sync {
		return syncFile(dir)
	}
	return nil
}
