package main

import (
	"context"
	"errors"
	"sync"
)

// A link is a way to a broker: a connection to one, or the one that the adapter is
// itself. It hands what comes to the bridge's inbox, and waits while that is full.
type link interface {
	// subscribe listens to topics, and unsubscribe doesn't any more. They don't wait;
	// what a connection listens to it listens to again when it is made anew.
	subscribe(topics []string)
	unsubscribe(topics []string)
	// later calls fn behind what it was told before, without waiting for it.
	later(fn func())
	// publish returns when the broker has the messages, which go out in their order.
	publish(ctx context.Context, out ...outgoing) error
	// health says whether the broker can be reached, and why not.
	health() (ready bool, detail string)
	close()
}

// jobs are functions that are called one after another. Adding one never waits: who adds
// it holds bridge.mu, which some of them want.
type jobs struct {
	wake chan struct{} // depth 1: it only says that there is something

	mu   sync.Mutex
	list []func() // guarded by mu; settle adds two in 20 ms at most, and each of Tasmota's and Shelly's devices one at a time
}

func (j *jobs) later(fn func()) {
	j.mu.Lock()
	j.list = append(j.list, fn)
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// run calls them until ctx ends.
func (j *jobs) run(ctx context.Context) {
	for {
		j.mu.Lock()
		list := j.list
		j.list = nil
		j.mu.Unlock()
		for _, fn := range list {
			if ctx.Err() != nil {
				return
			}
			fn()
		}
		if len(list) > 0 {
			continue
		}
		select {
		case <-j.wake:
		case <-ctx.Done():
			return
		}
	}
}

// errUnreached says that there is no connection to the broker.
var errUnreached = errors.New("the broker can't be reached")

// discoveryFilters are what announcements come by.
func (s *settings) discoveryFilters() (filters []string) {
	if s.prefix != "" {
		filters = append(filters, s.prefix+"/+/+/config", s.prefix+"/+/+/+/config", s.prefix+"/+/+/+/+/config") // the last are mistakes, and told
	}
	if s.tasmota() {
		filters = append(filters, tasmotaPrefix+"+/config", tasmotaPrefix+"+/sensors")
	}
	return append(filters, s.shellyFilters()...)
}

// connect makes the link that the configuration asks for.
func (b *bridge) connect(ctx context.Context) (link, error) {
	if b.settings.Listen != "" {
		return b.openBroker(ctx)
	}
	return b.dial(ctx)
}

// Health is the Healther's.
func (b *bridge) Health() (ready bool, detail string) {
	l := b.linked.Load()
	if l == nil {
		return false, "it is starting"
	}
	return (*l).health()
}
