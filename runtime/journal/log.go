package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// serverLog is the embedded server's logger. The server tells nobody but its
// log when a stream can no longer be written: it stops answering, for good. So
// the log is also where the journal learns of it, and of the reason.
type serverLog struct {
	log    *slog.Logger
	broken chan error // of one: the first reason
}

func (l *serverLog) Noticef(format string, v ...any) { l.write(slog.LevelDebug, format, v) }
func (l *serverLog) Debugf(format string, v ...any)  { l.write(slog.LevelDebug, format, v) }
func (l *serverLog) Tracef(format string, v ...any)  { l.write(slog.LevelDebug, format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.write(slog.LevelWarn, format, v) }
func (l *serverLog) Errorf(format string, v ...any)  { l.write(slog.LevelWarn, format, v) }
func (l *serverLog) Fatalf(format string, v ...any)  { l.write(slog.LevelError, format, v) }

func (l *serverLog) write(level slog.Level, format string, v []any) {
	if strings.Contains(format, "critical write error") || strings.Contains(format, "disabling JetStream") {
		l.fail(v)
	}
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "journal: "+fmt.Sprintf(format, v...))
	}
}

// fail runs under the server's locks, so it must not wait.
func (l *serverLog) fail(v []any) {
	reason := errors.New("the embedded server stopped storing")
	for _, arg := range v {
		if err, ok := arg.(error); ok {
			reason = err
		}
	}
	select {
	case l.broken <- reason:
	default:
	}
}
