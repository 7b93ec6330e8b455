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
	start  time.Time     // static after construction
	roused chan struct{} // static after construction; of capacity 1: a run began while it slept

	tick   atomic.Uint64 // time since the start; stands still while it sleeps
	asleep atomic.Bool   // it ticks no more until rouse

	mu     sync.Mutex
	leases map[*lease]struct{} // guarded by mu
}

// sleepAfter is how many ticks without a run end the ticking: an idle home
// should not wake its machine fifty times a second.
const sleepAfter = 3 * time.Second / 2 / watchdogTick

func newWatchdog() *watchdog {
	return &watchdog{start: time.Now(), roused: make(chan struct{}, 1), leases: map[*lease]struct{}{}}
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
	w.leases[l] = struct{}{}
}

func (w *watchdog) remove(l *lease) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.leases, l)
}

// begin starts a run that may last for limit. It looks at asleep twice: before,
// so that the limit counts from now; and once the run can be seen, since the
// watchdog looks for runs after it says that it sleeps.
func (w *watchdog) begin(l *lease, limit time.Duration) {
	if w.asleep.Load() {
		w.rouse()
	}
	ticks := uint64((limit+watchdogTick-1)/watchdogTick) + 1
	l.word.Store((w.tick.Load()+ticks)*phases + running)
	if w.asleep.Load() {
		w.rouse()
	}
}

func (w *watchdog) rouse() {
	w.tick.Store(w.now())
	w.asleep.Store(false)
	select {
	case w.roused <- struct{}{}:
	default: // somebody else did
	}
}

// now counts the ticks by the clock: a busy machine drops some.
func (w *watchdog) now() uint64 { return uint64(time.Since(w.start) / watchdogTick) }

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

// run ticks until ctx ends, except while nothing has run for sleepAfter. Each
// tick ends with a call of also.
func (w *watchdog) run(ctx context.Context, also func()) {
	t := time.NewTicker(watchdogTick)
	defer t.Stop()
	for quiet := time.Duration(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-w.roused:
			quiet = 0
			t.Reset(watchdogTick)
		case <-t.C:
			tick := w.now()
			w.tick.Store(tick)
			quiet++
			if w.check(tick) {
				quiet = 0
			}
			also()
			if quiet >= sleepAfter && w.sleeps() {
				t.Stop()
			}
		}
	}
}

// sleeps puts the watchdog to sleep, unless something began to run.
func (w *watchdog) sleeps() bool {
	w.asleep.Store(true)
	if w.check(w.tick.Load()) {
		w.asleep.Store(false)
		return false
	}
	return true
}

// check interrupts what is past its deadline, and reports whether anything runs.
func (w *watchdog) check(tick uint64) (busy bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for l := range w.leases {
		word := l.word.Load()
		busy = busy || word%phases != idle
		switch {
		case word%phases == running && word/phases < tick:
			l.stop(errTooLong)
		case word%phases == interrupted && word/phases+uint64(giveUp/watchdogTick) < tick && l.stuckRun != word && l.stuck != nil:
			l.stuckRun = word
			l.stuck()
		}
	}
	return busy
}
