package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"carillon/internal/config"
	"carillon/runtime/journal"
)

// The printed addresses are for pasting: whatever the token holds, it arrives.
func TestAnnouncedAddressesCarryTheToken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	const token = `a&b%c=d"e<f'+#?`
	h := &served{listener: ln, token: token, log: newLogs(io.Discard, config.Default().Log)}
	h.config.current.Store(config.Default())
	var out bytes.Buffer
	h.announce(&out)
	printed := regexp.MustCompile(`http://[^\s']+`).FindAllString(out.String(), -1)
	if len(printed) != 2 {
		t.Fatalf("got %d addresses in %q, want 2", len(printed), out.String())
	}
	for _, text := range printed {
		u, err := url.Parse(text)
		if err != nil || u.Query().Get("token") != token {
			t.Errorf("%s: got %v, want one that carries %s", text, err, token)
		}
	}
}

func TestCheckConfigLooksAtKeyFiles(t *testing.T) {
	h := &served{dir: t.TempDir()}
	file := filepath.Join(h.dir, configFile)
	write(t, file, "auth:\n  jwt:\n    hs256_secret_file: secret\n")
	if err := h.checkConfig(); err == nil || !strings.Contains(err.Error(), "auth.jwt.hs256_secret_file") {
		t.Errorf("without the key file: got %v, want an error that names its setting, as a reload gives", err)
	}
	write(t, filepath.Join(h.dir, "secret"), strings.Repeat("s", 32))
	if err := h.checkConfig(); err != nil {
		t.Errorf("with the key file: got %v", err)
	}
}

// A change that can't be put in force is told once, not as the error of an error.
func TestRetentionThatCannotBeChangedIsToldOnce(t *testing.T) {
	j, err := journal.Open(t.Context(), journal.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	j.Close()
	h := &served{journal: j}
	if err := h.apply(config.Default()); err == nil || strings.Count(err.Error(), "retention") != 1 {
		t.Errorf("with a closed journal: got %v, want the retention named once", err)
	}
}

// A SIGHUP may come while the watch begins; the race detector looks on.
func TestHangupWhileTheWatchBegins(t *testing.T) {
	h := &served{dir: t.TempDir(), log: newLogs(io.Discard, config.Default().Log)}
	h.config.current.Store(config.Default())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.watchConfig(ctx) }()
	for range 100 {
		h.config.folder.Rescan()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("watching: got %v", err)
	}
}
