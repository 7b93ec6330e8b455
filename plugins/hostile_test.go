//go:build unix

package plugins

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"carillon/plugins/adapter/wire"
	"carillon/runtime"
)

// misbehave does at the beginning of the session what the contract forbids.
func (f *fake) misbehave() {
	batch := func(id uint64, items ...*wire.Item) {
		f.send(&wire.FromAdapter{Message: &wire.FromAdapter_Batch{Batch: &wire.Batch{Id: id, Items: items}}})
	}
	tick := event("tick", "{}")
	switch {
	case f.has("over-credit"):
		for id := range uint64(Credit/MaxBatch + 1) {
			batch(id+1, slices.Repeat([]*wire.Item{tick}, MaxBatch)...)
		}
	case f.has("wrong-number"):
		batch(7, tick)
	case f.has("empty-batch"):
		batch(1)
	case f.has("long-batch"):
		batch(1, slices.Repeat([]*wire.Item{tick}, MaxBatch+1)...)
	case f.has("huge-message"):
		batch(1, event("tick", `{"x":"`+strings.Repeat("x", 100<<20)+`"}`))
	case f.has("false-beat"):
		f.send(&wire.FromAdapter{Message: &wire.FromAdapter_Beat{Beat: &wire.Beat{Number: 99}}})
	case f.has("empty-message"):
		f.send(&wire.FromAdapter{})
	case f.has("thief"):
		f.publish(
			device("x", "light.lamp", "light.x"), // light.lamp is another's
			state("light.lamp", "on", ""), state("light.x", "on", ""),
			device("y", "light.y"), state("light.y", "on", ""),
			event("state_changed", `{"entity_id":"light.lamp"}`), event("adapter_failed", `{"adapter":"lamps"}`),
			event("Tick!", "{}"), event("tick", "[1]"), event("tick", strings.Repeat(`{"a":`, 100)+"1"+strings.Repeat("}", 100)),
			state("light.y", strings.Repeat("x", 256), ""),
			device("z", "Light.Z"), device("", "light.z"), device("w", "light.y"),
			&wire.Item{}, &wire.Item{Item: &wire.Item_Removal{Removal: &wire.Removal{EntityIds: []string{"light.lamp"}}}},
			&wire.Item{Item: &wire.Item_Availability{Availability: &wire.Availability{EntityIds: []string{"light.lamp"}}}},
			event("good", "{}"),
		)
		f.flush()
	case f.has("chatter"):
		f.chatter()
	case f.has("metrics"):
		values := map[string]float64{"Wrong Name": 1}
		for n := range 1000 {
			values[fmt.Sprintf("n%d", n)] = 2.5
		}
		f.send(&wire.FromAdapter{Message: &wire.FromAdapter_Metrics{Metrics: &wire.Metrics{Values: values}}})
	}
}

// realOutputs are not go-plugin's.
var realOutputs = []*os.File{os.Stdout, os.Stderr}

// chatter writes long lines without an end, and a great many.
func (f *fake) chatter() {
	for _, out := range append(realOutputs, os.Stdout, os.Stderr) {
		out.WriteString(strings.Repeat("x", 1<<20))
		out.WriteString("\nend of the line\n")
	}
	for n := range 5000 {
		f.send(&wire.FromAdapter{Message: &wire.FromAdapter_Log{Log: &wire.Log{
			Level: 99, Message: fmt.Sprint("line ", n, strings.Repeat("y", 10<<10)), Fields: map[string]string{"k": strings.Repeat("z", 10<<10)},
		}}})
	}
}

// Each of these ends its process for a reason that is told, and nobody else's.
func TestBrokenContract(t *testing.T) {
	for _, test := range []struct {
		words  string
		reason Reason
		says   string
	}{
		{"exit=3", ReasonExit, "it ended before it shook hands: exit status 3, and it said: the sky is falling"},
		{"garbage", ReasonHandshake, `"hello, world"`},
		{"endless-line", ReasonHandshake, "a line of more than 16384 bytes"},
		{"elsewhere", ReasonHandshake, "not on this machine"},
		{"no-certificate", ReasonHandshake, ""},
		{"netrpc", ReasonHandshake, "unsupported plugin protocol"},
		{"mute", ReasonTimeout, "it did not print where it listens"},
		{"undescribed", ReasonTimeout, "it did not answer Describe"},
		{"huge-description", ReasonTooLarge, "Describe"},
		{"unconfigured", ReasonTimeout, "it did not answer Configure"},
		{"over-credit", ReasonContract, "items more than there was credit for"},
		{"wrong-number", ReasonContract, "batch 7 came behind batch 0"},
		{"empty-batch", ReasonContract, "batch 1 is empty"},
		{"long-batch", ReasonContract, "1025 items, more than 1024"},
		{"huge-message", ReasonTooLarge, "more than 4194304 bytes"},
		{"false-beat", ReasonContract, "it answered beat 99"},
		{"empty-message", ReasonContract, "empty message"},
		{"beatless", ReasonHang, "has not answered a beat"},
	} {
		t.Run(test.words, func(t *testing.T) {
			b := newBench(t, func(b *bench) {
				b.journal.trigger = "tick"
				b.host.times.start, b.host.times.config = 3*time.Second, 500*time.Millisecond
				if b.host.times.call = 10 * time.Second; test.words == "undescribed" {
					b.host.times.call = 500 * time.Millisecond
				}
				if test.words == "mute" {
					b.host.times.start = time.Second
				}
				if b.host.times.hang = 10 * time.Second; test.words == "beatless" {
					b.host.times.hang = 500 * time.Millisecond
				}
				b.host.times.first, b.host.times.most = time.Hour, time.Hour
			}, "bad", test.words)
			b.await("it has failed", func() bool { return b.status("bad").State == BackingOff })
			b.journal.letGo()
			b.await("its failure is told", func() bool { return len(b.failures()) == 1 })
			got := b.status("bad")
			if got.Reason != test.reason || !strings.Contains(got.Error, test.says) || len(got.Error) > 1000 {
				t.Errorf("got %s: %.300s\nwant %s: …%s…", got.Reason, got.Error, test.reason, test.says)
			}
			if got := b.failures(); got[0] != string(test.reason) {
				t.Errorf("adapter_failed: got %v, want %s", got, test.reason)
			}
		})
	}
}

// What an adapter says of others' entities, and what is no item at all, is
// refused one by one; the rest is stored.
func TestThief(t *testing.T) {
	b := newBench(t, nil, "lamps", "version=1")
	b.awaitShown("light.lamp", "off")
	b.put("thief", "thief tell-errors")
	b.await("the good one is stored", func() bool { return len(b.find("good")) == 1 })
	b.awaitShown("light.y", "on")
	b.await("the refusals are acknowledged", func() bool {
		said := b.logged()
		return strings.Contains(said, "refused: events of type adapter_failed") && strings.Contains(said, "refused: entity_id light.lamp belongs") &&
			b.status("thief").Counters.Refused >= 17 // in whatever batches they come
	})
	if got := b.shows("light.lamp"); got != "off" || b.rt.State("light.x") != nil {
		t.Errorf("light.lamp: got %s, want off; light.x: got %+v, want none", got, b.rt.State("light.x"))
	}
	if got := b.story("light.y"); !slices.Equal(got, []string{"on"}) {
		t.Errorf("light.y: got %v, want on", got)
	}
	if got := b.status("thief"); got.Counters.Refused != 17 || got.Restarts != 0 {
		t.Errorf("got %d items refused, %d restarts, want 17, 0\n%s", got.Counters.Refused, got.Restarts, b.logged())
	}
	if len(b.find("tick")) != 0 || len(b.failures()) != 0 {
		t.Errorf("a forged event is stored")
	}
	b.awaitLogged("light.lamp belongs to adapter:lamps")
	b.awaitLogged(`msg="what the adapter says is refused" adapter=thief`)
	if _, err := b.call("turn_on", "light.lamp"); err != nil {
		t.Errorf("turn_on of the other's lamp: %v", err)
	}
}

func TestChatter(t *testing.T) {
	began := time.Now()
	b := newBench(t, nil, "lamps", "version=1 chatter")
	b.awaitShown("light.lamp", "off") // it got through
	b.await("the long lines have ended", func() bool { return strings.Count(b.logged(), "end of the line") >= 2 })
	got := b.status("lamps").Counters
	most := int64(logBurst + time.Since(began)/logEvery + 1)
	if got.LogLines < 5000 || got.LogLines-got.LogDropped > most {
		t.Errorf("got %d lines, %d dropped, want 5000 and more, at most %d of them kept", got.LogLines, got.LogDropped, most)
	}
	if n := len(b.logged()); n > 8<<20 {
		t.Errorf("the log has %d bytes", n)
	}
	b.awaitLogged(fmt.Sprintf("(%d bytes more)", 1<<20-maxLine))
	b.await("lines are events", func() bool { return len(b.find(runtime.AdapterLog)) > 10 })
	for _, e := range b.find(runtime.AdapterLog) {
		if len(e.JSON) > 4*maxLine {
			t.Fatalf("an adapter_log event has %d bytes", len(e.JSON))
		}
	}
}

func TestMetricsAreBounded(t *testing.T) {
	b := newBench(t, nil, "lamps", "version=1 metrics")
	b.awaitShown("light.lamp", "off")
	var text bytes.Buffer
	b.await("its numbers are shown", func() bool {
		text.Reset()
		metrics.WritePrometheus(&text, false)
		return strings.Contains(text.String(), `,name="n`)
	})
	if n := strings.Count(text.String(), `carillon_adapter_value{adapter="lamps",name="n`); n != maxValues {
		t.Errorf("got %d numbers, want %d", n, maxValues)
	}
	if want := `carillon_adapter_dropped_total{adapter="lamps",reason="metric"} 901`; !strings.Contains(text.String(), want) {
		t.Errorf("want %s", want)
	}
}

// Commands that are never answered have a deadline, and a bound.
func TestDeafAdapter(t *testing.T) {
	b := newBench(t, nil, "lamps", "deaf")
	b.awaitShown("light.lamp", "off")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	errs := make(chan error)
	for range maxCommands + 10 {
		go func() {
			_, err := b.rt.Call(ctx, runtime.Command{Domain: "light", Service: "turn_on", Data: []byte(`{"entity_id":"light.lamp"}`)})
			errs <- err
		}()
	}
	full := 0
	for range maxCommands + 10 {
		switch err := <-errs; {
		case err == nil:
			t.Error("a command was answered")
		case strings.Contains(err.Error(), "commands wait for the adapter's answer already"):
			full++
		}
	}
	if full != 10 {
		t.Errorf("%d commands were refused, want the 10 over the limit", full)
	}
	if got := b.status("lamps"); got.State != Ready {
		t.Errorf("got %s, want it ready: it answers beats", got.State)
	}
}
