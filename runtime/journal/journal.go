package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"carillon/runtime"
)

// ErrClosed is returned by everything after Close.
var ErrClosed = errors.New("the journal is closed")

// ErrUnavailable is wrapped by errors of the time in which the embedded server
// can't store, as on a full disk; the journal keeps trying to come back.
var ErrUnavailable = errors.New("the journal is not available")

// Options say where the journal is and what it keeps.
type Options struct {
	Dir      string        // its folder, made when it is missing
	MaxAge   time.Duration // events older than that are removed; 0 keeps them
	MaxBytes int64         // beyond that the oldest are removed; 0 sets no limit
	Log      *slog.Logger  // nil discards
}

// A Journal is an open journal. Its methods are safe for concurrent use.
type Journal struct {
	// Static after construction.
	log    *slog.Logger
	lock   *os.File
	epoch  string
	boot   string
	dir    string
	w      *writer       // its fields are owned by run
	kick   chan struct{} // of one: something was queued, or options changed
	quit   chan struct{} // closed by Close
	done   chan struct{} // closed by run
	synced chan struct{} // closed by keepSynced

	durable  atomic.Uint64 // the last sequence that is stored, its append being whole
	unsynced atomic.Bool   // something was stored since it was last synced
	closing  sync.Once
	closeErr error

	mu       sync.Mutex
	room     sync.Cond        // signalled when used or usedSize shrink
	closed   bool             // guarded by mu, as is all that follows
	options  Options          // what the stream shall be like
	eng      *engine          // nil while the server is down
	down     error            // why eng is nil
	refused  error            // why Append fails, until Recover
	lost     error            // why Append fails for good: the folder is gone
	queue    []*entry         // appended, not yet taken by run
	used     int              // events queued, under way, or kept for a Tail
	usedSize int              // their JSON, in bytes
	recent   []*runtime.Event // stored and not yet taken by every Tail, in order
	floor    uint64           // recent holds all that is stored after it
	tails    map[*tail]struct{}

	bounds struct {
		sync.Mutex
		first uint64
		at    time.Time // when first was asked for
	}
	buckets struct {
		sync.Mutex
		open map[string]*engine // the engine that last opened a bucket
	}
}

// Open opens the journal in a folder or makes one there. It returns a
// *LockedError when another process has it open.
func Open(ctx context.Context, o Options) (*Journal, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening journal: %w", err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening journal: %w", err)
	}
	j := &Journal{
		log: o.Log, lock: lock, boot: bootID(), dir: o.Dir, options: o,
		kick: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}), synced: make(chan struct{}),
		tails: map[*tail]struct{}{},
	}
	j.room.L = &j.mu
	j.buckets.open = map[string]*engine{}
	if err := j.start(ctx); err != nil {
		if j.eng != nil {
			j.eng.stop()
		}
		lock.Close()
		return nil, fmt.Errorf("opening journal in %s: %w", o.Dir, err)
	}
	go j.run()
	go j.keepSynced()
	return j, nil
}

// start runs the server, removes the begin of an append that a kill cut short,
// and decides whether the epoch still holds.
func (j *Journal) start(ctx context.Context) (err error) {
	if j.eng, err = startEngine(ctx, j.options); err != nil {
		return err
	}
	if err := j.eng.removePartial(ctx); err != nil {
		return fmt.Errorf("removing an append that was cut short: %w", err)
	}
	head, last, err := j.eng.checkEpoch(ctx, j.options, j.boot)
	if err != nil {
		return err
	}
	// Before the first event: a crash from now on must be seen as one.
	if err := (mark{Boot: j.boot, Head: last}).write(j.options.Dir, true); err != nil {
		return err
	}
	j.epoch = j.eng.stream.CachedInfo().Config.Metadata[epochKey]
	j.durable.Store(last)
	j.floor = last
	j.w = &writer{head: head}
	_, err = j.refreshBounds(ctx, 0)
	return err
}

// checkEpoch takes a new epoch when events that somebody may have seen are
// gone and their sequences would be given again. It returns the last sequence
// that was given, and the last that is stored.
func (e *engine) checkEpoch(ctx context.Context, o Options, boot string) (head, last uint64, err error) {
	before, err := readMark(o.Dir)
	if err != nil {
		return 0, 0, err
	}
	info, err := e.stream.Info(ctx)
	if err != nil {
		return 0, 0, err
	}
	state := info.State
	if last, err = e.lastStored(ctx, state); err != nil {
		return 0, 0, err
	}
	lost := ""
	switch {
	case state.LastSeq == 0 && before.Head == 0:
	case before.crashed(boot):
		lost = "the machine went down while the journal was open"
	case state.LastSeq < before.Head:
		lost = fmt.Sprintf("the journal ends at %d and had reached %d", state.LastSeq, before.Head)
	case state.Msgs > 0 && before.Head >= state.FirstSeq && !e.has(ctx, before.Head):
		lost = fmt.Sprintf("event %d is gone", before.Head)
	}
	if lost == "" {
		return state.LastSeq, last, nil
	}
	o.Log.Warn("journal: taking a new epoch, the last events may be lost", "reason", lost)
	return state.LastSeq, last, e.configure(ctx, o, newEpoch())
}

// lastStored returns the last sequence whose event is there; that of the
// stream when retention took all.
func (e *engine) lastStored(ctx context.Context, state jetstream.StreamState) (uint64, error) {
	if state.Msgs == 0 {
		return state.LastSeq, nil
	}
	m, err := e.stream.GetLastMsgForSubject(ctx, allSubjects)
	if err != nil {
		return 0, err
	}
	return m.Sequence, nil
}

// Epoch returns the journal's identity, [a-z0-9]{10}: sequences of another
// epoch mean other events.
func (j *Journal) Epoch() string { return j.epoch }

// SetRetention changes what the journal keeps, at once; see Options. After an
// error it keeps what it kept before.
func (j *Journal) SetRetention(ctx context.Context, maxAge time.Duration, maxBytes int64) error {
	j.mu.Lock()
	former := j.options
	j.options.MaxAge, j.options.MaxBytes = maxAge, maxBytes // also for an engine that starts meanwhile
	o := j.options
	j.mu.Unlock()
	eng, err := j.engine()
	if err == nil {
		_, err = eng.js.UpdateStream(ctx, streamConfig(o, map[string]string{epochKey: j.epoch}))
	}
	if err != nil {
		j.mu.Lock()
		j.options = former
		j.mu.Unlock()
		return fmt.Errorf("changing the journal's retention: %w", err)
	}
	if _, err = j.refreshBounds(ctx, 0); err != nil {
		j.log.Debug("journal: asking for the first sequence", "error", err) // Bounds asks again
	}
	return nil
}

// engine returns the running engine.
func (j *Journal) engine() (*engine, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.closed:
		return nil, ErrClosed
	case j.eng == nil:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, j.down)
	}
	return j.eng, nil
}

// boundsAge is how old the first sequence that Bounds tells may be.
const boundsAge = time.Second

// Bounds returns the sequences of the first and the last event that the
// journal holds; first is last+1 when it holds none. The first may be a second
// old, as retention moves it, but is never older than what a Read has shown.
func (j *Journal) Bounds() (first, last uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	first, err := j.refreshBounds(ctx, boundsAge)
	if err != nil {
		j.log.Debug("journal: asking for the first sequence", "error", err)
	}
	last = j.durable.Load()
	return min(first, last+1), last
}

// refreshBounds returns the first sequence, as it was known at most age ago;
// with an error, as it was known last.
func (j *Journal) refreshBounds(ctx context.Context, age time.Duration) (uint64, error) {
	j.bounds.Lock()
	defer j.bounds.Unlock()
	if time.Since(j.bounds.at) < age {
		return j.bounds.first, nil
	}
	eng, err := j.engine()
	if err != nil {
		return j.bounds.first, err
	}
	stream, err := eng.js.Stream(ctx, streamName)
	if err != nil {
		return j.bounds.first, err
	}
	j.bounds.first, j.bounds.at = max(1, stream.CachedInfo().State.FirstSeq), time.Now()
	return j.bounds.first, nil
}

// closeTimeout bounds how long Close waits for what is queued to be stored.
const closeTimeout = 10 * time.Second

// Close stores what is queued, syncs everything to the disk and lets the folder
// go. It takes at most closeTimeout and the time of the disk; called again, it
// returns what it returned first.
func (j *Journal) Close() error {
	j.closing.Do(func() {
		j.mu.Lock()
		j.closed = true
		j.room.Broadcast()
		j.mu.Unlock()
		close(j.quit)
		<-j.done
		<-j.synced
		j.closeErr = j.release()
	})
	return j.closeErr
}

// release runs after run: nobody else uses the engine any longer.
func (j *Journal) release() error {
	defer j.lock.Close()
	if j.eng == nil {
		return fmt.Errorf("closing journal: %w", j.down)
	}
	j.eng.stop()
	if err := new(syncer).sync(j.dir); err != nil {
		return fmt.Errorf("closing journal: %w", err)
	}
	if err := (mark{Boot: j.boot, Clean: true, Head: j.durable.Load()}).write(j.dir, true); err != nil {
		return fmt.Errorf("closing journal: %w", err)
	}
	return nil
}
