package template

import (
	"regexp"
	"strconv"
	"time"
)

// isoTime is a date with or without a time: ISO 8601 with and without its separators, as Home
// Assistant reads it (homeassistant/util/dt.py, parse_datetime).
var isoTime = regexp.MustCompile(`^(\d{4})(?:-(\d{1,2})-(\d{1,2})|(\d{2})(\d{2}))` +
	`(?:[Tt ](\d{1,2}):?(\d{2})(?::?(\d{2})(?:[.,](\d{1,9}))?)?(Z|z|[+-]\d{2}(?::?\d{2})?)?)?$`)

// ParseTime reads a date and time; zoned says that it tells its time zone, else it is
// taken as UTC.
func ParseTime(text string) (t time.Time, zoned, ok bool) {
	m := isoTime.FindStringSubmatch(text)
	if m == nil {
		return t, false, false
	}
	n := func(i int) int {
		x, _ := strconv.Atoi(m[i]) // a part that is not there is 0
		return x
	}
	year, month, day := n(1), n(2)+n(4), n(3)+n(5)
	hour, minute, second := n(6), n(7), n(8)
	nanoseconds, _ := strconv.Atoi((m[9] + "000000000")[:9])
	offset, ok := parseOffset(m[10])
	t = time.Date(year, time.Month(month), day, hour, minute, second, nanoseconds, time.FixedZone("", int(offset.Seconds())))
	if t.Year() != year || int(t.Month()) != month || t.Day() != day || hour > 23 || minute > 59 || second > 59 || year == 0 {
		return t, false, false
	}
	return t, m[10] != "", ok
}

// parseOffset reads Z, +01, +0100 or +01:00; nothing is 0.
func parseOffset(text string) (offset time.Duration, ok bool) {
	if len(text) < 3 {
		return 0, true
	}
	hours, _ := strconv.Atoi(text[1:3])
	minutes := 0
	if len(text) > 3 {
		minutes, _ = strconv.Atoi(text[len(text)-2:])
	}
	offset = time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if text[0] == '-' {
		offset = -offset
	}
	return offset, hours < 24 && minutes < 60
}
