package plugins

import (
	"strings"
	"testing"

	"carillon/plugins/adapter/wire"
)

// What waits for an adapter that doesn't read is bounded in bytes, too: refusals are large.
func TestOutboxIsBoundedInBytes(t *testing.T) {
	var o outbox
	o.init()
	m := &wire.FromHost{Message: &wire.FromHost_Command{Command: &wire.Command{Data: strings.Repeat("x", 1<<20)}}}
	n := 0
	for o.put(m) {
		n++
	}
	if most := maxOutboxBytes>>20 + 1; n > most {
		t.Errorf("got %d MiB taken, want at most %d", n, most)
	}
	if _, ok := o.take(t.Context()); !ok || !o.put(m) {
		t.Error("there is no room for one when one was taken")
	}
}
