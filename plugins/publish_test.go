//go:build unix

package plugins

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"carillon/plugins/adapter/wire"
	"carillon/runtime"
)

// What an adapter publishes, item by item.
func (f *fake) publishAll() {
	away := func(device string, yes bool, ids ...string) *wire.Item {
		return &wire.Item{Item: &wire.Item_Availability{Availability: &wire.Availability{DeviceId: device, EntityIds: ids, Available: yes}}}
	}
	gone := func(device string, ids ...string) *wire.Item {
		return &wire.Item{Item: &wire.Item_Removal{Removal: &wire.Removal{DeviceId: device, EntityIds: ids}}}
	}
	attributes := func(id, value, attributes string) *wire.Item {
		i := state(id, value, "")
		i.GetState().Attributes = attributes
		return i
	}
	f.publish(
		device("a", "light.a1", "light.a2"), device("b", "light.b1"),
		state("light.a1", "on", ""),
		attributes("light.b1", "on", `{"brightness":7,"friendly_name":"B"}`),
		away("a", false),
		away("b", false), state("light.b1", "off", ""), // it is heard of, and so it is reached
		away("a", true),
		event("button", `{"press":1}`),
		state("light.a1", "off", ""),
		gone("b"),
		device("c", "light.c1"), state("light.c1", "on", ""),
		attributes("light.c1", "on", `{"x":1}`),
		attributes("light.c1", "on", `{"x":1}`),
		state("light.c1", "off", ""),
		device("c", "light.c1", "light.c2"),
		event("done", "{}"),
	)
}

func TestKindsOfItems(t *testing.T) {
	b := newBench(t, nil, "lamps", "all")
	b.await("all is published", func() bool { return len(b.find("done")) == 1 })
	for id, want := range map[string][]string{
		"light.a1": {"on", "unavailable", "on", "off"},
		"light.a2": {"unknown", "unavailable", "unknown"},
		"light.b1": {"on", "unavailable", "off"},
		"light.c1": {"on", "on", "off"},
		"light.c2": {"unknown"},
	} {
		if got := b.story(id); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", id, got, want)
		}
	}
	if s := b.rt.State("light.b1"); s != nil {
		t.Errorf("light.b1: got %+v, want it removed", s)
	}
	if got, want := string(b.rt.State("light.c1").Attributes), `{"friendly_name":"Lamp","x":1}`; got != want {
		t.Errorf("attributes of light.c1: got %s, want %s", got, want)
	}
	if got := b.find("button"); len(got) != 1 || got[0].Source != "lamps@1" || string(got[0].Data()) != `{"press":1}` {
		t.Errorf("button: got %v, want one of lamps@1", got)
	}
	if got := b.status("lamps"); got.Entities != 5 || got.Counters.Refused != 0 {
		t.Errorf("got %d entities, %d refused, want 5 (its own lamp too), 0", got.Entities, got.Counters.Refused)
	}
}

// numbers returns the n of all tick events, in order, by generation's version.
func (b *bench) numbers() map[string][]int {
	by := map[string][]int{}
	for _, e := range b.find("tick") {
		var data struct {
			Generation string `json:"generation"`
			N          int    `json:"n"`
		}
		json.Unmarshal(e.Data(), &data)
		by[data.Generation] = append(by[data.Generation], data.N)
	}
	return by
}

// checkNumbers looks for what is lost, double or out of order.
func checkNumbers(t *testing.T, generation string, numbers []int) {
	t.Helper()
	for i, n := range numbers {
		if n != i+1 {
			t.Fatalf("generation %s: got event %d at place %d", generation, n, i+1)
		}
	}
}

// A journal that takes nothing for a while slows the adapter, and nothing is
// lost or stored twice.
func TestJournalInTrouble(t *testing.T) {
	var calls atomic.Int64
	b := newBench(t, func(b *bench) {
		b.journal.Fail = func([]*runtime.Event) error {
			if n := calls.Add(1); n > 20 && n < 400 && n%3 != 0 {
				return errors.New("the disk is full")
			}
			return nil
		}
	}, "lamps", "count=20000 per=7")
	b.await("all is stored", func() bool { return len(b.find("tick")) >= 20000 })
	checkNumbers(t, "", b.numbers()[""])
	if got := b.status("lamps"); got.Restarts != 0 || got.Counters.Dropped != 0 {
		t.Errorf("got %+v, want no restart and nothing dropped", got)
	}
}

// The journal takes nothing at all: what the adapter may send is bounded by its
// credit, it is not taken for dead, and its commands have deadlines.
func TestBackpressure(t *testing.T) {
	b := newBench(t, func(b *bench) {
		b.journal.trigger = "tick"
		b.host.times.hang = 3 * time.Second
	}, "lamps", "count=30000 per=10")
	b.await("the credit is used up", func() bool { s := b.status("lamps"); return s.PID > 0 && s.Credit < 10 })
	st := b.status("lamps")
	if st.Queue > Credit || st.QueueBytes == 0 {
		t.Errorf("got a queue of %d items, %d bytes, want at most %d items", st.Queue, st.QueueBytes, Credit)
	}
	var text bytes.Buffer
	metrics.WritePrometheus(&text, false)
	if want := fmt.Sprintf("carillon_adapter_queue_items{adapter=\"lamps\"} %d\n", st.Queue); !strings.Contains(text.String(), want) {
		t.Errorf("metrics: want %s", want)
	}
	still := time.Now().Add(b.host.times.hang + 500*time.Millisecond)
	b.await("it stays that way", func() bool { return time.Now().After(still) })
	b.journal.letGo()
	b.await("all is stored", func() bool { return len(b.find("tick")) >= 30000 })
	checkNumbers(t, "", b.numbers()[""])
	if got := b.awaitState("lamps", Ready); got.PID != st.PID {
		t.Errorf("the adapter was restarted: %v", b.failures())
	}
}

func TestLargeBatchesAreBounded(t *testing.T) {
	b := newBench(t, func(b *bench) {
		b.journal.trigger = "big"
		b.host.times.hang = 3 * time.Second
	}, "lamps", "big=100")
	b.await("the queue is full", func() bool { return b.status("lamps").QueueBytes > maxQueuedBytes-1<<20 })
	still := time.Now().Add(b.host.times.hang + 500*time.Millisecond)
	b.await("it stays that way", func() bool { return time.Now().After(still) })
	if got := b.status("lamps"); got.QueueBytes > maxQueuedBytes {
		t.Errorf("got %d bytes waiting, want at most %d", got.QueueBytes, maxQueuedBytes)
	}
	b.journal.letGo()
	b.await("all is stored", func() bool { return len(b.find("big")) == 100 })
	if got := b.status("lamps"); got.Restarts != 0 {
		t.Errorf("the adapter was restarted: %v", b.failures())
	}
}

// A server whose journal takes nothing any more ends all the same, and its
// adapters with it.
func TestEndWithoutJournal(t *testing.T) {
	b := newBench(t, func(b *bench) {
		b.journal.trigger = "tick"
		b.host.times.drain, b.host.times.settle = 200*time.Millisecond, 200*time.Millisecond
	}, "lamps", "count=30000 per=10")
	b.await("the credit is used up", func() bool { s := b.status("lamps"); return s.PID > 0 && s.Credit < 10 })
	st := b.status("lamps")
	began := time.Now()
	b.stop()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("stopping took %v", took)
	}
	if got := b.status("lamps").Counters.Dropped; got < Credit-100 || alive(st.PID) {
		t.Errorf("got %d items dropped, process alive: %v, want those of the window to be counted, and it gone", got, alive(st.PID))
	}
	b.journal.letGo()
}

// big fires large events.
func (f *fake) big() {
	data := `{"x":"` + strings.Repeat("x", 512<<10) + `"}`
	for range f.number("big") {
		f.publish(event("big", data))
	}
}
