package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"carillon/internal/loadtest"
)

// TestChaos is the soak in small: connections cut within frames, stalled
// readers, and a server of its own that is killed and stopped.
func TestChaos(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "report.json")
	var stdout, stderr lockedBuffer
	status := runLoadtest([]string{"-chaos", "-streams", "200", "-duration", "10s", "-restart-every", "2s", "-kill-every", "2s",
		"-stall-every", "4s", "-stall-max", "8s", "-settle", "100ms", "-json", file}, &stdout, &stderr)
	if status != 0 {
		t.Errorf("got exit status %d, want 0:\n%s\n%s", status, &stdout, &stderr)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r loadtest.Report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	c := r.Chaos
	if c == nil || c.Seed == 0 || c.KillsInFrame < 50 || c.Stalls < 50 || c.RestartsKill+c.RestartsTerm < 1 {
		t.Fatalf("got chaos %+v, want kills, stalls and a restart", c)
	}
	if want := 200 * r.Published; r.Published != 2000 || r.Delivered-r.PublishedTwice+r.Announced != want {
		t.Errorf("got %d deliveries (%d of events published twice) and %d announced as missing of %d published, want %d in all",
			r.Delivered, r.PublishedTwice, r.Announced, r.Published, want)
	}
}
