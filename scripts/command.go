package scripts

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"sync"

	"github.com/dop251/goja"

	"carillon/runtime"
)

// A command is one that waits for a script's answer.
type command struct {
	ctx  context.Context // of the caller
	what *runtime.Command
	done chan answer // depth 1

	mu sync.Mutex
	// Guarded by mu.
	box      *mailbox // where it counts
	answered bool
	unhook   func() bool // from the end of the generation that it waits for
}

type answer struct {
	response json.RawMessage
	err      error
}

// fail answers the command with what its handler threw.
func (c *command) fail(e *Error) {
	if e.ranged {
		c.finish(nil, &runtime.DataError{Err: e})
		return
	}
	c.finish(nil, e)
}

// finish answers the command; only the first answer counts.
func (c *command) finish(response json.RawMessage, err error) {
	c.mu.Lock()
	box, unhook, first := c.box, c.unhook, !c.answered
	c.answered = true
	c.mu.Unlock()
	if !first {
		return
	}
	if unhook != nil {
		unhook()
	}
	c.done <- answer{response, err}
	if box != nil {
		box.answered()
	}
}

// endWith answers the command when the generation ends before it is answered.
func (c *command) endWith(generation context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.answered {
		c.unhook = context.AfterFunc(generation, func() { c.finish(nil, errReloaded) })
	}
}

// send queues the command at box.
func (c *command) send(box *mailbox) {
	c.mu.Lock()
	c.box = box
	c.mu.Unlock()
	if err := box.put(job{command: c}); err != nil {
		c.mu.Lock()
		c.box = nil
		c.mu.Unlock()
		c.finish(nil, err)
	}
}

// obey runs the handler of a command.
func (g *generation) obey(c *command) {
	if c.ctx.Err() != nil {
		c.finish(nil, c.ctx.Err()) // the caller has been told already
		return
	}
	d := g.devices[c.what.EntityID]
	if d == nil {
		c.finish(nil, errStopped)
		return
	}
	h, ok := d.commands[c.what.Service]
	if !ok {
		c.finish(nil, errors.New("the script has no such command any more"))
		return
	}
	g.stats.handled.Add(1)
	failed := g.run(&story{context: c.what.Context}, h.at, func() error {
		data := g.fromJSON(c.what.Data)
		v, err := h.fn(d.handle, data, g.commandContext(c.what))
		if err != nil {
			return err
		}
		if isPromise(v) {
			return g.await(c, h.at, v)
		}
		response, err := g.response(v)
		if err == nil {
			c.finish(response, nil)
		}
		return err
	})
	if failed != nil {
		c.fail(failed)
	}
}

// commandContext is what a command's handler gets as its second argument.
func (g *generation) commandContext(c *runtime.Command) *goja.Object {
	o := g.vm.NewObject()
	o.Set("domain", c.Domain)
	o.Set("service", c.Service)
	o.Set("entity_id", c.EntityID)
	o.Set("source", c.Source)
	o.Set("context", g.contextObject(c.Context))
	return o
}

func (g *generation) response(v goja.Value) (json.RawMessage, error) {
	text, err := g.toJSON(v)
	if err == nil && len(text) > maxResponse {
		err = errors.New("the command's response is larger than 1 MiB")
	}
	return text, err
}

// await answers the command with what the promise v becomes.
func (g *generation) await(c *command, at position, v goja.Value) error {
	c.endWith(g.ctx)
	kept := g.vm.ToValue(func(call goja.FunctionCall) goja.Value {
		response, err := g.response(call.Argument(0))
		if err != nil {
			e := g.describe(err, at)
			g.tell(e)
			c.finish(nil, e)
			return goja.Undefined()
		}
		c.finish(response, nil)
		return goja.Undefined()
	})
	broken := g.vm.ToValue(func(call goja.FunctionCall) goja.Value {
		e := g.describeValue(call.Argument(0), at)
		g.tell(e)
		c.fail(e)
		return goja.Undefined()
	})
	_, err := g.builtin.then(v, kept, broken)
	return err
}

var promiseType = reflect.TypeFor[*goja.Promise]()

func isPromise(v goja.Value) bool {
	o, ok := v.(*goja.Object)
	return ok && o.ExportType() == promiseType
}
