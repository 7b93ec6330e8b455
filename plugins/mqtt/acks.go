package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"carillon/plugins/adapter"
)

// An acker tells the broker that messages need not be sent again, once the journal
// holds what they said.
type acker struct {
	host *adapter.Host
	log  *slog.Logger
	wake chan struct{} // depth 1: it only says that there is something
	done chan struct{} // closed by run

	mu   sync.Mutex
	list []func() // guarded by mu; bounded by what the broker sends unacknowledged
}

func (a *acker) init(h *adapter.Host, log *slog.Logger) {
	a.host, a.log, a.wake, a.done = h, log, make(chan struct{}, 1), make(chan struct{})
}

// put queues an acknowledgement behind all that was published before; with nil, only
// what was refused is to be told.
func (a *acker) put(ack func()) {
	a.mu.Lock()
	a.list = append(a.list, ack)
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// run acknowledges until ctx ends, and then what is left.
func (a *acker) run(ctx context.Context) {
	defer close(a.done)
	for {
		select {
		case <-a.wake:
			a.flush(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
			defer cancel()
			a.flush(last)
			return
		}
	}
}

// lastFlush is how long the adapter's end may wait for the journal.
const lastFlush = 4 * time.Second

// flush acknowledges what is queued once the journal holds it. What it doesn't, the
// broker sends again.
func (a *acker) flush(ctx context.Context) {
	a.mu.Lock()
	list := a.list
	a.list = nil
	a.mu.Unlock()
	if len(list) == 0 {
		return
	}
	err := a.host.Flush(ctx)
	var refused *adapter.ItemErrors
	switch {
	case errors.As(err, &refused):
		a.log.Warn("some of what devices said was refused", "items", refused.Count, "err", refused.Error())
	case ctx.Err() != nil && !errors.Is(err, adapter.ErrHostGone) && err != nil:
		a.mu.Lock()
		a.list = append(list, a.list...) // the last flush tries again
		a.mu.Unlock()
		return
	case err != nil:
		return
	}
	for _, ack := range list {
		if ack != nil {
			ack()
		}
	}
}
