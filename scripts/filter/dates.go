package filter

import (
	"math"
	"strings"
	"time"
)

// maxTime is the time farthest from 1970 that a Date can hold, in milliseconds.
const maxTime = 8.64e15

// dateOf is the time of new Date(v) in milliseconds since 1970, NaN for no
// date.
func (m *machine) dateOf(v value) value {
	p := m.primitive(v)
	if p.kind != str {
		t := m.toNumber(p)
		if !(math.Abs(t) <= maxTime) {
			return numberValue(math.NaN())
		}
		return numberValue(math.Trunc(t) + 0)
	}
	t, ok := parseDate(p.text())
	if !ok {
		if strings.ContainsAny(p.text(), "0123456789") {
			// Other forms mean something to some engines, which ECMA-262 leaves open.
			m.throw("Error", "only dates in the form of ISO 8601 can be read: "+shortened(p.text()))
		}
		return numberValue(math.NaN())
	}
	return numberValue(t)
}

// shortened is the start of s, for a message.
func shortened(s string) string {
	const most = 40
	for i, n := 0, 0; i < len(s); n++ {
		if n == most {
			return s[:i] + "…"
		}
		_, size := decode(s[i:])
		i += size
	}
	return s
}

// A dateReader reads the date time string format of ECMA-262, §21.4.1.32, with
// what goja allows beyond it.
type dateReader struct {
	rest string
	bad  bool
}

// digits reads n digits.
func (d *dateReader) digits(n int) int {
	if len(d.rest) < n {
		d.bad = true
		return 0
	}
	v := 0
	for i := range n {
		c := d.rest[i]
		if c < '0' || c > '9' {
			d.bad = true
			return 0
		}
		v = v*10 + int(c-'0')
	}
	d.rest = d.rest[n:]
	return v
}

// take passes over c if it comes next.
func (d *dateReader) take(c byte) bool {
	if d.bad || d.rest == "" || d.rest[0] != c {
		return false
	}
	d.rest = d.rest[1:]
	return true
}

// parseDate returns a time in milliseconds since 1970. Without a time zone a
// date is in UTC, and a date with a time in the local zone.
func parseDate(s string) (ms float64, ok bool) {
	d := dateReader{rest: s}
	year := d.year()
	month, day := 1, 1
	if d.take('-') {
		if month = d.digits(2); d.take('-') {
			day = d.digits(2)
		}
	}
	var hour, minute, second, milli int
	zone := time.UTC
	if d.take('T') {
		hour = d.digits(2)
		d.bad = !d.take(':') || d.bad
		if minute = d.digits(2); d.take(':') {
			second = d.digits(2)
			milli = d.fraction()
		}
		zone = time.Local
	}
	if d.rest != "" && !d.bad {
		zone = d.zone()
	}
	switch {
	case d.bad, d.rest != "", month < 1, month > 12, day < 1, day > 31, minute > 59, second > 59,
		hour > 24, hour == 24 && minute+second+milli > 0:
		return 0, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, milli*1e6, zone).UnixMilli()
	return float64(t), t >= -maxTime && t <= maxTime
}

func (d *dateReader) year() int {
	switch {
	case d.take('+'):
		return d.digits(6)
	case d.take('-'):
		year := d.digits(6)
		d.bad = d.bad || year == 0
		return -year
	}
	return d.digits(4)
}

// fraction reads a fraction of a second, of which the milliseconds count.
func (d *dateReader) fraction() int {
	s := d.rest
	if d.bad || len(s) < 2 || s[0] != '.' && s[0] != ',' {
		return 0
	}
	n, _ := skipDigits(s[1:])
	if n = min(n, 9); n == 0 {
		return 0
	}
	d.rest = s[1+n:]
	milli, place := 0, 100
	for _, c := range []byte(s[1 : 1+min(n, 3)]) {
		milli += int(c-'0') * place
		place /= 10
	}
	return milli
}

// zone reads Z or an offset: ±HH, ±HHMM or ±HH:MM.
func (d *dateReader) zone() *time.Location {
	sign := 1
	switch {
	case d.take('Z'):
		return time.UTC
	case d.take('-'):
		sign = -1
	case !d.take('+'):
		d.bad = true
		return time.UTC
	}
	hours, minutes := d.digits(2), 0
	if d.take(':') || d.rest != "" && d.rest[0] >= '0' && d.rest[0] <= '9' {
		minutes = d.digits(2)
	}
	d.bad = d.bad || hours > 23 || minutes > 59
	return time.FixedZone("", sign*(hours*60+minutes)*60)
}

// dateParts are the methods of a Date, as functions of its time.
var dateParts = map[string]*function{
	"getTime":            datePart(nil),
	"valueOf":            datePart(nil),
	"getUTCFullYear":     datePart(time.Time.Year),
	"getUTCMonth":        datePart(func(t time.Time) int { return int(t.Month()) - 1 }),
	"getUTCDate":         datePart(time.Time.Day),
	"getUTCDay":          datePart(func(t time.Time) int { return int(t.Weekday()) }),
	"getUTCHours":        datePart(time.Time.Hour),
	"getUTCMinutes":      datePart(time.Time.Minute),
	"getUTCSeconds":      datePart(time.Time.Second),
	"getUTCMilliseconds": datePart(func(t time.Time) int { return t.Nanosecond() / 1e6 }),
	"toISOString": {kinds: of(str), throws: true, call: func(m *machine, args []value) value {
		t := argument(args, 0).num()
		if t != t {
			return m.throw("RangeError", "Invalid time value")
		}
		return stringValue(isoTime(t))
	}},
}

// datePart is the function that part is of a time; nil is the time itself.
func datePart(part func(time.Time) int) *function {
	return &function{kinds: of(number), call: func(m *machine, args []value) value {
		t := argument(args, 0)
		if part == nil || t.num() != t.num() {
			return t
		}
		return numberValue(float64(part(time.UnixMilli(int64(t.num())).UTC())))
	}}
}

// isoTime is Date.prototype.toISOString.
func isoTime(ms float64) string {
	t := time.UnixMilli(int64(ms)).UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		sign, year := "+", y
		if y < 0 {
			sign, year = "-", -y
		}
		digits := formatNumber(float64(year))
		return sign + strings.Repeat("0", max(0, 6-len(digits))) + digits + t.Format("-01-02T15:04:05.000Z")
	}
	return t.Format("2006-01-02T15:04:05.000Z")
}
