package scripts

import (
	"sync"

	"carillon/runtime"
)

// A job is one thing for a generation to do: one of the three.
type job struct {
	event *runtime.Event  // an event,
	subs  []*subscription // for these handlers

	command *command // a command

	resume func() // the end of a call that this generation made
}

// A mailbox is the queue of one generation. Jobs come from any goroutine, and
// never wait; the generation's own goroutine takes them, one at a time.
type mailbox struct {
	wake chan struct{} // depth 1: something is to be looked at; never closed

	mu sync.Mutex
	// Guarded by mu.
	queue    []job
	events   int // of queue
	commands int // of queue, and those that have not answered
	working  bool
	paused   bool
	closed   bool
	rested   chan struct{} // closed when the present job is done; nil when nobody waits
	lost     gap
}

// A gap is a run of events that a script missed.
type gap struct {
	from, to uint64 // sequences
	events   int
}

func newMailbox() *mailbox { return &mailbox{wake: make(chan struct{}, 1)} }

// put queues j, or says why not. An event that finds no room is counted.
func (b *mailbox) put(j job) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return errEnded
	case j.event != nil && b.events >= mailboxDepth:
		if b.lost.events == 0 {
			b.lost.from = j.event.Seq
		}
		b.lost.to = j.event.Seq
		b.lost.events++
		return errMailFull
	case j.command != nil && b.commands >= maxCommands:
		return errBusy
	case j.event != nil:
		b.events++
	case j.command != nil:
		b.commands++
	}
	b.queue = append(b.queue, j)
	b.signal()
	return nil
}

func (b *mailbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// enter begins a piece of work that is no job, such as a timer. It reports
// whether it may.
func (b *mailbox) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.working = !b.paused && !b.closed
	return b.working
}

// take begins the next job, if there is one and it may. Leave ends it.
func (b *mailbox) take() (j job, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.paused || b.closed || len(b.queue) == 0 {
		return job{}, false
	}
	j = b.queue[0]
	b.queue[0] = job{}
	b.queue = b.queue[1:]
	if len(b.queue) == 0 {
		b.queue = nil
	}
	if j.event != nil {
		b.events--
	}
	b.working = true
	return j, true
}

// leave ends what enter or take began.
func (b *mailbox) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.working = false
	b.rest()
}

func (b *mailbox) rest() {
	if b.rested != nil {
		close(b.rested)
		b.rested = nil
	}
}

// answered tells that a command is done with.
func (b *mailbox) answered() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.commands--
}

// pause lets nothing begin until resume. The channel is closed once the present
// job is done; it is nil when there is none.
func (b *mailbox) pause() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.paused = true
	if b.working && b.rested == nil {
		b.rested = make(chan struct{})
	}
	return b.rested
}

func (b *mailbox) isPaused() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.paused
}

func (b *mailbox) resume() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.paused = false
	b.signal()
}

// close takes nothing more and returns what had not begun.
func (b *mailbox) close() []job {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	left := b.queue
	b.queue, b.events = nil, 0
	b.signal()
	return left
}

// missed returns the gap since it was last asked.
func (b *mailbox) missed() gap {
	b.mu.Lock()
	defer b.mu.Unlock()
	lost := b.lost
	b.lost = gap{}
	return lost
}
