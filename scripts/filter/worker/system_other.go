//go:build !linux

package worker

import (
	"os"
	"os/exec"
	"sync/atomic"
	"time"
)

// executable is the file of the program that runs.
func executable() (string, error) { return os.Executable() }

// prepare does nothing here: the end of its input ends a worker.
func prepare(*exec.Cmd) {}

// processors is how many a worker may use at a time: one for the filter, one for
// the reader of the pipe, which would have to wait for the other.
const processors = 2

// A sharedPage is not to be had here: the worker tells by frames which filter
// runs.
type sharedPage struct{}

func newSharedPage() *sharedPage              { return nil }
func (*sharedPage) pass(*exec.Cmd)            {}
func (*sharedPage) word() *atomic.Uint64      { return nil }
func (*sharedPage) close()                    {}
func openPage() *atomic.Uint64                { return nil }
func processorTime(int) (time.Duration, bool) { return 0, false }
func polled[T any](pipe T) T                  { return pipe }

// restrict watches the memory: the systems here have no limit that Go heeds.
// What is allocated at one go between two looks is not held back.
func restrict(memory int64) {
	collectAt(memory)
	go watchMemory(memory)
}
