package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"carillon/internal/sse"
)

const tailUsage = `Usage: carillon tail [flags] [URL]

Prints the events of a server's stream as they come, and reconnects without
loss or repetition. The URL is http://127.0.0.1:8123 by default; the one that
serve prints, with its token, will do. Without a token, that of ./home is
tried for a server on this machine.

Examples:
  carillon tail -type state_changed -domain light,switch
  carillon tail -json -entity light.hall http://127.0.0.1:8123/?token=T

Flags:
`

// tailSilence is how long a stream may be silent before it counts as dead:
// three beats of a server's 15 s.
const tailSilence = 45 * time.Second

// tailer is the command tail at work.
type tailer struct {
	url, token string
	json       bool
	limit      int // events to print; 0 for no limit
	stdout     io.Writer
	stderr     io.Writer

	reader  sse.Reader
	check   sse.Continuity
	retry   time.Duration
	printed int
	err     error // of writing to stdout
}

// errTailDone says that as many events as asked for were printed.
var errTailDone = errors.New("done")

// runTail is the command tail. It returns the exit status: 0 after an
// interrupt or as many events as asked for, 1 if the server refuses, 2 for a
// wrong command line.
func runTail(args []string, stdout, stderr io.Writer) int {
	t := &tailer{stdout: stdout, stderr: stderr, retry: time.Second}
	t.reader.On = t.frame
	if err := t.parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		fmt.Fprintf(stderr, "carillon tail: %v\n", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := t.run(ctx); err != nil {
		fmt.Fprintf(stderr, "carillon tail: %v\n", err)
		return 1
	}
	return 0
}

// parse reads the command line into t.
func (t *tailer) parse(args []string) error {
	fs := flag.NewFlagSet("tail", flag.ContinueOnError)
	query := map[string]*string{
		"type":      fs.String("type", "", "only events of these `types`, separated by commas; * matches any characters"),
		"domain":    fs.String("domain", "", "only events of entities in these `domains`"),
		"entity_id": fs.String("entity", "", "only events of these `entities`"),
		"since":     fs.String("since", "", "begin with events since this `time` (RFC 3339) or after this event id"),
	}
	fs.StringVar(&t.token, "token", "", "`credential` to send; by default CARILLON_TOKEN of the environment")
	fs.BoolVar(&t.json, "json", false, "print each event's JSON as it came")
	fs.IntVar(&t.limit, "n", 0, "end after this many `events`; 0 goes on")
	words, err := parseFlags(fs, tailUsage, args, t.stdout)
	if err != nil {
		return err
	}
	if len(words) > 1 {
		return fmt.Errorf("one URL is enough, got %q", words)
	}
	raw := "http://127.0.0.1:8123"
	if len(words) == 1 {
		raw = words[0]
	}
	u, token, err := serverURL(raw)
	if err != nil {
		return err
	}
	t.token = firstOf(t.token, token, os.Getenv("CARILLON_TOKEN"), homeToken(u))
	if u.Path == "" || u.Path == "/" {
		u.Path = "/api/stream"
	}
	q := u.Query()
	for name, value := range query {
		if *value != "" {
			if name == "type" && u.Path == "/api/stream" {
				name = "restrict" // Home Assistant's word for it
			}
			q.Set(name, *value)
		}
	}
	u.RawQuery = q.Encode()
	t.url = u.String()
	return nil
}

// serverURL parses an address and takes the credential off its query.
func serverURL(raw string) (u *url.URL, token string, err error) {
	if !strings.Contains(raw, "://") {
		raw = "http://" + raw
	}
	u, err = url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, "", fmt.Errorf("%q is not an address like http://127.0.0.1:8123", raw)
	}
	q := u.Query()
	for _, name := range []string{"token", "api_password"} {
		if q.Has(name) {
			token = firstOf(token, q.Get(name))
			q.Del(name)
			u.RawQuery = q.Encode()
		}
	}
	u.Fragment = ""
	return u, token, nil
}

// homeToken returns the token that a server started in this folder has made,
// for addresses of this machine only.
func homeToken(u *url.URL) string {
	ip := net.ParseIP(u.Hostname())
	if u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return ""
	}
	b, _ := os.ReadFile(filepath.Join("home", "data", "token"))
	return strings.TrimSpace(string(b))
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// run prints events until ctx ends, the limit is reached or the server
// refuses for good. Broken connections are opened again.
func (t *tailer) run(ctx context.Context) error {
	for told := ""; ; {
		opened, err := t.connect(ctx)
		switch {
		case ctx.Err() != nil || errors.Is(err, errTailDone):
			return nil
		case t.err != nil:
			return fmt.Errorf("printing: %w", t.err)
		case errors.As(err, new(*tailRefused)):
			return err
		}
		if opened {
			told = ""
		}
		if err.Error() != told { // one line for a server that stays away
			told = err.Error()
			fmt.Fprintf(t.stderr, "carillon tail: %v; trying again every %v\n", err, t.retry)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(t.retry):
		}
	}
}

// tailRefused is an answer that will not change.
type tailRefused struct{ text string }

func (e *tailRefused) Error() string { return e.text }

// connect holds one connection. opened reports whether it became a stream.
func (t *tailer) connect(ctx context.Context) (opened bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(tailSilence, func() { cancel(fmt.Errorf("the stream was silent for %v", tailSilence)) })
	defer watchdog.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url, nil)
	if err != nil {
		return false, &tailRefused{err.Error()}
	}
	req.Header.Set("Accept", "text/event-stream")
	if t.token != "" {
		req.Header.Set("Authorization", "Bearer "+t.token)
	}
	if id := t.reader.LastID(); id != "" {
		req.Header.Set("Last-Event-ID", id)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return false, fmt.Errorf("connecting: %w", err)
	}
	defer resp.Body.Close()
	if err := checkStream(resp); err != nil {
		return false, err
	}
	t.reader.Reset()
	buf := make([]byte, 16<<10)
	for {
		n, err := resp.Body.Read(buf)
		watchdog.Reset(tailSilence)
		if _, e := t.reader.Write(buf[:n]); e != nil {
			return true, &tailRefused{e.Error()}
		}
		if t.err != nil {
			return true, t.err
		}
		if t.limit > 0 && t.printed >= t.limit {
			return true, errTailDone
		}
		if cause := context.Cause(ctx); err != nil && cause != nil {
			return true, cause
		}
		if err != nil {
			return true, fmt.Errorf("the stream ended: %w", err)
		}
	}
}

// checkStream reports why a response is no event stream.
func checkStream(resp *http.Response) error {
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	if resp.StatusCode == http.StatusOK && strings.TrimSpace(kind) == "text/event-stream" {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
	text := fmt.Sprintf("the server answers %s (%s): %s", resp.Status, kind, bytes.TrimSpace(body))
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return &tailRefused{text + "\nhint: give the token with -token, CARILLON_TOKEN or the address that serve prints"}
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
		return errors.New(text)
	}
	return &tailRefused{text}
}

// frame is called by the reader.
func (t *tailer) frame(f sse.Frame) {
	switch {
	case f.Kind == sse.Retry:
		t.retry = max(f.Retry, 100*time.Millisecond)
		return
	case t.err != nil || t.limit > 0 && t.printed >= t.limit:
		return
	}
	if v := t.check.Take(f); v.Finding == sse.Fault {
		fmt.Fprintf(t.stderr, "carillon tail: the stream is at fault: %s\n", v.Reason)
		if v.Again {
			return
		}
	}
	if f.Kind != sse.Message {
		return
	}
	line := tailLine(f, t.json)
	if line == "" {
		return
	}
	if len(f.Event) == 0 {
		t.printed++
	}
	_, t.err = fmt.Fprintln(t.stdout, line)
}

// tailEvent is what tail reads of an event.
type tailEvent struct {
	EventType string          `json:"event_type"`
	TimeFired time.Time       `json:"time_fired"`
	Data      json.RawMessage `json:"data"`
}

// tailLine returns the line for one event, "" for a ping.
func tailLine(f sse.Frame, raw bool) string {
	var ev tailEvent
	err := json.Unmarshal(f.Data, &ev)
	switch {
	case len(f.Event) > 0:
		return fmt.Sprintf("--- %s %s", f.Event, f.Data)
	case string(f.Data) == "ping":
		return ""
	case raw || err != nil || ev.EventType == "":
		return string(f.Data)
	}
	var d struct {
		EntityID string                  `json:"entity_id"`
		Old      *struct{ State string } `json:"old_state"`
		New      *struct{ State string } `json:"new_state"`
	}
	if json.Unmarshal(ev.Data, &d) != nil || ev.EventType != "state_changed" {
		return tailColumns(ev, d.EntityID, string(ev.Data))
	}
	return tailColumns(ev, d.EntityID, stateChange(d.Old, d.New))
}

func tailColumns(ev tailEvent, entity, text string) string {
	when := "--:--:--.---"
	if !ev.TimeFired.IsZero() {
		when = ev.TimeFired.Local().Format("15:04:05.000")
	}
	return strings.TrimRight(fmt.Sprintf("%s  %-16s  %-28s  %s", when, ev.EventType, entity, text), " ")
}

// stateChange says what became of an entity's state.
func stateChange(old, new *struct{ State string }) string {
	switch {
	case new == nil:
		return "(removed)"
	case old == nil:
		return new.State + "  (new)"
	case old.State == new.State:
		return new.State + "  (attributes)"
	}
	return new.State + "  (was " + old.State + ")"
}
