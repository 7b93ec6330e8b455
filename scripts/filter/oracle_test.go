package filter

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"carillon/runtime"

	"github.com/dop251/goja"
	"github.com/dop251/goja/parser"
)

// An oracle runs filters in goja.
type oracle struct {
	vm    *goja.Runtime
	build goja.Callable
	last  *runtime.Event
	event goja.Value
}

// buildEvent makes e of an event, from its JSON and what package runtime says
// of it.
const buildEvent = `(type, entity_id, domain, source, time, seq, data, next, prior) => {
	const freeze = x => { if (typeof x === 'object' && x !== null) { Object.freeze(x); Object.values(x).forEach(freeze); } return x; };
	const of = s => {
		const attributes = JSON.parse(s.attributes), n = Number(s.state), unit = attributes.unit_of_measurement;
		return {state: s.state, number: s.state.trim() !== '' && isFinite(n) ? n : undefined, unit: typeof unit === 'string' ? unit : undefined,
			attributes, last_changed: s.changed, last_updated: s.updated};
	};
	const state = next ? of(next) : {};
	return freeze({type, entity_id: entity_id || undefined, domain: domain || undefined, source, time, seq, state: state.state, number: state.number,
		unit: state.unit, attributes: state.attributes, old: prior ? of(prior) : undefined, data: JSON.parse(data),
		last_changed: state.last_changed, last_updated: state.last_updated});
}`

func newOracle(t testing.TB) *oracle {
	vm := goja.New()
	vm.SetMaxCallStackSize(1000)
	vm.SetParserOptions(parser.WithDisableSourceMaps)
	v, err := vm.RunString(buildEvent)
	if err != nil {
		t.Fatal(err)
	}
	build, _ := goja.AssertFunction(v)
	return &oracle{vm: vm, build: build}
}

// show makes ev the event that programs run on.
func (o *oracle) show(t testing.TB, ev *runtime.Event) {
	state := func(s *runtime.State) goja.Value {
		if s == nil {
			return goja.Undefined()
		}
		return o.vm.ToValue(map[string]any{"state": s.State, "attributes": string(s.Attributes),
			"changed": s.LastChanged.UnixMilli(), "updated": s.LastUpdated.UnixMilli()})
	}
	v, err := o.build(nil, o.vm.ToValue(ev.Type), o.vm.ToValue(ev.EntityID), o.vm.ToValue(ev.Domain), o.vm.ToValue(ev.Source),
		o.vm.ToValue(ev.Time.UnixMilli()), o.vm.ToValue(ev.Seq), o.vm.ToValue(string(ev.Data())), state(ev.New()), state(ev.Old()))
	if err != nil {
		t.Fatalf("building the event in goja: %v\n%s", err, ev.Data())
	}
	o.last, o.event = ev, v
}

// run returns what a filter says, as shown writes values, and what it threw.
func (o *oracle) run(source string, params map[string]any) (result, thrown string, v goja.Value, err error) {
	text := "(" + source + "\n)"
	program, err := goja.Parse("", text, parser.WithDisableSourceMaps)
	if err != nil {
		return "", "", nil, err
	}
	compiled, err := goja.CompileAST(program, false)
	if err != nil {
		return "", "", nil, err
	}
	defer func() {
		if p := recover(); p != nil { // goja's own mistake, which leaves the machine broken
			err = fmt.Errorf("goja panicked: %v", p)
		}
	}()
	o.vm.Set("e", o.event)
	o.vm.Set("params", params)
	v, err = o.vm.RunProgram(compiled)
	if f, ok := goja.AssertFunction(v); ok && err == nil {
		v, err = f(goja.Undefined(), o.event, o.vm.ToValue(params))
	}
	if err != nil {
		if e, ok := err.(*goja.Exception); ok {
			return "", e.Value().String(), nil, nil
		}
		return "", err.Error(), nil, nil
	}
	return o.shown(v), "", v, nil
}

// stringify is JSON.stringify.
func (o *oracle) stringify(t testing.TB, v goja.Value) string {
	f, _ := goja.AssertFunction(o.vm.Get("JSON").ToObject(o.vm).Get("stringify"))
	text, err := f(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// shown writes a value so that different ones differ.
func (o *oracle) shown(v goja.Value) string {
	switch {
	case goja.IsUndefined(v):
		return "undefined"
	case goja.IsNull(v):
		return "null"
	}
	switch x := v.(type) {
	case goja.String:
		var u []uint16
		for i := range x.Length() {
			u = append(u, x.CharAt(i))
		}
		return strconv.QuoteToASCII(fromUnits(u))
	case *goja.Object:
		if x.ClassName() == "Array" {
			var parts []string
			for i := range int(x.Get("length").ToInteger()) {
				parts = append(parts, o.shown(orUndefined(x.Get(strconv.Itoa(i)))))
			}
			return "[" + strings.Join(parts, " ") + "]"
		}
		if _, isFunction := goja.AssertFunction(x); isFunction {
			return "function"
		}
		var parts []string
		for _, key := range x.GetOwnPropertyNames() {
			parts = append(parts, strconv.QuoteToASCII(key)+":"+o.shown(orUndefined(x.Get(key))))
		}
		return x.ClassName() + "{" + strings.Join(parts, " ") + "}"
	}
	switch x := v.Export().(type) {
	case bool:
		return strconv.FormatBool(x)
	case int64:
		return shownNumber(float64(x))
	case float64:
		return shownNumber(x)
	}
	return fmt.Sprintf("%T", v)
}

func orUndefined(v goja.Value) goja.Value {
	if v == nil {
		return goja.Undefined()
	}
	return v
}

func shownNumber(f float64) string {
	if f == 0 && math.Signbit(f) {
		return "-0"
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// shownValue is shown of a native value.
func shownValue(v value) string {
	switch v.kind {
	case str:
		return strconv.QuoteToASCII(v.text())
	case number:
		return shownNumber(v.num())
	case list:
		var parts []string
		for _, item := range v.node().items {
			parts = append(parts, shownValue(item))
		}
		return "[" + strings.Join(parts, " ") + "]"
	case object:
		var parts []string
		for _, f := range v.node().fields {
			parts = append(parts, strconv.QuoteToASCII(f.key)+":"+shownValue(f.value))
		}
		return "Object{" + strings.Join(parts, " ") + "}"
	}
	s, _ := v.toString()
	return s
}
