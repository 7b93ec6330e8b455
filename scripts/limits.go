package scripts

import (
	"cmp"
	"time"
)

// Limits bound what one script may take. Zero values mean the defaults.
type Limits struct {
	// Handler is how long one run of a handler, a timer or what follows an
	// await may take, including the time it waits for the journal; default 1 s.
	// It is kept to within 20 ms.
	Handler time.Duration
	// Load is how long the top level of a file may take; default 2 s.
	Load time.Duration
}

const (
	// mailboxDepth holds a burst of events of some seconds at the rate of a
	// busy home, at about 100 bytes each beside the event itself.
	mailboxDepth = 16_384
	// maxCommands bounds the commands that wait for a script or run in it.
	maxCommands = 1_024
	// maxCalls bounds a script's own calls under way; each holds a goroutine.
	maxCalls = 256

	maxSubscriptions = 1_000
	maxTimers        = 1_000
	maxEntities      = 1_000
	maxServices      = 64     // commands of one entity
	maxHeldBack      = 10_000 // sets and emits of one top level

	maxCallStack = 512     // nested JavaScript calls
	maxSource    = 1 << 20 // bytes of a script
	maxRead      = 1 << 20 // bytes of one read()
	maxLogLine   = 4 << 10 // bytes of one log line
	maxMessage   = 2 << 10 // bytes of an error's message
	maxResponse  = 1 << 20 // bytes of a command's response

	// handOver is how long a reload waits for the old generation's running
	// handler before it is interrupted.
	handOver = 100 * time.Millisecond
	// giveUp is how long it takes until code that can't be interrupted (a
	// built-in function that does not end) is left behind.
	giveUp = time.Second
	// journalWait bounds how long reports and held back changes wait for the
	// journal.
	journalWait = 5 * time.Second
)

func (l Limits) withDefaults() Limits {
	l.Handler = cmp.Or(max(l.Handler, 0), time.Second)
	l.Load = cmp.Or(max(l.Load, 0), 2*time.Second)
	return l
}
