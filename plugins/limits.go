package plugins

import "time"

const (
	// Credit is how many items an adapter may have on their way to the journal:
	// some 50 ms of 100,000 items a second.
	Credit = 8192
	// MaxBatch is how many items a batch may have.
	MaxBatch = 1024
	// MaxMessage is the largest message of an adapter, in bytes.
	MaxMessage = 4 << 20

	// maxQueuedBytes bounds the batches that wait for the journal, in bytes; beyond
	// it the adapter's messages are left in its socket.
	maxQueuedBytes = 16 << 20
	// maxEntities bounds what one adapter declares.
	maxEntities = 20_000
	// maxServices bounds the commands that one entity takes.
	maxServices = 64
	// maxCommands is how many commands may wait for one adapter's answer.
	maxCommands = 256
	// maxResponse is the largest response of a command, in bytes.
	maxResponse = 1 << 20
	// maxProgram is the largest executable, in bytes.
	maxProgram = 1 << 30
	// maxLine is how much of a line of a log is kept, in bytes.
	maxLine = 4 << 10
	// maxHello is the longest first line of stdout: a certificate takes 1 to 3 KB.
	maxHello = 16 << 10
	// maxProposals is how many proposals of one adapter the journal has at once.
	maxProposals = 64
	// reportsDepth is what the host's own events may wait for the journal.
	reportsDepth = 1024
)

// times are the host's patience; tests have less of it.
type times struct {
	start    time.Duration // until the handshake is done
	call     time.Duration // Describe, and opening the session
	config   time.Duration // Configure
	health   time.Duration // Health
	healthy  time.Duration // until a new generation that replaces a ready one is ready
	poll     time.Duration // between two looks at the health; a hundredth of it while it is not ready
	beat     time.Duration // between two beats
	hang     time.Duration // until a beat must be answered
	drain    time.Duration // Drain, when it is to be replaced or stopped
	patience time.Duration // Drain, when that was asked for
	settle   time.Duration // commands under way, before Drain
	exit     time.Duration // from the end of the session to that of the process
	silent   time.Duration // until what a generation has not declared is unavailable if it isn't ready, and takes no commands
	claim    time.Duration // until what a new generation doesn't declare is let go
	first    time.Duration // back-off after the first crash
	most     time.Duration // the longest back-off
	window   time.Duration // in which maxCrashes crashes are too many, and without one all is well
	retry    time.Duration // between two tries of a journal that takes nothing
}

const maxCrashes = 5

var usualTimes = times{
	start: 10 * time.Second, call: 10 * time.Second, config: 30 * time.Second,
	health: time.Second, healthy: 10 * time.Second, poll: 10 * time.Second,
	beat: time.Second, hang: 5 * time.Second,
	drain: 5 * time.Second, patience: 30 * time.Second, settle: 2 * time.Second, exit: 500 * time.Millisecond,
	silent: 3 * time.Second, claim: 30 * time.Second,
	first: 500 * time.Millisecond, most: time.Minute, window: 10 * time.Minute,
	retry: 100 * time.Millisecond,
}
