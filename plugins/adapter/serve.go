package adapter

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"

	"carillon/plugins/adapter/wire"
)

// Handshake is how a host and an adapter know each other. The version is that of
// the contract.
var Handshake = plugin.HandshakeConfig{
	ProtocolVersion:  1,
	MagicCookieKey:   "CARILLON_ADAPTER",
	MagicCookieValue: "8f1c4f52b7d94f0e9a63d0c5a1b2e37f",
}

// PluginName is the name of the one plugin of an adapter.
const PluginName = "adapter"

// A Plugin is an adapter as go-plugin has it. The host uses its zero value: what
// it dispenses is a wire.AdapterClient.
type Plugin struct {
	plugin.NetRPCUnsupportedPlugin
	Adapter wire.AdapterServer
}

// GRPCServer registers the adapter's service.
func (p *Plugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	wire.RegisterAdapterServer(s, p.Adapter)
	return nil
}

// GRPCClient returns the adapter's client.
func (p *Plugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return wire.NewAdapterClient(c), nil
}

// The process ends with its host: an adapter that nobody listens to has no right
// to the hardware.
const (
	maxLetGo   = 500 * time.Millisecond // from the end of the connection to that of the process
	maxLinger  = 2 * time.Second        // from the end of the session
	maxOrphan  = time.Minute            // from the start to the first connection
	maxSIGTERM = 10 * time.Second       // for a drain that was asked for by a signal
)

// Serve serves the adapter to the host that started the process, and doesn't return:
// the process ends when the session has, with status 1 if Run failed, or when the host
// is gone. Called by a person's hand, it says what the program is. SIGTERM drains.
// Log lines of packages slog and log go where Host.Log's go.
func Serve(a Adapter) {
	d := a.Describe()
	if err := d.check(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if os.Getenv(Handshake.MagicCookieKey) != Handshake.MagicCookieValue {
		explain(os.Stderr, d)
		os.Exit(1)
	}
	l := &life{server: NewServer(a), over: make(chan struct{})}
	l.server.started = func(h *Host) { slog.SetDefault(h.Log()) }
	l.server.ended = l.sessionEnded
	go l.obeySIGTERM()
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: Handshake,
		Plugins:         plugin.PluginSet{PluginName: &Plugin{Adapter: l.server}},
		GRPCServer:      l.newGRPC,
		Logger:          hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr}),
	})
	l.leave()
}

// explain tells a person who started an adapter what to do with it.
func explain(w io.Writer, d Description) {
	fmt.Fprintf(w, "%s", d.Name)
	if d.Version != "" {
		fmt.Fprintf(w, " %s", d.Version)
	}
	if d.Summary != "" {
		fmt.Fprintf(w, ": %s", d.Summary)
	}
	fmt.Fprintf(w, "\n\nThis is an adapter for Carillon, which starts it by itself: put it into the folder\nplugins/ of your home folder, and look at \"carillon plugins\".\n")
	if len(d.Schema) > 0 {
		fmt.Fprintf(w, "\nIts configuration is an object of this schema:\n%s\n", d.Schema)
	}
}

// A life is that of an adapter's process.
type life struct {
	// Static after construction.
	server *Server
	over   chan struct{} // closed when the session is

	grpc        atomic.Pointer[grpc.Server]
	connections atomic.Int32
	failed      atomic.Bool
}

func (l *life) newGRPC(options []grpc.ServerOption) *grpc.Server {
	s := grpc.NewServer(append(options, grpc.StatsHandler(l))...)
	l.grpc.Store(s)
	time.AfterFunc(maxOrphan, func() {
		if l.connections.Load() == 0 {
			s.Stop()
		}
	})
	return s
}

// HandleConn counts the connections, and ends the process with the last.
func (l *life) HandleConn(_ context.Context, s stats.ConnStats) {
	switch s.(type) {
	case *stats.ConnBegin:
		l.connections.Add(1)
	case *stats.ConnEnd:
		if l.connections.Add(-1) == 0 {
			go l.grpc.Load().Stop()
		}
	}
}

// TagConn, TagRPC and HandleRPC complete a stats.Handler.
func (l *life) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// TagRPC does nothing.
func (l *life) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC does nothing.
func (l *life) HandleRPC(context.Context, stats.RPCStats) {}

// sessionEnded ends the process soon, if the host doesn't do so before.
func (l *life) sessionEnded(err error) {
	l.failed.Store(err != nil)
	close(l.over)
	time.AfterFunc(maxLinger, l.grpc.Load().Stop)
}

// obeySIGTERM drains: whoever stops a service often stops all of its processes, and
// the host may be gone any moment.
func (l *life) obeySIGTERM() {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	<-terminated
	ctx, cancel := context.WithTimeout(context.Background(), maxSIGTERM)
	defer cancel()
	r, err := l.server.Drain(ctx, &wire.DrainRequest{})
	if s := l.grpc.Load(); s != nil && (err != nil || r.LastBatch == 0) {
		s.Stop() // else sessionEnded does, when the host has heard of the end
	}
}

// leave ends the process when the adapter has let go of its hardware.
func (l *life) leave() {
	l.server.mu.Lock()
	running := l.server.session != nil
	l.server.mu.Unlock()
	if running {
		select {
		case <-l.over:
		case <-time.After(maxLetGo):
		}
	}
	if l.failed.Load() {
		os.Exit(1)
	}
	os.Exit(0)
}
