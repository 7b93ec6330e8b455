package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"carillon/httpd"
	"carillon/httpd/broadcast"
	"carillon/internal/config"
	"carillon/plugins"
	"carillon/runtime"
	"carillon/runtime/journal"
	"carillon/scripts"
	"carillon/scripts/filter/worker"
)

const serveUsage = `Usage: carillon serve [-home DIR] [-listen ADDR]

Runs a home until SIGINT or SIGTERM. SIGHUP looks at all files again.
CARILLON_TOKEN sets the administrator's token.

Example:
  carillon serve -home ./home -listen 127.0.0.1:8123

Flags:
`

// runServe is the command serve. It returns the exit status: 0, 1 if the home could not be
// run, 2 for a wrong command line.
func runServe(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	home := flags.String("home", "./home", "the home's `folder`; it is made if it is missing")
	listen := flags.String("listen", "", "the `address` to listen on; default is the configuration's server.listen, 127.0.0.1:8123")
	words, err := parseFlags(flags, serveUsage, args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil && len(words) > 0 {
		err = fmt.Errorf("%q is one word too many; the home is given by -home", words[0])
	}
	if err != nil {
		fmt.Fprintln(stderr, "carillon serve:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serveHome(ctx, *home, *listen, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "carillon serve:", err)
		return 1
	}
	return 0
}

// A served home is everything that runs for it.
type served struct {
	// Static after open.
	dir      string
	listen   string // the flag; empty when the configuration decides
	log      *logs
	journal  *journal.Journal
	runtime  *runtime.Runtime
	scripts  *scripts.Host
	plugins  *plugins.Host
	filters  *filters
	http     *httpd.Server
	listener net.Listener
	token    string
	made     bool // the home was made by this start

	config reloader
}

// serveHome runs a home until ctx ends.
func serveHome(ctx context.Context, dir, listen string, stdout, stderr io.Writer) error {
	raiseDescriptorLimit()
	setGC()
	h, err := open(ctx, dir, listen, stderr)
	if err != nil {
		return err
	}
	h.announce(stdout)
	failed := h.run(ctx)
	return errors.Join(failed, h.close())
}

// open opens the parts in the order of the walk: journal, runtime, scripts and
// adapters, HTTP. What is open is closed again when a later one fails.
func open(ctx context.Context, dir, listen string, stderr io.Writer) (*served, error) {
	made, err := makeHome(dir)
	if err != nil {
		return nil, err
	}
	c, err := readConfig(dir)
	if err != nil {
		return nil, err
	}
	h := &served{dir: dir, listen: listen, made: made, log: newLogs(stderr, c.Log)}
	h.config.current.Store(c)
	if h.listener, err = h.bind(c); err != nil {
		return nil, err
	}
	if err := h.openEngine(ctx, c); err != nil {
		return nil, errors.Join(err, h.close())
	}
	if err := h.openFront(c); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

// openEngine opens journal and runtime, and reads the token that lies beside
// them.
func (h *served) openEngine(ctx context.Context, c *config.Config) (err error) {
	data := filepath.Join(h.dir, "data")
	h.journal, err = journal.Open(ctx, journal.Options{
		Dir: data, MaxAge: c.Journal.MaxAge, MaxBytes: c.Journal.MaxBytes, Log: h.log.Logger,
	})
	if err != nil {
		return fmt.Errorf("opening the journal: %w", err)
	}
	if h.token, err = adminToken(data); err != nil {
		return err
	}
	h.runtime, err = runtime.Open(ctx, h.journal, runtime.Options{Log: h.log.Logger, Grace: c.Scripts.Grace})
	return err
}

// openFront makes the hosts of scripts and adapters, the filters and the HTTP server;
// they begin in run.
func (h *served) openFront(c *config.Config) error {
	if err := h.makePlugins(); err != nil {
		return err
	}
	h.scripts = &scripts.Host{
		Dir: filepath.Join(h.dir, "scripts"), Runtime: h.runtime, Log: h.log.Logger, Others: h.plugins.Ready(),
	}
	h.filters = newFilters(filepath.Join(h.dir, "filters"), worker.Options{
		Command: filterWorkerArgv, Memory: c.Filters.Worker.Memory, Deadline: c.Filters.Worker.Deadline, Log: h.log.Logger,
	})
	h.http = &httpd.Server{
		Runtime: h.runtime,
		Epoch:   h.journal.Epoch(),
		Replay:  h.journal.Read,
		First:   func() uint64 { first, _ := h.journal.Bounds(); return first },
		SeqAt:   h.journal.SeqAt,
		Broadcast: broadcast.Config{
			TapeBytes: int(c.Stream.Tape), SendBuffer: int(c.Stream.SendBuffer), BeatEvery: c.Stream.Beat,
			Filters: h.filters,
		},
		CompileFilter: h.filters.compile,
		ReleaseFilter: h.filters.release,
		NextFilter:    h.filters.named.next,
		ListFilters:   h.filters.named.list,
		ExplainFilter: func(ctx context.Context, spec httpd.FilterSpec, events []*runtime.Event) (any, error) {
			return h.filters.explain(ctx, h.journal.Epoch(), spec, events)
		},
		Metrics:       h.filters.writeMetrics,
		Token:         func() string { return h.token },
		WWW:           filepath.Join(h.dir, "www"),
		Version:       versionName(),
		Scripts:       func() any { return h.scripts.Status() },
		Plugins:       func() any { return h.plugins.List() },
		Plugin:        h.pluginStatus,
		PluginActions: h.pluginActions(),
		ErrorLog:      h.log.kept.Text,
		CheckConfig:   h.checkConfig,
		Ready:         h.ready,
		Log:           h.log.Logger,
		HeaderTimeout: c.Server.HeaderTimeout,
	}
	h.http.DiscoverPlugin = h.discoverPlugin
	h.filters.named.tell, h.filters.named.changed = h.tell, h.http.FollowFilters
	return h.apply(c)
}

// ready says what the home is still waiting for, or can't do.
func (h *served) ready() error {
	if err := h.journal.Err(); err != nil {
		return err
	}
	select {
	case <-h.scripts.Ready():
	default:
		return errors.New("the scripts are being loaded")
	}
	select {
	case <-h.plugins.Ready():
		return nil
	default:
		return errors.New("the adapters are being started")
	}
}

// bind listens on the address of the flag or of the configuration.
func (h *served) bind(c *config.Config) (net.Listener, error) {
	address := cmp.Or(h.listen, c.Server.Listen)
	ln, err := listenConfig.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w (another address: -listen 127.0.0.1:8124)", address, err)
	}
	if c.Server.TLS.Cert == "" {
		return ln, nil
	}
	pair, err := tls.LoadX509KeyPair(h.path(c.Server.TLS.Cert), h.path(c.Server.TLS.Key))
	if err != nil {
		ln.Close()
		return nil, fmt.Errorf("loading server.tls of %s: %w", configFile, err)
	}
	return tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}), nil
}

// path resolves a path of the configuration.
func (h *served) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(h.dir, name)
}

// announce prints where the home is, with the token that opens it.
func (h *served) announce(stdout io.Writer) {
	c := h.config.current.Load()
	scheme := "http"
	if c.Server.TLS.Cert != "" {
		scheme = "https"
	}
	address := h.listener.Addr().String()
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && ip.IsUnspecified() {
		address = net.JoinHostPort("127.0.0.1", port)
		h.log.Warn("listening on every address of this machine: whoever reaches it needs the token", "address", h.listener.Addr())
	}
	site, token := scheme+"://"+address, url.QueryEscape(h.token)
	if h.made {
		fmt.Fprintf(stdout, "Made a new home in %s: its scripts are in %s\n", h.dir, filepath.Join(h.dir, "scripts"))
	}
	fmt.Fprintf(stdout, "Carillon is at %s/?token=%s\n", site, token)
	fmt.Fprintf(stdout, "Live stream:  curl -N %s'%s/api/stream?token=%s'\n", strings.Repeat("-k ", len(scheme)-4), site, token)
}

// run serves until ctx ends or a part fails.
func (h *served) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type end struct {
		part string
		err  error
	}
	ended, running := make(chan end, 8), 0 // more than there are parts
	begin := func(part string, run func() error) {
		running++
		go func() { ended <- end{part, run()} }()
	}
	begin("scripts", func() error { return h.scripts.Run(ctx) })
	begin("adapters", func() error { return h.plugins.Run(ctx) })
	begin("configuration", func() error { return h.watchConfig(ctx) })
	begin("filters", func() error { return h.filters.named.run(ctx) })
	select { // a stream must not be refused for good since its filter is not there yet
	case <-h.filters.named.ready:
	case <-ctx.Done():
	}
	begin("http", func() error { return h.http.Serve(h.listener) })
	stopHangup := h.onHangup()
	defer stopHangup()

	var failed error
	select {
	case <-ctx.Done():
	case e := <-ended:
		running--
		if ctx.Err() == nil { // else it ended as it was told to
			failed = fmt.Errorf("%s ended: %w", e.part, cmp.Or(e.err, errors.New("nobody asked it to")))
		}
	}
	drain := h.config.current.Load().Server.Drain
	shut, done := context.WithTimeout(context.WithoutCancel(ctx), drain+3*time.Second)
	defer done()
	h.log.Info("stopping", "drain", drain)
	if err := h.http.Shutdown(shut); err != nil {
		h.log.Warn("streams were cut off", "err", err)
	}
	cancel()
	for ; running > 0; running-- {
		<-ended
	}
	return failed
}

// onHangup looks at all files again on SIGHUP, where there is such a signal.
func (h *served) onHangup() (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	finished := make(chan struct{})
	go func() {
		for {
			select {
			case <-hangups:
				h.scripts.Rescan()
				h.plugins.Rescan()
				h.filters.named.folder.Rescan()
				h.config.folder.Rescan()
			case <-finished:
				return
			}
		}
	}()
	return func() { signal.Stop(hangups); close(finished) }
}

// close closes what is open, the journal last.
func (h *served) close() error {
	var errs []error
	if h.listener != nil {
		h.listener.Close()
	}
	if h.filters != nil {
		h.filters.close()
	}
	if h.runtime != nil {
		errs = append(errs, h.runtime.Close())
	}
	if h.journal != nil {
		errs = append(errs, h.journal.Close())
	}
	return errors.Join(errs...)
}
