package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"carillon/plugins/adapter"
	"carillon/runtime/runtimetest"
)

// A waiting gateway runs once begin is closed.
type waiting struct {
	*gateway
	begin chan struct{}
}

func (w waiting) Run(ctx context.Context, h *adapter.Host) error {
	<-w.begin
	return w.gateway.Run(ctx, h)
}

// What somebody else has is left out and named, and is there when it is free: also the only entity
// of a device, and beside one that the device refuses to tell.
func TestTakenID(t *testing.T) {
	f := newFake(map[place]uint16{{input, 0}: 1, {input, 1}: 2, {coil, 0}: 1})
	g, begin := newGateway(), make(chan struct{})
	g.dial, g.tryTaken = f.dial, 20*time.Millisecond
	home := runtimetest.StartAdapter(t, waiting{g, begin}, `{"interval": "100ms", "devices": [
		{"id": "one", "address": "a:502", "entities": [{"id": "sensor.a", "table": "input", "address": 0}, {"id": "sensor.b", "table": "input", "address": 1},
			{"id": "sensor.refused", "table": "input", "address": 9}]},
		{"id": "two", "address": "b:502", "entities": [{"id": "switch.c", "table": "coil", "address": 0}]}]}`, t.TempDir())
	home.Taken("sensor.b", "switch.c")
	close(begin)
	shows := func(want string) {
		t.Helper()
		got := ""
		home.Until(want, func() bool {
			var all []string
			for _, id := range home.Entities() {
				e, _ := home.Entity(id)
				all = append(all, id+"="+e.State)
			}
			got = strings.Join(all, " ")
			return got == want
		})
	}
	named := func(want ...string) {
		t.Helper()
		home.Until("the health names "+strings.Join(want, " and "), func() bool {
			_, detail := home.Ready()
			for _, id := range []string{"sensor.b", "switch.c"} {
				if strings.Contains(detail, id) != slices.Contains(want, id) {
					return false
				}
			}
			return true
		})
	}
	shows("sensor.a=1 sensor.refused=unavailable")
	named("sensor.b", "switch.c")
	home.Taken("switch.c")
	shows("sensor.a=1 sensor.b=2 sensor.refused=unavailable")
	named("switch.c")
	home.Taken()
	shows("sensor.a=1 sensor.b=2 sensor.refused=unavailable switch.c=on")
	named()
	if _, err := home.Call(t.Context(), "switch.turn_off", "switch.c", "{}"); err != nil {
		t.Errorf("a command for what is there again: got %v", err)
	}
	shows("sensor.a=1 sensor.b=2 sensor.refused=unavailable switch.c=off")
	for text, want := range map[string]int{"left out until": 2, "that was left out is there": 2} {
		n := 0
		for _, line := range home.Logs() {
			if strings.Contains(line, text) {
				n++
			}
		}
		if n != want {
			t.Errorf("got %d lines with %q, want %d", n, text, want)
		}
	}
}
