package template

import (
	"math"
	"math/big"
	"time"
)

// The functions of time are Home Assistant's (helpers/template/extensions/datetime.py). What depends on a time zone
// uses the server's.

func clockFunctions() map[string]*builtin {
	return map[string]*builtin{
		"now":    define("", func(e *env, _ []Value) Value { return e.momentOf(time.Now().Local(), true) }),
		"utcnow": define("", func(e *env, _ []Value) Value { return e.momentOf(time.Now().UTC(), true) }),

		"as_datetime":  define("value default?", asDatetime),
		"as_timestamp": define("value default?", asTimestamp),
		"as_local":     define("value", asLocal),
		"strptime":     define("string fmt default?", strptime),
		"timedelta":    define("days? seconds? microseconds? milliseconds? minutes? hours? weeks?", timedelta),
	}
}

func clockFilters() map[string]*builtin {
	return map[string]*builtin{
		"as_datetime":      define("value default?", asDatetime),
		"as_timestamp":     define("value default?", asTimestamp),
		"as_local":         define("value", asLocal),
		"timestamp_custom": define("value date_format? local? default?", timestampCustom),
		"timestamp_local":  define("value default?", func(e *env, args []Value) Value { return timestampISO(e, "timestamp_local", true, args) }),
		"timestamp_utc":    define("value default?", func(e *env, args []Value) Value { return timestampISO(e, "timestamp_utc", false, args) }),
	}
}

func clockMethods() map[string]*builtin {
	return map[string]*builtin{
		"isoformat": momentMethod("isoformat", "of sep? timespec?", isoformat),
		"strftime": momentMethod("strftime", "of format", func(e *env, m moment, args []Value) Value {
			return e.strftime(m, e.text(args[1], "strftime"))
		}),
		"timestamp": momentMethod("timestamp", "of", func(_ *env, m moment, _ []Value) Value { return m.timestamp() }),
		"total_seconds": define("of", func(e *env, args []Value) Value {
			d, ok := args[0].(lapse)
			if !ok {
				e.noMethod(args[0], "total_seconds")
			}
			return quotient(int64(d), int64(second))
		}),
	}
}

func momentMethod(name, params string, call func(e *env, m moment, args []Value) Value) *builtin {
	return define(params, func(e *env, args []Value) Value {
		m, ok := args[0].(moment)
		if !ok {
			e.noMethod(args[0], name)
		}
		return call(e, m, args)
	})
}

// ofTimestamp is Python's datetime.fromtimestamp in UTC, which takes numbers alone.
func (e *env) ofTimestamp(v Value) (m moment, ok bool) {
	var seconds, us int64
	switch number := asNumber(v).(type) {
	case int64:
		seconds = number
	case float64:
		if math.IsNaN(number) {
			return m, false
		}
		if math.Abs(number) > 1e15 {
			e.failf("a time so far away is not supported")
		}
		whole, part := math.Modf(number)
		seconds, us = int64(whole), int64(math.RoundToEven(part*1e6))
	default:
		if is[uint64](v) {
			e.overflow()
		}
		return m, false
	}
	if seconds > 1e15 || seconds < -1e15 {
		e.failf("a time so far away is not supported")
	}
	t := time.Unix(seconds, us*1000).UTC()
	return moment{t, true}, inYears(t)
}

func (e *env) local(m moment) moment {
	if !m.zoned {
		return e.momentOf(on(m.t, time.Local), true)
	}
	return e.momentOf(m.t.Local(), true)
}

// parsed reads a moment as Home Assistant does.
func parsed(text string) (m moment, ok bool) {
	t, zoned, ok := ParseTime(text)
	if _, offset := t.Zone(); offset == 0 {
		t = t.UTC()
	}
	return moment{t.Truncate(time.Microsecond), zoned}, ok
}

func timestampISO(e *env, name string, local bool, args []Value) Value {
	m, ok := e.ofTimestamp(args[0])
	if !ok {
		return e.fallback(name, args[0], args[1])
	}
	if local {
		m = e.local(m)
	}
	return m.iso("T", true)
}

func timestampCustom(e *env, args []Value) Value {
	m, ok := e.ofTimestamp(args[0])
	format, ok2 := plain(orElse(args[1], "%Y-%m-%d %H:%M:%S")).(string)
	if !ok || !ok2 {
		return e.fallback("timestamp_custom", args[0], args[3])
	}
	if truth(orElse(args[2], true)) {
		m = e.local(m)
	}
	return e.strftime(m, format)
}

func asTimestamp(e *env, args []Value) Value {
	m, ok := args[0].(moment)
	if !ok {
		m, ok = parsed(e.str(args[0]))
	}
	if !ok {
		return e.fallback("as_timestamp", args[0], args[1])
	}
	return m.timestamp()
}

// asDatetime gives None for text that it can't read, without a default, as Home Assistant does.
func asDatetime(e *env, args []Value) Value {
	if m, ok := args[0].(moment); ok {
		return m
	}
	if f, how := e.toFloat(args[0]); how == fine {
		if m, ok := e.ofTimestamp(f); ok {
			return m
		}
	}
	text, isText := plain(args[0]).(string)
	if m, ok := parsed(text); ok {
		return m
	}
	if isText {
		return orElse(args[1], nil)
	}
	return e.fallback("as_datetime", args[0], args[1])
}

func asLocal(e *env, args []Value) Value {
	m, ok := args[0].(moment)
	if !ok {
		e.typeError(args[0], "as_local needs a datetime")
	}
	return e.local(m)
}

func isoformat(e *env, m moment, args []Value) Value {
	between := e.text(orElse(args[1], "T"), "isoformat")
	spec := e.text(orElse(args[2], "auto"), "isoformat")
	if spec != "auto" && spec != "seconds" || len(between) != 1 || isDigit(between[0]) {
		e.failf("isoformat supports one character between, and the timespecs auto and seconds")
	}
	text := m.iso("T", spec == "auto")
	return text[:len(time.DateOnly)] + between + text[len(time.DateOnly)+1:]
}

// timedelta adds up its parts; the fractions of all are rounded together, as in Python.
func timedelta(e *env, args []Value) Value {
	units := [...]lapse{day, second, 1, 1000, 60 * second, 3600 * second, 7 * day}
	whole, rest := new(big.Rat), 0.0
	for i, arg := range args {
		if !given(arg) {
			continue
		}
		unit := new(big.Rat).SetInt64(int64(units[i]))
		switch n := asNumber(arg).(type) {
		case int64:
			whole.Add(whole, unit.Mul(unit, new(big.Rat).SetInt64(n)))
		case float64:
			if math.IsNaN(n) || math.IsInf(n, 0) {
				e.failf("a timedelta needs a finite number")
			}
			n, part := math.Modf(n)
			whole.Add(whole, unit.Mul(unit, new(big.Rat).SetFloat64(n)))
			rest += part * float64(units[i])
		default:
			e.failf("a timedelta needs numbers: it is of type %s", typeName(arg))
		}
	}
	return e.lapseOf(whole, new(big.Rat).SetFloat64(rest))
}

// replaceIn is the method replace: of text, or of a moment where it names parts of one.
func replaceIn(p *parser, t *token, args []node, keywords []keyword) node {
	for _, k := range keywords {
		if momentReplace.place(k.name) > 0 {
			return p.bind(momentReplace, "method", t, args, keywords)
		}
	}
	return p.bind(textReplace, "method", t, args, keywords)
}

var (
	textReplace   = textMethod("replace", "s old new count?", replaceMethod)
	momentReplace = momentMethod("replace", "of year? month? day? hour? minute? second? microsecond?", func(e *env, m moment, args []Value) Value {
		t := m.t
		parts := [...]int{t.Year(), int(t.Month()), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond() / 1000}
		for i, arg := range args[1:] {
			if !given(arg) {
				continue
			}
			n, ok := integer(arg)
			if !ok || n < 0 || n > 999_999 {
				e.failf("replace of a datetime needs whole numbers of its parts")
			}
			parts[i] = int(n)
		}
		made := time.Date(parts[0], time.Month(parts[1]), parts[2], parts[3], parts[4], parts[5], parts[6]*1000, time.UTC)
		if made.Year() != parts[0] || int(made.Month()) != parts[1] || made.Day() != parts[2] || made.Hour() != parts[3] || made.Minute() != parts[4] || made.Second() != parts[5] {
			e.failf("replace makes a datetime that there is not")
		}
		return e.momentOf(on(made, t.Location()), m.zoned)
	})
)
