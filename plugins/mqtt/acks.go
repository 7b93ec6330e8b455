package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"carillon/plugins/adapter"
)

// An acker tells the broker that messages need not be sent again, once the journal
// holds what they said.
type acker struct {
	host *adapter.Host
	log  *slog.Logger
	wake chan struct{} // depth 1: it only says that there is something

	mu   sync.Mutex
	list []func() // guarded by mu; bounded by what the broker sends unacknowledged
}

func (a *acker) init(h *adapter.Host, log *slog.Logger) {
	a.host, a.log, a.wake = h, log, make(chan struct{}, 1)
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

// run acknowledges until ctx ends or the host is gone.
func (a *acker) run(ctx context.Context) {
	for {
		select {
		case <-a.wake:
		case <-ctx.Done():
			return
		}
		a.mu.Lock()
		list := a.list
		a.list = nil
		a.mu.Unlock()
		if len(list) == 0 {
			continue
		}
		err := a.host.Flush(ctx)
		var refused *adapter.ItemErrors
		if errors.As(err, &refused) {
			a.log.Warn("some of what devices said was refused", "items", refused.Count, "err", refused.Error())
		} else if err != nil {
			return // the broker sends it again
		}
		for _, ack := range list {
			if ack != nil {
				ack()
			}
		}
	}
}
