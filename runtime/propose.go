package runtime

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A proposer decides what changes, in one order, and queues it for the journal
// in that order.
type proposer struct {
	r       *Runtime
	settled settled

	turn chan struct{} // holds one token; who holds it may propose (a mutex that a context can leave)

	mu sync.Mutex
	// Guarded by mu.
	latest      map[string]*proposal // entities with changes under way
	outstanding int                  // Appends that are neither folded nor failed
	failed      error                // why the journal refuses, until all under way has failed too
	last        *ticket              // of the newest Append
}

// A proposal is the state an entity will have once all under way is folded.
type proposal struct {
	state *State // nil: removed
	count int    // events under way
}

// A ticket is one Append under way.
type ticket struct {
	done chan struct{} // closed by settle
	last uint64        // valid once done
	err  error         // valid once done
}

func (p *proposer) init(r *Runtime) {
	p.r = r
	p.turn = make(chan struct{}, 1)
	p.latest = map[string]*proposal{}
	p.settled.init(r.table.head())
}

// begin takes the turn, or says why nothing can be proposed.
func (p *proposer) begin(ctx context.Context) error {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	err := p.recover()
	if err == nil && p.settled.isClosed() {
		err = ErrClosed
	}
	if err != nil {
		<-p.turn
	}
	return err
}

// recover forgets what was proposed and never stored, once all that was under
// way when the journal failed has ended. Callers hold the turn, so nobody is
// between deciding against such a proposal and queueing.
func (p *proposer) recover() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed == nil {
		return nil
	}
	if p.outstanding > 0 {
		return p.failed
	}
	p.failed = nil
	clear(p.latest)
	p.r.journal.Recover()
	return nil
}

func (p *proposer) end() { <-p.turn }

// base returns the state that a change of id starts from, and whether it is
// still under way. Callers hold the turn.
func (p *proposer) base(id string) (state *State, underWay bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.latest[id]; l != nil {
		return l.state, true
	}
	return p.r.table.get(id), false
}

// note remembers what id will be. Callers hold the turn.
func (p *proposer) note(id string, state *State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.latest[id]
	if l == nil {
		l = &proposal{}
		p.latest[id] = l
	}
	l.state = state
	l.count++
}

// queue hands events to the journal. Callers hold the turn.
func (p *proposer) queue(events []*Event) *ticket {
	t := &ticket{done: make(chan struct{})}
	p.mu.Lock()
	p.outstanding++
	p.last = t
	p.mu.Unlock()
	p.r.journal.Append(events, func(last uint64, err error) {
		if err != nil {
			p.fail(t, err)
			return
		}
		p.settled.when(last, func(err error) { p.settle(t, last, err) })
	})
	return t
}

// newest returns the ticket of the newest Append, which may be done. Callers
// hold the turn.
func (p *proposer) newest() *ticket {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

func (p *proposer) fail(t *ticket, err error) {
	p.mu.Lock()
	if !errors.Is(err, ErrJournal) {
		err = fmt.Errorf("%w: %w", ErrJournal, err)
	}
	p.failed = err
	p.mu.Unlock()
	p.settle(t, 0, err)
}

// settle ends an Append.
func (p *proposer) settle(t *ticket, last uint64, err error) {
	t.last, t.err = last, err
	close(t.done)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outstanding--
}

// folded forgets proposals that the table now holds, then wakes their writers.
func (p *proposer) folded(batch []*Event) {
	p.mu.Lock()
	for _, e := range batch {
		if l := p.latest[e.EntityID]; l != nil && e.Type == StateChanged {
			if l.count--; l.count == 0 {
				delete(p.latest, e.EntityID)
			}
		}
	}
	p.mu.Unlock()
	p.settled.advance(batch[len(batch)-1].Seq)
}

// wait waits for a ticket. A caller that gives up does not undo its events.
func (t *ticket) wait(ctx context.Context) (last uint64, err error) {
	select {
	case <-t.done:
		return t.last, t.err
	case <-ctx.Done():
		return 0, fmt.Errorf("waiting for the journal: %w", ctx.Err())
	}
}

// now returns the time of a decision, in the precision of the wire.
func (p *proposer) now() time.Time { return p.r.now().UTC().Truncate(time.Microsecond) }
