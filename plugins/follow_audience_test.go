//go:build unix

package plugins

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"carillon/runtime"
)

// An audience is a bench whose adapters can follow; the journal lets go of what is
// before first.
type audience struct {
	*bench
	first atomic.Uint64
	reads atomic.Int64
}

func newAudience(t testing.TB, words string) *audience {
	a := &audience{}
	a.first.Store(1)
	a.bench = newBench(t, func(b *bench) {
		b.host.Epoch = "epoch1"
		b.host.First = a.first.Load
		b.host.Replay = a.replay(b)
	}, "ears", "listen "+words)
	a.awaitShown("light.listener", "listening")
	return a
}

func (a *audience) replay(b *bench) func(context.Context, uint64, func(*runtime.Event) bool) error {
	return func(ctx context.Context, after uint64, fn func(*runtime.Event) bool) error {
		a.reads.Add(1)
		return b.journal.Read(ctx, max(after, a.first.Load()-1), fn)
	}
}

func (a *audience) file() string { return filepath.Join(a.host.workDir("ears"), "heard") }

func (a *audience) heard() []heard { return readHeard(a.file()) }

// fire fires numbered events.
func (a *audience) fire(from, to int) {
	a.t.Helper()
	var events []runtime.NewEvent
	for n := from; n <= to; n++ {
		events = append(events, runtime.NewEvent{Type: "tick", Data: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n)), Source: "api"})
	}
	for part := range slices.Chunk(events, 500) {
		if _, err := a.rt.Fire(a.t.Context(), part...); err != nil {
			a.t.Fatal(err)
		}
	}
}

// ticks returns the numbers of the ticks that were heard, and -1 for a gap.
func (a *audience) ticks() (numbers []int) {
	for _, one := range a.heard() {
		var e struct {
			Data struct {
				N int `json:"n"`
			} `json:"data"`
		}
		switch {
		case one.Gap != nil:
			numbers = append(numbers, -1)
		case one.Type == "tick" && json.Unmarshal(one.JSON, &e) == nil:
			numbers = append(numbers, e.Data.N)
		}
	}
	return numbers
}

// awaitTick waits until a tick is the last that was heard.
func (a *audience) awaitTick(n int) {
	a.t.Helper()
	a.await(fmt.Sprintf("tick %d is heard", n), func() bool {
		text, err := readEnd(a.file(), 4096)
		return err == nil && strings.Contains(text[strings.LastIndexByte(strings.TrimSpace(text), '\n')+1:], fmt.Sprintf(`{"n":%d}`, n))
	})
}

// readEnd returns the last bytes of a file: all of it may be long, and is looked at often.
func readEnd(name string, bytes int64) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if _, err := f.Seek(-bytes, io.SeekEnd); err != nil { // it is shorter
		f.Seek(0, io.SeekStart)
	}
	text, err := io.ReadAll(f)
	return string(text), err
}

// awaitFollow waits until the adapter has a follow that has heard of the newest event.
func (a *audience) awaitFollow() {
	a.t.Helper()
	a.await("it follows", func() bool { s := a.status("ears"); return s.Follows == 1 && s.FollowLag == 0 })
}
