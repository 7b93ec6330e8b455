package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"carillon/plugins/adapter"
	"carillon/runtime/runtimetest"
)

// scripted is a machine whose rounds and clock are the test's.
type scripted struct {
	*machine
	rounds chan scriptedRound
	done   chan error
}

type scriptedRound struct {
	after    time.Duration // since the round before
	readings []reading
	troubles map[string]error
}

func (s *scripted) Run(ctx context.Context, h *adapter.Host) error {
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s.now = func() time.Time { return clock }
	s.device = s.describeMachine(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-s.rounds:
			clock = clock.Add(r.after)
			err := s.publish(ctx, h, r.readings, r.troubles)
			if err == nil {
				err = h.Flush(ctx)
			}
			s.done <- err
		}
	}
}

// startScripted returns what lets a round happen, and where it shows.
func startScripted(t *testing.T) (round func(after time.Duration, troubles map[string]error, names ...string), home *runtimetest.Home) {
	s := &scripted{newMachine(), make(chan scriptedRound), make(chan error)}
	home = runtimetest.StartAdapter(t, s, `{}`, t.TempDir())
	return func(after time.Duration, troubles map[string]error, names ...string) {
		t.Helper()
		var all []reading
		for _, name := range names {
			kind, _, _ := strings.Cut(name, "_")
			all = append(all, reading{kind: kind, object: name, name: name, value: "1"})
		}
		s.rounds <- scriptedRound{after, all, troubles}
		if err := <-s.done; err != nil {
			t.Fatal(err)
		}
	}, home
}

// states returns the entities with their states, without what all ids begin with.
func states(home *runtimetest.Home) string {
	var all []string
	for _, id := range home.Entities() {
		e, _ := home.Entity(id)
		all = append(all, strings.TrimPrefix(id, "sensor.machine_")+"="+e.State)
	}
	return strings.Join(all, " ")
}

func TestWhatIsGoneForLongIsRemoved(t *testing.T) {
	round, home := startScripted(t)
	const lost = "=" + "unavailable"
	for i, step := range []struct {
		after    time.Duration
		troubles map[string]error
		names    []string
		want     string
	}{
		{0, nil, []string{"disk_usb", "network_eth0"}, "disk_usb=1 network_eth0=1"},
		{time.Minute, nil, []string{"network_eth0"}, "disk_usb" + lost + " network_eth0=1"},
		{keepGone - time.Second, nil, []string{"network_eth0"}, "disk_usb" + lost + " network_eth0=1"},
		{time.Second, nil, []string{"network_eth0"}, "network_eth0=1"},
		{time.Minute, nil, []string{"network_eth0", "disk_usb"}, "disk_usb=1 network_eth0=1"}, // it comes back
		{time.Minute, nil, []string{"network_eth0"}, "disk_usb" + lost + " network_eth0=1"},
		{keepGone - time.Second, nil, []string{"network_eth0", "disk_usb"}, "disk_usb=1 network_eth0=1"}, // in time
		{time.Minute, nil, []string{"network_eth0"}, "disk_usb" + lost + " network_eth0=1"},              // and it is gone anew from here
		{keepGone - time.Second, nil, []string{"network_eth0"}, "disk_usb" + lost + " network_eth0=1"},
		// A new one declares all again, and takes away what it is time for.
		{time.Second, nil, []string{"network_eth0", "network_eth1"}, "network_eth0=1 network_eth1=1"},
		// After a pause it is unavailable first.
		{time.Hour, nil, []string{"network_eth0"}, "network_eth0=1 network_eth1" + lost},
		{time.Hour, nil, []string{"network_eth0"}, "network_eth0=1"},
		// What can't be looked at is not known to be gone.
		{time.Minute, map[string]error{"network": errors.New("no")}, nil, "network_eth0" + lost},
		{time.Hour, map[string]error{"network": errors.New("no")}, nil, "network_eth0" + lost},
		{time.Minute, nil, []string{"network_eth0"}, "network_eth0=1"},
	} {
		round(step.after, step.troubles, step.names...)
		if got := states(home); got != step.want {
			t.Fatalf("step %d: got %s, want %s", i, got, step.want)
		}
	}
}

// Each container that starts has an interface with a name of its own.
func TestInterfacesThatComeAndGo(t *testing.T) {
	round, home := startScripted(t)
	most := 0
	for i := range 200 {
		round(time.Minute, nil, "network_eth0", fmt.Sprintf("network_veth%04x", i))
		ids := home.Entities()
		most = max(most, len(ids))
		if !slices.Contains(ids, "sensor.machine_network_eth0") {
			t.Fatalf("got %v, want what is there", ids)
		}
	}
	if want := 2 + int(keepGone/time.Minute); most > want {
		t.Errorf("got up to %d entities, want at most %d", most, want)
	}
}
