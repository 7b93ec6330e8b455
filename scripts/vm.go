package scripts

import (
	"time"

	"github.com/dop251/goja"
	"github.com/dop251/goja/parser"
)

// builtins are functions of the JavaScript machine, taken before the script
// could replace them.
type builtins struct {
	stringify, parse, text goja.Callable
	then                   goja.Callable // Promise.prototype.then
	newError               *goja.Object
}

// newVM makes the machine and the global functions of the script API.
func (g *generation) newVM() {
	vm := goja.New()
	g.vm = vm
	// goja's own bounds are none at all, and its parser reads the files that a
	// sourceMappingURL names, in eval too.
	vm.SetMaxCallStackSize(maxCallStack)
	vm.SetParserOptions(parser.WithDisableSourceMaps)
	vm.SetPromiseRejectionTracker(g.trackRejection)
	vm.SetAsyncContextTracker((*stories)(g))
	member := func(object, name string) goja.Callable {
		fn, _ := goja.AssertFunction(vm.Get(object).(*goja.Object).Get(name))
		return fn
	}
	g.builtin.stringify = member("JSON", "stringify")
	g.builtin.parse = member("JSON", "parse")
	g.builtin.text, _ = goja.AssertFunction(vm.Get("String"))
	g.builtin.then, _ = goja.AssertFunction(vm.Get("Promise").(*goja.Object).Get("prototype").(*goja.Object).Get("then"))
	g.builtin.newError = vm.Get("Error").(*goja.Object)

	g.global("device", g.apiDevice)
	g.global("on", g.apiOn)
	g.global("every", g.apiEvery)
	g.global("after", g.apiAfter)
	g.global("call", g.apiCall)
	g.global("emit", g.apiEmit)
	g.global("state", g.apiState)
	g.global("states", g.apiStates)
	g.global("read", g.apiRead)
	g.installLog()
}

// native returns a function of the API. A generation that has ended gets no
// further, even if its JavaScript could not be interrupted.
func (g *generation) native(fn func(goja.FunctionCall) goja.Value) func(goja.FunctionCall) goja.Value {
	return func(c goja.FunctionCall) goja.Value {
		if g.ended.Load() {
			g.throw("%v", errEnded)
		}
		return fn(c)
	}
}

func (g *generation) global(name string, fn func(goja.FunctionCall) goja.Value) {
	g.vm.Set(name, g.native(fn))
}

// run calls fn, which runs JavaScript, as one run under the watchdog, and then
// what it left to do at once (promises). What goes wrong is told with at, when
// nothing better is known, and returned.
func (g *generation) run(s *story, at position, fn func() error) (failed *Error) {
	g.story, g.root = s, s
	limit := g.host.limits.Load().Handler
	if g.loading {
		limit = g.host.limits.Load().Load
	}
	g.runAt.Store(&at)
	g.begin(limit)
	defer func() {
		p := recover()
		g.lease.end()
		g.stats.ran(time.Since(g.began))
		if p != nil {
			failed = g.crash(p, at)
		}
	}()
	if err := catch(fn); err != nil {
		failed = g.describe(err, at)
		if failed.reason == reasonTimeout && failed.Message == errTooLong.Error() {
			failed.Message = "ran for longer than " + limit.String() + " and was interrupted"
		}
	}
	rejected := g.takeRejections(at)
	if g.loading {
		if failed == nil && len(rejected) > 0 {
			failed = rejected[0]
		}
		return failed
	}
	g.tell(failed)
	for _, e := range rejected {
		g.tell(e)
	}
	return failed
}

// catch calls fn and returns what it throws outside of any JavaScript, too.
func catch(fn func() error) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case *goja.Exception:
			err = p
		case *goja.InterruptedError:
			err = p
		case *goja.StackOverflowError:
			err = p
		default:
			panic(p)
		}
	}()
	return fn()
}

// takeRejections describes the promises that were rejected in this run and
// that nobody handles.
func (g *generation) takeRejections(at position) []*Error {
	var list []*Error
	for _, p := range g.rejected {
		e := g.describeValue(p.Result(), at)
		e.Message += " (in a promise that nobody handles)"
		list = append(list, e)
	}
	g.rejected = g.rejected[:0]
	return list
}

// maxRejections bounds the promises that one run may reject for nobody.
const maxRejections = 100

func (g *generation) trackRejection(p *goja.Promise, op goja.PromiseRejectionOperation) {
	if op == goja.PromiseRejectionReject {
		if len(g.rejected) < maxRejections {
			g.rejected = append(g.rejected, p)
		}
		return
	}
	for i, known := range g.rejected {
		if known == p {
			g.rejected = append(g.rejected[:i], g.rejected[i+1:]...)
			return
		}
	}
}
