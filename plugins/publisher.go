package plugins

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"carillon/plugins/adapter/wire"
	"carillon/runtime"
)

// A publisher brings what a session received into the journal, in its order,
// and acknowledges it. It outlives the session until all of it is there.
type publisher struct {
	s       *session
	wake    chan struct{} // depth 1: it only says that there is something
	room    chan struct{} // depth 1: it only says that there may be room
	done    chan struct{} // closed by run
	stalled atomic.Bool   // receive waits for room

	mu sync.Mutex
	// Guarded by mu.
	queue    []entry
	bytes    int // of batches that are not in the journal yet
	credit   int // given back, and not yet known to receive
	finished bool

	// Owned by run.
	ctx     context.Context
	writer  *runtime.Writer
	flight  []*unit              // proposed, oldest first
	open    *unit                // not yet proposed
	ahead   map[*wire.Item]error // devices that are declared already; see declareAhead
	follows map[string]bool      // entities whose state comes behind their device
	given   bool                 // the runtime is closed: nothing can be stored any more
}

// An entry is a batch, or something to be done behind all before it.
type entry struct {
	batch *wire.Batch
	size  int
	fn    func()
}

// A unit is what is proposed to the runtime at once: changes or events.
type unit struct {
	changes []runtime.Change
	events  []runtime.NewEvent
	origins []origin // of the changes or events
	then    []func() // once it is visible
	pending *runtime.Pending
}

// An origin is an item's place.
type origin struct {
	batch *progress
	item  int
}

// progress is what became of a batch.
type progress struct {
	id     uint64
	items  int
	size   int
	errors []*wire.ItemError
}

// maxUnit is how many items are proposed at once: enough for the cost of one
// proposal not to matter, and few enough for the next to be made meanwhile.
const maxUnit = 512

func (p *publisher) init(s *session) {
	p.s = s
	p.wake, p.room, p.done = make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{})
	p.writer = s.a.host.Runtime.NewWriter()
	go p.run(s.a.host.publishing)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// put queues a batch. It waits for room until the session ends.
func (p *publisher) put(ctx context.Context, b *wire.Batch) bool {
	size := proto.Size(b)
	for {
		p.mu.Lock()
		if p.bytes == 0 || p.bytes+size <= maxQueuedBytes || ctx.Err() != nil {
			p.queue = append(p.queue, entry{batch: b, size: size})
			p.bytes += size
			p.mu.Unlock()
			p.stalled.Store(false)
			p.s.a.stats.queue.Add(int64(len(b.Items)))
			p.s.a.stats.queueBytes.Add(int64(size))
			signal(p.wake)
			return true
		}
		p.mu.Unlock()
		p.stalled.Store(true)
		select {
		case <-p.room:
		case <-ctx.Done():
		}
	}
}

// blocked reports whether the session does not listen, for want of room.
func (p *publisher) blocked() bool { return p.stalled.Load() }

// behind calls fn when everything that is queued is visible.
func (p *publisher) behind(fn func()) {
	p.mu.Lock()
	p.queue = append(p.queue, entry{fn: fn})
	p.mu.Unlock()
	signal(p.wake)
}

// finish says that nothing more comes, and returns when all is visible.
func (p *publisher) finish() {
	p.mu.Lock()
	p.finished = true
	p.mu.Unlock()
	signal(p.wake)
	<-p.done
}

// takeCredit returns what was given back since it was last called.
func (p *publisher) takeCredit() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.credit
	p.credit = 0
	return n
}

// run publishes until all is visible and finish was called, or ctx ends: then
// nobody can be waited for any longer.
func (p *publisher) run(ctx context.Context) {
	defer close(p.done)
	p.ctx = ctx
	for {
		p.mu.Lock()
		taken, finished := p.queue, p.finished
		p.queue = nil
		p.mu.Unlock()
		if len(taken) > 0 {
			p.convert(taken)
			continue
		}
		if len(p.flight) == 0 && finished {
			return
		}
		if len(p.flight) == 0 {
			<-p.wake
			continue
		}
		select {
		case <-p.flight[0].pending.Done():
			p.settle()
		case <-ctx.Done():
			p.settle()
		case <-p.wake:
		}
	}
}

// propose hands the open unit to the runtime.
func (p *publisher) propose() {
	u := p.open
	if p.open = nil; u == nil {
		return
	}
	for len(p.flight) >= maxProposals {
		p.settle()
	}
	p.flight = append(p.flight, u)
	if err := p.try(u); err != nil {
		p.again(err)
	}
}

// settleAll waits until everything proposed is visible.
func (p *publisher) settleAll() {
	p.propose()
	for len(p.flight) > 0 {
		p.settle()
	}
}

// settle waits for the oldest unit, and ends it.
func (p *publisher) settle() {
	u := p.flight[0]
	if err := p.outcome(u.pending); err != nil {
		p.again(err)
		return
	}
	p.flight[0] = nil
	if p.flight = p.flight[1:]; len(p.flight) == 0 {
		p.flight = nil
	}
	for _, fn := range u.then {
		fn()
	}
}

// outcome waits until what was proposed is visible or refused, or ctx ends.
func (p *publisher) outcome(proposed *runtime.Pending) error {
	select {
	case <-proposed.Done():
		return proposed.Err()
	default:
	}
	select {
	case <-proposed.Done():
		return proposed.Err()
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

// try proposes a unit, leaving out what is refused of it.
func (p *publisher) try(u *unit) (err error) {
	for {
		switch {
		case len(u.changes) > 0:
			u.pending, err = p.writer.Set(p.ctx, u.changes...)
		default:
			u.pending, err = p.writer.Fire(p.ctx, u.events...)
		}
		var refused *runtime.EventError
		if !errors.As(err, &refused) {
			return err
		}
		p.refuse(u.origins[refused.Index], refused.Err)
		u.leaveOut(refused.Index)
	}
}

func (u *unit) leaveOut(i int) {
	u.origins = append(u.origins[:i], u.origins[i+1:]...)
	if len(u.changes) > 0 {
		u.changes = append(u.changes[:i], u.changes[i+1:]...)
	} else {
		u.events = append(u.events[:i], u.events[i+1:]...)
	}
}

// again proposes all that is on its way once more, after the journal refused
// some of it, until it is taken. What it stored it has said.
func (p *publisher) again(err error) {
	for err != nil {
		p.s.a.host.metrics.retries.Inc()
		p.s.a.host.complain(err)
		for _, u := range p.flight {
			if u.pending != nil {
				_ = p.outcome(u.pending) // looked at below
			}
		}
		p.given = p.given || errors.Is(err, runtime.ErrClosed) || p.ctx.Err() != nil
		if p.given {
			p.giveUp(err)
			return
		}
		select {
		case <-time.After(p.s.a.host.times.retry):
		case <-p.ctx.Done():
			continue
		}
		p.writer.Reset()
		err = nil
		for _, u := range p.flight {
			if u.pending != nil && p.outcome(u.pending) == nil {
				continue
			}
			if err = p.try(u); err != nil {
				break
			}
		}
	}
}

// giveUp drops what is on its way: the server ends, and the adapter was never
// told that it is stored.
func (p *publisher) giveUp(err error) {
	dropped := 0
	for _, u := range p.flight {
		if u.pending == nil || p.outcome(u.pending) != nil {
			dropped += len(u.origins)
		}
	}
	p.flight = nil
	if dropped > 0 {
		p.s.a.count(&p.s.a.stats.dropped, "closed", dropped)
		p.s.a.log().Warn("items of an adapter are not stored", "items", dropped, "err", err)
	}
}

// refuse notes that an item is not stored.
func (p *publisher) refuse(o origin, why error) {
	text := why.Error()
	o.batch.errors = append(o.batch.errors, &wire.ItemError{Item: uint32(o.item), Message: cut(text, 500)})
	p.s.a.refuse(text)
}

// acknowledge tells the adapter that a batch is visible, and gives its credit
// back.
func (p *publisher) acknowledge(b *progress) {
	p.mu.Lock()
	p.bytes -= b.size
	p.credit += b.items
	p.mu.Unlock()
	signal(p.room)
	slices.SortFunc(b.errors, func(x, y *wire.ItemError) int { return cmp.Compare(x.Item, y.Item) })
	p.s.a.stats.queue.Add(-int64(b.items))
	p.s.a.stats.queueBytes.Add(-int64(b.size))
	if !p.s.out.put(&wire.FromHost{Message: &wire.FromHost_Ack{Ack: &wire.Ack{Batch: b.id, Credit: uint32(b.items), Errors: b.errors}}}) {
		p.s.fail(failed(ReasonHang, "it doesn't read what is sent to it"))
	}
}
