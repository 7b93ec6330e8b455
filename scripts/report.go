package scripts

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"carillon/runtime"
)

// Types of the events that the host makes beside the runtime's script_loaded,
// script_failed and script_removed.
const (
	ScriptError   = "script_error"   // {script, generation, file, line, column, message, left_out}
	ScriptOverrun = "script_overrun" // {script, generation, from, to, missed}
)

// ownTypes can't be emitted by scripts.
var ownTypes = []string{runtime.ScriptLoaded, runtime.ScriptFailed, runtime.ScriptRemoved, ScriptError, ScriptOverrun}

// reportsDepth holds what all scripts together can report in some seconds, by
// their limiters, while the journal takes nothing.
const reportsDepth = 1_024

// A limiter lets burst things through at once and one more after each every.
type limiter struct {
	burst int
	every time.Duration

	spent   int
	since   time.Time
	refused int
}

// allow reports whether one more may pass, and how many did not since the last
// that did.
func (l *limiter) allow(now time.Time) (ok bool, refused int) {
	if back := int(now.Sub(l.since) / l.every); back > 0 {
		l.spent = max(l.spent-back, 0)
		l.since = now
	}
	if l.spent >= l.burst {
		l.refused++
		return false, 0
	}
	l.spent++
	refused, l.refused = l.refused, 0
	return true, refused
}

// report makes an event without waiting for the journal.
func (h *Host) report(typ, source string, story runtime.Context, data map[string]any) {
	text, err := json.Marshal(data)
	if err != nil {
		h.log().Error("making an event", "type", typ, "err", err) // strings and numbers only: does not happen
		return
	}
	select {
	case h.reports <- runtime.NewEvent{Type: typ, Data: text, Context: story, Source: source}:
	default:
		metricReportsDropped.Inc()
		h.log().Warn("event dropped: too many wait for the journal", "type", typ, "script", source)
	}
}

// tellReports fires what report was given, until ctx ends and all is told.
func (h *Host) tellReports(ctx context.Context) {
	fire := func(e runtime.NewEvent) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), journalWait)
		defer cancel()
		if _, err := h.Runtime.Fire(ctx, e); err != nil && !errors.Is(err, runtime.ErrClosed) {
			metricReportsDropped.Inc()
			h.log().Warn("event dropped", "type", e.Type, "script", e.Source, "err", err)
		}
	}
	for {
		select {
		case e := <-h.reports:
			fire(e)
		case <-ctx.Done():
			return
		}
	}
}

// tell reports an error of a handler: it is counted always, and logged and made
// an event as often as the limiter allows. The script goes on.
func (g *generation) tell(e *Error) {
	if e == nil || g.host.over() {
		return
	}
	g.stats.failed(e)
	metricErrors.Inc()
	ok, leftOut := g.errors.allow(time.Now())
	if !ok {
		return
	}
	g.host.log().Warn("script error", "script", g.source, "at", e.place(), "err", e.Message, "left_out", leftOut)
	g.host.report(ScriptError, g.source, g.root.get(), map[string]any{
		"script": g.script, "generation": g.number, "file": e.File, "line": e.Line, "column": e.Column,
		"message": e.Message, "left_out": leftOut,
	})
}

// tellStuck reports a run that goes on though it was interrupted. It is called
// on the watchdog's goroutine, once a run.
func (g *generation) tellStuck() {
	select {
	case <-g.started:
	default:
		return // awaitLoad tells of top levels
	}
	if g.ended.Load() || g.host.over() {
		return // rest has told
	}
	at := g.runAt.Load()
	e := &Error{File: g.script, Line: at.line, Column: at.column, Message: errStuck.Error()}
	g.stats.failed(e)
	metricErrors.Inc()
	g.host.log().Error("script error", "script", g.source, "at", e.place(), "err", e.Message)
	g.host.report(ScriptError, g.source, runtime.Context{}, map[string]any{
		"script": g.script, "generation": g.number, "file": e.File, "line": e.Line, "column": e.Column,
		"message": e.Message, "left_out": 0,
	})
}

// tellMissed reports the events that the script missed since it was last told.
func (g *generation) tellMissed() {
	lost := g.box.missed()
	if lost.events == 0 || g.host.over() {
		return
	}
	metricMissed.Add(lost.events)
	g.host.log().Warn("script does not keep up and missed events", "script", g.source, "from", lost.from, "to", lost.to, "missed", lost.events)
	g.host.report(ScriptOverrun, g.source, runtime.Context{}, map[string]any{
		"script": g.script, "generation": g.number, "from": lost.from, "to": lost.to, "missed": lost.events,
	})
}
