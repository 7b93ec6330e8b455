package runtimetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"carillon/plugins/adapter/wire"
)

var adapterName = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

// roomy is a host that takes much at once.
func roomy() *wire.Welcome {
	return &wire.Welcome{Credit: 1000, MaxBatchItems: 500, MaxMessageBytes: 1 << 20}
}

func (tr *trial) describe() *wire.Description {
	if tr.client == nil {
		return nil
	}
	d, err := tr.client.Describe(tr.ctx, &wire.DescribeRequest{})
	if err != nil {
		tr.fail("describe: %v", err)
	}
	return d
}

func (tr *trial) checkDescription() {
	d := tr.describe()
	switch {
	case d == nil:
		return
	case !adapterName.MatchString(d.Name):
		tr.fail("its name %q must be 1 to 64 lower-case letters, digits, - and _", d.Name)
	case d.Schema != "" && !object(d.Schema):
		tr.fail("the schema of its configuration is no JSON object: %.100s", d.Schema)
	case !proto.Equal(d, tr.describe()):
		tr.fail("it describes itself otherwise when it is asked again")
	}
}

// configure reports whether the adapter takes a configuration that it must take.
func (tr *trial) configure(config string, validateOnly bool) bool {
	r, err := tr.client.Configure(tr.ctx, &wire.ConfigureRequest{Config: config, ValidateOnly: validateOnly, StateDir: tr.state})
	if err != nil {
		tr.fail("configure: %v", err)
		return false
	}
	for _, e := range r.Errors {
		tr.fail("it refuses a configuration that works: %s: %s", e.Field, e.Message)
	}
	return len(r.Errors) == 0
}

func (tr *trial) checkConfiguration() {
	if tr.client == nil {
		return
	}
	for config, field := range tr.Wrong {
		for _, validateOnly := range []bool{true, false} {
			r, err := tr.client.Configure(tr.ctx, &wire.ConfigureRequest{Config: config, ValidateOnly: validateOnly, StateDir: tr.state})
			if err != nil {
				tr.fail("configure %s: %v: what is wrong with a configuration is told by field", config, err)
				continue
			}
			named := false
			for _, e := range r.Errors {
				named = named || e.Field == field
				if e.Message == "" {
					tr.fail("configure %s: the error of field %q says nothing", config, e.Field)
				}
			}
			if !named {
				tr.fail("configure %s (validate only: %v): no error names the field %q: %v", config, validateOnly, field, r.Errors)
			}
		}
	}
	// It has taken none of these, and can take the right one.
	tr.configure(tr.Config, true)
	tr.configure(tr.Config, false)
	tr.checkHealth()
}

// checkHealth asks for health, which must be answered in time.
func (tr *trial) checkHealth() {
	ctx, cancel := context.WithTimeout(tr.ctx, time.Second)
	defer cancel()
	if _, err := tr.client.Health(ctx, &wire.HealthRequest{}); err != nil {
		tr.fail("health: %v", err)
	}
}

func (tr *trial) checkDiscovery() {
	d := tr.describe()
	if d == nil {
		return
	}
	ctx, cancel := context.WithTimeout(tr.ctx, 500*time.Millisecond+tr.Within)
	defer cancel()
	stream, err := tr.client.Discover(ctx, &wire.DiscoverRequest{TimeoutMs: 500})
	for err == nil {
		var found *wire.Discovered
		if found, err = stream.Recv(); err == nil && (found.Id == "" || !object(found.Config)) {
			tr.fail("discovered %v: it must have an id, and a JSON object for the configuration", found)
		}
	}
	switch {
	case !d.Discovers && status.Code(err) != codes.Unimplemented:
		tr.fail("discover: got %v, want UNIMPLEMENTED from an adapter that doesn't say that it can", err)
	case d.Discovers && !errors.Is(err, io.EOF):
		tr.fail("discover: got %v, want an end when the time is up", err)
	}
}

// ready waits until the adapter has declared its entities.
func (s *watchedSession) ready() bool {
	return s.tr.until(fmt.Sprintf("declaring %d entities", max(s.tr.Entities, 0)), s.declaredAll)
}

func (s *watchedSession) declaredAll() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entities) >= s.tr.Entities
}

// checkCredit gives little credit, and none back until all is used up or the adapter
// is silent.
func (tr *trial) checkCredit() {
	s := tr.open(&wire.Welcome{Credit: 3, MaxBatchItems: 2, MaxMessageBytes: 64 << 10}, true)
	if s == nil {
		return
	}
	end := time.Now().Add(3 * tr.Within)
	for ready := false; !ready; {
		before := s.count()
		select {
		case err := <-s.over:
			tr.fail("the session ended while credit was short: %v", err)
			return
		case <-time.After(20 * time.Millisecond): // a fast adapter has used its credit, and may overdraw it now
		}
		if s.count() == before {
			s.hold(false)
			s.hold(true)
		}
		if ready = s.declaredAll(); !ready && time.Now().After(end) {
			tr.fail("declaring %d entities while credit is short: not within %v", tr.Entities, 3*tr.Within)
			return
		}
	}
	s.hold(false)
	tr.checkHealth()
}

func (s *watchedSession) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.items
}

// checkBeats lets the journal stand still: the adapter must answer all the same.
func (tr *trial) checkBeats() {
	s := tr.open(&wire.Welcome{Credit: 1, MaxBatchItems: 1, MaxMessageBytes: 64 << 10}, true)
	if s == nil {
		return
	}
	for n := uint64(1); n <= 5; n++ {
		s.send(&wire.FromHost{Message: &wire.FromHost_Beat{Beat: &wire.Beat{Number: n * 7}}})
		answered := tr.until(fmt.Sprintf("answering beat %d while no batch is acknowledged", n*7), func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.beats) >= int(n)
		})
		if !answered {
			return
		}
		s.mu.Lock()
		if got := s.beats[n-1]; got != n*7 {
			tr.fail("beat %d was answered by beat %d", n*7, got)
		}
		s.mu.Unlock()
	}
	tr.checkHealth()
}

// command gives a command.
func (s *watchedSession) command(id uint64, entity, domain, service string, timeout time.Duration) {
	c := &wire.Command{
		Id: id, EntityId: entity, Domain: domain, Service: service, TimeoutMs: timeout.Milliseconds(),
		Data: fmt.Sprintf(`{"entity_id":%q}`, entity), ContextId: fmt.Sprintf("context%d", id),
	}
	s.mu.Lock()
	s.commands[id] = fmt.Sprintf("%s.%s for %s", domain, service, entity)
	s.contexts[c.ContextId] = true
	s.mu.Unlock()
	s.send(&wire.FromHost{Message: &wire.FromHost_Command{Command: c}})
}

func (s *watchedSession) answered() bool {
	return s.tr.until("answering every command once", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.commands) == 0
	})
}

func (tr *trial) checkCommands() {
	s := tr.open(roomy(), false)
	if s == nil || !s.ready() {
		return
	}
	s.mu.Lock()
	var declared []*wire.Entity
	for _, e := range s.entities {
		declared = append(declared, e)
	}
	s.mu.Unlock()
	var id uint64
	var impossible []uint64
	for _, e := range declared {
		domain := domainOf(e.EntityId)
		for _, service := range e.Services {
			id++
			s.command(id, e.EntityId, domain, service, tr.Within)
		}
		id++
		impossible = append(impossible, id)
		s.command(id, e.EntityId, domain, "no_such_service", tr.Within)
	}
	s.answered()
	s.mu.Lock()
	for _, n := range impossible {
		if r := s.answers[n]; r != nil && r.Error == "" {
			tr.fail("it says that it has done no_such_service")
		}
	}
	s.mu.Unlock()
	for _, e := range declared[:min(1, len(declared))] {
		s.command(id+1, e.EntityId, domainOf(e.EntityId), "cancelled", tr.Within)
		s.send(&wire.FromHost{Message: &wire.FromHost_Cancel{Cancel: &wire.Cancel{Id: id + 1}}})
		s.command(id+2, e.EntityId, domainOf(e.EntityId), "hurried", time.Millisecond)
		s.answered()
	}
	s.send(&wire.FromHost{Message: &wire.FromHost_Cancel{Cancel: &wire.Cancel{Id: id + 3}}}) // nothing to cancel is no error
	tr.checkSecondSession(s)
}

func domainOf(entity string) string {
	for i := range len(entity) {
		if entity[i] == '.' {
			return entity[:i]
		}
	}
	return entity
}

// checkSecondSession asks for a session while there is one.
func (tr *trial) checkSecondSession(s *watchedSession) {
	ctx, cancel := context.WithTimeout(tr.ctx, tr.Within)
	defer cancel()
	second, err := tr.client.Session(ctx)
	if err == nil {
		second.Send(&wire.FromHost{Message: &wire.FromHost_Welcome{Welcome: roomy()}})
		_, err = second.Recv()
	}
	if err == nil || errors.Is(err, io.EOF) || ctx.Err() != nil {
		tr.fail("it doesn't refuse a second session while there is one: %v", err)
	}
	select {
	case err := <-s.over:
		tr.fail("the session ended by itself: %v", err)
	default:
	}
}

// busy waits a while for a batch that is not acknowledged: an adapter may be silent.
func (s *watchedSession) busy(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); <-time.After(time.Millisecond) {
		s.mu.Lock()
		n := len(s.batches)
		s.mu.Unlock()
		if n > 0 {
			return
		}
	}
}

func (tr *trial) checkDrain() {
	s := tr.open(roomy(), false)
	if s == nil || !s.ready() {
		return
	}
	tr.drainNow(s)
}

// drainNow drains the adapter while the journal stands still, and lets that go on then.
func (tr *trial) drainNow(s *watchedSession) {
	s.hold(true)
	s.busy(500 * time.Millisecond)
	type end struct {
		r   *wire.DrainResponse
		err error
	}
	drained := make(chan end, 1)
	go func() {
		ctx, cancel := context.WithTimeout(tr.ctx, tr.Within)
		defer cancel()
		r, err := tr.client.Drain(ctx, &wire.DrainRequest{})
		drained <- end{r, err}
	}()
	var d end
	select {
	case d = <-drained: // it may, if it had nothing to publish
		s.mu.Lock()
		if n := len(s.batches); n > 0 {
			tr.fail("it says that it is drained while %d batches are not acknowledged", n)
		}
		s.mu.Unlock()
		s.hold(false)
	case <-time.After(min(500*time.Millisecond, tr.Within/4)): // it waits, as it must
		s.hold(false)
		d = <-drained
	}
	if d.err != nil {
		tr.fail("drain: %v", d.err)
		return
	}
	select {
	case err := <-s.over:
		if err != nil {
			tr.fail("the session ended with %v after a drain", err)
		}
	case <-time.After(tr.Within):
		tr.fail("it leaves the session open after a drain")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.r.LastBatch != s.last {
		tr.fail("it says that its last batch is %d; it was %d", d.r.LastBatch, s.last)
	}
}

// checkLostHost ends the connection: the adapter must end too, and let go of its
// hardware.
func (tr *trial) checkLostHost() {
	s := tr.open(roomy(), false)
	if s == nil || !s.ready() {
		return
	}
	tr.hangUp()
	tr.until("ending when the host is gone", tr.ended)
}
