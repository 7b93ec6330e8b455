package journal

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"carillon/runtime"
)

// MaxEvent is the longest Event.JSON in bytes: a state_changed event holds two
// states, each of which may come from a request of 1 MiB.
const MaxEvent = 4 << 20

// Subjects. A changed state is ev.s.<domain>.<object>, so that NATS knows the
// last one of each entity; any other event is ev.e.<type>.<domain>.<object>,
// with _ for what it does not concern (no domain or object is just that).
const (
	allSubjects   = "ev.>"
	stateSubjects = "ev.s.>"
	statePrefix   = "ev.s."
	eventPrefix   = "ev.e."
	nobody        = "_"
)

// A note follows the event's JSON in its payload, on a line of its own: when it
// happened (microseconds since 1970), how many events of its append stand
// before it and how many behind it, and its source. A payload is thus a line
// of JSON and a line of text. (Headers would cost a fifth of Append's and of
// Read's speed.)
type note struct {
	micros        int64
	before, after int
	source        string
}

func appendPayload(b []byte, e *runtime.Event, before, after int) []byte {
	b = append(b, e.JSON...)
	b = append(b, '\n')
	b = strconv.AppendInt(b, e.Time.UnixMicro(), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(before), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(after), 10)
	b = append(b, ' ')
	if strings.IndexByte(e.Source, '\n') < 0 {
		return append(b, e.Source...)
	}
	return append(b, strings.ReplaceAll(e.Source, "\n", " ")...)
}

func parsePayload(payload []byte) (text []byte, n note, err error) {
	end := bytes.LastIndexByte(payload, '\n')
	if end < 0 {
		return nil, n, fmt.Errorf("no note in a payload of %d bytes", len(payload))
	}
	text, rest := payload[:end:end], payload[end+1:]
	var numbers [3]int64
	for i := range numbers {
		at := bytes.IndexByte(rest, ' ')
		if at < 0 {
			return nil, n, fmt.Errorf("bad note %q", payload[end+1:])
		}
		if numbers[i], err = strconv.ParseInt(string(rest[:at]), 10, 64); err != nil {
			return nil, n, fmt.Errorf("bad note %q", payload[end+1:])
		}
		rest = rest[at+1:]
	}
	return text, note{numbers[0], int(numbers[1]), int(numbers[2]), string(rest)}, nil
}

// subjectOf returns the subject that an event is stored under.
func subjectOf(e *runtime.Event) string {
	domain, object, ok := strings.Cut(e.EntityID, ".")
	if e.Type == runtime.StateChanged && ok && domain != "" && object != "" {
		if plain(domain) && plain(object) {
			return statePrefix + e.EntityID
		}
		return statePrefix + escape(domain) + "." + escape(object)
	}
	if !ok || domain == "" || object == "" {
		domain, object = e.Domain, ""
	}
	return eventPrefix + escape(e.Type) + "." + orNobody(domain) + "." + orNobody(object)
}

func orNobody(s string) string {
	switch s {
	case "":
		return nobody
	case nobody:
		return "=5F"
	}
	return escape(s)
}

// parseSubject is the inverse of subjectOf.
func parseSubject(subject string) (typ, entityID, domain string, err error) {
	if id, ok := strings.CutPrefix(subject, statePrefix); ok {
		id = joinEscaped(id)
		return runtime.StateChanged, id, runtime.Domain(id), nil
	}
	rest, ok := strings.CutPrefix(subject, eventPrefix)
	parts := strings.Split(rest, ".")
	if !ok || len(parts) != 3 {
		return "", "", "", fmt.Errorf("unknown subject %q", subject)
	}
	if parts[1] != nobody {
		domain = unescape(parts[1])
	}
	if parts[2] != nobody {
		entityID = domain + "." + unescape(parts[2])
	}
	return unescape(parts[0]), entityID, domain, nil
}

func joinEscaped(id string) string {
	if strings.IndexByte(id, '=') < 0 {
		return id
	}
	domain, object, _ := strings.Cut(id, ".")
	return unescape(domain) + "." + unescape(object)
}

func parseEvent(seq uint64, subject string, payload []byte) (*runtime.Event, error) {
	text, n, err := parsePayload(payload)
	if err != nil {
		return nil, err
	}
	typ, entityID, domain, err := parseSubject(subject)
	if err != nil {
		return nil, err
	}
	return runtime.ParseEvent(seq, n.source, typ, entityID, domain, time.UnixMicro(n.micros).UTC(), text), nil
}

// plain reports whether s can be a subject token as it is.
func plain(s string) bool {
	for i := range len(s) {
		if !plainByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func plainByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// escape makes s a token of a NATS subject and of a key: any byte but letters,
// digits, _ and - becomes =XX, as in quoted-printable.
func escape(s string) string {
	if plain(s) {
		return s
	}
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+16)
	for i := range len(s) {
		if c := s[i]; plainByte(c) {
			b = append(b, c)
		} else {
			b = append(b, '=', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

func unescape(s string) string {
	if strings.IndexByte(s, '=') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '=' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(v))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}
