package template

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// strftime writes a moment by a format, as Python does with the C library of Linux and no locale.
func (e *env) strftime(m moment, format string) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		i++
		short := i < len(format) && format[i] == '-'
		if short {
			i++
		}
		if i >= len(format) {
			e.failf("a time's format that ends with %% is not supported")
		}
		text, ok := m.part(format[i])
		if !ok || m.t.Year() < 1000 {
			e.failf("%%%c is not supported in a time's format", rune(format[i]))
		}
		if short {
			text = shortened(text)
		}
		b.WriteString(text)
		e.step(1)
		if b.Len() > maxString {
			break
		}
	}
	e.made(b.Len())
	return b.String()
}

// shortened is a number without its zeros.
func shortened(text string) string {
	if n, err := strconv.Atoi(strings.TrimSpace(text)); err == nil && text[0] != '+' && text[0] != '-' {
		return strconv.Itoa(n)
	}
	return text
}

// layouts are directives as Go writes them.
var layouts = map[byte]string{
	'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'y': "06", 'I': "03", 'p': "PM", 'j': "002", 'e': "_2",
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'h': "Jan", 'T': "15:04:05", 'X': "15:04:05", 'R': "15:04", 'F': "2006-01-02",
	'D': "01/02/06", 'x': "01/02/06", 'c': "Mon Jan _2 15:04:05 2006", '%': "%", 'n': "\n", 't': "\t",
}

// part is what a directive writes.
func (m moment) part(directive byte) (text string, ok bool) {
	t := m.t
	if layout, ok := layouts[directive]; ok {
		return t.Format(layout), true
	}
	weekday := int(t.Weekday())
	year, week := t.ISOWeek()
	switch directive {
	case 'f':
		return fmt.Sprintf("%06d", t.Nanosecond()/1000), true
	case 'z':
		if !m.zoned {
			return "", true
		}
		return m.offset(""), true
	case 'Z':
		return m.zone(), true
	case 'w':
		return strconv.Itoa(weekday), true
	case 'u':
		return strconv.Itoa((weekday+6)%7 + 1), true
	case 'U':
		return fmt.Sprintf("%02d", (t.YearDay()+6-weekday)/7), true
	case 'W':
		return fmt.Sprintf("%02d", (t.YearDay()+6-(weekday+6)%7)/7), true
	case 'V':
		return fmt.Sprintf("%02d", week), true
	case 'G':
		return strconv.Itoa(year), true
	}
	return "", false
}

// zone is the name of the moment's time zone.
func (m moment) zone() string {
	name, offset := m.t.Zone()
	switch {
	case !m.zoned:
		return ""
	case name != "":
		return name
	case offset == 0:
		return "UTC"
	}
	return "UTC" + m.offset(":")
}

// The parts of strptime's formats, as Python's _strptime has them.
var timeParts = map[byte]string{
	'd': `3[0-1]|[1-2]\d|0[1-9]|[1-9]| [1-9]`, 'f': `[0-9]{1,6}`, 'H': `2[0-3]|[0-1]\d|\d`, 'I': `1[0-2]|0[1-9]|[1-9]`,
	'j': `36[0-6]|3[0-5]\d|[1-2]\d\d|0[1-9]\d|00[1-9]|[1-9]\d|0[1-9]|[1-9]`, 'm': `1[0-2]|0[1-9]|[1-9]`, 'M': `[0-5]\d|\d`, 'S': `6[0-1]|[0-5]\d|\d`,
	'y': `\d\d`, 'Y': `\d\d\d\d`, 'z': `[+-]\d\d:?[0-5]\d|(?-i:Z)`, 'p': `am|pm`,
	'a': `mon|tue|wed|thu|fri|sat|sun`, 'A': `monday|tuesday|wednesday|thursday|friday|saturday|sunday`,
	'b': `jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec`, 'B': `january|february|march|april|may|june|july|august|september|october|november|december`,
}

// strptime is Python's datetime.strptime.
func strptime(e *env, args []Value) Value {
	text, ok := plain(args[0]).(string)
	format, ok2 := plain(args[1]).(string)
	if !ok || !ok2 {
		return e.fallback("strptime", args[0], args[2])
	}
	pattern := e.timePattern(format)
	e.made(len(text))
	e.step(len(text) / stepBytes * len(format))
	match := pattern.FindStringSubmatch(e.plainDigits(text))
	if match == nil || len(match[0]) != len(text) {
		return e.fallback("strptime", args[0], args[2])
	}
	parts := map[byte]string{}
	for i, name := range pattern.SubexpNames() {
		if name != "" {
			parts[name[0]] = match[i]
		}
	}
	m, ok := momentOfParts(parts)
	if !ok {
		return e.fallback("strptime", args[0], args[2])
	}
	return m
}

// timePattern is the regular expression of a format.
func (e *env) timePattern(format string) *regexp.Regexp {
	if len(format) > maxPattern {
		e.failf("a time's format of more than %d bytes", maxPattern)
	}
	e.step(200) // it is compiled each time
	b := strings.Builder{}
	b.WriteString("(?i)^")
	seen := map[byte]bool{}
	for i := 0; i < len(format); i++ {
		c := format[i]
		switch {
		case c == '%':
			if i++; i == len(format) {
				e.failf("a time's format that ends with %% is not supported")
			}
			c = format[i]
			part := timeParts[c]
			if c == '%' {
				b.WriteByte('%')
				continue
			}
			if part == "" || seen[c] {
				e.failf("%%%c is not supported here in strptime", rune(c))
			}
			seen[c] = true
			fmt.Fprintf(&b, "(?P<%c>%s)", c, part)
		case isSpace(rune(c)):
			for i+1 < len(format) && isSpace(rune(format[i+1])) {
				i++
			}
			b.WriteString(`\s+`)
		default:
			b.WriteString(regexp.QuoteMeta(format[i : i+1]))
		}
	}
	pattern, err := regexp.Compile(b.String())
	if err != nil {
		e.failf("the format %.60q is not supported in strptime", format)
	}
	return pattern
}

// momentOfParts puts together what strptime read; false: there is no such time.
func momentOfParts(parts map[byte]string) (m moment, ok bool) {
	n := func(c byte, otherwise int) int {
		if text, there := parts[c]; there {
			otherwise, _ = strconv.Atoi(strings.TrimSpace(text))
		}
		return otherwise
	}
	year, month, hour := n('Y', 1900), n('m', 1), n('H', 0)
	if _, there := parts['y']; there {
		if year = n('y', 0) + 1900; year < 1969 {
			year += 100
		}
	}
	for _, c := range []byte("bB") {
		if name := strings.ToLower(parts[c]); name != "" {
			month = 1 + strings.Index("janfebmaraprmayjunjulaugsepoctnovdec", name[:3])/3
		}
	}
	if _, there := parts['I']; there {
		hour = n('I', 0)
		switch strings.ToLower(parts['p']) {
		case "pm":
			hour = hour%12 + 12
		case "", "am":
			hour %= 12
		}
	}
	day := n('d', 1)
	if _, there := parts['j']; there {
		month, day = 1, n('j', 1)
	}
	us, _ := strconv.Atoi((parts['f'] + "000000")[:6])
	zone, zoned := parts['z']
	offset, _ := parseOffset(zone)
	location := time.UTC
	if offset != 0 {
		location = time.FixedZone("", int(offset.Seconds()))
	}
	t := time.Date(year, time.Month(month), day, hour, n('M', 0), n('S', 0), us*1000, location)
	_, ofYear := parts['j']
	ok = inYears(t) && t.Year() == year && (ofYear || int(t.Month()) == month && t.Day() == day) && n('S', 0) < 60
	return moment{t, zoned}, ok
}
