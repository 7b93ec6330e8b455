package scripts

import (
	"encoding/json"
	"strings"

	"github.com/dop251/goja"

	"carillon/runtime"
)

// An outcall is a command that the script gives, to any entity.
type outcall struct {
	command runtime.Command
	story   *story
	at      position
	resolve func(any) error
	reject  func(any) error
	failure *goja.Object // an Error made where call stands, for its line
}

// apiCall is call('light.turn_on', data) -> Promise of {changed, response}.
func (g *generation) apiCall(c goja.FunctionCall) goja.Value {
	name := g.text("call: the service", c.Argument(0))
	domain, service, ok := strings.Cut(name, ".")
	if !ok || !runtime.ValidEntityID(name) {
		g.throw("call: %.100q is no service: want <domain>.<service>, like light.turn_on", name)
	}
	data := g.object("call: the data", c.Argument(1))
	if g.calls >= maxCalls {
		g.throw("call: more than %d calls of one script under way", maxCalls)
	}
	failure, err := g.vm.New(g.builtin.newError)
	if err != nil {
		panic(err)
	}
	promise, resolve, reject := g.vm.NewPromise()
	o := &outcall{
		command: runtime.Command{Domain: domain, Service: service, Data: data, Context: g.story.get(), Source: g.source},
		story:   g.story, at: g.here(), resolve: resolve, reject: reject, failure: failure,
	}
	g.calls++
	if g.loading {
		g.hold(heldBack{begin: func() { g.give(o) }})
	} else {
		g.give(o)
	}
	return g.vm.ToValue(promise)
}

// give gives the command on a goroutine of its own: its answer may need this
// script, which must be free for it.
func (g *generation) give(o *outcall) {
	g.host.running.Go(func() {
		result, err := g.host.Runtime.Call(g.ctx, o.command)
		g.box.put(job{resume: func() {
			g.calls--
			g.run(o.story, o.at, func() error { return g.settle(o, result, err) })
		}})
	})
}

// settle ends the promise of a call.
func (g *generation) settle(o *outcall, result *runtime.Result, err error) error {
	if err != nil {
		o.failure.Set("message", err.Error())
		return o.reject(o.failure)
	}
	changed := make([]any, len(result.Changed))
	for i, s := range result.Changed {
		changed[i] = g.stateObject(s)
	}
	v := g.vm.NewObject()
	v.Set("changed", g.vm.NewArray(changed...))
	v.Set("response", g.fromJSON(orNull(result.Response)))
	return o.resolve(v)
}

func orNull(text json.RawMessage) json.RawMessage {
	if len(text) == 0 {
		return json.RawMessage("null")
	}
	return text
}
