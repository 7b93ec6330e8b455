package template

import "math"

func numberFilters() map[string]*builtin {
	return map[string]*builtin{
		"int":         define("value default? base?", toIntFilter),
		"float":       define("value default?", toFloatFilter),
		"bool":        define("value default?", toBoolFilter),
		"is_number":   define("value", isNumber),
		"abs":         define("value", absolute),
		"round":       define("value precision? method? default?", round),
		"add":         define("value amount default?", addTo),
		"multiply":    define("value amount default?", multiplyBy),
		"log":         define("value base? default?", logarithm),
		"bitwise_and": define("first_value second_value", func(e *env, args []Value) Value { return e.bitwise('&', args) }),
		"bitwise_or":  define("first_value second_value", func(e *env, args []Value) Value { return e.bitwise('|', args) }),
		"bitwise_xor": define("first_value second_value", func(e *env, args []Value) Value { return e.bitwise('^', args) }),
	}
}

// fallback is the default, without which Home Assistant fails.
func (e *env) fallback(name string, v, otherwise Value) Value {
	if !given(otherwise) {
		e.failf("%s cannot read %.100s, and there is no default", name, e.repr(v))
	}
	return otherwise
}

func toIntFilter(e *env, args []Value) Value {
	i, how := e.toInt(args[0], orElse(args[2], int64(10)))
	switch how {
	case tooLarge:
		e.failf("infinity is no whole number")
	case unreadable:
		return e.fallback("int", args[0], args[1])
	}
	return i
}

func toFloatFilter(e *env, args []Value) Value {
	f, how := e.toFloat(args[0])
	if how != fine {
		return e.fallback("float", args[0], args[1])
	}
	return f
}

func toBoolFilter(e *env, args []Value) Value {
	b, ok := toBool(args[0])
	if !ok {
		return e.fallback("bool", args[0], args[1])
	}
	return b
}

func isNumber(e *env, args []Value) Value {
	f, how := e.toFloat(args[0])
	return how == fine && !math.IsInf(f, 0) && !math.IsNaN(f)
}

func absolute(e *env, args []Value) Value {
	switch v := asNumber(args[0]).(type) {
	case int64:
		if v >= 0 {
			return v
		}
		return e.integers('-', 0, v)
	case float64:
		return math.Abs(v)
	}
	e.failf("abs needs a number: it is of type %s", typeName(args[0]))
	return nil
}

// round is Home Assistant's: without a precision it gives a whole number.
func round(e *env, args []Value) Value {
	precision, ok := integer(orElse(args[1], int64(0)))
	if !ok {
		e.failf("round needs a whole number as its precision: it is of type %s", typeName(args[1]))
	}
	if precision > 308 {
		e.failf("a precision of more than 308")
	}
	f, how := e.toFloat(args[0])
	if how != fine {
		return e.fallback("round", args[0], args[3])
	}
	method, _ := orElse(args[2], "common").(string)
	if method != "common" && math.IsInf(f, 0) {
		e.failf("infinity is no whole number")
	}
	if method != "common" && math.IsNaN(f) {
		return e.fallback("round", args[0], args[3])
	}
	multiplier := asFloat(e.decimalPower(precision))
	switch method {
	case "ceil":
		f = e.scaled(math.Ceil(f*multiplier), multiplier)
	case "floor":
		f = e.scaled(math.Floor(f*multiplier), multiplier)
	case "half":
		f = math.RoundToEven(f*2) / 2
	default:
		f = roundTo(f, precision)
	}
	if precision != 0 {
		return f
	}
	i, how := e.truncate(f)
	switch how {
	case tooLarge:
		e.failf("infinity is no whole number")
	case unreadable:
		return e.fallback("round", args[0], args[3])
	}
	return i
}

// decimalPower is 10**exponent.
func (e *env) decimalPower(exponent int64) Value {
	if exponent >= 0 && exponent <= 18 {
		return e.power(10, exponent)
	}
	return e.floats('^', 10, float64(max(exponent, -400)))
}

func (e *env) scaled(whole, multiplier float64) float64 {
	if multiplier == 0 {
		e.failf("division by zero")
	}
	if math.IsInf(whole, 0) {
		e.failf("infinity is no whole number")
	}
	return whole / multiplier
}

func addTo(e *env, args []Value) Value      { return e.withFloat("add", '+', args) }
func multiplyBy(e *env, args []Value) Value { return e.withFloat("multiply", '*', args) }

func (e *env) withFloat(name string, op byte, args []Value) Value {
	f, how := e.toFloat(args[0])
	if how != fine {
		return e.fallback(name, args[0], args[2])
	}
	if u, ok := args[1].(Undefined); ok {
		e.undefined(u)
	}
	if asNumber(args[1]) == nil {
		return e.fallback(name, args[0], args[2])
	}
	return e.binary(op, f, args[1])
}

// logarithm is Home Assistant's log, to the base e without another.
func logarithm(e *env, args []Value) Value {
	f, how := e.toFloat(args[0])
	base, how2 := e.toFloat(orElse(args[1], math.E))
	switch {
	case how != fine || how2 != fine || f <= 0 || base <= 0:
		return e.fallback("log", args[0], args[2])
	case base == 1:
		e.failf("division by zero")
	}
	return math.Log(f) / math.Log(base)
}

func (e *env) bitwise(op byte, args []Value) Value {
	a, ok := integer(args[0])
	b, ok2 := integer(args[1])
	if !ok || !ok2 {
		e.failf("the bitwise %c does not take %s and %s", op, typeName(args[0]), typeName(args[1]))
	}
	var result int64
	switch op {
	case '&':
		result = a & b
	case '|':
		result = a | b
	default:
		result = a ^ b
	}
	_, isBool := args[0].(bool)
	_, isBool2 := args[1].(bool)
	if isBool && isBool2 {
		return result == 1
	}
	return result
}
