package config

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A kind is a type of scalar: how it is read and written.
type kind[T any] struct {
	name   string // "a duration, 1s to 1m"
	parse  func(string) (T, *fault)
	format func(T) string
}

// A fault is why a scalar is refused. An empty hint stands for "write for example
// <a value of the key>".
type fault struct {
	msg, hint string
}

// durations are times like 1m30s, 12h, 30d or 2w from least to most. If zero has
// a meaning that least excludes, it is allowed, too.
func durations(least, most time.Duration, zero string) kind[time.Duration] {
	span := formatDuration(least) + " to " + formatDuration(most)
	if zero != "" {
		span += ", or 0 (" + zero + ")"
	}
	return kind[time.Duration]{"a duration, " + span, func(s string) (time.Duration, *fault) {
		d, f := parseDuration(s)
		if f == nil && (d < least || d > most) && (d != 0 || zero == "") {
			f = &fault{msg: quote(s) + " is out of range: " + span + " is allowed"}
		}
		return d, f
	}, formatDuration}
}

var (
	durationPart = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h|d|w)`)
	wholeNumber  = regexp.MustCompile(`^[+-]?[0-9]+$`)
	sizeText     = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)$`)

	durationUnits = map[string]time.Duration{
		"ns": 1, "us": time.Microsecond, "µs": time.Microsecond, "ms": time.Millisecond,
		"s": time.Second, "m": time.Minute, "h": time.Hour, "d": day, "w": 7 * day,
	}
	sizeUnits = map[string]int64{
		"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
		"kib": kib, "mib": mib, "gib": gib, "tib": tib,
	}
)

// parseDuration reads Go's form of durations, with the units d (24 h) and w besides.
func parseDuration(s string) (time.Duration, *fault) {
	if s == "0" {
		return 0, nil
	}
	if wholeNumber.MatchString(s) {
		return 0, &fault{quote(s) + " has no unit", "write for example " + strings.TrimLeft(s, "+-") + "s for seconds"}
	}
	var sum float64
	for rest := s; rest != "" || s == ""; {
		part := durationPart.FindStringSubmatch(rest)
		if part == nil {
			return 0, &fault{msg: quote(s) + " is no duration"}
		}
		n, err := strconv.ParseFloat(part[1], 64)
		if err != nil {
			return 0, &fault{msg: quote(s) + " is no duration"}
		}
		sum += n * float64(durationUnits[part[2]])
		rest = rest[len(part[0]):]
	}
	if sum > math.MaxInt64/2 {
		sum = math.MaxInt64 / 2 // out of every range, and still a duration
	}
	return time.Duration(math.Round(sum)), nil
}

// formatDuration writes d as people would: 30d, 1m, 1h30m.
func formatDuration(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	var b strings.Builder
	if days := d / day; days > 0 {
		fmt.Fprintf(&b, "%dd", days)
		d -= days * day
	}
	if d > 0 {
		s := d.String() // as 1h0m0s
		if strings.HasSuffix(s, "m0s") {
			s = strings.TrimSuffix(s, "0s")
		}
		if strings.HasSuffix(s, "h0m") {
			s = strings.TrimSuffix(s, "0m")
		}
		b.WriteString(s)
	}
	return b.String()
}

// sizes are numbers of bytes like 65536, 64KiB or 1.5GB from least to most.
func sizes(least, most int64) kind[int64] {
	span := formatSize(least) + " to " + formatSize(most)
	return kind[int64]{"a size, " + span, func(s string) (int64, *fault) {
		part := sizeText.FindStringSubmatch(s)
		if part == nil {
			return 0, &fault{msg: quote(s) + " is no size"}
		}
		unit, ok := sizeUnits[strings.ToLower(part[2])]
		if !ok {
			return 0, &fault{quote(s) + " is no size: " + quote(part[2]) + " is no unit",
				"units are KiB, MiB, GiB, TiB (of 1024) and KB, MB, GB, TB (of 1000)"}
		}
		n, err := strconv.ParseFloat(part[1], 64)
		if n *= float64(unit); err != nil || n < float64(least) || n > float64(most) {
			return 0, &fault{msg: quote(s) + " is out of range: " + span + " is allowed"}
		}
		return int64(math.Round(n)), nil
	}, formatSize}
}

// formatSize writes n in the largest binary unit that divides it.
func formatSize(n int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"TiB", tib}, {"GiB", gib}, {"MiB", mib}, {"KiB", kib}} {
		if n != 0 && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// counts are whole numbers from least to most.
func counts(least, most int) kind[int] {
	span := fmt.Sprintf("%d to %d", least, most)
	return kind[int]{"a whole number, " + span, func(s string) (int, *fault) {
		if !wholeNumber.MatchString(s) {
			return 0, &fault{msg: quote(s) + " is no whole number"}
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			return 0, &fault{msg: quote(s) + " is out of range: " + span + " is allowed"}
		}
		return n, nil
	}, strconv.Itoa}
}

// choices are some words, each standing for a value.
func choices[T comparable](names []string, values []T) kind[T] {
	all := strings.Join(names, ", ")
	return kind[T]{"one of " + all, func(s string) (v T, _ *fault) {
		i := slices.Index(names, s)
		if i < 0 {
			f := &fault{msg: quote(s) + " is none of " + all}
			if near := nearest(s, names); near != "" {
				f.hint = "did you mean " + near + "?"
			}
			return v, f
		}
		return values[i], nil
	}, func(v T) string { return names[slices.Index(values, v)] }}
}
