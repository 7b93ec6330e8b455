package httpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"

	"carillon/httpd/broadcast"
	"carillon/runtime"
)

const (
	// maxHeader bounds the request line and header fields together, in bytes:
	// room for a stream's long filter in the address.
	maxHeader = 16 << 10
	// maxConnections bounds the connections that are being read or answered.
	// Streams don't count: the hub owns those.
	maxConnections = 16384
	// requestTime bounds what a request waits for: the journal, a command.
	requestTime = 30 * time.Second
)

// A Server answers a home's HTTP requests. Its fields are set before Serve and
// not changed afterwards; those not marked as required may be left empty.
type Server struct {
	// Runtime is what the requests act upon. Required.
	Runtime *runtime.Runtime
	// Epoch is the journal's identity, the first part of every event id. Required.
	Epoch string
	// Replay reads the journal from behind a sequence to its present head, in
	// order, until fn returns false. Required.
	Replay func(ctx context.Context, after uint64, fn func(*runtime.Event) bool) error
	// First returns the first sequence that the journal still holds. Required.
	First func() uint64
	// SeqAt returns the sequence before the first event at or after a time.
	SeqAt func(ctx context.Context, at time.Time) (after uint64, err error)
	// Broadcast is how the hub is made: sizes and intervals. Serve fills in
	// Epoch, Formats, Head, Replay, First, Retry, and Log if it is empty.
	Broadcast broadcast.Config

	// Token returns the administrator's token. Empty: only JWTs are valid.
	Token func() string
	// WWW is the folder that is served at /local/; it need not exist.
	WWW string
	// Name is the home's name in /api/config. Default: "Home".
	Name string
	// Version is Carillon's version.
	Version string

	// Scripts returns what GET /api/scripts lists, for encoding/json.
	Scripts func() any
	// Plugins returns what GET /api/plugins lists, for encoding/json.
	Plugins func() any
	// Plugin returns what GET /api/plugins/<name> tells, for encoding/json; nil if there
	// is no such adapter.
	Plugin func(name string) any
	// PluginActions are what POST /api/plugins/<name>/<action> begins, by action,
	// without waiting for its end. The error may be a *PluginError.
	PluginActions map[string]func(name string) error
	// DiscoverPlugin is POST /api/plugins/<name>/discover: it lets an adapter look for
	// devices for as long as is given, and returns what it found, for encoding/json. Its
	// error may be a *PluginError. None: there is no such path.
	DiscoverPlugin func(ctx context.Context, name string, limit time.Duration) (any, error)
	// CompileFilter returns the filter that a client asks for: the same one for
	// filters that are the same. What is wrong with it is a *FilterError, and what
	// is only for now wraps ErrFilterBusy. Each call
	// is followed by one of ReleaseFilter; a filter that streams have is kept
	// by Broadcast.Filters. None: streams can't have filters.
	CompileFilter func(ctx context.Context, spec FilterSpec) (broadcast.Filter, error)
	// ReleaseFilter gives a filter of CompileFilter or NextFilter back.
	ReleaseFilter func(f broadcast.Filter)
	// NextFilter returns the filter that is to take the place of f, which a stream
	// has, and a comment for its reader, of one line; nil if f is the present one.
	// Whenever its answers change, FollowFilters is to be called. An error is
	// tried again.
	NextFilter func(ctx context.Context, f broadcast.Filter) (next broadcast.Filter, comment string, err error)
	// ListFilters returns what GET /api/filters lists, for encoding/json, given the
	// number of streams of each filter.
	ListFilters func(streams map[broadcast.Filter]int) any
	// ExplainFilter returns what POST /api/filters/explain tells of a filter and
	// what it says of events, for encoding/json. What is wrong with it is a
	// *FilterError.
	ExplainFilter func(ctx context.Context, spec FilterSpec, events []*runtime.Event) (any, error)

	// ErrorLog returns the text of GET /api/error_log.
	ErrorLog func() []byte
	// CheckConfig returns what is wrong with the configuration on disk.
	CheckConfig func() error
	// Ready returns why the home isn't ready yet, for GET /readyz.
	Ready func() error
	// Metrics writes more metrics in Prometheus' text format.
	Metrics func(w io.Writer)

	// Log takes one line per fact. Default: slog.Default().
	Log *slog.Logger
	// Now is the clock of credentials and lockouts. Default: time.Now.
	Now func() time.Time
	// HeaderTimeout is how long a request's header may take. Default: 10 s.
	HeaderTimeout time.Duration
	// IdleTimeout is how long a connection may wait for its next request.
	// Default: 75 s.
	IdleTimeout time.Duration

	// Static after start.
	startOnce sync.Once
	startErr  error
	hub       *broadcast.Hub
	unfollow  func()
	http      *fasthttp.Server
	local     fasthttp.RequestHandler
	formats   []format
	routes    routeTable
	metrics   *metrics.Set
	log       *slog.Logger
	startedAt time.Time

	live      atomic.Pointer[Settings]
	running   atomic.Pointer[broadcast.Hub] // the hub, for SetSettings
	stopping  atomic.Bool
	locks     lockouts
	openings  slots         // of snapshots that are being written
	readings  slots         // of polls that read the journal
	stopped   chan struct{} // closed by Shutdown
	places    places
	recent    recent
	rate      rate
	tenants   tenants
	changing  turns
	looksOnce sync.Once
	outdated  chan struct{} // asks for a look at all streams' filters; depth 1: a request waits for the look under way
	leaving   sync.Map      // ids of the streams with leave=1
	hijacked  atomic.Int32  // connections on their way to the hub, or with a refusal

	complaint struct {
		mu sync.Mutex
		// Guarded by mu.
		last time.Time
	}
}

// SetSettings replaces the settings, for every request that comes from now on.
// It may be called before Serve and at any time.
func (s *Server) SetSettings(settings Settings) {
	s.live.Store(settings.withDefaults())
	if hub := s.running.Load(); hub != nil {
		hub.SetRetry(s.settings().Retry)
	}
}

func (s *Server) settings() *Settings {
	if live := s.live.Load(); live != nil {
		return live
	}
	s.live.CompareAndSwap(nil, Settings{}.withDefaults())
	return s.live.Load()
}

func (s *Server) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// Serve answers the connections of ln, which may be a TLS listener, until
// Shutdown or until ln fails. It can be called for several listeners at once.
func (s *Server) Serve(ln net.Listener) error {
	s.startOnce.Do(func() { s.startErr = s.start() })
	if s.startErr != nil {
		return s.startErr
	}
	if err := s.http.Serve(s.newGate(ln)); err != nil {
		return fmt.Errorf("serving %s: %w", ln.Addr(), err)
	}
	return nil
}

// start makes the hub and joins it to the journal's tail.
func (s *Server) start() error {
	s.log = s.Log
	if s.log == nil {
		s.log = slog.Default()
	}
	s.startedAt = s.now()
	s.openings = newSlots(maxOpenings)
	s.readings = newSlots(maxReadings)
	s.stopped = make(chan struct{})
	s.metrics = s.newMetrics()
	s.local = s.newLocal()
	s.routes = newRoutes()
	s.formats = newFormats(s.Epoch)
	setDefault(&s.HeaderTimeout, 10*time.Second)
	setDefault(&s.IdleTimeout, 75*time.Second)
	if err := s.startHub(); err != nil {
		return fmt.Errorf("starting the streams: %w", err)
	}
	s.http = &fasthttp.Server{
		Handler:               s.handle,
		ErrorHandler:          s.brokenRequest,
		HeaderReceived:        s.headerReceived,
		ExpectHandler:         s.expect,
		Logger:                quietLogger{s.log},
		NoDefaultServerHeader: true,
		// With less memory in use a hijacked connection leaves no buffer behind.
		ReduceMemoryUsage:            true,
		ReadBufferSize:               maxHeader,
		Concurrency:                  maxConnections,
		ReadTimeout:                  s.HeaderTimeout,
		WriteTimeout:                 time.Minute,
		IdleTimeout:                  s.IdleTimeout,
		MaxIdleWorkerDuration:        2 * time.Second, // a burst of streams leaves as many workers
		KeepHijackedConns:            true,
		CloseOnShutdown:              true,
		DisablePreParseMultipartForm: true,
		SecureErrorLogMessage:        true,
	}
	return nil
}

// startHub makes the hub and hands it what the journal's tail brings. The first
// batch may come before the hub is there, so it waits for the channel; that is
// as long as New takes.
func (s *Server) startHub() error {
	ready := make(chan struct{})
	var hub *broadcast.Hub
	after, cancel := s.Runtime.Follow(func(batch []*runtime.Event) {
		<-ready
		s.recent.add(batch)
		if hub != nil {
			hub.Publish(wrapEvents(batch))
		}
	})
	defer close(ready)
	s.recent.begin(after)
	config := s.Broadcast
	config.Epoch, config.Formats, config.Head = s.Epoch, broadcastFormats(s.formats), after
	config.First = s.First
	config.Replay = func(ctx context.Context, after uint64, fn func(*broadcast.Event) bool) error {
		return s.Replay(ctx, after, func(e *runtime.Event) bool { return fn(wrapEvent(e)) })
	}
	if config.Log == nil {
		config.Log = s.log
	}
	made, err := broadcast.New(config)
	if err != nil {
		cancel()
		return err
	}
	hub, s.hub, s.unfollow = made, made, cancel
	s.running.Store(made)
	made.SetRetry(s.settings().Retry) // they may just have changed
	go s.followFilters()
	return nil
}

// Shutdown ends all streams on a frame boundary, spread over the settings' Drain,
// refuses other requests with 503 meanwhile, and then closes the listeners and
// connections. It returns ctx's error when that ends first.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopping.Store(true)
	s.startOnce.Do(func() { s.startErr = errors.New("the server was shut down before it began") })
	if s.http == nil {
		return nil
	}
	close(s.stopped)
	var err error
	if drain := s.settings().Drain; drain > 0 && s.hub.Stats().Streams > 0 {
		err = s.hub.Drain(ctx, drain)
	}
	s.unfollow()
	err = errors.Join(err, s.hub.Close(ctx))
	if closing := s.http.ShutdownWithContext(ctx); closing != nil {
		err = errors.Join(err, fmt.Errorf("closing connections: %w", closing))
	}
	return err
}

// headerReceived bounds the body by the settings of this moment.
func (s *Server) headerReceived(*fasthttp.RequestHeader) fasthttp.RequestConfig {
	settings := s.settings()
	return fasthttp.RequestConfig{MaxRequestBodySize: settings.MaxBody, ReadTimeout: settings.BodyTimeout}
}

// expect refuses a body that is announced as too large before it is sent.
func (s *Server) expect(ctx *fasthttp.RequestCtx) int {
	if ctx.Request.Header.ContentLength() <= s.settings().MaxBody {
		return fasthttp.StatusContinue
	}
	s.refused("body_too_large")
	drain(ctx.Conn()) // of a client that did not wait
	writeError(ctx, s.bodyTooLarge())
	return fasthttp.StatusRequestEntityTooLarge
}

// quietLogger takes fasthttp's own messages without what they quote: that may
// be a piece of a request, with its credential.
type quietLogger struct{ log *slog.Logger }

func (l quietLogger) Printf(format string, _ ...any) { l.log.Debug("fasthttp", "msg", format) }
