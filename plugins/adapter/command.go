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
// of different entities at once.
func (h *Host) OnCommand(handler CommandHandler) {
	h.commands.mu.Lock()
	defer h.commands.mu.Unlock()
	h.commands.handler = handler
}

// maxCommands bounds the commands that wait or run at once; each is a goroutine.
const maxCommands = 2000

// defaultCommandTimeout is used when the host names none, so that no command stays
// for ever.
const defaultCommandTimeout = time.Minute

// commands are the commands of a session that are not answered.
type commands struct {
	// Static after construction.
	h *Host

	mu sync.Mutex
	// Guarded by mu.
	handler  CommandHandler
	draining bool
	services map[string][]string // by entity
	cancels  map[uint64]context.CancelFunc
	last     map[string]chan struct{} // closed at the end of the newest handler of an entity
	idle     chan struct{}            // closed when cancels is empty; nil: nobody waits
}

func (c *commands) init(h *Host) {
	c.h = h
	c.cancels = map[uint64]context.CancelFunc{}
	c.last = map[string]chan struct{}{}
	c.services = map[string][]string{}
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
	ctx := context.WithValue(c.h.stream.Context(), contextKey{}, w.ContextId)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	c.cancels[w.Id] = cancel
	before, done := c.last[w.EntityId], make(chan struct{})
	c.last[w.EntityId] = done
	handler := c.handler
	c.mu.Unlock()
	go c.run(ctx, handler, w, before, done)
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
	case len(c.cancels) >= maxCommands:
		return fmt.Sprintf("the adapter has %d commands under way already", maxCommands)
	case c.cancels[w.Id] != nil:
		return fmt.Sprintf("command %d is under way already", w.Id)
	}
	return ""
}

// run handles a command after the one before it, and answers at its deadline even if
// a handler doesn't end.
func (c *commands) run(ctx context.Context, handler CommandHandler, w *wire.Command, before <-chan struct{}, done chan struct{}) {
	answered := make(chan *wire.Result, 1)
	go func() {
		defer c.ended(w.EntityId, done)
		if before != nil {
			<-before
		}
		if ctx.Err() == nil {
			answered <- call(ctx, c.h, handler, w)
		}
	}()
	var r *wire.Result
	select {
	case r = <-answered:
	case <-ctx.Done():
		r = &wire.Result{Id: w.Id, Error: "nobody waits for the command any more"}
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			r.Error = "the adapter didn't do it in time"
		}
	}
	c.answer(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancels[w.Id]()
	delete(c.cancels, w.Id)
	if len(c.cancels) == 0 && c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
}

// ended lets the next command of an entity go on.
func (c *commands) ended(entity string, done chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(done)
	if c.last[entity] == done {
		delete(c.last, entity)
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
	if cancel := c.cancels[id]; cancel != nil {
		cancel()
	}
}

// drain takes no more commands and waits until those under way are answered.
func (c *commands) drain(ctx context.Context) error {
	c.mu.Lock()
	c.draining = true
	var idle chan struct{}
	if len(c.cancels) > 0 {
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
