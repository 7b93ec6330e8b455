package adapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"carillon/plugins/adapter/wire"
)

// A Host is what an adapter's Run publishes to. Its methods are safe for
// concurrent use. Those with a context wait for the journal to have room, until
// the context ends, whose error they return then; they don't give up because
// of Run's context, which ends when the adapter is to drain, but when the host
// is gone.
//
// An error of Declare, Set, Fire, Available or Remove says that none of the
// call was published because something of it is wrong, or, when it is the
// context's or ErrHostGone, that it may have been published in part. Only Set of several
// states has parts: of any other call that its context ended nothing was published, and
// it can be made again.
type Host struct {
	// Static after construction.
	stream  stream
	welcome *wire.Welcome
	log     *slog.Logger
	turn    chan struct{} // holds one value while somebody publishes
	room    chan struct{} // credit came
	wake    chan struct{} // there is something to send
	over    chan struct{} // closed by end
	follows follows

	// Owned by whoever has the turn.
	devices  map[string][]string // entity ids by device id
	entities map[string]string   // device id by entity id

	mu sync.Mutex
	// Guarded by mu.
	credit    int
	pending   []*wire.Item // that credit was taken for
	flying    []flight     // sent and not acknowledged, in order
	published uint64       // items that ever were pending
	sent      uint64       // of them
	stored    uint64       // of those
	lastBatch uint64
	sending   bool // next has given out what may not be sent yet
	refused   ItemErrors
	outbox    outbox
	changed   chan struct{} // closed at the next change that a waiter may wait for; nil: nobody waits
	err       error         // why the session is over
	commands  commands
}

// stream is the session's stream as the generated code has it.
type stream interface {
	Send(*wire.FromAdapter) error
	Recv() (*wire.FromHost, error)
	Context() context.Context
}

// A flight is a batch on its way to the journal.
type flight struct {
	id    uint64
	items []*wire.Item
}

// ErrHostGone says that the session with the host is over.
var ErrHostGone = errors.New("the session with the host is over")

// ErrDraining is the cause (context.Cause) of the end of Run's context when the
// adapter is to publish what it holds and end.
var ErrDraining = errors.New("the adapter is to end")

// Used when the host names no bounds.
const (
	defaultBatchItems   = 1000
	defaultMessageBytes = 1 << 20
)

func newHost(s stream, w *wire.Welcome) *Host {
	h := &Host{
		stream: s, welcome: w, credit: int(w.Credit),
		turn: make(chan struct{}, 1), room: make(chan struct{}, 1), wake: make(chan struct{}, 1), over: make(chan struct{}),
		devices: map[string][]string{}, entities: map[string]string{},
	}
	if w.MaxBatchItems == 0 {
		w.MaxBatchItems = defaultBatchItems
	}
	if w.MaxMessageBytes == 0 {
		w.MaxMessageBytes = defaultMessageBytes
	}
	h.log = slog.New(&handler{h: h})
	h.commands.init(h)
	h.follows.init(h)
	return h
}

// Generation returns how events of this session name their source: "mqtt@3".
func (h *Host) Generation() string { return h.welcome.Generation }

// Log returns a logger whose lines the host puts into its log and on its streams. It
// never blocks.
func (h *Host) Log() *slog.Logger { return h.log }

// Declare says that a device is there, with its entities, which are the adapter's from
// then on. Declaring it again replaces what was said: entities that it doesn't
// have any more are removed.
func (h *Host) Declare(ctx context.Context, d Device) error {
	item, err := d.item()
	if err != nil {
		return err
	}
	return h.publish(ctx, []*wire.Item{item}, func() error {
		for _, e := range d.Entities {
			if other, taken := h.entities[e.ID]; taken && other != d.ID {
				return fmt.Errorf("device %s: %s is of device %s already", d.ID, e.ID, other)
			}
		}
		return nil
	}, func() {
		h.forget(d.ID)
		ids := make([]string, len(d.Entities))
		for i, e := range d.Entities {
			ids[i] = e.ID
			h.entities[e.ID] = d.ID
			h.commands.declare(e.ID, e.Services)
		}
		h.devices[d.ID] = ids
	})
}

// Set says what entities are now, in this order. They were declared before.
func (h *Host) Set(ctx context.Context, states ...State) error {
	items := make([]*wire.Item, len(states))
	for i := range states {
		var err error
		if items[i], err = states[i].item(); err != nil {
			return err
		}
	}
	return h.publish(ctx, items, func() error {
		for i := range states {
			if _, declared := h.entities[states[i].EntityID]; !declared {
				return fmt.Errorf("%s was not declared: Declare its device first", states[i].EntityID)
			}
		}
		return nil
	}, nil)
}

// Fire says that something happened: an event of type typ ([a-z0-9_]{1,64}, none of
// Carillon's own). Data is an object as JSON, or nil.
func (h *Host) Fire(ctx context.Context, typ string, data any) error {
	item, err := event(typ, data)
	if err != nil {
		return err
	}
	return h.publish(ctx, []*wire.Item{item}, nil, nil)
}

// Available says whether the adapter reaches a device, or an entity, by its id. What is
// declared is available until it is said not to be, and again once a state of it is set: who
// tells its state can be reached.
func (h *Host) Available(ctx context.Context, id string, yes bool) error {
	w := &wire.Availability{Available: yes}
	item := &wire.Item{Item: &wire.Item_Availability{Availability: w}}
	return h.publish(ctx, []*wire.Item{item}, func() (err error) {
		w.DeviceId, w.EntityIds, err = h.find(id)
		return err
	}, nil)
}

// Remove takes a device with its entities, or an entity, away for good.
func (h *Host) Remove(ctx context.Context, id string) error {
	w := &wire.Removal{}
	item := &wire.Item{Item: &wire.Item_Removal{Removal: w}}
	return h.publish(ctx, []*wire.Item{item}, func() (err error) {
		w.DeviceId, w.EntityIds, err = h.find(id)
		return err
	}, func() { h.forget(id) })
}

// find tells whether an id is a device's or an entity's. Callers have the turn.
func (h *Host) find(id string) (device string, entities []string, err error) {
	if _, ok := h.devices[id]; ok {
		return id, nil, nil
	}
	if _, ok := h.entities[id]; ok {
		return "", []string{id}, nil
	}
	return "", nil, fmt.Errorf("%q is neither a device nor an entity that was declared", id)
}

// forget forgets a device, or an entity. Callers have the turn.
func (h *Host) forget(id string) {
	for _, e := range h.devices[id] {
		if h.entities[e] == id { // it may have been removed, and be another's now
			delete(h.entities, e)
			h.commands.forget(e)
		}
	}
	delete(h.devices, id)
	if h.entities[id] != "" {
		delete(h.entities, id)
		h.commands.forget(id)
	}
}

// Flush returns when the journal holds all that was published before. Its error is
// an *ItemErrors when something published since the last Flush was refused.
func (h *Host) Flush(ctx context.Context) error {
	h.mu.Lock()
	target := h.published
	h.mu.Unlock()
	if err := h.wait(ctx, func() bool { return h.stored >= target }); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if refused := h.refused; refused.Count > 0 {
		h.refused = ItemErrors{}
		return &refused
	}
	return nil
}

// ItemErrors is what the host refused of what was published; all else is stored.
type ItemErrors struct {
	Count int     // how many items
	First []error // what was wrong with the first of them, 20 at most
}

// maxItemErrors is enough to see what is wrong; an adapter that never flushes
// must not gather them without bound.
const maxItemErrors = 20

func (e *ItemErrors) Error() string {
	text := errors.Join(e.First...).Error()
	if e.Count > len(e.First) {
		text += fmt.Sprintf("\nand %d more", e.Count-len(e.First))
	}
	return text
}

func (e *ItemErrors) add(item *wire.Item, message string) {
	e.Count++
	if len(e.First) < maxItemErrors {
		e.First = append(e.First, fmt.Errorf("%s: %s", describe(item), message))
	}
}
