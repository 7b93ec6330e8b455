package plugins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"carillon/plugins/adapter/wire"
	"carillon/runtime"
)

// errDraining says that the session takes no more commands.
var errDraining = errors.New("the adapter is being drained")

// calls are the commands that a session's adapter works on.
type calls struct {
	mu sync.Mutex
	// Guarded by mu.
	next    uint64
	waiting map[uint64]*call
	closed  error // why there can be no more
	idle    chan struct{}

	// stories are the contexts of the last commands, by id: what an adapter
	// publishes may belong to one of them, and to no other.
	stories map[string]*story
	order   []string // of stories, oldest first
}

// A call is a command that waits for its result.
type call struct {
	done  chan result // depth 1
	story *story
}

// A story is a command's context.
type story struct {
	runtime.Context
	touched bool // something was published under it
}

type result struct {
	response json.RawMessage
	err      error
}

// maxStories is how many commands may be over and still be named by what came of
// them.
const maxStories = 4 * maxCommands

func (c *calls) init() {
	c.waiting = map[uint64]*call{}
	c.stories = map[string]*story{}
}

// begin makes room for a command.
func (c *calls) begin(what runtime.Context) (id uint64, made *call, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed != nil:
		return 0, nil, c.closed
	case len(c.waiting) >= maxCommands:
		return 0, nil, fmt.Errorf("%d commands wait for the adapter's answer already", maxCommands)
	}
	st := c.stories[what.ID]
	if st == nil {
		st = &story{Context: what}
		c.stories[what.ID] = st
		if c.order = append(c.order, what.ID); len(c.order) > maxStories {
			delete(c.stories, c.order[0])
			c.order = c.order[1:]
		}
	}
	c.next++
	made = &call{done: make(chan result, 1), story: st}
	c.waiting[c.next] = made
	return c.next, made, nil
}

// forget takes a command out, and reports whether it was still waiting.
func (c *calls) forget(id uint64) (*call, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w, ok := c.waiting[id]
	delete(c.waiting, id)
	if len(c.waiting) == 0 && c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
	return w, ok
}

// touch notes that items belong to commands.
func (c *calls) touch(items []*wire.Item) {
	for _, item := range items {
		if item.ContextId == "" {
			continue
		}
		c.mu.Lock()
		if st := c.stories[item.ContextId]; st != nil {
			st.touched = true
		}
		c.mu.Unlock()
	}
}

// story returns the context of the command that has this id, or none.
func (c *calls) story(id string) runtime.Context {
	if id == "" {
		return runtime.Context{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if st := c.stories[id]; st != nil {
		return st.Context
	}
	return runtime.Context{}
}

// refuse takes no more commands.
func (c *calls) refuse(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed == nil {
		c.closed = why
	}
}

// settle waits until no command waits for an answer.
func (c *calls) settle(ctx context.Context) {
	c.mu.Lock()
	if len(c.waiting) == 0 {
		c.mu.Unlock()
		return
	}
	if c.idle == nil {
		c.idle = make(chan struct{})
	}
	idle := c.idle
	c.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// failAll answers all that wait.
func (c *calls) failAll(f *failure) {
	c.refuse(fmt.Errorf("the adapter has ended: %w", f))
	c.mu.Lock()
	all := c.waiting
	c.waiting = map[uint64]*call{}
	if c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
	c.mu.Unlock()
	for _, w := range all {
		w.done <- result{err: fmt.Errorf("the adapter ended before it answered: %w", f)}
	}
}

// closeCall is how long before a command's deadline an error is taken for the deadline's doing: an
// adapter counts in whole milliseconds, and gives up before the host does.
const closeCall = 5 * time.Millisecond

// command asks the adapter, and waits for its answer until ctx ends.
func (s *session) command(ctx context.Context, c *runtime.Command) (json.RawMessage, error) {
	id, waiting, err := s.calls.begin(c.Context)
	if err != nil {
		return nil, err
	}
	timeout := s.a.host.times.config
	if deadline, ok := ctx.Deadline(); ok {
		timeout = time.Until(deadline)
	}
	if !s.out.put(&wire.FromHost{Message: &wire.FromHost_Command{Command: &wire.Command{
		Id: id, EntityId: c.EntityID, Domain: c.Domain, Service: c.Service, Data: string(c.Data),
		TimeoutMs: max(timeout.Milliseconds(), 1), ContextId: c.Context.ID,
	}}}) {
		s.calls.forget(id)
		return nil, errors.New("the adapter doesn't read what is sent to it")
	}
	select {
	case r := <-waiting.done:
		if deadline, ok := ctx.Deadline(); ok && r.err != nil && time.Until(deadline) < closeCall {
			r.err = fmt.Errorf("%w (%w)", r.err, context.DeadlineExceeded)
		}
		return r.response, r.err
	case <-ctx.Done():
	}
	if _, waits := s.calls.forget(id); !waits {
		// Answered at the same moment, or the journal is slow to show what came of it.
		select {
		case r := <-waiting.done:
			return r.response, r.err
		default:
		}
	}
	s.out.put(&wire.FromHost{Message: &wire.FromHost_Cancel{Cancel: &wire.Cancel{Id: id}}})
	return nil, fmt.Errorf("the adapter did not answer in time: %w", ctx.Err())
}

// takeResult answers a command, behind what was published under its context.
func (s *session) takeResult(r *wire.Result) {
	w, ok := s.calls.forget(r.Id)
	if !ok {
		s.a.count(&s.a.stats.lateResults, "late_result", 1)
		return
	}
	answer := result{response: json.RawMessage(r.Response)}
	switch {
	case r.Error != "" && r.Invalid:
		answer = result{err: &runtime.DataError{Err: fmt.Errorf("%.1000s", r.Error)}}
	case r.Error != "":
		answer = result{err: fmt.Errorf("%.1000s", r.Error)}
	case len(r.Response) > maxResponse:
		answer = result{err: fmt.Errorf("the command's response is larger than %d bytes", maxResponse)}
	case r.Response == "":
		answer.response = nil
	}
	s.calls.mu.Lock()
	touched := w.story.touched
	s.calls.mu.Unlock()
	if touched {
		s.pub.behind(func() { w.done <- answer })
		return
	}
	w.done <- answer
}
