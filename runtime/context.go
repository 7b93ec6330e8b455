package runtime

import (
	"time"

	"github.com/oklog/ulid/v2"
)

// Origin tells whether an event came from this process or over REST.
type Origin string

// The two origins of Home Assistant's events.
const (
	Local  Origin = "LOCAL"
	Remote Origin = "REMOTE"
)

// A Context ties together what belongs to one story: a command, the state
// changes it caused and its result share one id, and what reacts to them has a
// context of its own whose parent is that id.
type Context struct {
	ID       string // a ULID
	ParentID string // empty when nothing caused it
	UserID   string // empty when nobody is known
}

// NewContext returns a context with a fresh id.
func NewContext(parentID, userID string) Context {
	return Context{ID: ulid.Make().String(), ParentID: parentID, UserID: userID}
}

// orNew returns c, or a fresh context when c has no id.
func (c Context) orNew() Context {
	if c.ID == "" {
		return NewContext(c.ParentID, c.UserID)
	}
	return c
}

// AppendJSON appends Home Assistant's form of the context, with null for what
// is empty.
func (c Context) AppendJSON(b []byte) []byte {
	b = append(b, `{"id":`...)
	b = appendStringOrNull(b, c.ID)
	b = append(b, `,"parent_id":`...)
	b = appendStringOrNull(b, c.ParentID)
	b = append(b, `,"user_id":`...)
	b = appendStringOrNull(b, c.UserID)
	return append(b, '}')
}

func appendStringOrNull(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return AppendString(b, s)
}

// timeLayout is Home Assistant's: Python's isoformat of a UTC time.
const timeLayout = "2006-01-02T15:04:05.000000-07:00"

// AppendTime appends t in UTC with microseconds, 2026-01-01T00:00:00.123456+00:00,
// without quotes.
func AppendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(b, timeLayout)
	}
	hour, minute, second := t.Clock()
	// An event has seven times: time.AppendFormat takes five times as long.
	b = appendDigits(b, year, 4, '-')
	b = appendDigits(b, int(month), 2, '-')
	b = appendDigits(b, day, 2, 'T')
	b = appendDigits(b, hour, 2, ':')
	b = appendDigits(b, minute, 2, ':')
	b = appendDigits(b, second, 2, '.')
	b = appendDigits(b, t.Nanosecond()/1000, 6, '+')
	return append(b, "00:00"...)
}

// appendDigits appends n with so many digits, and what stands behind it.
func appendDigits(b []byte, n, digits int, behind byte) []byte {
	start := len(b)
	b = append(b, "000000"[:digits]...)
	for i := start + digits - 1; n > 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return append(b, behind)
}

func appendQuotedTime(b []byte, t time.Time) []byte {
	b = append(b, '"')
	b = AppendTime(b, t)
	return append(b, '"')
}
