package main

import (
	"bytes"
	"io"
	"log/slog"
	"sync"

	"carillon/internal/config"
)

// logs writes what happens to stderr, at a level that can change, and keeps the
// last warnings and errors for GET /api/error_log.
type logs struct {
	*slog.Logger
	level slog.LevelVar
	kept  keptLines
}

func newLogs(w io.Writer, c config.Log) *logs {
	l := &logs{}
	l.level.Set(slog.Level(c.Level))
	options := &slog.HandlerOptions{Level: &l.level}
	var out slog.Handler = slog.NewTextHandler(w, options)
	if c.Format == "json" {
		out = slog.NewJSONHandler(w, options)
	}
	keep := slog.NewTextHandler(&l.kept, &slog.HandlerOptions{Level: slog.LevelWarn})
	l.Logger = slog.New(slog.NewMultiHandler(out, keep))
	return l
}

// keptBytes bounds what GET /api/error_log answers: some 500 lines.
const keptBytes = 64 << 10

// keptLines is the end of a text, in whole lines.
type keptLines struct {
	mu   sync.Mutex
	text []byte // guarded by mu
}

// Write takes whole lines, as slog's handlers write them.
func (k *keptLines) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.text = append(k.text, p...)
	if over := len(k.text) - keptBytes; over > 0 {
		if end := bytes.IndexByte(k.text[over:], '\n'); end >= 0 {
			over += end + 1
		}
		k.text = append(k.text[:0:0], k.text[over:]...)
	}
	return len(p), nil
}

// Text returns a copy of the lines kept.
func (k *keptLines) Text() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return bytes.Clone(k.text)
}
