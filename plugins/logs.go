package plugins

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"carillon/plugins/adapter/wire"
	"carillon/runtime"
)

// logLimits bound what an adapter's log costs: the first lines of a burst, then
// some each second. What is over is counted.
type logLimits struct {
	mu sync.Mutex
	// Guarded by mu.
	left    limiter
	gaps    limiter         // of the server's lines about gaps in follows
	refused map[string]bool // reasons that refuse told
	items   int64           // that refuse was called for since tellRefusals
	first   string          // the reason of the first of these
}

const (
	logBurst = 200
	logEvery = 50 * time.Millisecond
	gapBurst = 20
	// maxFields bounds the fields of a structured line.
	maxFields = 32
)

// A limiter lets burst things through at once and one more after each every.
type limiter struct {
	spent   int
	since   time.Time
	refused int
}

// allow reports whether one more may pass, and how many did not since the last
// that did.
func (l *limiter) allow(now time.Time, burst int, every time.Duration) (ok bool, refused int) {
	if back := int(now.Sub(l.since) / every); back > 0 {
		l.spent, l.since = max(l.spent-back, 0), now
	}
	if l.spent >= burst {
		l.refused++
		return false, 0
	}
	l.spent++
	refused, l.refused = l.refused, 0
	return true, refused
}

// printed logs a line of standard output or error. More is how many bytes of
// it were cut.
func (a *adapter) printed(stream, line string, more int) {
	if more > 0 {
		line = fmt.Sprintf("%s… (%d bytes more)", line, more)
	}
	level, text, fields := slog.LevelInfo, line, map[string]string{"stream": stream}
	if strings.HasPrefix(line, "{") { // go-plugin's own log lines are such objects
		var structured map[string]any
		if json.Unmarshal([]byte(line), &structured) == nil && structured["@message"] != nil {
			text = fmt.Sprint(structured["@message"])
			level = levelOf(fmt.Sprint(structured["@level"]))
		}
	}
	a.write(level, text, fields)
}

func levelOf(name string) slog.Level {
	switch name {
	case "trace", "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	}
	return slog.LevelInfo
}

// logged takes a structured line.
func (a *adapter) logged(l *wire.Log) {
	level := [...]slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}[min(max(l.GetLevel(), 0), 3)]
	a.write(level, l.GetMessage(), l.GetFields())
}

// write brings a line to the log and, unless it is for debugging, into an
// adapter_log event, as far as the limit allows.
func (a *adapter) write(level slog.Level, text string, fields map[string]string) {
	a.stats.logLines.Add(1)
	a.logs.mu.Lock()
	ok, leftOut := a.logs.left.allow(time.Now(), logBurst, logEvery)
	a.logs.mu.Unlock()
	if !ok {
		a.count(&a.stats.logDropped, "log_limit", 1)
		return
	}
	text = cut(text, maxLine+64) // which leaves room for what printed says of a cut line
	args := []any{"adapter", a.name}
	kept := map[string]string{}
	for i, k := range slices.Sorted(maps.Keys(fields)) {
		if i == maxFields {
			break
		}
		k, v := cut(k, 64), cut(fields[k], 512)
		kept[k] = v
		args = append(args, k, v)
	}
	if leftOut > 0 {
		args = append(args, "left_out", leftOut)
	}
	a.host.log().Log(context.Background(), level, text, args...)
	if level < slog.LevelInfo {
		return
	}
	a.host.report(runtime.AdapterLog, a.name, map[string]any{
		"adapter": a.name, "level": strings.ToLower(level.String()), "message": text, "fields": kept, "left_out": leftOut,
	})
}

// maxRefusals is how many reasons are remembered; then all are told again.
const maxRefusals = 100

// refuse counts an item that is not stored, and logs why: each reason once for a
// generation, as hardware repeats itself.
func (a *adapter) refuse(why string) {
	a.count(&a.stats.refusedItems, "refused", 1)
	a.logs.mu.Lock()
	if a.logs.items++; a.logs.items == 1 {
		a.logs.first = cut(why, 500)
	}
	again := a.logs.refused[why]
	if len(a.logs.refused) >= maxRefusals || a.logs.refused == nil {
		a.logs.refused = map[string]bool{}
	}
	a.logs.refused[why] = true
	a.logs.mu.Unlock()
	if !again {
		a.write(slog.LevelWarn, "what the adapter says is refused", map[string]string{"err": why})
	}
}

// tellRefusals makes refuse count from 0, and tell all reasons again.
func (a *adapter) tellRefusals() {
	a.logs.mu.Lock()
	defer a.logs.mu.Unlock()
	a.logs.refused, a.logs.items, a.logs.first = nil, 0, ""
}

// refusals returns how many items the last generation had refused, and why the first of
// them was: what comes behind is often of its doing.
func (a *adapter) refusals() (items int64, first string) {
	a.logs.mu.Lock()
	defer a.logs.mu.Unlock()
	return a.logs.items, a.logs.first
}

// cut returns at most n bytes of s, and valid UTF-8.
func cut(s string, n int) string {
	if len(s) > n {
		s = s[:n] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// logGap logs that a follow misses events: some lines at once, then one a second.
func (a *adapter) logGap(source string, g *wire.Gap) {
	a.logs.mu.Lock()
	ok, leftOut := a.logs.gaps.allow(time.Now(), gapBurst, time.Second)
	a.logs.mu.Unlock()
	if ok {
		a.log().Warn("an adapter that follows misses events", "generation", source, "from", g.From, "to", g.To, "reason", g.Reason, "left_out", leftOut)
	}
}
