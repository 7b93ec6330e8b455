//go:build unix

package adapter

import (
	"io"
	"syscall"
	"testing"
	"time"

	"carillon/plugins/adapter/wire"
)

// TestSIGTERMDrains publishes everything before the process ends.
func TestSIGTERMDrains(t *testing.T) {
	t.Parallel()
	a := start(t, "lamp")
	session := a.open(`{"last":5}`, &wire.Welcome{Credit: 2})
	items := 0
	for m, err := session.Recv(); err != io.EOF; m, err = session.Recv() {
		if err != nil {
			t.Fatalf("session: got %v after %d items, want its end in order", err, items)
		}
		if items == 0 {
			if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
		if b := m.GetBatch(); b != nil {
			items += len(b.Items)
			ack(session, b)
		}
	}
	if items != 6 {
		t.Errorf("got %d items, want 6", items)
	}
	if code := a.exited(20 * time.Second); code != 0 {
		t.Errorf("exit status: got %d, want 0", code)
	}
}
