package runtimetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"carillon/plugins/adapter"
	"carillon/plugins/adapter/wire"
)

// A saboteur is an adapter that breaks a rule.
type saboteur struct {
	wire.AdapterServer
	send     func(m *wire.FromAdapter) []*wire.FromAdapter // what is sent in its place; nil: m
	describe func(d *wire.Description)
	health   func(context.Context)
	config   func(r *wire.ConfigureResponse) error
	drain    func(ctx context.Context, s wire.AdapterServer) (*wire.DrainResponse, error)
	session  func(stream wire.Adapter_SessionServer, s wire.AdapterServer) error
	discover func(stream wire.Adapter_DiscoverServer) error
}

func (s *saboteur) Describe(ctx context.Context, r *wire.DescribeRequest) (*wire.Description, error) {
	d, err := s.AdapterServer.Describe(ctx, r)
	if s.describe != nil {
		s.describe(d)
	}
	return d, err
}

func (s *saboteur) Health(ctx context.Context, r *wire.HealthRequest) (*wire.HealthResponse, error) {
	if s.health != nil {
		s.health(ctx)
		return nil, ctx.Err()
	}
	return s.AdapterServer.Health(ctx, r)
}

func (s *saboteur) Configure(ctx context.Context, r *wire.ConfigureRequest) (*wire.ConfigureResponse, error) {
	a, err := s.AdapterServer.Configure(ctx, r)
	if s.config != nil && err == nil {
		err = s.config(a)
	}
	return a, err
}

func (s *saboteur) Drain(ctx context.Context, r *wire.DrainRequest) (*wire.DrainResponse, error) {
	if s.drain != nil {
		return s.drain(ctx, s.AdapterServer)
	}
	return s.AdapterServer.Drain(ctx, r)
}

func (s *saboteur) Discover(r *wire.DiscoverRequest, stream wire.Adapter_DiscoverServer) error {
	if s.discover != nil {
		return s.discover(stream)
	}
	return s.AdapterServer.Discover(r, stream)
}

func (s *saboteur) Session(stream wire.Adapter_SessionServer) error {
	if s.send != nil {
		stream = &mangled{Adapter_SessionServer: stream, send: s.send}
	}
	if s.session != nil {
		return s.session(stream, s.AdapterServer)
	}
	return s.AdapterServer.Session(stream)
}

type mangled struct {
	wire.Adapter_SessionServer
	mu   sync.Mutex
	send func(m *wire.FromAdapter) []*wire.FromAdapter
}

func (s *mangled) Send(m *wire.FromAdapter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.send(m) {
		if err := s.Adapter_SessionServer.Send(m); err != nil {
			return err
		}
	}
	return nil
}

// eachState mangles states.
func eachState(f func(*wire.Item, *wire.State)) func(*wire.FromAdapter) []*wire.FromAdapter {
	return func(m *wire.FromAdapter) []*wire.FromAdapter {
		for _, item := range m.GetBatch().GetItems() {
			if st := item.GetState(); st != nil {
				f(item, st)
			}
		}
		return []*wire.FromAdapter{m}
	}
}

// eachBatch mangles batches.
func eachBatch(f func(*wire.Batch)) func(*wire.FromAdapter) []*wire.FromAdapter {
	return func(m *wire.FromAdapter) []*wire.FromAdapter {
		if b := m.GetBatch(); b != nil {
			f(b)
		}
		return []*wire.FromAdapter{m}
	}
}

// eachResult mangles results.
func eachResult(f func(m *wire.FromAdapter) []*wire.FromAdapter) func(*wire.FromAdapter) []*wire.FromAdapter {
	return func(m *wire.FromAdapter) []*wire.FromAdapter {
		if m.GetResult() != nil {
			return f(m)
		}
		return []*wire.FromAdapter{m}
	}
}

// eachFollow mangles follows.
func eachFollow(f func(*wire.Follow)) func(*wire.FromAdapter) []*wire.FromAdapter {
	return func(m *wire.FromAdapter) []*wire.FromAdapter {
		if w := m.GetFollow(); w != nil {
			f(w)
		}
		return []*wire.FromAdapter{m}
	}
}

func firstState(b *wire.Batch, item *wire.Item) {
	for i, old := range b.Items {
		if old.GetState() != nil {
			b.Items[i] = item
			return
		}
	}
}

func unasked() *wire.FromAdapter {
	return &wire.FromAdapter{Message: &wire.FromAdapter_Result{Result: &wire.Result{Id: 1 << 40}}}
}

// deaf is an adapter that doesn't end with its context.
type deaf struct {
	Virtual
	end chan struct{}
}

func (d *deaf) Run(ctx context.Context, h *adapter.Host) error {
	d.Virtual.Run(ctx, h)
	<-d.end
	return nil
}

// breaches are ways to break a rule, with the part of the test that must find it and what
// that must say.
var breaches = []struct {
	check, want string
	broken      saboteur
}{
	{"credit", "behind batch 0", saboteur{send: eachBatch(func(b *wire.Batch) { b.Id++ })}},
	{"credit", "there is credit for", saboteur{send: eachBatch(func(b *wire.Batch) {
		b.Items = append(b.Items, b.Items[0], b.Items[0], b.Items[0])
	})}},
	{"credit", "the host takes 2", saboteur{send: eachBatch(func(b *wire.Batch) {
		for b.Id == 1 && len(b.Items) < 3 {
			b.Items = append(b.Items, b.Items[0])
		}
	})}},
	{"credit", "has no items", saboteur{send: eachBatch(func(b *wire.Batch) { b.Items = nil })}},
	{"credit", "the host takes 65536", saboteur{send: eachState(func(_ *wire.Item, st *wire.State) {
		st.Attributes = `{"a":"` + strings.Repeat("x", 65<<10) + `"}`
	})}},
	{"credit", "was not declared", saboteur{send: eachState(func(_ *wire.Item, st *wire.State) { st.EntityId = "light.other" })}},
	{"credit", "longer than 255", saboteur{send: eachState(func(_ *wire.Item, st *wire.State) { st.State = strings.Repeat("ä", 256) })}},
	{"credit", "must be a JSON object", saboteur{send: eachState(func(_ *wire.Item, st *wire.State) { st.Attributes = "[1]" })}},
	{"credit", "of no command", saboteur{send: eachState(func(i *wire.Item, _ *wire.State) { i.ContextId = "mine" })}},
	{"credit", "event type", saboteur{send: eachBatch(func(b *wire.Batch) {
		firstState(b, &wire.Item{Item: &wire.Item_Event{Event: &wire.Event{Type: "Not This", Data: "{}"}}})
	})}},
	{"credit", "the data of event", saboteur{send: eachBatch(func(b *wire.Batch) {
		firstState(b, &wire.Item{Item: &wire.Item_Event{Event: &wire.Event{Type: "this", Data: "1"}}})
	})}},
	{"credit", "names neither", saboteur{send: eachBatch(func(b *wire.Batch) {
		firstState(b, &wire.Item{Item: &wire.Item_Availability{Availability: &wire.Availability{}}})
	})}},
	{"credit", "device \"none\" was not declared", saboteur{send: eachBatch(func(b *wire.Batch) {
		firstState(b, &wire.Item{Item: &wire.Item_Removal{Removal: &wire.Removal{DeviceId: "none"}}})
	})}},
	{"credit", "is no entity id", saboteur{send: eachBatch(func(b *wire.Batch) {
		for _, i := range b.Items {
			for _, e := range i.GetDevice().GetEntities() {
				e.EntityId = "Light.Hall"
			}
		}
	})}},
	{"beats", "answering beat", saboteur{send: func(m *wire.FromAdapter) []*wire.FromAdapter {
		if m.GetBeat() != nil {
			return nil
		}
		return []*wire.FromAdapter{m}
	}}},
	{"beats", "was answered by beat", saboteur{send: func(m *wire.FromAdapter) []*wire.FromAdapter {
		if m.GetBeat() != nil {
			m.GetBeat().Number++
		}
		return []*wire.FromAdapter{m}
	}}},
	{"beats", "health:", saboteur{health: func(ctx context.Context) { <-ctx.Done() }}},
	{"commands", "answering every command", saboteur{send: eachResult(func(*wire.FromAdapter) []*wire.FromAdapter { return nil })}},
	{"commands", "answered twice", saboteur{send: eachResult(func(m *wire.FromAdapter) []*wire.FromAdapter { return []*wire.FromAdapter{m, m} })}},
	{"commands", "never given", saboteur{send: eachResult(func(m *wire.FromAdapter) []*wire.FromAdapter { return []*wire.FromAdapter{m, unasked()} })}},
	{"commands", "is no JSON", saboteur{send: eachResult(func(m *wire.FromAdapter) []*wire.FromAdapter {
		m.GetResult().Response = "{"
		return []*wire.FromAdapter{m}
	})}},
	{"commands", "no_such_service", saboteur{send: eachResult(func(m *wire.FromAdapter) []*wire.FromAdapter {
		m.GetResult().Error = ""
		return []*wire.FromAdapter{m}
	})}},
	{"commands", "second session", saboteur{session: func(stream wire.Adapter_SessionServer, s wire.AdapterServer) error {
		err := s.Session(stream)
		if err != nil && stream.Context().Err() == nil {
			return stream.Send(&wire.FromAdapter{Message: &wire.FromAdapter_Beat{Beat: &wire.Beat{}}})
		}
		return err
	}}},
	{"commands", "second session while there is one: rpc", saboteur{session: func(stream wire.Adapter_SessionServer, s wire.AdapterServer) error {
		err := s.Session(stream)
		<-stream.Context().Done()
		return err
	}}},
	{"follows", "behind follow 0", saboteur{send: eachFollow(func(w *wire.Follow) { w.Id++ })}},
	{"follows", "it may be 1 to 65536", saboteur{send: eachFollow(func(w *wire.Follow) { w.Credit = 4e9 })}},
	{"follows", "it may have 100, of 255", saboteur{send: eachFollow(func(w *wire.Follow) { w.Types = append(w.Types, strings.Repeat("x", 1<<20)) })}},
	{"follows", "and was sent what takes", saboteur{send: func(m *wire.FromAdapter) []*wire.FromAdapter {
		if c := m.GetFollowCredit(); c != nil {
			c.Credit *= 100
		}
		return []*wire.FromAdapter{m}
	}}},
	{"follows", "giving back the credit", saboteur{send: func(m *wire.FromAdapter) []*wire.FromAdapter {
		if m.GetFollowCredit() != nil {
			return nil
		}
		return []*wire.FromAdapter{m}
	}}},
	{"follows", "more than the 16 follows", saboteur{send: func(m *wire.FromAdapter) (all []*wire.FromAdapter) {
		for n := uint64(1); m.GetFollow() != nil && n <= 17; n++ {
			all = append(all, &wire.FromAdapter{Message: &wire.FromAdapter_Follow{Follow: &wire.Follow{Id: n, Credit: 1}}})
		}
		return append(all, m)
	}}},
	{"drain", "not acknowledged", saboteur{drain: func(context.Context, wire.AdapterServer) (*wire.DrainResponse, error) {
		return &wire.DrainResponse{}, nil
	}}},
	{"drain", "drain: ", saboteur{drain: func(ctx context.Context, s wire.AdapterServer) (*wire.DrainResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}},
	{"drain", "its last batch is", saboteur{drain: func(ctx context.Context, s wire.AdapterServer) (*wire.DrainResponse, error) {
		r, err := s.Drain(ctx, &wire.DrainRequest{})
		if r != nil {
			r.LastBatch += 3
		}
		return r, err
	}}},
	{"drain", "leaves the session open", saboteur{session: func(stream wire.Adapter_SessionServer, s wire.AdapterServer) error {
		s.Session(stream)
		<-stream.Context().Done()
		return nil
	}}},
	{"drain", "after a drain", saboteur{session: func(stream wire.Adapter_SessionServer, s wire.AdapterServer) error {
		s.Session(stream)
		return errors.New("hardware trouble")
	}}},
	{"configure", "by field", saboteur{config: func(r *wire.ConfigureResponse) error {
		if len(r.Errors) > 0 {
			return errors.New("no")
		}
		return nil
	}}},
	{"configure", "no error names", saboteur{config: func(r *wire.ConfigureResponse) error {
		for _, e := range r.Errors {
			e.Field = "/elsewhere"
		}
		return nil
	}}},
	{"configure", "says nothing", saboteur{config: func(r *wire.ConfigureResponse) error {
		for _, e := range r.Errors {
			e.Message = ""
		}
		return nil
	}}},
	{"configure", "refuses a configuration", saboteur{config: func(r *wire.ConfigureResponse) error {
		r.Errors = append(r.Errors, &wire.FieldError{Message: "I don't like it"})
		return nil
	}}},
	{"describe", "its name", saboteur{describe: func(d *wire.Description) { d.Name = "My Adapter" }}},
	{"describe", "no JSON object", saboteur{describe: func(d *wire.Description) { d.Schema = "true" }}},
	{"describe", "asked again", saboteur{describe: func() func(d *wire.Description) {
		n := 0
		return func(d *wire.Description) { n++; d.Version = fmt.Sprint(n) }
	}()}},
	{"discover", "want an end", saboteur{discover: func(wire.Adapter_DiscoverServer) error { return errors.New("no") }}},
	{"discover", "want UNIMPLEMENTED", saboteur{describe: func(d *wire.Description) { d.Discovers = false }}},
	{"discover", "must have an id", saboteur{discover: func(s wire.Adapter_DiscoverServer) error { return s.Send(&wire.Discovered{Config: "{}"}) }}},
}

// TestBrokenAdaptersAreFound breaks each rule, and looks for the failure that says so.
func TestBrokenAdaptersAreFound(t *testing.T) {
	t.Parallel()
	var trials sync.WaitGroup
	slots := make(chan struct{}, 12) // a slow machine must not be late because of the number
	defer trials.Wait()
	for _, test := range breaches {
		trials.Go(func() { // most wait for something that doesn't come
			slots <- struct{}{}
			defer func() { <-slots }()
			expectFailure(t, test.check, test.want, func() wire.AdapterServer {
				test.broken.AdapterServer = adapter.NewServer(&Virtual{})
				return &test.broken
			})
		})
	}
	trials.Go(func() {
		end := make(chan struct{})
		defer close(end)
		expectFailure(t, "lost host", "when the host is gone", func() wire.AdapterServer { return adapter.NewServer(&deaf{end: end}) })
	})
}

// expectFailure runs one check on an adapter, and wants a failure that says want. On a
// slow machine another thing may fail before, because of the time: it gets more then.
func expectFailure(t *testing.T, check, want string, serve func() wire.AdapterServer) {
	t.Helper()
	var failures []string
	for _, within := range []time.Duration{time.Second, 5 * time.Second, 25 * time.Second} {
		failures = failuresOf(t.Context(), check, within, serve)
		for _, f := range failures {
			if strings.Contains(f, want) {
				return
			}
		}
	}
	t.Errorf("%s: got the failures %.2000q, want one that says %q", check, failures, want)
}

// failuresOf runs one check, and returns what it says.
func failuresOf(ctx context.Context, check string, within time.Duration, serve func() wire.AdapterServer) []string {
	var mu sync.Mutex
	var failures []string
	ctx, cancel := context.WithCancel(ctx)
	var cleanups []func()
	tr := newTrial(ctx, AdapterTest{
		serve: serve, Config: `{"lamps":2,"counters":5,"every_ms":1,"follow":true}`, Wrong: map[string]string{`{"lamps":-1}`: "/lamps"},
		Entities: 8, Within: within,
	}, func(f func()) { cleanups = append(cleanups, f) }, func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		failures = append(failures, fmt.Sprintf(format, args...))
	})
	for _, c := range adapterChecks {
		if c.name == check {
			c.check(tr)
		}
	}
	cancel()
	for i := len(cleanups) - 1; i >= 0; i-- {
		cleanups[i]()
	}
	mu.Lock()
	defer mu.Unlock()
	return failures
}
