package filter

import "math"

func compileUnary(x *expr) func(*machine) value {
	v := compileValue(x.kids[0])
	switch x.name {
	case "-":
		return func(m *machine) value { return numberValue(-m.toNumber(v(m))) }
	case "~":
		return func(m *machine) value { return numberValue(float64(^toInt32(m.toNumber(v(m))))) }
	}
	return func(m *machine) value { return numberValue(m.toNumber(v(m))) }
}

func compileArith(x *expr) func(*machine) value {
	a, b := compileValue(x.kids[0]), compileValue(x.kids[1])
	if x.name == "+" {
		return func(m *machine) value {
			l := a(m)
			return m.add(l, b(m))
		}
	}
	f := arithmetic[x.name]
	return func(m *machine) value {
		l, r := a(m), b(m)
		n := m.toNumber(l)
		return numberValue(f(n, m.toNumber(r)))
	}
}

// add is the operator +.
func (m *machine) add(l, r value) value {
	if l.kind == number && r.kind == number {
		return numberValue(l.num() + r.num())
	}
	l = m.primitive(l)
	r = m.primitive(r)
	if l.kind == str || r.kind == str {
		return stringValue(m.concat(m.toString(l), m.toString(r)))
	}
	return numberValue(m.toNumber(l) + m.toNumber(r))
}

var arithmetic = map[string]func(a, b float64) float64{
	"-":   func(a, b float64) float64 { return a - b },
	"*":   func(a, b float64) float64 { return a * b },
	"/":   func(a, b float64) float64 { return a / b },
	"%":   remainder,
	"**":  power,
	"&":   func(a, b float64) float64 { return float64(toInt32(a) & toInt32(b)) },
	"|":   func(a, b float64) float64 { return float64(toInt32(a) | toInt32(b)) },
	"^":   func(a, b float64) float64 { return float64(toInt32(a) ^ toInt32(b)) },
	"<<":  func(a, b float64) float64 { return float64(toInt32(a) << (uint32(toInt32(b)) & 31)) },
	">>":  func(a, b float64) float64 { return float64(toInt32(a) >> (uint32(toInt32(b)) & 31)) },
	">>>": func(a, b float64) float64 { return float64(uint32(toInt32(a)) >> (uint32(toInt32(b)) & 31)) },
}

// remainder is the operator %: the sign is that of a.
func remainder(a, b float64) float64 {
	if i, j := int64(a), int64(b); float64(i) == a && float64(j) == b && i > 0 && j > 0 {
		return float64(i % j)
	}
	return math.Mod(a, b)
}
