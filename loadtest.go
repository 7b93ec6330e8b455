package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"syscall"
	"time"

	"carillon/internal/loadtest"
)

const loadtestUsage = `Usage: carillon loadtest [flags] [URL]

Opens many event streams, publishes events, and checks that every stream gets
each of them once and in order, and how long that takes. Without a URL it
starts a server of its own with a temporary home. The exit status is 1 if
anything was lost, repeated, disordered or altered.

With -filters it asks for as many different filters, and each stream must get
what its own takes, and nothing else.

With -chaos it also closes connections within frames, lets readers stall, and
restarts its server with SIGKILL and SIGTERM. What a gap or reset frame
announces is counted, and is no loss.

Examples:
  carillon loadtest -streams 10000 -rate 50 -duration 30s -html report.html
  carillon loadtest -streams 10000 -filters 1000 -rate 200
  carillon loadtest -chaos -duration 60s
  carillon loadtest -chaos -selection restrict=loadtest -selection 'type=load*' -selection ''
  carillon loadtest -streams 10000 -stalled 1000 -duration 40s
  carillon loadtest -token T -streams 500 http://127.0.0.1:8123
  carillon loadtest -listen-only 'http://127.0.0.1:3000/.well-known/mercure?topic=x'

Flags:
`

// loadtestFlags is the command line of loadtest.
type loadtestFlags struct {
	o                  loadtest.Options
	path, json, html   string
	reconnect          bool
	disturb            bool
	chaos              loadtest.Chaos
	url                *url.URL // nil for a server of our own
	command            string   // for the report, without credentials
	stdout, stderr     io.Writer
	stderrIsATerminal  bool
	progressLineActive bool
}

// runLoadtest is the command loadtest. It returns the exit status: 0 if all
// is well, 1 if the test found faults or could not be made, 2 for a wrong
// command line.
func runLoadtest(args []string, stdout, stderr io.Writer) int {
	c := &loadtestFlags{stdout: stdout, stderr: stderr, stderrIsATerminal: isTerminal(stderr)}
	if err := c.parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		fmt.Fprintf(stderr, "carillon loadtest: %v\n", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := c.run(ctx)
	c.endProgress()
	if r != nil {
		if err != nil && !errors.Is(err, context.Canceled) {
			r.Problem = err.Error()
		}
		r.Command = c.command
		r.WriteText(stdout)
		if e := c.writeFiles(r); e != nil {
			fmt.Fprintf(stderr, "carillon loadtest: %v\n", e)
			return 1
		}
	}
	if err != nil {
		fmt.Fprintf(stderr, "carillon loadtest: %v\n", err)
	}
	if err != nil || !r.OK() {
		return 1
	}
	return 0
}

// define adds the flags to fs.
func (c *loadtestFlags) define(fs *flag.FlagSet) {
	o := &c.o
	fs.IntVar(&o.Streams, "streams", 1000, "how many `streams` to open")
	fs.Float64Var(&o.Rate, "rate", 50, "`events` to publish a second; 0 only holds the streams; 200 with -chaos")
	fs.IntVar(&o.Size, "size", 200, "`bytes` of data of an event")
	fs.DurationVar(&o.Duration, "duration", 10*time.Second, "how long to publish or listen; 1m with -chaos")
	fs.BoolVar(&o.ListenOnly, "listen-only", false, "publish nothing, check what comes")
	fs.StringVar(&o.Token, "token", "", "`credential` to send; by default CARILLON_TOKEN of the environment")
	fs.Func("header", "further request `header`, Name:value; may be repeated", func(h string) error {
		o.Header = append(o.Header, h)
		return nil
	})
	fs.StringVar(&c.json, "json", "", "write the report as JSON to this `file`")
	fs.StringVar(&c.html, "html", "", "write the report as a page to this `file`")
	fs.IntVar(&o.Ramp, "ramp", 0, "`streams` to open a second; 0 is as fast as possible")
	fs.StringVar(&c.path, "path", "", "stream's `path` if the URL has none (default /api/stream, with restrict=loadtest unless there is a -selection)")
	fs.Func("selection", "a stream's `query`, as type=loadtest&snapshot=0; may be repeated, and streams take them by turns; each must take events of type loadtest", func(q string) error {
		if _, err := url.ParseQuery(q); err != nil {
			return err
		}
		o.Selections = append(o.Selections, q)
		return nil
	})
	fs.IntVar(&o.Filters, "filters", 0, "how many different JavaScript `filters` the streams ask for, by turns; 1 takes all events")
	fs.IntVar(&o.PID, "pid", 0, "the server's `process`, to measure its CPU and memory")
	fs.DurationVar(&o.Drain, "drain", 15*time.Second, "how long to wait for the last events; 1m with -chaos")
	fs.DurationVar(&o.Settle, "settle", 3*time.Second, "how long to let memory settle before it is measured")
	fs.DurationVar(&o.OpenTimeout, "open-timeout", time.Minute, "how long opening the streams may take")
	fs.DurationVar(&o.Tick, "tick", 5*time.Millisecond, "collect events for this long for one request")
	fs.BoolVar(&c.reconnect, "reconnect", true, "open broken streams again, with Last-Event-ID")
	fs.IntVar(&o.Workers, "readers", 0, "`goroutines` that read streams; 0 is one for two processors")
	fs.BoolVar(&o.Portable, "portable", false, "read with a goroutine per stream, as on systems without epoll")
	fs.IntVar(&o.Stalled, "stalled", 0, "how many of the `streams` never read: what they cost the others and the server")
	fs.BoolVar(&c.disturb, "chaos", false, "close connections within frames, stall readers, restart the server")
	fs.Uint64Var(&c.chaos.Seed, "seed", 0, "`number` that chaos makes its choices from; 0 takes any")
	fs.DurationVar(&c.chaos.KillEvery, "kill-every", 5*time.Second, "with -chaos: mean life of a connection; 0 closes none")
	fs.DurationVar(&c.chaos.StallEvery, "stall-every", 10*time.Second, "with -chaos: mean time until a stream's reader stalls; 0 stalls none")
	fs.DurationVar(&c.chaos.StallMax, "stall-max", 20*time.Second, "with -chaos: the longest that a reader stalls")
	fs.DurationVar(&c.chaos.RestartEvery, "restart-every", 0, "with -chaos: mean time between restarts of the server; 0 is an eighth of the duration")
}

// parse reads the command line into c.
func (c *loadtestFlags) parse(args []string) error {
	fs := flag.NewFlagSet("loadtest", flag.ContinueOnError)
	c.define(fs)
	o := &c.o
	words, err := parseFlags(fs, loadtestUsage, args, c.stdout)
	if err != nil {
		return err
	}
	if c.disturb {
		c.defineChaos(fs)
	}
	o.Token = firstOf(o.Token, os.Getenv("CARILLON_TOKEN"))
	o.NoReconnect = !c.reconnect
	c.command = "carillon loadtest " + redact(args)
	if len(words) > 1 {
		return fmt.Errorf("one URL is enough, got %q", words)
	}
	if len(words) == 0 {
		if o.ListenOnly {
			return errors.New("-listen-only needs the URL of a stream")
		}
		return nil
	}
	var token string
	c.url, token, err = serverURL(words[0])
	if token != "" {
		o.Token = token
	}
	return err
}

// defineChaos completes what the command line leaves open with -chaos.
func (c *loadtestFlags) defineChaos(fs *flag.FlagSet) {
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if !given["rate"] {
		c.o.Rate = 200
	}
	if !given["duration"] {
		c.o.Duration = time.Minute
	}
	if !given["drain"] {
		c.o.Drain = time.Minute
	}
	if c.chaos.Seed == 0 {
		c.chaos.Seed = 1 + rand.Uint64N(1e9)
	}
	if c.chaos.RestartEvery == 0 {
		c.chaos.RestartEvery = c.o.Duration / 8
	}
	c.o.Chaos = &c.chaos
}

// chaosConfig makes a server whose memory and journal are so small that
// stalled readers fall back to the journal, and at times behind it.
const chaosConfig = `server: {drain: 1s}
stream: {tape: 256KiB, beat: 1s, retry: 100ms}
journal: {max_bytes: 4MiB}
`

// filtersConfig lets one credential have all the filters.
const filtersConfig = "limits: {filters_per_credential: 0}\n"

// config is the configuration of a server of our own, empty if it may make one.
func (c *loadtestFlags) config() (text string) {
	if c.disturb {
		text += chaosConfig
	}
	if c.o.Filters > 0 {
		text += filtersConfig
	}
	return text
}

// own starts a server of our own.
func (c *loadtestFlags) own(ctx context.Context) (*loadtest.Server, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	s, err := loadtest.StartServer(ctx, loadtest.ServerOptions{Exe: exe, Config: c.config()})
	if err != nil {
		return nil, err
	}
	c.url, c.o.Token, c.o.PID = s.URL, s.Token, s.PID
	if c.disturb {
		c.chaos.Restart = s.Restart
		c.o.PID = 0 // its CPU time and memory begin anew with each restart
	}
	return s, nil
}

// run makes the test, with a server of its own if there is no URL.
func (c *loadtestFlags) run(ctx context.Context) (*loadtest.Report, error) {
	own := c.url == nil
	if own {
		s, err := c.own(ctx)
		if err != nil {
			return nil, err
		}
		defer func() {
			if err := s.Stop(); err != nil {
				fmt.Fprintf(c.stderr, "carillon loadtest: %v\n", err)
			}
		}()
	}
	if c.disturb {
		fmt.Fprintf(c.stderr, "seed %d\n", c.chaos.Seed)
	}
	if err := c.target(); err != nil {
		return nil, err
	}
	c.o.Progress, c.o.Notes = c.progress, c.stderr
	// Readers sit in system calls, which holds up the publisher's timer
	// where there are no more Ps than readers.
	goruntime.GOMAXPROCS(goruntime.GOMAXPROCS(0) + 2)
	r, err := loadtest.Run(ctx, c.o)
	if r != nil {
		r.OwnServer = own
	}
	return r, err
}

// target completes the addresses from the URL.
func (c *loadtestFlags) target() error {
	u := *c.url
	if !c.o.ListenOnly {
		c.o.Post = &url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/api/events"}
	}
	if u.Path == "" || u.Path == "/" {
		path := c.path
		if path == "" {
			path = "/api/stream"
			if !c.o.ListenOnly && !u.Query().Has("restrict") && len(c.o.Selections) == 0 {
				path += "?restrict=" + loadtest.EventType
			}
		}
		p, err := url.Parse(path)
		if err != nil || !strings.HasPrefix(p.Path, "/") {
			return fmt.Errorf("-path %q must begin with /", path)
		}
		u.Path, u.RawPath = p.Path, p.RawPath
		u.RawQuery = strings.Trim(p.RawQuery+"&"+u.RawQuery, "&")
	}
	c.o.Target = &u
	return nil
}

func (c *loadtestFlags) writeFiles(r *loadtest.Report) error {
	for _, f := range []struct {
		name  string
		write func(io.Writer) error
	}{{c.json, r.WriteJSON}, {c.html, r.WriteHTML}} {
		if f.name == "" {
			continue
		}
		file, err := os.Create(filepath.Clean(f.name))
		if err != nil {
			return fmt.Errorf("writing report: %w", err)
		}
		if err := errors.Join(f.write(file), file.Close()); err != nil {
			return fmt.Errorf("writing %s: %w", f.name, err)
		}
	}
	return nil
}

// progress shows how far the test is: in one line that is rewritten on a
// terminal, else in a line of its own.
func (c *loadtestFlags) progress(p loadtest.Progress) {
	text := fmt.Sprintf("%-9s %4.1f s", p.Phase, p.Elapsed.Seconds())
	if p.Total > 0 {
		text += fmt.Sprintf(" of %.0f", p.Total.Seconds())
	}
	text += fmt.Sprintf("  %d/%d streams", p.Open, p.Streams)
	if p.Published > 0 || p.Delivered > 0 {
		text += fmt.Sprintf("  %d published  %d delivered (%.0f/s, %.1f MB/s)", p.Published, p.Delivered, p.DeliveredPerSecond, p.BytesPerSecond/1e6)
	}
	if p.Pending > 0 {
		text += fmt.Sprintf("  %d streams behind", p.Pending)
	}
	if p.Reconnects > 0 {
		text += fmt.Sprintf("  %d reconnects", p.Reconnects)
	}
	if p.Restarts > 0 {
		text += fmt.Sprintf("  %d restarts", p.Restarts)
	}
	if p.Faults > 0 {
		text += fmt.Sprintf("  %d FAULTS", p.Faults)
	}
	if c.stderrIsATerminal {
		fmt.Fprintf(c.stderr, "\r\x1b[K%s", text)
		c.progressLineActive = true
		return
	}
	fmt.Fprintln(c.stderr, text)
}

func (c *loadtestFlags) endProgress() {
	if c.progressLineActive {
		fmt.Fprint(c.stderr, "\r\x1b[K")
	}
}

// isTerminal reports whether w is a terminal, or at least a device like one.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// redact writes a command line without credentials.
func redact(args []string) string {
	var words []string
	secret := false
	for _, a := range args {
		name, _, hasValue := strings.Cut(strings.TrimLeft(a, "-"), "=")
		switch {
		case secret:
			a, secret = "***", false
		case strings.HasPrefix(a, "-") && (name == "token" || name == "header"):
			if secret = !hasValue; hasValue {
				a = "-" + name + "=***"
			}
		case !strings.Contains(a, "://") && (strings.Contains(a, "token=") || strings.Contains(a, "password=")): // in a selection
			a = "***"
		default:
			if u, err := url.Parse(a); err == nil && u.Scheme != "" && u.Host != "" {
				u.User = nil
				if u.RawQuery != "" {
					u.RawQuery = "***"
				}
				a = u.String()
			}
		}
		if strings.ContainsAny(a, " '\"$&;|<>\\") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}
