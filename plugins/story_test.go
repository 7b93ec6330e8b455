//go:build unix

package plugins

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"carillon/plugins/adapter/wire"
	"carillon/runtime"
)

// tellStory has the fake say what story= names before anything else, and at its end the
// event told.
func (f *fake) tellStory() {
	of := func(device string, is bool) *wire.Item {
		if is {
			return &wire.Item{Item: &wire.Item_Availability{Availability: &wire.Availability{DeviceId: device}}}
		}
		return &wire.Item{Item: &wire.Item_Removal{Removal: &wire.Removal{DeviceId: device}}}
	}
	switch f.words["story"] {
	case "":
		return
	case "letters": // the refusal is cut within a letter of two bytes
		f.publish(state("light."+strings.Repeat("ж", 260), "on", ""))
	case "devices":
		for n := range maxEntities/1000 + 2 {
			var items []*wire.Item
			for i := range 1000 {
				items = append(items, device(fmt.Sprint("d", n, "-", i)))
			}
			f.publish(items...)
		}
	case "hub":
		f.publish(device("hub"), of("hub", true), of("hub", false))
	case "less": // the last of light.b, and then d without it
		f.publish(device("d", "light.a", "light.b"), state("light.a", "on", ""), state("light.b", "on", ""))
		f.flush()
		f.publish(state("light.b", "last", ""), device("d", "light.a"))
	case "more-and-less":
		f.publish(device("d", "light.a", "light.b"), state("light.b", "last", ""), device("d", "light.a"))
	case "early": // the state of light.c in front of its declaration, which takes light.b away
		f.publish(device("d", "light.a", "light.b"))
		f.flush()
		f.publish(state("light.c", "on", ""), device("d", "light.a", "light.c"))
	case "last": // the only entity goes, and then the device
		f.publish(device("d", "light.a"), &wire.Item{Item: &wire.Item_Removal{Removal: &wire.Removal{EntityIds: []string{"light.a"}}}}, of("d", false))
	case "long":
		f.publish(device("d", "light.a"), state("light.a", strings.Repeat("x", 256), ""))
	case "numbers1", "numbers2":
		values := map[string]float64{}
		for n := range maxValues {
			values[fmt.Sprintf("%s_%d", f.words["story"], n)] = 2.5
		}
		f.send(&wire.FromAdapter{Message: &wire.FromAdapter_Metrics{Metrics: &wire.Metrics{Values: values}}})
	case "gaps":
		for n := range uint64(1000) {
			f.send(&wire.FromAdapter{Message: &wire.FromAdapter_Follow{Follow: &wire.Follow{Id: n + 1, After: "other-1", Credit: 10}}})
			f.flush()
			f.send(&wire.FromAdapter{Message: &wire.FromAdapter_Unfollow{Unfollow: &wire.Unfollow{Follow: n + 1}}})
		}
	}
	f.publish(event("told", "{}"))
	f.flush()
}

// hears starts a fake that tells a story, and waits until it is told.
func hears(t *testing.T, story string) *bench {
	t.Helper()
	b := newBench(t, nil, "lamps", "version=1 tell-errors story="+story)
	b.await("the story is told", func() bool { return len(b.find("told")) > 0 })
	return b
}

// What is refused is said of the item, in whatever letters, and the session goes on.
func TestRefusalInLettersOfTwoBytes(t *testing.T) {
	b := hears(t, "letters")
	b.awaitShown("light.lamp", "off")
	if got := b.status("lamps"); got.Counters.Refused != 1 || got.Restarts != 0 || len(b.failures()) > 0 {
		t.Errorf("got %+v, failures %v, want one item refused and the process going on", got, b.failures())
	}
}

func TestDevicesAreBounded(t *testing.T) {
	b := hears(t, "devices")
	es := &b.host.adapters["lamps"].entities
	es.mu.Lock()
	n := len(es.devices)
	es.mu.Unlock()
	if n > maxEntities || b.status("lamps").Counters.Refused < 2000 {
		t.Errorf("got %d devices, %d refused, want at most %d", n, b.status("lamps").Counters.Refused, maxEntities)
	}
}

// A device without entities, such as a hub, is one.
func TestDeviceWithoutEntities(t *testing.T) {
	b := hears(t, "hub")
	es := &b.host.adapters["lamps"].entities
	es.mu.Lock()
	_, still := es.devices["hub"]
	es.mu.Unlock()
	if n := b.status("lamps").Counters.Refused; n != 0 || still {
		t.Errorf("got %d refused, the device still there: %v, want 0 and that it is removed", n, still)
	}
}

// A state in front of the declaration that takes its entity away is stored, however they
// came in batches.
func TestStateBeforeItsEntityGoes(t *testing.T) {
	for _, story := range []string{"less", "more-and-less"} {
		b := hears(t, story)
		if got := b.story("light.b"); b.status("lamps").Counters.Refused != 0 || !slices.Contains(got, "last") {
			t.Errorf("%s: got %d refused, light.b %v, want its last state stored", story, b.status("lamps").Counters.Refused, got)
		}
	}
}

// A device whose first state is refused is there all the same.
func TestFirstStateIsRefused(t *testing.T) {
	b := hears(t, "long")
	b.await("light.a is there", func() bool { return b.rt.State("light.a") != nil })
	if got := b.status("lamps").Counters.Refused; got != 1 {
		t.Errorf("got %d refused, want 1", got)
	}
}

// A state that comes too early is refused, and its entity is there all the same.
func TestStateBeforeItsDeclaration(t *testing.T) {
	b := hears(t, "early")
	b.await("light.c is there", func() bool { return b.rt.State("light.c") != nil })
	if got := b.status("lamps"); got.Counters.Refused != 1 || got.Refused != 1 || !strings.Contains(got.Refusal, "light.c") {
		t.Errorf("got %+v, want 1 refused, of light.c", got)
	}
	b.put("lamps", "version=2")
	b.await("the next generation is in service", func() bool { return b.status("lamps").Version == "2" })
	if got := b.status("lamps"); got.Counters.Refused != 1 || got.Refused != 0 || got.Refusal != "" {
		t.Errorf("after the next generation: got %+v, want 1 refused in all, and none of its own", got)
	}
}

func TestDeviceOutlivesItsLastEntity(t *testing.T) {
	b := hears(t, "last")
	if got := b.status("lamps").Counters.Refused; got != 0 {
		t.Errorf("got %d refused, want 0: the device is to be removed behind its only entity", got)
	}
}

// The numbers that /metrics shows are those of the newest generation.
func TestNumbersOfTheNextGeneration(t *testing.T) {
	b := hears(t, "numbers1")
	b.put("lamps", "version=2 story=numbers2")
	b.await("the second one's", func() bool { return len(b.find("told")) > 1 })
	count := func(what string) int {
		var text bytes.Buffer
		metrics.WritePrometheus(&text, false)
		return strings.Count(text.String(), `name="`+what)
	}
	b.await("its numbers", func() bool { return count("numbers2_") == maxValues && count("numbers1_") == 0 })
}

// An adapter can't make the server log without end.
func TestGapsAreLoggedNowAndThen(t *testing.T) {
	b := hears(t, "gaps")
	seconds := int(b.find("told")[0].Time.Sub(b.find(runtime.AdapterStarted)[0].Time).Seconds())
	if got := strings.Count(b.logged(), "misses events"); got == 0 || got > gapBurst+seconds+1 {
		t.Errorf("got %d lines about 1000 gaps in %d s, want %d and one a second", got, seconds, gapBurst)
	}
}

// Of two files with one name the first is the adapter, whatever else changes, and the other
// is named in the log, as is what is no executable.
func TestTwoFilesOfOneName(t *testing.T) {
	b := newBench(t, func(b *bench) { b.write("notes.txt", []byte("lamps"), 0o644) }, "lamps", "version=1", "lamps.old", "version=0")
	b.awaitState("lamps", Ready)
	b.awaitLogged("not executable, and not run (chmod +x, if it is an adapter)\" file=" + filepath.Join(b.host.Dir, "notes.txt"))
	got := map[string]bool{}
	for range 50 {
		got[filepath.Base(b.host.folders.ownFiles()["lamps"])] = true
	}
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, []string{"lamps"}) {
		t.Errorf("got %v, want lamps each time", names)
	}
	if got := strings.Count(b.logged(), "an executable is not run"); got != 1 {
		t.Errorf("got %d lines about lamps.old, want 1:\n%s", got, b.logged())
	}
}

// Executables elsewhere may lie in one folder, come and go, and be named untidily.
func TestSeveralExecutablesElsewhere(t *testing.T) {
	dir := t.TempDir()
	elsewhere := func(name, path string) AdapterConfig {
		return AdapterConfig{Path: path, Config: fmt.Appendf(nil, `{"name":%q}`, name)}
	}
	for _, name := range []string{"one", "two"} {
		if err := os.WriteFile(filepath.Join(dir, name), script(t, "version=1"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	one, two := elsewhere("one", filepath.Join(dir, "one")), elsewhere("two", dir+"//./two")
	b := newBench(t, func(b *bench) { b.host.Adapters = map[string]AdapterConfig{"one": one} })
	b.awaitState("one", Ready)
	b.host.SetConfig(map[string]AdapterConfig{"one": one, "two": two})
	b.awaitState("two", Ready)
	b.host.SetConfig(map[string]AdapterConfig{"one": one})
	b.await("two is gone", func() bool { return b.status("two").Name == "" })
	if err := os.Remove(filepath.Join(dir, "two")); err != nil {
		t.Fatal(err)
	}
	b.host.SetConfig(map[string]AdapterConfig{"one": one, "two": two})
	b.await("two has failed", func() bool { return b.status("two").State == Failed })
	if got := b.status("two"); got.Reason != ReasonFile || !strings.Contains(got.Error, "there is no such file") {
		t.Errorf("got %s %s, want that there is no such file", got.Reason, got.Error)
	}
}

// What the configuration switches off stays off.
func TestSwitchedOffStaysOff(t *testing.T) {
	b := newBench(t, func(b *bench) { b.host.Adapters = map[string]AdapterConfig{"lamps": {Disabled: true}} }, "lamps", "version=1")
	b.awaitState("lamps", Disabled)
	for what, do := range map[string]func(string) error{"restart": b.host.Restart, "enable": b.host.Enable} {
		if err := do("lamps"); err != ErrSwitchedOff {
			t.Errorf("%s: got %v, want %v", what, err, ErrSwitchedOff)
		}
	}
	b.host.SetConfig(map[string]AdapterConfig{"lamps": {}})
	b.awaitState("lamps", Ready)
}

// What a generation declares at the moment when the others' entities are let go stays.
func TestLettingGoWhileDeclaring(t *testing.T) {
	b := newBench(t, func(b *bench) { b.host.times.claim = time.Hour }, "lamps", "version=1")
	b.awaitShown("light.lamp", "off")
	es := &b.host.adapters["lamps"].entities
	devices := make([]*wire.Device, 500)
	for n := range devices {
		devices[n] = &wire.Device{Id: fmt.Sprint("x", n), Entities: []*wire.Entity{{EntityId: fmt.Sprint("light.x", n)}}}
	}
	es.declare(99, devices)
	for round := range 40 {
		generation := 100 + round
		var both sync.WaitGroup
		both.Go(func() { es.declare(generation, devices) })
		both.Go(func() {
			if _, err := es.dropUndeclared(generation); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		for n := range devices {
			if es.of(generation, fmt.Sprint("light.x", n)) == nil {
				t.Fatalf("round %d: light.x%d was let go, and it was just declared", round, n)
			}
		}
	}
}
