package runtimetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carillon/plugins/adapter"
	"carillon/plugins/adapter/wire"
	"carillon/runtime"
)

// A Home runs an adapter in this process and keeps what it says, for tests of what
// the adapter does with its hardware. It stores everything at once and checks nothing but
// what Taken says: that is TestAdapter's. Its methods are safe for concurrent use.
type Home struct {
	t      testing.TB
	client wire.AdapterClient
	hangUp func()
	stream wire.Adapter_SessionClient

	sending sync.Mutex // held to send

	mu sync.Mutex
	// Guarded by mu.
	entities map[string]*HomeEntity
	devices  map[string]*wire.Device
	events   []HomeEvent
	logs     []string
	last     uint64 // id of the last command
	answers  map[uint64]chan *wire.Result
	holding  bool
	held     []*wire.Ack
	taken    []string // ids that others have
	over     chan struct{}
}

// A HomeEntity is an entity of an adapter as its Home shows it.
type HomeEntity struct {
	ID         string
	Device     string         // its id
	State      string         // "unavailable" and "unknown" as /api/states has them
	Attributes map[string]any // of the entity and of its state
	Services   []string
	ContextID  string   // of the command that its last state came of; may be empty
	States     []string // that it had, one after another

	own    map[string]any
	extra  map[string]any
	said   string
	knows  bool
	absent bool
}

// A HomeEvent is an event that an adapter fired.
type HomeEvent struct {
	Type string
	Data map[string]any
}

// StartAdapter configures an adapter and runs it until the test ends. The folder is its
// StateDir.
func StartAdapter(t testing.TB, a adapter.Adapter, config, folder string) *Home {
	t.Helper()
	tr := &trial{fail: t.Fatalf}
	tr.startHere(adapter.NewServer(a), t.Cleanup)
	h := &Home{
		t: t, client: tr.client, hangUp: tr.hangUp, entities: map[string]*HomeEntity{}, devices: map[string]*wire.Device{}, answers: map[uint64]chan *wire.Result{},
		over: make(chan struct{}),
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	answer, err := h.client.Configure(ctx, &wire.ConfigureRequest{Config: config, StateDir: folder})
	if err != nil || len(answer.Errors) > 0 {
		t.Fatalf("configuring the adapter: %v, %v", err, answer.GetErrors())
	}
	if h.stream, err = h.client.Session(ctx); err != nil {
		t.Fatalf("opening the session: %v", err)
	}
	h.send(&wire.FromHost{Message: &wire.FromHost_Welcome{Welcome: &wire.Welcome{
		Credit: 8192, BeatEveryMs: 1000, Generation: "test@1", MaxBatchItems: 1024, MaxMessageBytes: 4 << 20,
	}}})
	go h.receive()
	return h
}

func (h *Home) send(m *wire.FromHost) {
	h.sending.Lock()
	defer h.sending.Unlock()
	_ = h.stream.Send(m) // that it failed shows in receive
}

func (h *Home) receive() {
	defer close(h.over)
	for {
		m, err := h.stream.Recv()
		if err != nil {
			return
		}
		h.mu.Lock()
		ack := h.take(m)
		h.mu.Unlock()
		if ack != nil {
			h.send(&wire.FromHost{Message: &wire.FromHost_Ack{Ack: ack}})
		}
	}
}

// take takes what the adapter says. Callers hold mu.
func (h *Home) take(m *wire.FromAdapter) *wire.Ack {
	switch m := m.Message.(type) {
	case *wire.FromAdapter_Batch:
		ack := &wire.Ack{Batch: m.Batch.Id, Credit: uint32(len(m.Batch.Items))}
		for i, item := range m.Batch.Items {
			if id := h.takenOf(item.GetDevice()); id != "" {
				why := fmt.Sprintf("entity_id %s belongs to another.js: an entity has one owner", id)
				ack.Errors = append(ack.Errors, &wire.ItemError{Item: uint32(i), Message: why})
				continue
			}
			h.item(item)
		}
		if !h.holding {
			return ack
		}
		h.held = append(h.held, ack)
	case *wire.FromAdapter_Log:
		line := m.Log.Message
		for _, key := range slices.Sorted(maps.Keys(m.Log.Fields)) {
			line += " " + key + "=" + m.Log.Fields[key]
		}
		h.logs = append(h.logs, line)
	case *wire.FromAdapter_Result:
		if c := h.answers[m.Result.Id]; c != nil {
			c <- m.Result
			delete(h.answers, m.Result.Id)
		}
	}
	return nil
}

// takenOf returns the first entity of a device that somebody else has; empty: there is none.
func (h *Home) takenOf(d *wire.Device) string {
	for _, e := range d.GetEntities() {
		if slices.Contains(h.taken, e.EntityId) {
			return e.EntityId
		}
	}
	return ""
}

func (h *Home) item(item *wire.Item) {
	switch i := item.Item.(type) {
	case *wire.Item_Device:
		h.device(i.Device)
	case *wire.Item_State:
		e := h.entities[i.State.EntityId]
		if e == nil {
			return
		}
		e.said, e.knows, e.absent, e.ContextID = i.State.State, true, false, item.ContextId
		if i.State.Attributes != "" {
			e.extra = parseAttributes(i.State.Attributes)
		}
		e.show()
	case *wire.Item_Event:
		h.events = append(h.events, HomeEvent{i.Event.Type, parseAttributes(i.Event.Data)})
	case *wire.Item_Availability:
		for _, e := range h.of(i.Availability.DeviceId, i.Availability.EntityIds) {
			e.absent = !i.Availability.Available
			e.show()
		}
	case *wire.Item_Removal:
		for _, e := range h.of(i.Removal.DeviceId, i.Removal.EntityIds) {
			delete(h.entities, e.ID)
		}
		delete(h.devices, i.Removal.DeviceId)
	}
}

func (h *Home) device(d *wire.Device) {
	h.devices[d.Id] = d
	now := map[string]bool{}
	for _, w := range d.Entities {
		now[w.EntityId] = true
		e := h.entities[w.EntityId]
		if e == nil {
			e = &HomeEntity{ID: w.EntityId}
			h.entities[e.ID] = e
		}
		e.Device, e.Services, e.own, e.absent = d.Id, w.Services, parseAttributes(w.Attributes), false
		e.show()
	}
	for id, e := range h.entities {
		if e.Device == d.Id && !now[id] {
			delete(h.entities, id)
		}
	}
}

func (h *Home) of(device string, ids []string) (all []*HomeEntity) {
	for _, e := range h.entities {
		if device != "" && e.Device == device || slices.Contains(ids, e.ID) {
			all = append(all, e)
		}
	}
	return all
}

func (e *HomeEntity) show() {
	before := e.State
	switch {
	case e.absent:
		e.State = runtime.Unavailable
	case e.knows:
		e.State = e.said
	default:
		e.State = "unknown"
	}
	e.Attributes = maps.Clone(e.own)
	maps.Copy(e.Attributes, e.extra)
	if e.State != before {
		e.States = append(e.States, e.State)
	}
}

func parseAttributes(text string) map[string]any {
	m := map[string]any{}
	if json.Unmarshal([]byte(text), &m) != nil {
		return map[string]any{}
	}
	return m
}

// Entity returns an entity as it is now; ok is false if there is none.
func (h *Home) Entity(id string) (e HomeEntity, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	found := h.entities[id]
	if found == nil {
		return e, false
	}
	e = *found
	e.Attributes, e.States = maps.Clone(e.Attributes), slices.Clone(e.States)
	return e, true
}

// Entities returns the ids of all entities, sorted.
func (h *Home) Entities() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.entities))
}

// Device returns a device as it was declared last, without its entities; ok is false
// if there is none.
func (h *Home) Device(id string) (d adapter.Device, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.devices[id]
	if w == nil {
		return d, false
	}
	return adapter.Device{ID: w.Id, Name: w.Name, Manufacturer: w.Manufacturer, Model: w.Model, Serial: w.Serial, Software: w.Software}, true
}

// Events returns the events that the adapter fired so far.
func (h *Home) Events() []HomeEvent {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.events)
}

// Logs returns the lines of the adapter's log so far, each with its fields as key=value.
func (h *Home) Logs() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.logs)
}

// Call gives a command, "light.turn_on", and waits for its answer until ctx ends, which is
// the command's deadline, too; without one it has 10 s. Data is a JSON object.
func (h *Home) Call(ctx context.Context, service, entityID, data string) (json.RawMessage, error) {
	domain, name, _ := strings.Cut(service, ".")
	timeout := 10 * time.Second
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(time.Until(deadline), time.Millisecond)
	}
	answer := make(chan *wire.Result, 1)
	h.mu.Lock()
	h.last++
	id := h.last
	h.answers[id] = answer
	h.mu.Unlock()
	h.send(&wire.FromHost{Message: &wire.FromHost_Command{Command: &wire.Command{
		Id: id, EntityId: entityID, Domain: domain, Service: name, Data: data, TimeoutMs: timeout.Milliseconds(), ContextId: fmt.Sprintf("command-%d", id),
	}}})
	select {
	case r := <-answer:
		if r.Error != "" {
			return nil, errors.New(r.Error)
		}
		return json.RawMessage(r.Response), nil
	case <-h.over:
		return nil, errors.New("the session is over")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Taken says which ids somebody else has from now on: a device with one of them is refused,
// as the server does it.
func (h *Home) Taken(ids ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.taken = ids
}

// Hold acknowledges nothing more, as while the journal stands still, or lets all go
// that it held back.
func (h *Home) Hold(yes bool) {
	h.mu.Lock()
	h.holding = yes
	held := h.held
	if h.held = nil; yes {
		h.held, held = held, nil
	}
	h.mu.Unlock()
	for _, ack := range held {
		h.send(&wire.FromHost{Message: &wire.FromHost_Ack{Ack: ack}})
	}
}

// Ready reports whether the adapter says that it can do its work, and what it says
// besides.
func (h *Home) Ready() (ready bool, detail string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answer, err := h.client.Health(ctx, &wire.HealthRequest{})
	if err != nil {
		return false, err.Error()
	}
	return answer.Ready, answer.Detail
}

// Until waits until ok, and fails the test if that takes more than 30 s.
func (h *Home) Until(what string, ok func() bool) {
	h.t.Helper()
	tr := &trial{AdapterTest: AdapterTest{Within: 30 * time.Second}, ctx: h.t.Context(), fail: h.t.Fatalf}
	tr.until(what, ok)
}

// Kill ends the connection, as when the server is killed: what was not acknowledged is
// not stored.
func (h *Home) Kill() {
	h.hangUp()
	<-h.over
}

// Drain drains the adapter, as the server does before it ends or replaces it. The
// adapter has ended when it returns.
func (h *Home) Drain() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := h.client.Drain(ctx, &wire.DrainRequest{})
	return err
}
