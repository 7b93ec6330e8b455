package adapter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"carillon/plugins/adapter/wire"
)

// A DataError, returned by a CommandHandler, says that the command's data are wrong and
// that nothing was done: whoever sent it gets 400 Bad Request instead of a failure.
type DataError struct{ Err error }

func (e *DataError) Error() string { return e.Err.Error() }

func (e *DataError) Unwrap() error { return e.Err }

// A CommandHandler does what a command asks for. It must end when ctx does, after the
// command's deadline or when nobody waits for it any more. Response is marshalled as
// JSON; nil is none. States that are set with ctx are told to come of the command.
type CommandHandler func(ctx context.Context, c Command) (response any, err error)

// OnCommand says who handles commands. It is called before the first Declare, at
// most once. Only services that an entity was declared with, and those of the adapter
// itself, reach the handler. Commands of one entity are handled one after another as they came, those
// of different entities at once. While a handler doesn't end, the entity's other commands wait, and
// each is answered at its deadline.
func (h *Host) OnCommand(handler CommandHandler) {
	h.commands.mu.Lock()
	defer h.commands.mu.Unlock()
	h.commands.handler = handler
}

// maxCommands bounds the commands that are not answered, and the entities whose handler
// has not ended; each of these is a goroutine, and a handler that hangs keeps it.
const maxCommands = 2000

// defaultCommandTimeout is used when the host names none, so that no command stays
// for ever.
const defaultCommandTimeout = time.Minute

// commands are the commands of a session.
type commands struct {
	// Static after construction.
	h *Host

	mu sync.Mutex
	// Guarded by mu.
	handler  CommandHandler
	draining bool
	services map[string][]string   // by entity
	open     map[uint64]*command   // that are not answered, by id
	waiting  map[string][]*command // that have not begun, by entity; each has a goroutine that handles them
	idle     chan struct{}         // closed when open is empty; nil: nobody waits
}

// A command is one that is to be handled.
type command struct {
	// Static after construction.
	w      *wire.Command
	ctx    context.Context // until its deadline, or until nobody waits for it
	cancel context.CancelFunc

	answered atomic.Bool
}

func (c *commands) init(h *Host) {
	c.h = h
	c.services = map[string][]string{}
	c.open = map[uint64]*command{}
	c.waiting = map[string][]*command{}
}

func (c *commands) declare(entity string, services []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.services[entity] = slices.Clone(services)
}

func (c *commands) forget(entity string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.services, entity)
}

type contextKey struct{}

// contextID returns the id of the command that ctx came with.
func contextID(ctx context.Context) string {
	id, _ := ctx.Value(contextKey{}).(string)
	return id
}

// begin starts a command, or answers it with why it can't be done. It runs on the
// receiving goroutine, so commands begin in their order.
func (c *commands) begin(w *wire.Command) {
	c.mu.Lock()
	refusal := c.refusal(w)
	if refusal != "" {
		c.mu.Unlock()
		c.answer(&wire.Result{Id: w.Id, Error: refusal})
		return
	}
	timeout := time.Duration(w.TimeoutMs) * time.Millisecond
	if timeout <= 0 {
		timeout = defaultCommandTimeout
	}
	one := &command{w: w}
	ctx := context.WithValue(c.h.stream.Context(), contextKey{}, w.ContextId)
	one.ctx, one.cancel = context.WithTimeout(ctx, timeout)
	context.AfterFunc(one.ctx, func() { c.expired(one) })
	c.open[w.Id] = one
	waiting, busy := c.waiting[w.EntityId]
	c.waiting[w.EntityId] = append(waiting, one)
	handler := c.handler
	c.mu.Unlock()
	if !busy {
		go c.work(w.EntityId, handler)
	}
}

// refusal says why a command can't begin. Callers hold mu.
func (c *commands) refusal(w *wire.Command) string {
	switch {
	case c.draining:
		return "the adapter is draining"
	case c.handler == nil:
		return "the adapter takes no commands"
	case w.EntityId != "" && !slices.Contains(c.services[w.EntityId], w.Service):
		return fmt.Sprintf("%s takes no %s", w.EntityId, w.Service)
	case max(len(c.open), len(c.waiting)) >= maxCommands:
		return fmt.Sprintf("the adapter has %d commands under way already", maxCommands)
	case c.open[w.Id] != nil:
		return fmt.Sprintf("command %d is under way already", w.Id)
	}
	return ""
}

// work handles an entity's commands, one after another, until none waits.
func (c *commands) work(entity string, handler CommandHandler) {
	for one := c.next(entity); one != nil; one = c.next(entity) {
		if one.ctx.Err() == nil { // else it is about to be answered
			c.finish(one, call(one.ctx, c.h, handler, one.w))
		}
	}
}

// next returns what an entity's goroutine handles next; nil ends it.
func (c *commands) next(entity string) *command {
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := c.waiting[entity]
	if len(waiting) == 0 {
		delete(c.waiting, entity)
		return nil
	}
	one := waiting[0]
	c.waiting[entity] = slices.Delete(waiting, 0, 1)
	return one
}

// expired answers a command whose context ended, whether it waits still or a handler
// doesn't end.
func (c *commands) expired(one *command) {
	r := &wire.Result{Id: one.w.Id, Error: "nobody waits for the command any more"}
	if errors.Is(one.ctx.Err(), context.DeadlineExceeded) {
		r.Error = "the adapter didn't do it in time"
	}
	c.finish(one, r)
}

// finish answers a command, unless that was done.
func (c *commands) finish(one *command, r *wire.Result) {
	if one.answered.Swap(true) {
		return
	}
	c.answer(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	one.cancel()
	delete(c.open, one.w.Id)
	if waiting := c.waiting[one.w.EntityId]; len(waiting) > 0 {
		c.waiting[one.w.EntityId] = slices.DeleteFunc(waiting, func(other *command) bool { return other == one })
	}
	if len(c.open) == 0 && c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
}

// call calls the handler; its panic is its error.
func call(ctx context.Context, h *Host, handler CommandHandler, w *wire.Command) (r *wire.Result) {
	r = &wire.Result{Id: w.Id}
	defer func() {
		if p := recover(); p != nil {
			h.log.Error("the handler of a command panicked", "command", w.Domain+"."+w.Service, "entity_id", w.EntityId, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			r.Error = fmt.Sprintf("the adapter's handler panicked: %v", p)
		}
		r.Error = strings.ToValidUTF8(r.Error, "�")
	}()
	response, err := handler(ctx, Command{ID: w.Id, EntityID: w.EntityId, Domain: w.Domain, Service: w.Service, Data: json.RawMessage(w.Data)})
	if err != nil {
		if r.Error = err.Error(); r.Error == "" {
			r.Error = "it failed and doesn't say why"
		}
		var data *DataError
		r.Invalid = errors.As(err, &data)
		return r
	}
	if response != nil {
		text, err := json.Marshal(response)
		if err != nil {
			r.Error = fmt.Sprintf("the response is no JSON: %v", err)
			return r
		}
		r.Response = strings.ToValidUTF8(string(text), "�")
	}
	return r
}

// answer queues a result behind what was published before.
func (c *commands) answer(r *wire.Result) {
	h := c.h
	if n := proto.Size(r); n > int(h.welcome.MaxMessageBytes)-batchOverhead {
		r = &wire.Result{Id: r.Id, Error: fmt.Sprintf("the answer's %d bytes don't fit into a message of %d", n, h.welcome.MaxMessageBytes)}
	}
	h.mu.Lock()
	h.outbox.results = append(h.outbox.results, result{h.published, r})
	h.mu.Unlock()
	notify(h.wake)
}

func (c *commands) cancel(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one := c.open[id]; one != nil {
		one.cancel()
	}
}

// drain takes no more commands and waits until those under way are answered.
func (c *commands) drain(ctx context.Context) error {
	c.mu.Lock()
	c.draining = true
	var idle chan struct{}
	if len(c.open) > 0 {
		if c.idle == nil {
			c.idle = make(chan struct{})
		}
		idle = c.idle
	}
	c.mu.Unlock()
	if idle == nil {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-c.h.over:
		return c.h.reason()
	case <-ctx.Done():
		return ctx.Err()
	}
}
