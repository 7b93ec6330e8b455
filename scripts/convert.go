package scripts

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dop251/goja"
)

// throw ends the running native function with a JavaScript TypeError.
func (g *generation) throw(format string, args ...any) {
	panic(g.vm.NewTypeError("%s", fmt.Sprintf(format, args...)))
}

// must returns v, or throws err on: a JavaScript exception as it is.
func (g *generation) must(v goja.Value, err error) goja.Value {
	if err != nil {
		panic(err)
	}
	return v
}

func missing(v goja.Value) bool { return v == nil || goja.IsUndefined(v) || goja.IsNull(v) }

// toJSON returns v as JSON.stringify writes it; nil for what has no JSON
// (undefined, functions). It runs the script's code (toJSON, getters).
func (g *generation) toJSON(v goja.Value) (json.RawMessage, error) {
	if v == nil || goja.IsUndefined(v) {
		return nil, nil
	}
	text, err := g.builtin.stringify(goja.Undefined(), v)
	if err != nil || goja.IsUndefined(text) {
		return nil, err
	}
	return json.RawMessage(text.String()), nil
}

// fromJSON returns the JavaScript value of text, which must be JSON.
func (g *generation) fromJSON(text []byte) goja.Value {
	if len(text) == 0 {
		return goja.Undefined()
	}
	return g.must(g.builtin.parse(goja.Undefined(), g.vm.ToValue(string(text))))
}

// object returns v's JSON, which must be that of an object; nil for none.
func (g *generation) object(what string, v goja.Value) json.RawMessage {
	if missing(v) {
		return nil
	}
	text, err := g.toJSON(v)
	if err != nil {
		panic(err)
	}
	if len(text) == 0 || text[0] != '{' {
		g.throw("%s must be an object", what)
	}
	return text
}

// text returns v, which must be a string.
func (g *generation) text(what string, v goja.Value) string {
	if v == nil || !goja.IsString(v) {
		g.throw("%s must be a string", what)
	}
	return v.String()
}

func (g *generation) callable(what string, v goja.Value) goja.Callable {
	fn, ok := goja.AssertFunction(v)
	if !ok {
		g.throw("%s must be a function", what)
	}
	return fn
}

// scalar returns a string, number or boolean as a string.
func (g *generation) scalar(what string, v goja.Value) string {
	if v != nil {
		switch x := v.Export().(type) {
		case string, bool, int64:
			return v.String()
		case float64:
			if math.IsNaN(x) || math.IsInf(x, 0) {
				g.throw("%s is %s, no number", what, v)
			}
			return v.String()
		}
	}
	g.throw("%s must be a string, a number or a boolean", what)
	return ""
}

// list returns a scalar or an array of scalars as strings; nil for none.
func (g *generation) list(what string, v goja.Value) []string {
	if missing(v) {
		return nil
	}
	o, ok := v.(*goja.Object)
	if !ok {
		return []string{g.scalar(what, v)}
	}
	if o.ClassName() != "Array" {
		g.throw("%s must be a string or a list of strings", what)
	}
	n := o.Get("length").ToInteger()
	if n == 0 || n > maxSubscriptions {
		g.throw("%s must have 1 to %d elements", what, maxSubscriptions)
	}
	list := make([]string, n)
	for i := range list {
		list[i] = g.scalar(what, o.Get(strconv.Itoa(i)))
	}
	return list
}

const (
	minDelay = 10 * time.Millisecond
	maxDelay = 366 * 24 * time.Hour
)

// duration reads '5s', '100ms', '1h30m', '2d', or a number of milliseconds.
func (g *generation) duration(what string, v goja.Value) time.Duration {
	var d time.Duration
	var err error
	switch {
	case v != nil && goja.IsNumber(v):
		ms := v.ToFloat()
		if math.IsNaN(ms) || math.Abs(ms) > float64(maxDelay/time.Millisecond) {
			g.throw("%s: %s milliseconds are out of range: at most 366 days", what, v)
		}
		d = time.Duration(ms * float64(time.Millisecond))
	case v != nil && goja.IsString(v):
		if d, err = parseDuration(v.String()); err != nil {
			g.throw("%s: %.50q is no duration: want '5s', '100ms', '2m', '1h30m', '1d' or a number of milliseconds", what, v)
		}
	default:
		g.throw("%s: want a duration: '5s', '100ms', '2m', '1h30m', '1d' or a number of milliseconds", what)
	}
	if d < minDelay || d > maxDelay {
		g.throw("%s: %v is out of range: %v to 366 days", what, d, minDelay)
	}
	return d
}

func parseDuration(s string) (time.Duration, error) {
	s = strings.ReplaceAll(s, " ", "")
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || math.Abs(n) > 366 {
			return 0, fmt.Errorf("parsing days of %q", s)
		}
		return time.Duration(n * float64(24*time.Hour)), nil
	}
	return time.ParseDuration(s)
}
