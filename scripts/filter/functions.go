package filter

import (
	"math"
	"math/bits"
)

// A function is a global one. It gets as many arguments as it was called with.
type function struct {
	call     func(m *machine, args []value) value
	kinds    kinds // what it may return
	throws   bool  // it may throw whatever it is given
	takesAny bool  // it converts nothing, so that lists and objects are fine
	unary    bool  // it may be called back by itself: it looks at its first argument only
}

// namespaces are the globals that functions and constants are properties of.
var namespaces = map[string]bool{"Math": true, "Number": true, "Object": true, "Array": true, "String": true, "Date": true, "JSON": true, "Boolean": true}

// unlisted says why functions that one might look for are not here.
var unlisted = map[string]string{
	"Date.now":      "a filter must say the same when events are replayed; use e.time",
	"Math.random":   "a filter must say the same when events are replayed",
	"Math.sign":     "write x > 0",
	"RegExp":        "write the pattern between slashes",
	"eval":          "a filter is fixed when it is compiled",
	"Date":          "use e.time, or new Date(x)",
	"Symbol":        "it has no use here",
	"Array.from":    "use map, or spread: [...x]",
	"Object.freeze": "everything is read-only here",
}

var constants = map[string]float64{
	"Math.E": math.E, "Math.LN10": math.Ln10, "Math.LN2": math.Ln2, "Math.LOG10E": math.Log10E, "Math.LOG2E": math.Log2E,
	"Math.PI": math.Pi, "Math.SQRT1_2": math.Sqrt2 / 2, "Math.SQRT2": math.Sqrt2,
	"Number.MAX_SAFE_INTEGER": maxSafe, "Number.MIN_SAFE_INTEGER": -maxSafe, "Number.MAX_VALUE": math.MaxFloat64,
	"Number.MIN_VALUE": math.SmallestNonzeroFloat64, "Number.EPSILON": 0x1p-52, "Number.NaN": math.NaN(),
	"Number.POSITIVE_INFINITY": math.Inf(1), "Number.NEGATIVE_INFINITY": math.Inf(-1),
}

const maxSafe = 1<<53 - 1

var functions = func() map[string]*function {
	fs := map[string]*function{
		"Boolean": {call: func(m *machine, args []value) value { return boolValue(argument(args, 0).truthy()) },
			kinds: of(boolean), takesAny: true, unary: true},
		"Number": {call: toNumberFunction, kinds: of(number), unary: true},
		"String": {call: toStringFunction, kinds: of(str), unary: true},
		"Array.isArray": {call: func(m *machine, args []value) value { return boolValue(argument(args, 0).kind == list) },
			kinds: of(boolean), takesAny: true, unary: true},
		"Number.parseInt":    {call: parseIntFunction, kinds: of(number)},
		"parseInt":           {call: parseIntFunction, kinds: of(number)},
		"Object.keys":        {call: keysFunction, kinds: of(list), throws: true, takesAny: true, unary: true},
		"Object.values":      {call: valuesFunction, kinds: of(list), throws: true, takesAny: true, unary: true},
		"Object.entries":     {call: entriesFunction, kinds: of(list), throws: true, takesAny: true, unary: true},
		"Object.fromEntries": {call: fromEntriesFunction, kinds: of(object), throws: true, takesAny: true, unary: true},
		"Object.hasOwn":      {call: hasOwnFunction, kinds: of(boolean), throws: true},
		"JSON.stringify":     {call: stringifyFunction, kinds: of(str) | of(undefined), throws: true, takesAny: true},
		"Math.max":           {call: maxFunction, kinds: of(number)},
		"Math.min":           {call: minFunction, kinds: of(number)},
		"Math.hypot":         {call: hypotFunction, kinds: of(number)},
		"Math.pow":           numbers2(power),
		"Math.atan2":         numbers2(math.Atan2),
		"Math.imul":          numbers2(func(x, y float64) float64 { return float64(toInt32(x) * toInt32(y)) }),
		"Date.parse": {call: func(m *machine, args []value) value {
			return m.dateOf(stringValue(m.toString(argument(args, 0))))
		}, kinds: of(number), throws: true, unary: true},
	}
	for name, f := range map[string]func(float64) float64{
		"abs": math.Abs, "acos": math.Acos, "acosh": math.Acosh, "asin": math.Asin, "asinh": math.Asinh, "atan": math.Atan, "atanh": math.Atanh,
		"cbrt": math.Cbrt, "ceil": math.Ceil, "cos": math.Cos, "cosh": math.Cosh, "exp": math.Exp, "expm1": math.Expm1, "floor": math.Floor,
		"log": math.Log, "log1p": math.Log1p, "log10": math.Log10, "log2": math.Log2, "sin": math.Sin, "sinh": math.Sinh,
		"sqrt": math.Sqrt, "tan": math.Tan, "tanh": math.Tanh, "trunc": math.Trunc, "round": round,
		"fround": func(x float64) float64 { return float64(float32(x)) },
		"clz32":  func(x float64) float64 { return float64(bits.LeadingZeros32(uint32(toInt32(x)))) },
	} {
		fs["Math."+name] = numbers1(f)
	}
	for name, is := range map[string]func(float64) bool{"isNaN": isNaN, "isFinite": isFinite} {
		fs[name] = &function{kinds: of(boolean), unary: true, call: func(m *machine, args []value) value {
			return boolValue(is(m.toNumber(argument(args, 0))))
		}}
		fs["Number."+name] = ofNumber(is)
	}
	fs["Number.isInteger"] = ofNumber(isInteger)
	fs["Number.isSafeInteger"] = ofNumber(func(x float64) bool { return isInteger(x) && math.Abs(x) <= maxSafe })
	fs["parseFloat"] = &function{kinds: of(number), unary: true, call: func(m *machine, args []value) value {
		return numberValue(parseFloat(m.toString(argument(args, 0))))
	}}
	fs["Number.parseFloat"] = fs["parseFloat"]
	for name, f := range dateParts {
		fs["Date#"+name] = f
	}
	return fs
}()

// argument returns an argument, undefined if there are fewer.
func argument(args []value, i int) value {
	if i < len(args) {
		return args[i]
	}
	return value{}
}

func numbers1(f func(float64) float64) *function {
	return &function{kinds: of(number), unary: true, call: func(m *machine, args []value) value {
		return numberValue(f(m.toNumber(argument(args, 0))))
	}}
}

func numbers2(f func(x, y float64) float64) *function {
	return &function{kinds: of(number), call: func(m *machine, args []value) value {
		x := m.toNumber(argument(args, 0))
		return numberValue(f(x, m.toNumber(argument(args, 1))))
	}}
}

// ofNumber tests numbers only; anything else is false.
func ofNumber(is func(float64) bool) *function {
	return &function{kinds: of(boolean), takesAny: true, unary: true, call: func(m *machine, args []value) value {
		v := argument(args, 0)
		return boolValue(v.kind == number && is(v.num()))
	}}
}

func isNaN(x float64) bool     { return x != x }
func isFinite(x float64) bool  { return !math.IsNaN(x) && !math.IsInf(x, 0) }
func isInteger(x float64) bool { return isFinite(x) && math.Trunc(x) == x }

// round is Math.round: halves go up, and what rounds to zero from below is -0.
func round(x float64) float64 {
	if x < 0 && x >= -0.5 {
		return math.Copysign(0, -1)
	}
	t := math.Floor(x)
	if x-t >= 0.5 {
		return t + 1
	}
	return t
}

// toInt32 is ToInt32.
func toInt32(x float64) int32 {
	if i := int32(x); float64(i) == x {
		return i
	}
	if !isFinite(x) {
		return 0
	}
	x = math.Mod(math.Trunc(x), 1<<32)
	return int32(uint32(int64(x)))
}

// toInteger is ToIntegerOrInfinity, kept within what an int holds.
func toInteger(x float64) int {
	const far = 1 << 53
	switch {
	case x != x:
		return 0
	case x > far:
		return far
	case x < -far:
		return -far
	}
	return int(x)
}

// power is x ** y. Powers of integers are exact while they fit into 63 bits.
func power(x, y float64) float64 {
	if y != y || (x == 1 || x == -1) && math.IsInf(y, 0) {
		return math.NaN()
	}
	if x == math.Trunc(x) && math.Abs(x) <= maxSafe && x != 0 && y == math.Trunc(y) && y > 0 && y < 64 {
		if p, ok := integerPower(int64(x), int(y)); ok {
			return float64(p)
		}
	}
	return math.Pow(x, y)
}

func integerPower(x int64, y int) (p int64, ok bool) {
	p = 1
	for range y {
		high, low := bits.Mul64(uint64(max(p, -p)), uint64(max(x, -x)))
		if high != 0 || low > math.MaxInt64 {
			return 0, false
		}
		p *= x
	}
	return p, true
}

func maxFunction(m *machine, args []value) value {
	result := math.Inf(-1)
	for _, a := range args {
		result = math.Max(result, m.toNumber(a))
	}
	return numberValue(lastNaN(m, args, result))
}

func minFunction(m *machine, args []value) value {
	result := math.Inf(1)
	for _, a := range args {
		result = math.Min(result, m.toNumber(a))
	}
	return numberValue(lastNaN(m, args, result))
}

// lastNaN is result, or NaN if an argument is: Go's Max and Min prefer
// infinities to it.
func lastNaN(m *machine, args []value, result float64) float64 {
	if math.IsInf(result, 0) {
		for _, a := range args {
			if isNaN(m.toNumber(a)) {
				return math.NaN()
			}
		}
	}
	return result
}

// hypotFunction is Math.hypot, with the sum that goja makes: other ways differ
// in the last bit.
func hypotFunction(m *machine, args []value) value {
	largest, nan := 0.0, false
	for _, a := range args {
		x := math.Abs(m.toNumber(a))
		nan = nan || isNaN(x)
		if x > largest {
			largest = x
		}
	}
	switch {
	case math.IsInf(largest, 1):
		return numberValue(largest)
	case nan:
		return numberValue(math.NaN())
	case largest == 0:
		return numberValue(0)
	}
	var sum, lost float64
	for _, a := range args {
		n := math.Abs(m.toNumber(a)) / largest
		term := float64(n*n) - lost
		next := sum + term
		lost = (next - sum) - term
		sum = next
	}
	return numberValue(math.Sqrt(sum) * largest)
}
