package scripts

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"carillon/runtime"
	"carillon/runtime/runtimetest"
)

// A bench is a host over a journal in memory, and everything that happened.
type bench struct {
	t    *testing.T
	host *Host
	rt   *runtime.Runtime
	dir  string
	stop func() // ends the host and waits for it

	mu     sync.Mutex
	events []*runtime.Event // guarded by mu
	log    strings.Builder  // guarded by mu
}

// newBench starts a host whose folder holds files, by name and content in
// turns, and waits until it is ready.
func newBench(t *testing.T, files ...string) *bench {
	t.Helper()
	b := prepare(t, files...)
	b.start()
	b.await("the host is ready", func() bool { return closed(b.host.Ready()) })
	scripts := 0
	for i := 0; i < len(files); i += 2 {
		if isScript(files[i]) {
			scripts++
		}
	}
	b.await("every script's fate is told", func() bool { return b.fates() >= scripts })
	return b
}

// fates counts the loads of scripts that are told, good and bad.
func (b *bench) fates() int {
	return len(b.find(runtime.ScriptLoaded)) + len(b.find(runtime.ScriptFailed))
}

func prepare(t *testing.T, files ...string) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir()}
	logger := slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
	rt, err := runtime.Open(t.Context(), &runtimetest.Journal{}, runtime.Options{Log: logger, Grace: time.Hour, CallTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rt.Close() })
	b.rt = rt
	rt.Follow(func(batch []*runtime.Event) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.events = append(b.events, batch...)
	})
	b.host = &Host{Dir: b.dir, Runtime: rt, Log: logger, Quiet: 10 * time.Millisecond}
	for i := 0; i < len(files); i += 2 {
		b.write(files[i], files[i+1])
	}
	return b
}

func (b *bench) start() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.host.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				b.t.Errorf("host: %v", err)
			}
		case <-time.After(time.Minute):
			b.t.Error("host: still runs a minute after its context ended")
		}
	})
	b.t.Cleanup(b.stop)
}

// Write implements io.Writer for the log.
func (b *bench) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(p)
}

func (b *bench) logged() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

// write puts a file into the folder as an editor does, by renaming.
func (b *bench) write(name, content string) {
	b.t.Helper()
	tmp := filepath.Join(b.dir, "."+name)
	if err := os.WriteFile(tmp, []byte(content), 0o600); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(b.dir, name)); err != nil {
		b.t.Fatal(err)
	}
}

// load writes a file and waits until the host has dealt with it.
func (b *bench) load(name, content string) Status {
	b.t.Helper()
	before := b.fates()
	b.write(name, content)
	b.await("the host deals with "+name, func() bool { return b.fates() > before })
	return b.status(name)
}

func (b *bench) status(name string) Status {
	for _, s := range b.host.Status() {
		if s.File == name {
			return s
		}
	}
	return Status{}
}

// await polls until cond holds, and fails the test after a minute.
func (b *bench) await(what string, cond func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			b.t.Fatalf("waited a minute until %s; status %+v; log:\n%s", what, b.host.Status(), b.logged())
		}
		<-tick.C
	}
}

func (b *bench) find(typ string) (found []*runtime.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.events {
		if e.Type == typ {
			found = append(found, e)
		}
	}
	return found
}

// next waits for the n-th event of a type, from 1.
func (b *bench) next(typ string, n int) *runtime.Event {
	b.t.Helper()
	b.await(fmt.Sprintf("%s happens %d times", typ, n), func() bool { return len(b.find(typ)) >= n })
	return b.find(typ)[n-1]
}

// fire makes an event and returns it as it was seen.
func (b *bench) fire(typ, data string) {
	b.t.Helper()
	if _, err := b.rt.Fire(b.t.Context(), runtime.NewEvent{Type: typ, Data: json.RawMessage(data), Source: "test"}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) set(id, state, attributes string) runtime.SetResult {
	b.t.Helper()
	r, err := b.rt.Set(b.t.Context(), runtime.Change{EntityID: id, State: state, Attributes: json.RawMessage(attributes), Source: "test"})
	if err != nil {
		b.t.Fatal(err)
	}
	return r[0]
}

func (b *bench) call(service, data string) (*runtime.Result, error) {
	domain, name, _ := strings.Cut(service, ".")
	return b.rt.Call(b.t.Context(), runtime.Command{Domain: domain, Service: name, Data: json.RawMessage(data), Source: "test"})
}

func (b *bench) state(id string) string {
	if s := b.rt.State(id); s != nil {
		return s.State
	}
	return ""
}

// wantState waits until an entity has a state.
func (b *bench) wantState(id, want string) {
	b.t.Helper()
	b.await(fmt.Sprintf("%s is %q", id, want), func() bool { return b.state(id) == want })
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// field returns one member of an event's data, as text.
func field(e *runtime.Event, name string) string {
	var m map[string]any
	if json.Unmarshal(e.Data(), &m) != nil {
		return ""
	}
	return fmt.Sprint(m[name])
}

// What others make of a script's entity stays until its next set, which brings the declared attributes back.
func TestSetRestoresWhatOthersChanged(t *testing.T) {
	b := newBench(t, "lamp.js", `
		const lamp = device('light.lamp', {name: 'Lamp', commands: { show() { lamp.set('on'); } }});
		lamp.set('on', {brightness: 7});
	`)
	check := func(what, want string) {
		t.Helper()
		if _, err := b.call("light.show", `{"entity_id":"light.lamp"}`); err != nil {
			t.Fatal(err)
		}
		s := b.rt.State("light.lamp")
		if got := s.State + " " + string(s.Attributes); got != want {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
	}
	check("nothing was changed", `on {"brightness":7,"friendly_name":"Lamp"}`)
	if _, err := b.rt.Set(t.Context(), runtime.Change{EntityID: "light.lamp", State: "strange", Attributes: json.RawMessage(`{"color":"red"}`), Source: "api"}); err != nil {
		t.Fatal(err)
	}
	check("its state was changed", `on {"color":"red","friendly_name":"Lamp"}`)
	if err := b.rt.Remove(t.Context(), "light.lamp", runtime.Remote, runtime.Context{}, "api"); err != nil {
		t.Fatal(err)
	}
	check("it was removed", `on {"friendly_name":"Lamp"}`)
}

// A script calls what is for entities of any domain, its own among them.
func TestCallAnyDomain(t *testing.T) {
	b := newBench(t, "any.js", `
		const lamp = device('light.lamp', {commands: { turn_on() { lamp.set('on'); } }});
		const plug = device('switch.plug', {commands: { turn_on(data, ctx) { plug.set(ctx.domain); } }});
		const all = device('button.all', {commands: { async press() {
			const {changed} = await call('homeassistant.turn_on', {entity_id: ['light.lamp', 'switch.plug', 'sensor.none']});
			return changed.map(s => s.entity_id + '=' + s.state);
		} }});
	`)
	result, err := b.call("button.press", `{"entity_id":"button.all"}`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(result.Response), `["light.lamp=on","switch.plug=switch"]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestLampTakesCommands(t *testing.T) {
	b := newBench(t, "lamp.js", `
		const lamp = device('light.lamp', {name: 'Lamp', icon: 'mdi:lamp', commands: {
			turn_on(data, ctx) {
				lamp.set('on', {brightness: data.brightness ?? 255});
				return {was: ctx.entity_id};
			},
		}});
		lamp.command('turn_off', () => { lamp.set('off'); });
		lamp.set('off');
	`)
	if got := b.state("light.lamp"); got != "off" {
		t.Fatalf("state after load: got %q, want off", got)
	}
	result, err := b.call("light.turn_on", `{"entity_id":"light.lamp","brightness":7}`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(result.Response), `{"was":"light.lamp"}`; got != want {
		t.Errorf("response: got %s, want %s", got, want)
	}
	if len(result.Changed) != 1 || result.Changed[0].State != "on" {
		t.Errorf("changed states: got %v, want light.lamp on", result.Changed)
	}
	want := `{"brightness":7,"friendly_name":"Lamp","icon":"mdi:lamp"}`
	if got := string(b.rt.State("light.lamp").Attributes); got != want {
		t.Errorf("attributes: got %s, want %s", got, want)
	}
	if _, err := b.call("light.turn_off", `{"entity_id":"light.lamp"}`); err != nil {
		t.Fatal(err)
	}
	s := b.rt.State("light.lamp")
	if s.State != "off" || string(s.Attributes) != want {
		t.Errorf("after turn_off: got %s %s, want off %s", s.State, s.Attributes, want)
	}
	if got := b.status("lamp.js"); got.Generation != 1 || got.State != Running || got.Entities != 1 || got.Handled != 2 {
		t.Errorf("status: got %+v, want generation 1, running, 1 entity, 2 handled", got)
	}
}
