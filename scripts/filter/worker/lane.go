package worker

import (
	"carillon/scripts/filter"
	"context"
	"fmt"
	"time"
)

// A lane is a domain: its process and whose turn it is to use it.
type lane struct {
	pool   *Pool
	domain string
	turn   chan struct{} // holds one thing; who put it there has the turn

	filters int      // compiled. Guarded by pool.mu.
	dropped []uint32 // filters that the process may forget. Guarded by pool.mu.

	// Owned by who has the turn.
	proc   *process // nil if none runs
	number uint64   // of the last batch
	deaths []time.Time
	used   time.Time
	timer  *time.Timer // ends the process once it is idle
}

const (
	// deathsWithin is how long a death of a process counts.
	deathsWithin = time.Minute
	// deathsToRefuse is how many deaths make a domain wait before it may have
	// another new filter, and deathsToPause how many delay the next process.
	deathsToRefuse = 5
	deathsToPause  = 10
	firstPause     = 50 * time.Millisecond
	longestPause   = 5 * time.Second
)

// take returns a domain's lane, whose turn the caller then has until give.
func (p *Pool) take(ctx context.Context, domain string) (*lane, error) {
	for {
		l, err := p.lane(domain)
		if err != nil {
			return nil, err
		}
		select {
		case l.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-p.ctx.Done():
			return nil, ErrClosed
		}
		p.mu.Lock()
		current := p.lanes[domain] == l
		p.mu.Unlock()
		if current {
			return l, nil
		}
		<-l.turn // it ended meanwhile
	}
}

func (p *Pool) lane(domain string) (*lane, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return nil, ErrClosed
	}
	l := p.lanes[domain]
	if l == nil {
		l = &lane{pool: p, domain: domain, turn: make(chan struct{}, 1)}
		l.timer = time.AfterFunc(p.idle, l.expire)
		p.lanes[domain] = l
	}
	return l, nil
}

func (l *lane) give() {
	l.used = time.Now()
	l.timer.Reset(l.pool.idle)
	<-l.turn
}

// expire ends the process of a lane that has been idle, and a lane that has no
// filters.
func (l *lane) expire() {
	select {
	case l.turn <- struct{}{}:
	default:
		return // in use: give sets the timer again
	}
	l.stop()
	p := l.pool
	p.mu.Lock()
	if l.filters == 0 && p.lanes[l.domain] == l && l.recentDeaths() == 0 {
		delete(p.lanes, l.domain)
	} else if p.ctx.Err() == nil && l.filters == 0 {
		l.timer.Reset(p.idle)
	}
	p.mu.Unlock()
	<-l.turn
}

// stop ends the process if there is one.
func (l *lane) stop() { l.end(false) }

func (l *lane) end(kill bool) {
	if l.proc == nil {
		return
	}
	l.proc.end(kill)
	l.proc = nil
	<-l.pool.slots
}

// recentDeaths counts the processes that were lost within deathsWithin.
func (l *lane) recentDeaths() int {
	now := l.pool.now()
	for len(l.deaths) > 0 && now.Sub(l.deaths[0]) > deathsWithin {
		l.deaths = l.deaths[1:]
	}
	return len(l.deaths)
}

// bury ends a process that failed, and keeps account of that.
func (l *lane) bury() {
	l.end(true)
	l.recentDeaths()
	l.deaths = append(l.deaths, l.pool.now())
}

// ready starts the process if there is none. A domain whose processes keep
// dying waits for it.
func (l *lane) ready(ctx context.Context) error {
	if l.proc != nil {
		return nil
	}
	if n := l.recentDeaths() - deathsToPause; n >= 0 {
		pause := time.NewTimer(min(firstPause<<min(n, 10), longestPause))
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.pool.ctx.Done():
			return ErrClosed
		}
	}
	if err := l.pool.slot(ctx); err != nil {
		return err
	}
	proc, err := l.pool.start()
	if err != nil {
		<-l.pool.slots
		l.deaths = append(l.deaths, l.pool.now())
		return err
	}
	l.proc = proc
	return nil
}

// compile loads a filter for the first time.
func (l *lane) compile(ctx context.Context, f *Filter) error {
	if n := l.recentDeaths(); n >= deathsToRefuse {
		return fmt.Errorf("the filters of %s ended their process %d times within %v: new ones are taken again later", l.domain, n, deathsWithin)
	}
	if err := l.ready(ctx); err != nil {
		return err
	}
	l.proc.send(l.loading(f), true)
	w := l.watch()
	defer w.stop()
	for {
		reply, ended := w.next()
		if ended != nil {
			l.pool.o.Log.Warn("a filter worker was lost", "domain", l.domain, "filter", f.Name(), "reason", ended.reason)
			if ended.culprit != f {
				return fmt.Errorf("loading the filter: the worker %s", ended.reason)
			}
			l.pool.jail(f, ended.reason)
			return &filter.Error{Line: 1, Column: 1, Message: "the filter " + ended.reason + " while it was loaded"}
		}
		m, ok := reply.(loaded)
		if !ok || m.id != f.load.id {
			continue
		}
		if m.message != "" {
			l.drop(f.load.id)
			return &filter.Error{Line: max(m.line, 1), Column: max(m.column, 1), Message: m.message}
		}
		return nil
	}
}

// loading is what is sent before filters are used: what the process may forget,
// and those that it has not got.
func (l *lane) loading(filters ...*Filter) []byte {
	p := l.pool
	p.mu.Lock()
	dropped := l.dropped
	l.dropped = nil
	p.mu.Unlock()
	b := l.proc.buffer()
	for _, id := range dropped {
		if l.proc.loaded[id] != nil {
			delete(l.proc.loaded, id)
			b = appendUnload(b, id)
		}
	}
	for _, f := range filters {
		if l.proc.loaded[f.load.id] == nil {
			l.proc.loaded[f.load.id] = f
			b = f.load.append(b)
		}
	}
	return b
}

func (l *lane) drop(id uint32) {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	l.dropped = append(l.dropped, id)
}
