package template

import (
	"fmt"
	"math"
	"math/big"
	"time"
)

// A moment is Python's datetime, to the microsecond. One without a time zone has the
// digits that it shows in UTC.
type moment struct {
	t     time.Time
	zoned bool
}

// A lapse is Python's timedelta, in microseconds.
type lapse int64

const (
	second lapse = 1e6
	day          = 24 * 3600 * second
)

// momentOf bounds a time as Python does.
func (e *env) momentOf(t time.Time, zoned bool) moment {
	if !inYears(t) {
		e.failf("a time outside of the years 1 to 9999 is not supported")
	}
	return moment{t.Truncate(time.Microsecond), zoned}
}

func inYears(t time.Time) bool { return t.Year() >= 1 && t.Year() <= 9999 }

// wall is what the moment's clock shows, as if it was in UTC.
func (m moment) wall() time.Time {
	t := m.t
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// on is the time at which a clock of a zone shows what one in UTC does at t.
func on(t time.Time, zone *time.Location) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), zone)
}

// plus moves the moment's clock, as Python does: a day later it shows the same, also if it was put forward.
func (e *env) plus(m moment, d lapse) moment {
	t := m.wall()
	t = time.Unix(t.Unix()+int64(d/second), int64(t.Nanosecond())+int64(d%second)*1000).UTC()
	return e.momentOf(on(t, m.t.Location()), m.zoned)
}

// since is Python's difference: by the clock, if both are of one zone.
func (m moment) since(o moment) lapse {
	if m.t.Location() == o.t.Location() {
		return lapse(m.wall().UnixMicro() - o.wall().UnixMicro())
	}
	return lapse(m.t.UnixMicro() - o.t.UnixMicro())
}

// timestamp is Python's: one without a time zone is of the server's.
func (m moment) timestamp() float64 {
	if m.zoned {
		return quotient(m.t.UnixMicro(), int64(second))
	}
	t := on(m.t, time.Local)
	return float64(t.Unix()) + float64(t.Nanosecond()/1000)/1e6
}

// iso is Python's isoformat.
func (m moment) iso(between string, fraction bool) string {
	text := m.t.Format("2006-01-02" + between + "15:04:05")
	if us := m.t.Nanosecond() / 1000; us != 0 && fraction {
		text += fmt.Sprintf(".%06d", us)
	}
	if m.zoned {
		text += m.offset(":")
	}
	return text
}

// offset is the distance to UTC, as +01:00.
func (m moment) offset(between string) string {
	_, offset := m.t.Zone()
	sign := '+'
	if offset < 0 {
		sign, offset = '-', -offset
	}
	text := fmt.Sprintf("%c%02d%s%02d", sign, offset/3600, between, offset/60%60)
	if offset%60 != 0 {
		text += fmt.Sprintf("%s%02d", between, offset%60)
	}
	return text
}

// text is Python's str of a timedelta.
func (d lapse) text() string {
	days := d.days()
	rest := d - days*day
	text := fmt.Sprintf("%d:%02d:%02d", rest/(3600*second), rest/(60*second)%60, rest/second%60)
	if us := rest % second; us != 0 {
		text += fmt.Sprintf(".%06d", us)
	}
	switch days {
	case 0:
		return text
	case 1, -1:
		return fmt.Sprintf("%d day, %s", days, text)
	}
	return fmt.Sprintf("%d days, %s", days, text)
}

// days are whole ones; what is less than none is a day less, and the rest forward.
func (d lapse) days() lapse {
	days := d / day
	if d%day < 0 {
		days--
	}
	return days
}

// momentAttribute is an attribute of a moment or a lapse.
func (e *env) momentAttribute(of Value, name string) Value {
	switch of := of.(type) {
	case moment:
		t := of.t
		if i, ok := map[string]int{
			"year": t.Year(), "month": int(t.Month()), "day": t.Day(), "hour": t.Hour(), "minute": t.Minute(), "second": t.Second(),
			"microsecond": t.Nanosecond() / 1000,
		}[name]; ok {
			return int64(i)
		}
	case lapse:
		rest := of - of.days()*day
		if i, ok := map[string]lapse{"days": of.days(), "seconds": rest / second, "microseconds": rest % second}[name]; ok {
			return int64(i)
		}
	}
	e.failf("%.60s of a %s is not supported", name, typeName(of))
	return nil
}

// compareMoments compares two moments or two lapses; false: they have no order.
func compareMoments(a, b Value) (order int, ok bool) {
	switch a := a.(type) {
	case moment:
		if b, isMoment := b.(moment); isMoment && a.zoned == b.zoned {
			return compareOrdered(int64(a.since(b)), 0), true
		}
	case lapse:
		if b, isLapse := b.(lapse); isLapse {
			return compareOrdered(int64(a), int64(b)), true
		}
	}
	return 0, false
}

// moments calculates with moments and lapses; false: it is neither.
func (e *env) moments(op byte, left, right Value) (Value, bool) {
	switch l := left.(type) {
	case moment:
		switch r := right.(type) {
		case moment:
			if op == '-' && l.zoned == r.zoned {
				return l.since(r), true
			}
		case lapse:
			if op == '+' {
				return e.plus(l, r), true
			}
			if op == '-' {
				return e.plus(l, -r), true
			}
		}
	case lapse:
		return e.lapses(op, l, right)
	}
	if r, ok := right.(lapse); ok && op == '*' && asNumber(left) != nil {
		return e.times(r, asNumber(left), false), true
	}
	return nil, false
}

func (e *env) lapses(op byte, l lapse, right Value) (Value, bool) {
	switch r := right.(type) {
	case moment:
		if op == '+' {
			return e.plus(r, l), true
		}
	case lapse:
		switch op {
		case '+':
			return e.lapseOf(new(big.Rat).SetInt64(int64(l)), new(big.Rat).SetInt64(int64(r))), true
		case '-':
			return e.lapseOf(new(big.Rat).SetInt64(int64(l)), new(big.Rat).SetInt64(-int64(r))), true
		case '/':
			return e.integers('/', int64(l), int64(r)), true
		case '_', '%':
			e.failf("the operator %s of timedeltas is not supported", operatorText(op))
		}
	}
	if number := asNumber(right); number != nil {
		switch op {
		case '*', '/':
			return e.times(l, number, op == '/'), true
		case '_':
			e.failf("the operator // of timedeltas is not supported")
		}
	}
	return nil, false
}

// times multiplies with a number, or divides by it, and rounds once.
func (e *env) times(l lapse, number Value, divides bool) lapse {
	factor := new(big.Rat)
	switch n := number.(type) {
	case int64:
		factor.SetInt64(n)
	case float64:
		if math.IsNaN(n) || math.IsInf(n, 0) {
			e.failf("a timedelta needs a finite number")
		}
		factor.SetFloat64(n)
	}
	if divides {
		if factor.Sign() == 0 {
			e.failf("division by zero")
		}
		factor.Inv(factor)
	}
	return e.lapseOf(factor.Mul(factor, new(big.Rat).SetInt64(int64(l))), new(big.Rat))
}

// lapseOf is a sum of microseconds, rounded to the nearest whole one, and to the even one of two.
func (e *env) lapseOf(a, b *big.Rat) lapse {
	sum := new(big.Rat).Add(a, b)
	double := new(big.Int).Lsh(sum.Num(), 1)
	down, rest := new(big.Int).DivMod(double.Add(double, sum.Denom()), new(big.Int).Lsh(sum.Denom(), 1), new(big.Int))
	if rest.Sign() == 0 && down.Bit(0) == 1 {
		down.Sub(down, big.NewInt(1))
	}
	if !down.IsInt64() || down.Int64() == math.MinInt64 {
		e.failf("a timedelta of more than 292,000 years is not supported")
	}
	return lapse(down.Int64())
}
