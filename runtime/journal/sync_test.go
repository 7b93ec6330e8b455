package journal

import (
	"os"
	"path/filepath"
	"testing"
)

// What others keep beside the journal is not the journal's to sync, and can't keep it
// from it: a file without permissions stands for a program that runs.
func TestSyncingLeavesOthersAlone(t *testing.T) {
	dir := t.TempDir()
	for file, mode := range map[string]os.FileMode{
		"mark": 0o600, "jetstream/a/b/1.blk": 0o600, "plugins/running": 0, "plugins/state/jetstream/x": 0,
	} {
		file = filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("x"), mode); err != nil {
			t.Fatal(err)
		}
	}
	var s syncer
	if err := s.sync(dir); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]bool{
		"": true, "mark": true, "jetstream": true, "jetstream/a/b/1.blk": true, "plugins": false, "plugins/running": false, "plugins/state/jetstream/x": false,
	} {
		if _, got := s.seen[filepath.Join(dir, file)]; got != want {
			t.Errorf("%q synced: got %v, want %v", file, got, want)
		}
	}
}
