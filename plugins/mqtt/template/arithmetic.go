package template

import (
	"math"
	"math/big"
	"strings"
)

// asNumber returns an int64 or a float64, or nil. True and False are 1 and 0.
func asNumber(v Value) Value {
	switch v := v.(type) {
	case int64, float64:
		return v
	case bool:
		return intOf(v)
	}
	return nil
}

func asFloat(number Value) float64 {
	if i, ok := number.(int64); ok {
		return float64(i)
	}
	f, _ := number.(float64)
	return f
}

// binary is an arithmetic operator; op _ is // and op ^ is **.
func (e *env) binary(op byte, left, right Value) Value {
	if op == '%' {
		if text, ok := left.(string); ok {
			return e.formatted(text, right)
		}
	}
	a, b := asNumber(left), asNumber(right)
	if a == nil || b == nil {
		return e.sequences(op, left, right)
	}
	i, isInt := a.(int64)
	j, isInt2 := b.(int64)
	if isInt && isInt2 {
		return e.integers(op, i, j)
	}
	return e.floats(op, asFloat(a), asFloat(b))
}

func (e *env) overflow() { e.failf("whole numbers beyond 64 bits are not supported") }

func (e *env) integers(op byte, a, b int64) Value {
	if b == 0 && (op == '/' || op == '_' || op == '%') {
		e.failf("division by zero")
	}
	switch op {
	case '+':
		if c := a + b; (c > a) == (b > 0) {
			return c
		}
	case '-':
		if c := a - b; (c < a) == (b > 0) {
			return c
		}
	case '*':
		if c, ok := multiply(a, b); ok {
			return c
		}
	case '/':
		return quotient(a, b)
	case '_':
		if a == math.MinInt64 && b == -1 {
			break
		}
		c := a / b
		if a%b != 0 && (a < 0) != (b < 0) {
			c--
		}
		return c
	case '%':
		if b == -1 {
			return int64(0)
		}
		c := a % b
		if c != 0 && (c < 0) != (b < 0) {
			c += b
		}
		return c
	case '^':
		return e.power(a, b)
	}
	e.overflow()
	return nil
}

func multiply(a, b int64) (int64, bool) {
	if a == 0 || b == 0 {
		return 0, true
	}
	c := a * b
	if c/b != a || a == -1 && b == math.MinInt64 || b == -1 && a == math.MinInt64 {
		return 0, false
	}
	return c, true
}

// quotient is Python's true division, rounded once.
func quotient(a, b int64) float64 {
	const exact = 1 << 53
	if -exact <= a && a <= exact && -exact <= b && b <= exact {
		return float64(a) / float64(b)
	}
	if a == 0 {
		return 0
	}
	f, _ := new(big.Rat).SetFrac(big.NewInt(a), big.NewInt(b)).Float64()
	return f
}

func (e *env) power(a, b int64) Value {
	if b < 0 {
		return e.floats('^', float64(a), float64(b))
	}
	switch {
	case a == 0 && b > 0:
		return int64(0)
	case a == 1 || b == 0:
		return int64(1)
	case a == -1:
		return 1 - 2*(b&1)
	case b > 63:
		e.overflow()
	}
	result, ok := int64(1), true
	for range b {
		if result, ok = multiply(result, a); !ok {
			e.overflow()
		}
	}
	return result
}

func (e *env) floats(op byte, a, b float64) Value {
	if b == 0 && (op == '/' || op == '_' || op == '%') {
		e.failf("division by zero")
	}
	switch op {
	case '+':
		return a + b
	case '-':
		return a - b
	case '*':
		return a * b
	case '/':
		return a / b
	case '^':
		return e.floatPower(a, b)
	}
	floor, mod := divmod(a, b)
	if op == '_' {
		return floor
	}
	return mod
}

func (e *env) floatPower(a, b float64) Value {
	c := math.Pow(a, b)
	whole := math.Trunc(b) == b
	switch {
	case a == 0 && b < 0:
		e.failf("division by zero")
	case !whole && !math.IsNaN(b) && math.Abs(b) != 0.5 && !math.IsNaN(a) && !math.IsInf(a, 0):
		e.failf("an exponent that is not whole is not supported")
	case a == 0 || a == 1 || math.IsNaN(c) || math.IsInf(a, 0):
	case whole && math.Abs(b) <= maxExponent:
		c = wholePower(a, int(b))
	}
	switch {
	case a < 0 && math.Trunc(b) != b && !math.IsNaN(b):
		e.failf("complex numbers are not supported")
	case math.IsInf(c, 0) && !math.IsInf(a, 0) && !math.IsInf(b, 0):
		e.failf("the result of ** is too large")
	}
	return c
}

// maxExponent is where what is not 1 is 0 or infinite, about.
const maxExponent = 1 << 62

// wholePower is exact but for one rounding, which math.Pow is not.
func wholePower(a float64, b int) float64 {
	const precision = 400
	result := new(big.Float).SetPrec(precision).SetInt64(1)
	square := new(big.Float).SetPrec(precision).SetFloat64(math.Abs(a))
	n := b
	if n < 0 {
		n = -n
	}
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			result.Mul(result, square)
		}
		square.Mul(square, square)
	}
	if b < 0 {
		result.Quo(new(big.Float).SetPrec(precision).SetInt64(1), result)
	}
	c, _ := result.Float64()
	if a < 0 && b&1 != 0 {
		c = -c
	}
	return c
}

// divmod is Python's for floats: the remainder has the divisor's sign.
func divmod(a, b float64) (floor, mod float64) {
	mod = math.Mod(a, b)
	div := (a - mod) / b
	if mod == 0 {
		mod = math.Copysign(0, b)
	} else if (b < 0) != (mod < 0) {
		mod += b
		div--
	}
	if div == 0 {
		return math.Copysign(0, a/b), mod
	}
	floor = math.Floor(div)
	if div-floor > 0.5 {
		floor++
	}
	return floor, mod
}

// sequences is + and * where not both sides are numbers.
func (e *env) sequences(op byte, left, right Value) Value {
	for _, side := range []Value{left, right} {
		if u, ok := side.(Undefined); ok {
			e.undefined(u)
		}
	}
	if is[markup](left) || is[markup](right) {
		e.failf("calculating with what tojson gave is not supported")
	}
	if is[uint64](left) || is[uint64](right) {
		e.overflow()
	}
	if v, ok := e.moments(op, left, right); ok {
		return v
	}
	if op == '+' {
		switch a := left.(type) {
		case string:
			if b, ok := right.(string); ok {
				e.made(len(a) + len(b))
				return a + b
			}
		case List:
			if b, ok := right.(List); ok {
				return e.joined(a, b)
			}
		case Tuple:
			if b, ok := right.(Tuple); ok {
				return Tuple(e.joined(List(a), List(b)))
			}
		}
	}
	if n, ok := integer(right); ok && op == '*' {
		if v, ok := e.repeated(left, n); ok {
			return v
		}
	}
	if n, ok := integer(left); ok && op == '*' {
		if v, ok := e.repeated(right, n); ok {
			return v
		}
	}
	e.failf("the operator %s does not take %s and %s", operatorText(op), typeName(left), typeName(right))
	return nil
}

func operatorText(op byte) string {
	switch op {
	case '_':
		return "//"
	case '^':
		return "**"
	}
	return string(rune(op))
}

func (e *env) joined(a, b List) List {
	e.makes(len(a) + len(b))
	return append(append(make(List, 0, len(a)+len(b)), a...), b...)
}

// repeated is a sequence n times; false if it is no sequence.
func (e *env) repeated(v Value, n int64) (Value, bool) {
	n = max(n, 0)
	switch v := v.(type) {
	case string:
		if len(v) == 0 {
			return "", true
		}
		e.made(int(min(n, maxString+1)) * len(v))
		return strings.Repeat(v, int(n)), true
	case List:
		return e.repeatedItems(v, n), true
	case Tuple:
		return Tuple(e.repeatedItems(List(v), n)), true
	}
	return nil, false
}

func (e *env) repeatedItems(items List, n int64) List {
	if len(items) == 0 {
		return List{}
	}
	n = min(n, maxItems+1)
	e.makes(int(n) * len(items))
	made := make(List, 0, int(n)*len(items))
	for range n {
		made = append(made, items...)
	}
	return made
}
