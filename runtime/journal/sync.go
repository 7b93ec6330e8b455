package journal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	goruntime "runtime"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// SyncInterval is how often what was written is synced to the disk: how much a
// crash of the machine (not of the process) may lose. It is that of common
// file systems, and spares flash memory.
const SyncInterval = 5 * time.Second

// A syncer brings what changed under a folder to the disk. The server could,
// but would keep appends waiting meanwhile.
type syncer struct {
	seen map[string]stamp // as they were when last synced
}

type stamp struct {
	at   time.Time
	size int64
}

// sync syncs every file and folder of the journal under dir that is not as it was
// seen. Other folders in dir belong to others, whose files may not even be
// opened for writing, as programs that run.
func (s *syncer) sync(dir string) error {
	seen := make(map[string]stamp, len(s.seen))
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		if d.IsDir() && filepath.Dir(path) == filepath.Clean(dir) && d.Name() != server.JetStreamStoreDir && path != dir {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil || (!d.IsDir() && !d.Type().IsRegular()) {
			return nil
		}
		now := stamp{info.ModTime(), info.Size()}
		if s.seen[path] != now {
			err = syncFile(path)
		}
		seen[path] = now
		return err
	})
	if err == nil {
		s.seen = seen
	}
	return err
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

// keepSynced syncs what was stored every SyncInterval, and notes the head that
// is then on the disk, until run ends. Only it writes the mark meanwhile.
func (j *Journal) keepSynced() {
	defer close(j.synced)
	tick := time.NewTicker(SyncInterval)
	defer tick.Stop()
	var s syncer
	for {
		select {
		case <-j.done:
			return
		case <-tick.C:
		}
		if !j.unsynced.Swap(false) {
			continue
		}
		head := j.durable.Load()
		err := s.sync(j.dir)
		if err == nil {
			err = (mark{Boot: j.boot, Head: head}).write(j.dir, false)
		}
		if err != nil {
			j.unsynced.Store(true)
			j.log.Error("journal: syncing to the disk", "error", err)
		}
	}
}
