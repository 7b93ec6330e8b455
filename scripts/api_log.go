package scripts

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/dop251/goja"
)

// installLog makes log(...), log.debug, log.warn and log.error, and console with
// the same functions.
func (g *generation) installLog() {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "log": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	console := g.vm.NewObject()
	log := g.vm.ToValue(g.logger(slog.LevelInfo)).(*goja.Object)
	for name, level := range levels {
		console.Set(name, g.logger(level))
		if name != "log" {
			log.Set(name, g.logger(level))
		}
	}
	g.vm.Set("log", log)
	g.vm.Set("console", console)
}

func (g *generation) logger(level slog.Level) func(goja.FunctionCall) goja.Value {
	return g.native(func(c goja.FunctionCall) goja.Value {
		if !g.host.log().Enabled(context.Background(), level) {
			return goja.Undefined()
		}
		ok, left := g.lines.allow(time.Now())
		if !ok {
			return goja.Undefined()
		}
		attrs := []any{"script", g.source}
		if left > 0 {
			attrs = append(attrs, "left_out", left)
		}
		g.host.log().Log(context.Background(), level, g.format(c.Arguments), attrs...)
		return goja.Undefined()
	})
}

// format joins what is logged by spaces: strings and errors as they are, other
// things as JSON.
func (g *generation) format(values []goja.Value) string {
	var b strings.Builder
	for i, v := range values {
		if i > 0 {
			b.WriteByte(' ')
		}
		if b.Len() > maxLogLine {
			break
		}
		b.WriteString(g.formatOne(v))
	}
	return clip(b.String(), maxLogLine)
}

func (g *generation) formatOne(v goja.Value) string {
	o, ok := v.(*goja.Object)
	if !ok {
		return v.String()
	}
	if o.ClassName() != "Error" {
		if text, err := g.toJSON(o); err == nil && text != nil {
			return string(text)
		}
	}
	return g.spell(o)
}
