package adapter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"carillon/plugins/adapter/wire"
)

// A Server is an Adapter as the contract has it. Serve makes one; tests may register one
// with a gRPC server of their own.
type Server struct {
	wire.UnimplementedAdapterServer

	// Static after construction.
	a       Adapter
	started func(*Host)     // called when a session has begun
	ended   func(err error) // called when it is over

	configuring sync.Mutex // held by Configure

	mu sync.Mutex
	// Guarded by mu.
	configured bool
	session    *session
}

// A session is one call of Run.
type session struct {
	h      *Host
	stop   context.CancelCauseFunc // ends Run's context
	closed chan struct{}           // when all is over
	last   uint64                  // the last batch; set before closed is closed
}

// NewServer returns the adapter as a gRPC service.
func NewServer(a Adapter) *Server {
	return &Server{a: a, started: func(*Host) {}, ended: func(error) {}}
}

// Describe says what the adapter is.
func (s *Server) Describe(context.Context, *wire.DescribeRequest) (*wire.Description, error) {
	d := s.a.Describe()
	if err := d.check(); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	_, discovers := s.a.(Discoverer)
	return &wire.Description{
		Name: d.Name, Version: valid(d.Version), Summary: valid(d.Summary), Schema: string(d.Schema),
		Exclusive: d.Exclusive, Reconfigures: d.Reconfigures, Discovers: discovers,
	}, nil
}

func (d *Description) check() error {
	if !adapterName.MatchString(d.Name) {
		return fmt.Errorf("the adapter's name %.100q must be 1 to 64 lower-case letters, digits, - and _", d.Name)
	}
	if len(d.Schema) > 0 && !json.Valid(d.Schema) {
		return errors.New("the schema of the adapter's configuration is no JSON")
	}
	return nil
}

// Configure checks a configuration, and puts it in force.
func (s *Server) Configure(ctx context.Context, r *wire.ConfigureRequest) (*wire.ConfigureResponse, error) {
	config := r.Config
	if config == "" {
		config = "{}"
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(config), &object); err != nil || object == nil {
		return nil, status.Error(codes.InvalidArgument, "the configuration is no JSON object")
	}
	s.configuring.Lock()
	defer s.configuring.Unlock()
	s.mu.Lock()
	running := s.session != nil
	s.mu.Unlock()
	if running && !r.ValidateOnly && !s.a.Describe().Reconfigures {
		return nil, status.Error(codes.FailedPrecondition, "the adapter runs, and can't be configured anew while it does")
	}
	err := s.a.Configure(ctx, Config{JSON: json.RawMessage(config), ValidateOnly: r.ValidateOnly, StateDir: r.StateDir})
	if err == nil {
		s.mu.Lock()
		s.configured = s.configured || !r.ValidateOnly
		s.mu.Unlock()
		return &wire.ConfigureResponse{}, nil
	}
	if ctx.Err() != nil {
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	fields := FieldErrors{{"", err.Error()}}
	errors.As(err, &fields)
	response := &wire.ConfigureResponse{}
	for _, f := range fields {
		response.Errors = append(response.Errors, &wire.FieldError{Field: valid(f.Field), Message: valid(f.Message)})
	}
	return response, nil
}

// Discover looks for devices.
func (s *Server) Discover(r *wire.DiscoverRequest, stream wire.Adapter_DiscoverServer) error {
	d, ok := s.a.(Discoverer)
	if !ok {
		return status.Error(codes.Unimplemented, "the adapter can't look for devices")
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	if r.TimeoutMs > 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.TimeoutMs)*time.Millisecond)
		defer cancel()
	}
	var mu sync.Mutex // a stream has one sender
	err := d.Discover(ctx, func(f Discovered) {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() == nil && stream.Send(&wire.Discovered{Id: valid(f.ID), Title: valid(f.Title), Config: valid(string(f.Config))}) != nil {
			cancel()
		}
	})
	if err != nil && ctx.Err() == nil {
		return status.Error(codes.Aborted, valid(err.Error()))
	}
	return nil // the time was up, or it has looked everywhere
}

// Health tells how the adapter is doing.
func (s *Server) Health(context.Context, *wire.HealthRequest) (*wire.HealthResponse, error) {
	s.mu.Lock()
	configured := s.configured
	s.mu.Unlock()
	if !configured {
		return &wire.HealthResponse{Detail: "it is not configured"}, nil
	}
	healther, ok := s.a.(Healther)
	if !ok {
		return &wire.HealthResponse{Ready: true}, nil
	}
	ready, detail := healther.Health()
	return &wire.HealthResponse{Ready: ready, Detail: valid(detail)}, nil
}

// maxGoodbye is how long an adapter that ended by itself waits for the journal to store
// what it published.
const maxGoodbye = 5 * time.Second

// Session runs the adapter.
func (s *Server) Session(stream wire.Adapter_SessionServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	welcome := first.GetWelcome()
	if welcome == nil {
		return status.Error(codes.InvalidArgument, "a session begins with a Welcome")
	}
	ctx, stop := context.WithCancelCause(stream.Context())
	defer stop(nil)
	me := &session{h: newHost(stream, welcome), stop: stop, closed: make(chan struct{})}
	if err := s.open(me); err != nil {
		return err
	}
	go me.h.send()
	go me.h.receive()
	go func() {
		<-me.h.over
		stop(ErrHostGone)
	}()
	s.started(me.h)
	err = s.run(ctx, me)
	s.ended(err)
	return err
}

// open makes me the session, the only one that the server will have.
func (s *Server) open(me *session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.configured:
		return status.Error(codes.FailedPrecondition, "the adapter is not configured")
	case s.session != nil:
		return status.Error(codes.FailedPrecondition, "the adapter has its session already, and there is one in its life")
	}
	s.session = me
	return nil
}

// run runs the adapter and sees its last words off.
func (s *Server) run(ctx context.Context, me *session) error {
	h := me.h
	err := s.a.Run(ctx, h)
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, ErrDraining)) {
		err = nil
	}
	settling := h.stream.Context()
	if !errors.Is(context.Cause(ctx), ErrDraining) {
		var cancel context.CancelFunc
		settling, cancel = context.WithTimeout(settling, maxGoodbye)
		defer cancel()
	}
	lost := h.commands.drain(settling)
	if lost == nil {
		lost = h.settle(settling)
	}
	h.end(ErrHostGone)
	h.mu.Lock()
	me.last = h.lastBatch
	h.mu.Unlock()
	close(me.closed)
	switch {
	case err != nil:
		return status.Error(codes.Aborted, valid(err.Error()))
	case lost != nil:
		return status.Error(codes.Unavailable, lost.Error())
	}
	return nil
}

// Drain ends the session in order: no more commands, then those under way, then the
// adapter, then all that it published.
func (s *Server) Drain(ctx context.Context, _ *wire.DrainRequest) (*wire.DrainResponse, error) {
	s.mu.Lock()
	me := s.session
	s.mu.Unlock()
	if me == nil {
		return &wire.DrainResponse{}, nil
	}
	if err := me.h.commands.drain(ctx); err != nil && ctx.Err() != nil {
		me.stop(ErrDraining)
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	me.stop(ErrDraining)
	select {
	case <-me.closed:
		return &wire.DrainResponse{LastBatch: me.last}, nil
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}
