//go:build unix

package plugins

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"carillon/plugins/adapter/wire"
)

// Discover finds what the words say.
func (f *fake) Discover(r *wire.DiscoverRequest, stream wire.Adapter_DiscoverServer) error {
	if !f.has("discover") {
		return status.Error(codes.Unimplemented, "no")
	}
	tell := func(id, config string) error {
		return stream.Send(&wire.Discovered{Id: id, Title: "A " + id, Config: config})
	}
	tell("b", `{"n":2}`)
	tell("a", `{"z":1, "a":[1]}`)
	tell("b", `{"n":3}`)
	switch f.words["discover"] {
	case "endless":
		select {} // also when nobody listens any more
	case "flood":
		for n := 0; tell(fmt.Sprint("d", n), `{}`) == nil; n++ {
		}
	case "same":
		for tell("a", `{}`) == nil {
		}
	case "large":
		for n := 0; tell(fmt.Sprint("d", n), `{"x":"`+strings.Repeat("x", 1<<20)+`"}`) == nil; n++ {
		}
	case "wrong":
		tell("", "{}")
		tell("list", "[]")
		tell(strings.Repeat("x", 256), "{}")
		stream.Send(&wire.Discovered{Id: "long", Title: strings.Repeat("x", 300)})
	case "fail":
		return errors.New("the network is down")
	case "dies":
		os.Exit(3)
	case "waits":
		<-time.After(time.Duration(r.TimeoutMs) * time.Millisecond)
	}
	return nil
}

func ids(d *Discovery) (list []string) {
	for _, one := range d.Devices {
		list = append(list, one.ID)
	}
	return list
}

func TestDiscover(t *testing.T) {
	for _, test := range []struct {
		words    string
		limit    time.Duration
		devices  int
		complete bool
		leftOut  bool
	}{
		{"discover", 10 * time.Second, 2, true, false},
		{"discover=endless", 300 * time.Millisecond, 2, false, false},
		{"discover=waits", 300 * time.Millisecond, 2, false, false},
		{"discover=flood", 10 * time.Second, maxDiscovered, false, true},
		{"discover=same", 10 * time.Second, 2, false, true},
		{"discover=large", 10 * time.Second, 5, false, true},
		{"discover=wrong", 10 * time.Second, 3, true, true},
		{"discover=fail", 10 * time.Second, 2, false, false},
	} {
		t.Run(test.words, func(t *testing.T) {
			b := newBench(t, func(b *bench) { b.host.times.health = 500 * time.Millisecond }, "lamps", test.words)
			if st := b.awaitState("lamps", Ready); !st.Discovers {
				t.Error("its status doesn't say that it discovers")
			}
			began := time.Now()
			d, err := b.host.Discover(t.Context(), "lamps", test.limit)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > 9*time.Second {
				t.Errorf("it took %v", took)
			}
			if len(d.Devices) != test.devices || d.Complete != test.complete || (d.LeftOut > 0) != test.leftOut {
				t.Errorf("got %d devices, complete %v, %d left out, want %d, %v, %v", len(d.Devices), d.Complete, d.LeftOut, test.devices, test.complete, test.leftOut)
			}
			if !slices.IsSorted(ids(d)) || d.Devices[0].ID != "a" || d.Devices[1].ID != "b" || d.Devices[1].Title != "A b" || string(d.Devices[1].Config) != `{"n":3}` {
				t.Errorf("got %.300v", d.Devices)
			}
			if test.words == "discover" && string(d.Devices[0].Config) != `{"a":[1],"z":1}` {
				t.Errorf("got the configuration %s", d.Devices[0].Config)
			}
		})
	}
}

// An adapter that dies meanwhile has found what arrived, or nothing.
func TestDiscoverOfOneThatDies(t *testing.T) {
	b := newBench(t, nil, "lamps", "discover=dies")
	b.awaitState("lamps", Ready)
	if d, err := b.host.Discover(t.Context(), "lamps", 10*time.Second); err == nil && (d.Complete || len(d.Devices) == 0) {
		t.Errorf("got %+v, want that it is not complete", d)
	}
}

func TestDiscoverIsRefused(t *testing.T) {
	b := newBench(t, nil, "lamps", "version=1", "boaster", "boasts", "slow", "discover=endless", "off", "discover")
	for _, name := range []string{"lamps", "boaster", "slow", "off"} {
		b.awaitState(name, Ready)
	}
	if err := b.host.Disable("off"); err != nil {
		t.Fatal(err)
	}
	b.awaitState("off", Disabled)
	ended := make(chan error, 1)
	go func() {
		_, err := b.host.Discover(t.Context(), "slow", time.Second)
		ended <- err
	}()
	b.host.mu.Lock()
	slow := b.host.adapters["slow"]
	b.host.mu.Unlock()
	b.await("it is under way", slow.discovering.Load)
	for name, want := range map[string]error{"nobody": ErrUnknown, "lamps": ErrDiscovers, "boaster": ErrDiscovers, "off": ErrNotInService, "slow": ErrDiscovering} {
		if _, err := b.host.Discover(t.Context(), name, time.Second); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("the first: %v", err)
	}
	if slow.discovering.Load() {
		t.Error("the first is over, and another can't begin")
	}
}
