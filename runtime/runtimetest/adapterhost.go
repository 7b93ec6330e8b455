package runtimetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sync"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"carillon/plugins/adapter/wire"
	"carillon/runtime"
)

// A watchedSession is a host's side of a session that checks what the adapter sends.
type watchedSession struct {
	tr     *trial
	stream wire.Adapter_SessionClient
	limits *wire.Welcome
	over   chan error // gets why the session ended, nil for in order

	sending sync.Mutex // held by Send: a stream has one sender

	mu sync.Mutex
	// Guarded by mu.
	holding  bool // no batch is acknowledged
	credit   int
	batches  []*wire.Batch // not acknowledged
	last     uint64        // batch
	items    int
	devices  map[string][]string
	entities map[string]*wire.Entity
	commands map[uint64]string // that are not answered
	answers  map[uint64]*wire.Result
	contexts map[string]bool // of the commands that were given
	beats    []uint64        // that came back
	metrics  map[string]bool

	follows    map[uint64]*watchedFollow
	lastFollow uint64
	flooding   bool // follows are told without end
}

// open configures the adapter and opens a session.
func (tr *trial) open(w *wire.Welcome, holding bool) *watchedSession {
	if tr.client == nil {
		return nil // it didn't start, which was told
	}
	if !tr.configure(tr.Config, false) {
		return nil
	}
	stream, err := tr.client.Session(tr.ctx)
	if err != nil {
		tr.fail("opening a session: %v", err)
		return nil
	}
	w.Generation = "test@1"
	w.BeatEveryMs = 1000
	w.MaxFollows = testFollows
	s := &watchedSession{
		tr: tr, stream: stream, limits: w, over: make(chan error, 1), holding: holding, credit: int(w.Credit),
		devices: map[string][]string{}, entities: map[string]*wire.Entity{}, metrics: map[string]bool{},
		commands: map[uint64]string{}, answers: map[uint64]*wire.Result{}, contexts: map[string]bool{"": true},
		follows: map[uint64]*watchedFollow{},
	}
	s.send(&wire.FromHost{Message: &wire.FromHost_Welcome{Welcome: w}})
	go s.receive()
	return s
}

func (s *watchedSession) send(m *wire.FromHost) {
	s.sending.Lock()
	defer s.sending.Unlock()
	s.stream.Send(m) // that it failed shows when receiving
}

func (s *watchedSession) receive() {
	for {
		m, err := s.stream.Recv()
		if errors.Is(err, io.EOF) {
			err = nil
			s.over <- err
			return
		}
		if err != nil {
			s.over <- err
			return
		}
		s.mu.Lock()
		s.take(m)
		acks, told := s.acknowledge(), s.told()
		s.mu.Unlock()
		for _, a := range acks {
			s.send(&wire.FromHost{Message: &wire.FromHost_Ack{Ack: a}})
		}
		for _, t := range told {
			s.send(t)
		}
	}
}

// take checks a message. Callers hold mu, as do those of all that it calls.
func (s *watchedSession) take(m *wire.FromAdapter) {
	if n := proto.Size(m); n > int(s.limits.MaxMessageBytes) {
		s.tr.fail("a message has %d bytes; the host takes %d", n, s.limits.MaxMessageBytes)
	}
	switch m := m.Message.(type) {
	case *wire.FromAdapter_Batch:
		s.batch(m.Batch)
	case *wire.FromAdapter_Result:
		s.result(m.Result)
	case *wire.FromAdapter_Beat:
		s.beats = append(s.beats, m.Beat.Number)
	case *wire.FromAdapter_Metrics:
		for name := range m.Metrics.Values {
			if !metricName.MatchString(name) {
				s.tr.fail("the name of metric %q must be 1 to 64 lower-case letters, digits and underscores", name)
			}
			if s.metrics[name] = true; len(s.metrics) == 101 {
				s.tr.fail("it has more than 100 metrics")
			}
		}
	case *wire.FromAdapter_Log:
		if m.Log.Message == "" {
			s.tr.fail("a log line has no message: %v", m.Log)
		}
	case *wire.FromAdapter_Follow:
		s.follow(m.Follow)
	case *wire.FromAdapter_FollowCredit:
		s.followCredit(m.FollowCredit)
	case *wire.FromAdapter_Unfollow:
		s.unfollow(m.Unfollow)
	default:
		s.tr.fail("a message is empty")
	}
}

var (
	metricName    = regexp.MustCompile(`^[a-z0-9_]{1,64}$`)
	eventTypeName = regexp.MustCompile(`^[a-z0-9_]{1,64}$`)
)

func (s *watchedSession) batch(b *wire.Batch) {
	if b.Id != s.last+1 {
		s.tr.fail("batch %d comes behind batch %d: their numbers go up from 1, by one each", b.Id, s.last)
	}
	s.last = b.Id
	n := len(b.Items)
	switch {
	case n == 0:
		s.tr.fail("batch %d has no items", b.Id)
	case n > s.credit:
		s.tr.fail("batch %d has %d items, and there is credit for %d", b.Id, n, s.credit)
	case n > int(s.limits.MaxBatchItems):
		s.tr.fail("batch %d has %d items; the host takes %d", b.Id, n, s.limits.MaxBatchItems)
	}
	s.credit -= n
	for i, item := range b.Items {
		if err := s.item(item); err != nil {
			s.tr.fail("batch %d, item %d: %v", b.Id, i, err)
		}
	}
	s.items += n
	s.batches = append(s.batches, b)
}

// acknowledge takes what may be acknowledged off the batches: nothing while holding, and
// else, so that the credit is used up, not before it is.
func (s *watchedSession) acknowledge() (acks []*wire.Ack) {
	if s.holding {
		return nil
	}
	for _, b := range s.batches {
		s.credit += len(b.Items)
		acks = append(acks, &wire.Ack{Batch: b.Id, Credit: uint32(len(b.Items))})
	}
	s.batches = nil
	return acks
}

// hold holds acknowledgements back, or lets them go.
func (s *watchedSession) hold(yes bool) {
	s.mu.Lock()
	s.holding = yes
	acks := s.acknowledge()
	s.mu.Unlock()
	for _, a := range acks {
		s.send(&wire.FromHost{Message: &wire.FromHost_Ack{Ack: a}})
	}
}

func (s *watchedSession) item(item *wire.Item) error {
	if !s.contexts[item.ContextId] {
		return fmt.Errorf("its context %q is of no command that was given", item.ContextId)
	}
	switch i := item.Item.(type) {
	case *wire.Item_Device:
		return s.device(i.Device)
	case *wire.Item_State:
		return s.state(i.State)
	case *wire.Item_Event:
		if !eventTypeName.MatchString(i.Event.Type) {
			return fmt.Errorf("event type %q must be 1 to 64 lower-case letters, digits and underscores", i.Event.Type)
		}
		if !object(i.Event.Data) {
			return fmt.Errorf("the data of event %s must be a JSON object: %.100s", i.Event.Type, i.Event.Data)
		}
	case *wire.Item_Availability:
		return s.declared(i.Availability.DeviceId, i.Availability.EntityIds)
	case *wire.Item_Removal:
		if err := s.declared(i.Removal.DeviceId, i.Removal.EntityIds); err != nil {
			return err
		}
		for _, id := range append(s.devices[i.Removal.DeviceId], i.Removal.EntityIds...) {
			delete(s.entities, id)
		}
		delete(s.devices, i.Removal.DeviceId)
	default:
		return errors.New("it is empty")
	}
	return nil
}

func (s *watchedSession) device(d *wire.Device) error {
	if d.Id == "" {
		return errors.New("a device has no id")
	}
	for _, id := range s.devices[d.Id] {
		delete(s.entities, id)
	}
	s.devices[d.Id] = nil
	for _, e := range d.Entities {
		switch {
		case !runtime.ValidEntityID(e.EntityId):
			return fmt.Errorf("device %s: %q is no entity id", d.Id, e.EntityId)
		case s.entities[e.EntityId] != nil:
			return fmt.Errorf("device %s: another device has %s", d.Id, e.EntityId)
		case e.Attributes != "" && !object(e.Attributes):
			return fmt.Errorf("the attributes of %s must be a JSON object: %.100s", e.EntityId, e.Attributes)
		}
		s.entities[e.EntityId] = e
		s.devices[d.Id] = append(s.devices[d.Id], e.EntityId)
	}
	return nil
}

func (s *watchedSession) state(st *wire.State) error {
	switch {
	case s.entities[st.EntityId] == nil:
		return fmt.Errorf("%q was not declared", st.EntityId)
	case utf8.RuneCountInString(st.State) > runtime.MaxState:
		return fmt.Errorf("the state of %s is longer than %d characters", st.EntityId, runtime.MaxState)
	case st.Attributes != "" && !object(st.Attributes):
		return fmt.Errorf("the attributes of %s must be a JSON object: %.100s", st.EntityId, st.Attributes)
	}
	return nil
}

func (s *watchedSession) declared(device string, entities []string) error {
	if _, ok := s.devices[device]; device != "" && !ok {
		return fmt.Errorf("device %q was not declared", device)
	}
	for _, id := range entities {
		if s.entities[id] == nil {
			return fmt.Errorf("%q was not declared", id)
		}
	}
	if device == "" && len(entities) == 0 {
		return errors.New("it names neither a device nor entities")
	}
	return nil
}

func (s *watchedSession) result(r *wire.Result) {
	switch {
	case s.answers[r.Id] != nil:
		s.tr.fail("command %d is answered twice", r.Id)
	case s.commands[r.Id] == "":
		s.tr.fail("command %d is answered, and was never given", r.Id)
	case r.Response != "" && !json.Valid([]byte(r.Response)):
		s.tr.fail("the response of %s is no JSON: %.100s", s.commands[r.Id], r.Response)
	}
	delete(s.commands, r.Id)
	s.answers[r.Id] = r
}

func object(text string) bool {
	var m map[string]json.RawMessage
	return json.Unmarshal([]byte(text), &m) == nil && m != nil
}
