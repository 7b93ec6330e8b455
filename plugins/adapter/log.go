package adapter

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"unicode/utf8"

	"carillon/plugins/adapter/wire"
)

// maxLogs is how many lines wait for the host to take them: a burst of an
// adapter's start fits.
const maxLogs = 1000

// maxLogText is the greatest length of a message or field in bytes; what is longer is
// cut. A stack trace fits.
const maxLogText = 8 << 10

// maxLogFields is the greatest number of fields of a line.
const maxLogFields = 32

// handler is a slog.Handler that sends to the host. Groups are prefixes of names.
type handler struct {
	h      *Host
	prefix string
	attrs  []field
}

type field struct{ name, text string }

func (l *handler) Enabled(context.Context, slog.Level) bool { return true }

func (l *handler) Handle(_ context.Context, r slog.Record) error {
	fields := slices.Clip(l.attrs)
	r.Attrs(func(a slog.Attr) bool {
		fields = appendAttr(fields, l.prefix, a)
		return true
	})
	w := &wire.Log{Level: level(r.Level), Message: cut(r.Message)}
	if len(fields) > 0 {
		w.Fields = make(map[string]string, len(fields))
	}
	for _, f := range fields[:min(len(fields), maxLogFields)] {
		w.Fields[f.name] = f.text
	}
	l.h.mu.Lock()
	if o := &l.h.outbox; len(o.logs) < maxLogs {
		o.logs = append(o.logs, w)
	} else {
		o.dropped++
	}
	l.h.mu.Unlock()
	notify(l.h.wake)
	return nil
}

func (l *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	more := *l
	more.attrs = slices.Clip(l.attrs)
	for _, a := range attrs {
		more.attrs = appendAttr(more.attrs, l.prefix, a)
	}
	return &more
}

func (l *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return l
	}
	more := *l
	more.prefix += name + "."
	return &more
}

// appendAttr appends an attribute as text, groups one by one.
func appendAttr(fields []field, prefix string, a slog.Attr) []field {
	v := a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return fields
	}
	if v.Kind() != slog.KindGroup {
		return append(fields, field{cut(prefix + a.Key), cut(v.String())})
	}
	if a.Key != "" {
		prefix += a.Key + "."
	}
	for _, member := range v.Group() {
		fields = appendAttr(fields, prefix, member)
	}
	return fields
}

func level(l slog.Level) wire.Log_Level {
	switch {
	case l >= slog.LevelError:
		return wire.Log_ERROR
	case l >= slog.LevelWarn:
		return wire.Log_WARN
	case l >= slog.LevelInfo:
		return wire.Log_INFO
	}
	return wire.Log_DEBUG
}

// cut returns what of a text may be sent.
func cut(s string) string {
	if len(s) > maxLogText {
		s = s[:maxLogText] + "… (cut)"
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "�")
	}
	return s
}
