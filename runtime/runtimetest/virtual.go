package runtimetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"carillon/plugins/adapter"
)

// A Virtual is an adapter without hardware, for tests of what stands around
// adapters: lamps that take turn_on, turn_off and toggle, and counters that
// count, so that a lost or repeated state shows. Its zero value is ready for
// use; one serves one session.
type Virtual struct {
	config virtualConfig

	mu sync.Mutex
	on map[string]bool // by lamp; guarded by mu
}

type virtualConfig struct {
	Lamps    int    `json:"lamps"`    // light.virtual_0 and on
	Counters int    `json:"counters"` // sensor.virtual_0 and on
	EveryMS  int    `json:"every_ms"` // how often counters count; 0: never
	Prefix   string `json:"prefix"`   // in place of "virtual"
	Follow   bool   `json:"follow"`   // sensor.virtual_heard counts the changes that others make
}

const virtualSchema = `{"type":"object","additionalProperties":false,"properties":{
 "lamps":{"type":"integer","minimum":0},"counters":{"type":"integer","minimum":0},
 "every_ms":{"type":"integer","minimum":0},"prefix":{"type":"string"},"follow":{"type":"boolean"}}}`

// Describe is the Adapter's.
func (v *Virtual) Describe() adapter.Description {
	return adapter.Description{
		Name: "virtual", Version: "1", Summary: "Lamps and counters without hardware.", Schema: json.RawMessage(virtualSchema),
	}
}

// Configure is the Adapter's.
func (v *Virtual) Configure(_ context.Context, c adapter.Config) error {
	next := virtualConfig{Prefix: "virtual"}
	if err := c.Decode(&next); err != nil {
		return err
	}
	var wrong adapter.FieldErrors
	for name, n := range map[string]int{"lamps": next.Lamps, "counters": next.Counters, "every_ms": next.EveryMS} {
		if n < 0 {
			wrong = append(wrong, adapter.FieldError{Field: "/" + name, Message: fmt.Sprintf("must not be negative, as %d is", n)})
		}
	}
	if wrong != nil {
		return wrong
	}
	if !c.ValidateOnly {
		v.config = next
	}
	return nil
}

// Discover finds one more lamp.
func (v *Virtual) Discover(_ context.Context, found func(adapter.Discovered)) error {
	found(adapter.Discovered{ID: "lamp", Title: "A virtual lamp", Config: json.RawMessage(`{"lamps":1}`)})
	return nil
}

// Run is the Adapter's.
func (v *Virtual) Run(ctx context.Context, h *adapter.Host) error {
	v.on = map[string]bool{}
	h.OnCommand(func(ctx context.Context, c adapter.Command) (any, error) { return v.command(ctx, h, c) })
	for i := range v.config.Lamps {
		if err := v.declare(ctx, h, fmt.Sprintf("light.%s_%d", v.config.Prefix, i), "off", "turn_on", "turn_off", "toggle"); err != nil {
			return err
		}
	}
	for i := range v.config.Counters {
		if err := v.declare(ctx, h, v.counter(i), "0"); err != nil {
			return err
		}
	}
	h.Log().Info("virtual devices are there", "lamps", v.config.Lamps, "counters", v.config.Counters)
	if v.config.Follow {
		return errors.Join(v.declare(ctx, h, v.heard(), "0"), v.follow(ctx, h))
	}
	return v.count(ctx, h)
}

func (v *Virtual) heard() string { return "sensor." + v.config.Prefix + "_heard" }

// follow counts what others change, and counts beside.
func (v *Virtual) follow(ctx context.Context, h *adapter.Host) error {
	counted := make(chan error, 1)
	go func() { counted <- v.count(ctx, h) }()
	n := 0
	f := adapter.Follow{Selection: adapter.Selection{Types: []string{"state_changed"}}}
	err := h.Follow(ctx, f, func(list []adapter.Happening) error {
		n += len(list)
		return h.Set(ctx, adapter.State{EntityID: v.heard(), State: strconv.Itoa(n)})
	})
	return errors.Join(err, <-counted)
}

func (v *Virtual) counter(i int) string { return fmt.Sprintf("sensor.%s_%d", v.config.Prefix, i) }

func (v *Virtual) declare(ctx context.Context, h *adapter.Host, id, state string, services ...string) error {
	err := h.Declare(ctx, adapter.Device{ID: id, Name: id, Entities: []adapter.Entity{{ID: id, Services: services}}})
	if err != nil {
		return err
	}
	return h.Set(ctx, adapter.State{EntityID: id, State: state})
}

// count counts until ctx ends.
func (v *Virtual) count(ctx context.Context, h *adapter.Host) error {
	if v.config.EveryMS == 0 || v.config.Counters == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(time.Duration(v.config.EveryMS) * time.Millisecond)
	defer tick.Stop()
	states := make([]adapter.State, v.config.Counters)
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for i := range states {
			states[i] = adapter.State{EntityID: v.counter(i), State: strconv.Itoa(n)}
		}
		if err := h.Set(ctx, states...); err != nil {
			return err
		}
		h.Metric("counted", float64(n))
	}
}

func (v *Virtual) command(ctx context.Context, h *adapter.Host, c adapter.Command) (any, error) {
	v.mu.Lock()
	was := v.on[c.EntityID]
	on := was
	switch c.Service {
	case "turn_on":
		on = true
	case "turn_off":
		on = false
	case "toggle":
		on = !was
	default:
		v.mu.Unlock()
		return nil, fmt.Errorf("a lamp can't %s: it takes turn_on, turn_off and toggle", c.Service)
	}
	v.on[c.EntityID] = on
	v.mu.Unlock()
	state := map[bool]string{true: "on", false: "off"}
	return map[string]string{"was": state[was]}, h.Set(ctx, adapter.State{EntityID: c.EntityID, State: state[on]})
}
