package worker

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dop251/goja"
	"github.com/dop251/goja/parser"
)

const (
	// maxCallStack is how deep JavaScript may call; goja's own bound is none.
	maxCallStack = 256
	// maxMessage is the longest message of what a filter throws, in bytes.
	maxMessage = 500
	// maxProjection is the longest JSON that an event's place can be taken by,
	// in bytes: a little more than an event's data may have.
	maxProjection = 1 << 20
)

// A program is a filter loaded into a machine of its own.
type program struct {
	load
	vm        *goja.Runtime
	call      goja.Callable
	stringify goja.Callable
	arguments [2]goja.Value // the event, the parameters

	now       int64  // what its clock says: the event's time in milliseconds
	random    uint64 // the state of its random numbers
	broken    string // why it can't decide, until it is loaded again
	allocated uint64 // bytes, while the worker looks for who takes memory
}

// open loads the filter. Its top-level code runs at the time 0.
func (p *program) open() (failed *loaded) {
	code, global, failed := compile(p.name, p.source)
	if failed != nil {
		return failed
	}
	p.newVM()
	if global {
		p.vm.Set(exported, goja.Undefined())
	}
	value, failed := p.run(code)
	if failed != nil {
		return failed
	}
	if global {
		value = p.vm.Get(exported)
		p.vm.GlobalObject().Delete(exported)
	}
	call, ok := goja.AssertFunction(value)
	if !ok {
		return &loaded{line: 1, column: 1, message: "`export default` has to be followed by a function of the event: e => …"}
	}
	p.call = call
	return nil
}

// empty lets go of the machine. The next event opens the filter again.
func (p *program) empty() { *p = program{load: p.load} }

// newVM makes the machine: the language and its library, and nothing of the
// system. Clock and random numbers depend on the event only.
func (p *program) newVM() {
	p.vm = goja.New()
	p.vm.SetMaxCallStackSize(maxCallStack)
	// The parser would read the files that a sourceMappingURL names, in eval too.
	p.vm.SetParserOptions(parser.WithDisableSourceMaps)
	p.vm.SetTimeSource(func() time.Time { return time.UnixMilli(p.now).UTC() })
	p.vm.SetRandSource(p.nextRandom)
	p.stringify, _ = goja.AssertFunction(p.vm.Get("JSON").ToObject(p.vm).Get("stringify"))

	console := p.vm.NewObject()
	for _, name := range []string{"debug", "error", "info", "log", "trace", "warn"} {
		console.Set(name, func(goja.FunctionCall) goja.Value { return goja.Undefined() })
	}
	p.vm.Set("console", console)

	p.arguments[1] = p.readParams()
	p.vm.Set("params", p.arguments[1])
}

// readParams returns the parameters as an object that can't be changed.
func (p *program) readParams() goja.Value {
	params := p.vm.NewObject()
	var given map[string]any
	json.Unmarshal([]byte(p.params), &given)
	for _, name := range slices.Sorted(maps.Keys(given)) {
		params.Set(name, given[name])
	}
	if freeze, ok := goja.AssertFunction(p.vm.Get("Object").ToObject(p.vm).Get("freeze")); ok {
		freeze(goja.Undefined(), params)
	}
	return params
}

// nextRandom is splitmix64 (Steele, Lea, Flood 2014).
func (p *program) nextRandom() float64 {
	p.random += 0x9e3779b97f4a7c15
	z := p.random
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return float64((z^z>>31)>>11) / (1 << 53)
}

func (p *program) run(code *goja.Program) (value goja.Value, failed *loaded) {
	defer func() {
		if r := recover(); r != nil {
			value, failed = nil, &loaded{line: 1, column: 1, message: "the JavaScript machine failed: " + clip(fmt.Sprint(r), maxMessage)}
		}
	}()
	value, err := p.vm.RunProgram(code)
	if err == nil {
		return value, nil
	}
	failed = &loaded{line: 1, column: 1, message: p.message(err)}
	if thrown, ok := err.(*goja.Exception); ok {
		for _, frame := range thrown.Stack() {
			if at := frame.Position(); at.Line > 0 {
				place := failedAt(p.source, byteAt(p.source, at.Line, at.Column), "")
				failed.line, failed.column = place.line, place.column
				break
			}
		}
	}
	return nil, failed
}

// A verdict is what a filter says of an event.
type verdict struct {
	match bool
	data  string // a projection; empty if there is none
	err   string // what it threw; empty if it did not
}

// decide asks the filter.
func (p *program) decide(v *view) (d verdict) {
	if p.call == nil && p.broken == "" {
		if failed := p.open(); failed != nil {
			p.broken = failed.message
		}
	}
	if p.broken != "" {
		return verdict{err: p.broken}
	}
	defer func() {
		if r := recover(); r != nil {
			d = verdict{err: "the JavaScript machine failed: " + clip(fmt.Sprint(r), maxMessage)}
			p.empty() // it may be in any state now
		}
	}()
	p.now, p.random = v.event.time, v.event.seq
	p.arguments[0] = show(p.vm, &v.root)
	value, err := p.call(goja.Undefined(), p.arguments[:]...)
	p.arguments[0] = nil
	if err != nil {
		return verdict{err: p.message(err)}
	}
	result, ok := value.(*goja.Object)
	if !ok {
		return verdict{match: value.ToBoolean()}
	}
	if _, function := goja.AssertFunction(result); function {
		return verdict{match: true}
	}
	return p.project(result)
}

var promiseType = reflect.TypeFor[*goja.Promise]()

// project makes a projection of an object.
func (p *program) project(result *goja.Object) verdict {
	if result.ExportType() == promiseType {
		return verdict{err: "TypeError: a filter returned a promise; it has to decide at once"}
	}
	value, err := p.stringify(goja.Undefined(), result)
	if err != nil {
		return verdict{err: p.message(err)}
	}
	text, ok := value.(goja.String)
	if !ok || text.Length() == 0 {
		return verdict{err: "TypeError: a filter returned an object that JSON can't hold"}
	}
	if text.Length() > maxProjection {
		return verdict{err: fmt.Sprintf("RangeError: a filter returned an object of %d characters of JSON, and at most %d are allowed", text.Length(), maxProjection)}
	}
	switch data := text.String(); {
	case data[0] == '{' && len(data) <= maxProjection:
		return verdict{match: true, data: data}
	case data[0] == '{':
		return verdict{err: fmt.Sprintf("RangeError: a filter returned an object of %d bytes of JSON, and at most %d are allowed", len(data), maxProjection)}
	case data[0] == '[':
		return verdict{err: "TypeError: a filter returned an array; it may return an object, or anything that is true or false"}
	}
	return verdict{err: "TypeError: a filter returned an object whose JSON is not an object"}
}

// message returns the text of what was thrown.
func (p *program) message(err error) (text string) {
	switch err := err.(type) {
	case *goja.StackOverflowError:
		text = "RangeError: Maximum call stack size exceeded"
	case *goja.Exception:
		text = "an object that has no text"
		p.vm.Try(func() { text = err.Value().String() }) // may run the filter's toString
	default:
		text = err.Error()
	}
	return clip(text, maxMessage)
}

// clip shortens s to at most n bytes, at the end of a character.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	if len(s) <= n {
		return s
	}
	n -= len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
