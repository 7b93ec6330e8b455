package plugins

import (
	"context"
	"sync"

	"google.golang.org/protobuf/proto"

	"carillon/plugins/adapter/wire"
)

// An outbox holds what waits to be sent to the adapter. It is bounded by what may be
// in it: one Ack for each batch in the window, commands and their cancellation up to
// maxCommands a second time, one beat.
type outbox struct {
	wake   chan struct{}       // depth 1: it only says that there is something
	events chan *wire.FromHost // for hand; never closed

	mu sync.Mutex
	// Guarded by mu.
	list  []*wire.FromHost
	bytes int // of those in list
}

// maxOutbox is more than all that may wait: beyond it the adapter has stopped
// reading.
const maxOutbox = Credit + 4*maxCommands

// maxOutboxBytes is more than what an adapter that reads leaves waiting: a refused item
// takes half a kilobyte of its Ack.
const maxOutboxBytes = 32 << 20

func (o *outbox) init() {
	o.wake, o.events = make(chan struct{}, 1), make(chan *wire.FromHost)
}

// hand waits until a message is about to be sent, behind all that put was given. So
// none waits here that could stay where it is.
func (o *outbox) hand(ctx context.Context, m *wire.FromHost) error {
	select {
	case o.events <- m:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// put reports whether there was room.
func (o *outbox) put(m *wire.FromHost) bool {
	o.mu.Lock()
	full := len(o.list) >= maxOutbox || o.bytes > maxOutboxBytes
	if !full {
		o.bytes += proto.Size(m)
		o.list = append(o.list, m)
	}
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return !full
}

// take waits for the next.
func (o *outbox) take(ctx context.Context) (*wire.FromHost, bool) {
	for {
		o.mu.Lock()
		if len(o.list) > 0 {
			m := o.list[0]
			o.list[0] = nil
			o.bytes -= proto.Size(m)
			if o.list = o.list[1:]; len(o.list) == 0 {
				o.list = nil
			}
			o.mu.Unlock()
			return m, true
		}
		o.mu.Unlock()
		select {
		case <-o.wake:
		case m := <-o.events:
			return m, true
		case <-ctx.Done():
			return nil, false
		}
	}
}
