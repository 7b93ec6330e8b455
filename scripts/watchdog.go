package scripts

import (
	"context"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"time"
)

// watchdogTick is how exactly limits of time are kept.
const watchdogTick = 20 * time.Millisecond

// A watchdog interrupts what runs past its deadline. It is one ticker over one
// word per generation: beginning and ending a run costs some nanoseconds, where
// a timer for each would cost a hundred.
type watchdog struct {
	tick atomic.Uint64 // time since the start

	mu     sync.Mutex
	leases map[*lease]struct{} // guarded by mu
}

// A lease is the right of one goroutine to run JavaScript, one run at a time.
// Its word is the last tick that the run may last, and a phase.
type lease struct {
	word      atomic.Uint64
	interrupt func(reason error) // makes the running JavaScript stop; called at most once a run
	clear     func()             // takes an interrupt back that came too late to stop anything
	stuck     func()             // tells of a run that goes on giveUp after its time; may be nil

	stuckRun uint64 // the word of the run that stuck was called for; owned by the watchdog's goroutine
}

const (
	idle         = iota // nothing runs
	running             // may be interrupted
	interrupting        // somebody is about to; the run must not end before
	interrupted
	phases = 4
)

func (w *watchdog) add(l *lease) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.leases == nil {
		w.leases = map[*lease]struct{}{}
	}
	w.leases[l] = struct{}{}
}

func (w *watchdog) remove(l *lease) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.leases, l)
}

// begin starts a run that may last for limit.
func (w *watchdog) begin(l *lease, limit time.Duration) {
	ticks := uint64((limit+watchdogTick-1)/watchdogTick) + 1
	l.word.Store((w.tick.Load()+ticks)*phases + running)
}

// end ends the run, and leaves no interrupt behind that would hit the next.
func (l *lease) end() {
	for {
		switch word := l.word.Load(); word % phases {
		case idle:
			return
		case running:
			if l.word.CompareAndSwap(word, idle) {
				return
			}
		case interrupting:
			goruntime.Gosched()
		case interrupted:
			l.clear()
			l.word.Store(idle)
			return
		}
	}
}

// stop interrupts the run, if there is one that was not interrupted yet.
func (l *lease) stop(reason error) {
	for {
		word := l.word.Load()
		if word%phases != running {
			return
		}
		if l.word.CompareAndSwap(word, word-running+interrupting) {
			l.interrupt(reason)
			l.word.Store(word - running + interrupted)
			return
		}
	}
}

// run ticks until ctx ends. Each tick ends with a call of also.
func (w *watchdog) run(ctx context.Context, also func()) {
	t := time.NewTicker(watchdogTick)
	defer t.Stop()
	start := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			// A busy machine drops ticks, so they are not counted.
			tick := uint64(time.Since(start) / watchdogTick)
			w.tick.Store(tick)
			w.check(tick)
			also()
		}
	}
}

func (w *watchdog) check(tick uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for l := range w.leases {
		word := l.word.Load()
		switch {
		case word%phases == running && word/phases < tick:
			l.stop(errTooLong)
		case word%phases == interrupted && word/phases+uint64(giveUp/watchdogTick) < tick && l.stuckRun != word && l.stuck != nil:
			l.stuckRun = word
			l.stuck()
		}
	}
}
