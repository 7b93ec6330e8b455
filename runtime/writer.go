package runtime

import "context"

// A Writer proposes changes and events without waiting for the journal. What it
// is given becomes visible in the order in which it was given: after the
// journal refused something, all that was given behind it is refused too, until
// Reset. A Writer belongs to one goroutine.
type Writer struct {
	r    *Runtime
	last *ticket // of what was given last; nil at the start
}

// NewWriter returns a Writer that has nothing under way.
func (r *Runtime) NewWriter() *Writer { return &Writer{r: r} }

// A Pending is what a Writer was given at once.
type Pending struct{ t *ticket }

// nothing is what is visible already.
var nothing = func() *ticket {
	t := &ticket{done: make(chan struct{})}
	close(t.done)
	return t
}()

// Done returns a channel that is closed once all of it is visible, or refused.
func (p *Pending) Done() <-chan struct{} { return p.t.done }

// Err returns why it was refused: ErrJournal (nothing of it is stored) or
// ErrClosed. It is to be called once Done's channel is closed.
func (p *Pending) Err() error { return p.t.err }

// Reset lets the Writer go on after a refusal. All that it was given must be
// done.
func (w *Writer) Reset() { w.last = nil }

// Set is Runtime.Set without the wait: it may wait for room in the journal only.
// An *EventError names the change that was refused, and nothing is changed.
func (w *Writer) Set(ctx context.Context, changes ...Change) (*Pending, error) {
	t, _, err := w.r.set(ctx, w.last, changes)
	return w.keep(t, err)
}

// Fire is Runtime.Fire without the wait, as Set.
func (w *Writer) Fire(ctx context.Context, events ...NewEvent) (*Pending, error) {
	if len(events) == 0 {
		return &Pending{nothing}, nil
	}
	t, err := w.r.fire(ctx, w.last, events)
	return w.keep(t, err)
}

// Remove is Runtime.Remove without the wait, as Set. That there is no such
// entity is no error.
func (w *Writer) Remove(ctx context.Context, entityID string, story Context, source string) (*Pending, error) {
	t, err := w.r.remove(ctx, w.last, entityID, Local, story, source)
	if err == ErrNotFound {
		t, err = nil, nil
	}
	return w.keep(t, err)
}

func (w *Writer) keep(t *ticket, err error) (*Pending, error) {
	switch {
	case err != nil:
		return nil, err
	case t == nil:
		return &Pending{nothing}, nil
	}
	w.last = t
	return &Pending{t}, nil
}

// beginAfter is begin for who may only go on if after was not refused. A
// journal that refused something takes nothing more until all that was under way
// is done, so after is done too by then.
func (p *proposer) beginAfter(ctx context.Context, after *ticket) error {
	if err := p.begin(ctx); err != nil {
		return err
	}
	if after == nil {
		return nil
	}
	select {
	case <-after.done:
		if after.err != nil {
			p.end()
			return after.err
		}
	default:
	}
	return nil
}
