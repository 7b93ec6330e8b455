// Command go is an adapter for a relay on a pin of this machine.
package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"carillon/plugins/adapter"
)

func main() { adapter.Serve(&relay{}) }

// A relay is its own configuration: the pin's file, /sys/class/gpio/gpio17/value.
type relay struct {
	Path string `json:"path"`
}

func (r *relay) Describe() adapter.Description {
	return adapter.Description{Name: "relay", Version: "1.0", Summary: "A relay on a pin of this machine."}
}

func (r *relay) Configure(_ context.Context, c adapter.Config) error {
	var next relay
	err := c.Decode(&next)
	if err == nil && !c.ValidateOnly {
		*r = next
	}
	return err
}

func (r *relay) Run(ctx context.Context, h *adapter.Host) error {
	h.OnCommand(func(ctx context.Context, c adapter.Command) (any, error) {
		value := map[string]string{"turn_on": "1", "turn_off": "0"}[c.Service]
		err := os.WriteFile(r.Path, []byte(value), 0o600)
		return nil, errors.Join(err, r.publish(ctx, h))
	})
	err := h.Declare(ctx, adapter.Device{ID: r.Path, Name: "Relay", Entities: []adapter.Entity{
		{ID: "switch.relay", Services: []string{"turn_on", "turn_off"}, Attributes: map[string]any{"friendly_name": "Relay"}}}})
	for err = errors.Join(err, h.Flush(ctx)); err == nil && ctx.Err() == nil; { // somebody else may have switch.relay
		err = r.publish(ctx, h)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return err
}

func (r *relay) publish(ctx context.Context, h *adapter.Host) error {
	value, err := os.ReadFile(r.Path)
	if err != nil {
		return err
	}
	state := map[bool]string{false: "off", true: "on"}[strings.TrimSpace(string(value)) == "1"]
	return h.Set(ctx, adapter.State{EntityID: "switch.relay", State: state})
}
