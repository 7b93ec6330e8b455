package adapter

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"carillon/plugins/adapter/wire"
)

// Batches form by themselves: while maxFlying are on their way, what is published
// waits and goes out together, unless it is worth a batch of its own already.
// So single items go out at once, a rush goes out in large batches, and no
// item waits longer than for the oldest of these batches to be stored.
const (
	maxFlying   = 4
	worthABatch = 64
)

// itemOverhead is what an item takes in a message besides its own size: tag and
// length. batchOverhead is the same for the rest of the message.
const itemOverhead, batchOverhead = 6, 32

// publish queues items as one run, as credit comes. Check is called with the turn,
// before anything is queued, and queued, with turn and mu, as the last item is: not at all
// if publish is given up. Either may be nil.
func (h *Host) publish(ctx context.Context, items []*wire.Item, check func() error, queued func()) error {
	for _, item := range items {
		item.ContextId = contextID(ctx)
		if n := proto.Size(item); n > int(h.welcome.MaxMessageBytes)-itemOverhead-batchOverhead {
			return fmt.Errorf("%s: its %d bytes don't fit into a message of %d", describe(item), n, h.welcome.MaxMessageBytes)
		}
	}
	if err := h.await(ctx, h.turn, nil); err != nil {
		return err
	}
	defer func() { <-h.turn }()
	if check != nil {
		if err := check(); err != nil {
			return err
		}
	}
	for len(items) > 0 {
		h.mu.Lock()
		n := min(len(items), h.credit)
		h.credit -= n
		h.pending = append(h.pending, items[:n]...)
		h.published += uint64(n)
		if n == len(items) && queued != nil {
			queued() // under mu: commands for what is declared can't come before
		}
		send := h.mayBatch()
		h.mu.Unlock()
		if send {
			notify(h.wake)
		}
		if items = items[n:]; len(items) > 0 {
			if err := h.await(ctx, nil, h.room); err != nil {
				return err
			}
		}
	}
	return nil
}

// await puts a value into put, or takes one from take, unless ctx ends for another
// reason than the draining of the adapter, or the session ends.
func (h *Host) await(ctx context.Context, put chan<- struct{}, take <-chan struct{}) error {
	select {
	case <-h.over:
		return h.reason()
	default:
	}
	done := ctx.Done()
	if done != nil && ctx.Err() != nil {
		if !errors.Is(context.Cause(ctx), ErrDraining) {
			return ctx.Err()
		}
		done = nil
	}
	for {
		select {
		case put <- struct{}{}:
			return nil
		case <-take:
			return nil
		case <-h.over:
			return h.reason()
		case <-done:
			if !errors.Is(context.Cause(ctx), ErrDraining) {
				return ctx.Err()
			}
			done = nil
		}
	}
}

// wait waits until ok, which is called with mu held, reports true.
func (h *Host) wait(ctx context.Context, ok func() bool) error {
	for {
		h.mu.Lock()
		if ok() {
			h.mu.Unlock()
			return nil
		}
		if h.changed == nil {
			h.changed = make(chan struct{})
		}
		changed := h.changed
		h.mu.Unlock()
		if err := h.await(ctx, nil, changed); err != nil {
			return err
		}
	}
}

// tell wakes those who wait. Callers hold mu.
func (h *Host) tell() {
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
}

// notify leaves one value in a channel of one.
func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// mayBatch reports whether a batch is to go out now. Callers hold mu.
func (h *Host) mayBatch() bool {
	n := len(h.pending)
	return n > 0 && (len(h.flying) < maxFlying || n >= worthABatch || h.outbox.urgent(h.sent))
}

// nextBatch returns what is to be sent now, or nil. Callers hold mu.
func (h *Host) nextBatch() *wire.Batch {
	if !h.mayBatch() {
		return nil
	}
	n := min(len(h.pending), int(h.welcome.MaxBatchItems))
	bytes := batchOverhead
	for i, item := range h.pending[:n] {
		if bytes += proto.Size(item) + itemOverhead; bytes > int(h.welcome.MaxMessageBytes) {
			n = i
			break
		}
	}
	h.lastBatch++
	items := h.pending[:n:n]
	if h.pending = h.pending[n:]; len(h.pending) == 0 {
		h.pending = nil // the batch has the memory now
	}
	h.sent += uint64(n)
	h.flying = append(h.flying, flight{h.lastBatch, items})
	return &wire.Batch{Id: h.lastBatch, Items: items}
}

// acknowledged takes what the host says of the oldest batch on its way.
func (h *Host) acknowledged(a *wire.Ack) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.flying) == 0 || h.flying[0].id != a.Batch {
		return fmt.Errorf("the host acknowledges batch %d, which is not the oldest of the %d on their way", a.Batch, len(h.flying))
	}
	f := h.flying[0]
	h.flying[0] = flight{}
	h.flying = h.flying[1:]
	for _, e := range a.Errors {
		if int(e.Item) >= len(f.items) {
			return fmt.Errorf("the host refuses item %d of batch %d, which has %d", e.Item, a.Batch, len(f.items))
		}
		h.refused.add(f.items[e.Item], e.Message)
	}
	h.stored += uint64(len(f.items))
	h.credit += int(a.Credit)
	h.tell()
	notify(h.room)
	notify(h.wake)
	return nil
}
