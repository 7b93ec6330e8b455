package runtime

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Options are what Open takes besides the journal. Zero values work.
type Options struct {
	Log         *slog.Logger     // default slog.Default()
	Now         func() time.Time // default time.Now
	Grace       time.Duration    // how long an entity without a producer stays, unavailable; default 10 minutes
	CallTimeout time.Duration    // how long a command may take; default 10 seconds
}

const (
	// checkpointEvery bounds what a start after a kill has to fold again:
	// 20,000 events take about 0.1 s.
	checkpointEvery = 20_000
	// checkpointPause bounds what an idle home has not yet saved.
	checkpointPause = 10 * time.Second
)

// A Runtime is the events, entities and commands of one home.
type Runtime struct {
	// Static after construction.
	journal     Journal
	log         *slog.Logger
	now         func() time.Time
	callTimeout time.Duration
	table       *table
	stop        context.CancelFunc
	done        sync.WaitGroup
	checkpoint  chan struct{} // asks for a checkpoint; depth 1: a request waits for the one under way

	proposer proposer
	owners   owners
	calls    calls

	fan struct {
		mu        sync.Mutex // held while a batch is folded and handed out
		followers map[int]func([]*Event)
		next      int
		sinceSave int // events since the last checkpoint
	}
}

// Open loads the last checkpoint, folds what the journal holds behind it, and
// follows the journal until Close. It returns once the table is up to date.
func Open(ctx context.Context, j Journal, o Options) (*Runtime, error) {
	stored, upTo, err := j.LoadStates(ctx)
	if err != nil {
		return nil, fmt.Errorf("loading the entity table: %w", err)
	}
	first, last := j.Bounds()
	upTo = min(max(upTo, first-min(first, 1)), last)
	r := &Runtime{
		journal: j, log: o.Log, now: o.Now, callTimeout: cmp.Or(o.CallTimeout, 10*time.Second),
		table: newTable(stored, upTo), checkpoint: make(chan struct{}, 1),
	}
	if r.log == nil {
		r.log = slog.Default()
	}
	if r.now == nil {
		r.now = time.Now
	}
	r.fan.followers = map[int]func([]*Event){}
	r.proposer.init(r)
	r.owners.init(r, cmp.Or(o.Grace, 10*time.Minute))
	r.calls.byContext = map[string]*call{}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	r.done.Go(func() { r.tail(run, upTo) })
	r.done.Go(func() { r.checkpoints(run) })
	if err := r.proposer.settled.wait(ctx, last); err != nil {
		stop()
		r.done.Wait()
		return nil, fmt.Errorf("folding the journal: %w", err)
	}
	return r, nil
}

// tail folds and hands out what the journal orders.
func (r *Runtime) tail(ctx context.Context, after uint64) {
	for ctx.Err() == nil {
		err := r.journal.Tail(ctx, after, func(batch []*Event) {
			r.deliver(batch)
			after = batch[len(batch)-1].Seq
		})
		if ctx.Err() != nil {
			return
		}
		r.log.Error("following the journal", "after", after, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func (r *Runtime) deliver(batch []*Event) {
	r.fan.mu.Lock()
	defer r.fan.mu.Unlock()
	r.table.fold(batch)
	r.calls.collect(batch)
	for _, follow := range r.fan.followers {
		follow(batch)
	}
	r.proposer.folded(batch)
	if r.fan.sinceSave += len(batch); r.fan.sinceSave >= checkpointEvery {
		r.fan.sinceSave = 0
		select {
		case r.checkpoint <- struct{}{}:
		default:
		}
	}
}

// Follow hands every event behind the sequence after to fn, in order and in
// batches, until cancel is called. Fn runs on the tail's goroutine after the
// fold: it must not block and must not keep the slice.
func (r *Runtime) Follow(fn func(batch []*Event)) (after uint64, cancel func()) {
	r.fan.mu.Lock()
	defer r.fan.mu.Unlock()
	id := r.fan.next
	r.fan.next++
	r.fan.followers[id] = fn
	return r.table.head(), func() {
		r.fan.mu.Lock()
		defer r.fan.mu.Unlock()
		delete(r.fan.followers, id)
	}
}

// State returns an entity's present state, or nil.
func (r *Runtime) State(id string) *State { return r.table.get(id) }

// States returns the present states, sorted by entity id.
func (r *Runtime) States() []*State {
	states, _ := r.table.snapshot()
	return states
}

// Snapshot returns the present states, sorted by entity id, and the sequence
// of the last event that they include.
func (r *Runtime) Snapshot() ([]*State, uint64) { return r.table.snapshot() }

// SnapshotSources is Snapshot, and who last spoke for each entity: a generation,
// "hall.js@7", or nothing when no producer ever did.
func (r *Runtime) SnapshotSources() (states []*State, sources []string, seq uint64) {
	return r.table.sourced()
}

// Head returns the sequence of the last visible event.
func (r *Runtime) Head() uint64 { return r.table.head() }

func (r *Runtime) checkpoints(ctx context.Context) {
	tick := time.NewTicker(checkpointPause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.checkpoint:
		}
		if err := r.save(ctx); err != nil && ctx.Err() == nil {
			r.log.Error("saving the entity table", "err", err)
		}
	}
}

func (r *Runtime) save(ctx context.Context) error {
	changed, removed, seq := r.table.takeDirty()
	err := r.journal.SaveStates(ctx, changed, removed, seq)
	if err != nil {
		r.table.restoreDirty(changed, removed)
	}
	return err
}

// Close stops following the journal and saves the entity table. Waiting writers
// get ErrClosed. The journal stays open.
func (r *Runtime) Close() error {
	r.owners.close()
	r.stop()
	r.done.Wait()
	r.proposer.settled.close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := r.save(ctx); err != nil {
		return fmt.Errorf("saving the entity table: %w", err)
	}
	return nil
}
