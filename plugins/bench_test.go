//go:build unix

package plugins

import (
	"context"
	"encoding/json"
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
	t       testing.TB
	host    *Host
	rt      *runtime.Runtime
	journal heldJournal
	dir     string
	stop    func() // ends the host and waits for it

	mu     sync.Mutex
	events []*runtime.Event // guarded by mu
	log    strings.Builder  // guarded by mu
}

// impatient is how patient the host is in tests.
var impatient = times{
	start: 10 * time.Second, call: 2 * time.Second, config: 2 * time.Second,
	health: time.Second, healthy: 500 * time.Millisecond, poll: 500 * time.Millisecond,
	beat: 50 * time.Millisecond, hang: 2 * time.Second,
	drain: 2 * time.Second, patience: 2 * time.Second, settle: time.Second, exit: 500 * time.Millisecond,
	silent: 300 * time.Millisecond, claim: 500 * time.Millisecond, first: 50 * time.Millisecond, most: time.Second, window: time.Minute,
	retry: 10 * time.Millisecond,
}

// newBench makes a host whose folder holds executables, by name and words in
// turns. Change is called before it starts.
func newBench(t testing.TB, change func(*bench), programs ...string) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir()}
	logger := slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
	b.host = &Host{Dir: filepath.Join(b.dir, "plugins"), DataDir: filepath.Join(b.dir, "data"), Log: logger, Quiet: 10 * time.Millisecond, times: impatient}
	if err := os.Mkdir(b.host.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(programs); i += 2 {
		b.put(programs[i], programs[i+1])
	}
	if change != nil {
		change(b)
	}
	rt, err := runtime.Open(t.Context(), &b.journal, runtime.Options{Log: logger, Grace: time.Hour, CallTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rt.Close() })
	b.rt, b.host.Runtime = rt, rt
	rt.Follow(func(batch []*runtime.Event) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.events = append(b.events, batch...)
	})
	b.start()
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
	b.t.Cleanup(func() {
		b.stop()
		if b.t.Failed() {
			b.t.Log(b.logged())
		}
	})
}

// put writes an executable as an editor does, by renaming.
func (b *bench) put(name, words string) {
	b.t.Helper()
	b.write(name, script(b.t, words), 0o755)
}

func (b *bench) write(name string, content []byte, mode os.FileMode) {
	b.t.Helper()
	tmp := filepath.Join(b.host.Dir, "."+name)
	if err := os.WriteFile(tmp, content, mode); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(b.host.Dir, name)); err != nil {
		b.t.Fatal(err)
	}
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

// awaitLogged waits until the log has a text. What is told elsewhere may be seen before.
func (b *bench) awaitLogged(text string) {
	b.t.Helper()
	b.await("the log has "+text, func() bool { return strings.Contains(b.logged(), text) })
}

// await waits until what is asked for is so.
func (b *bench) await(what string, ok func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			b.t.Fatalf("waited a minute in vain: %s\n%+v", what, b.host.List())
		}
		<-time.After(2 * time.Millisecond)
	}
}

func (b *bench) status(name string) Status {
	s, _ := b.host.Status(name)
	return s
}

// awaitState waits until an adapter is in a state.
func (b *bench) awaitState(name string, want State) Status {
	b.t.Helper()
	b.await(name+" is "+string(want), func() bool { return b.status(name).State == want })
	return b.status(name)
}

// find returns the events of a type so far.
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

// shows reports what an entity is.
func (b *bench) shows(id string) string {
	if s := b.rt.State(id); s != nil {
		return s.State
	}
	return ""
}

func (b *bench) awaitShown(id, want string) {
	b.t.Helper()
	b.await(id+" is "+want, func() bool { return b.shows(id) == want })
}

// story returns the states that an entity had, one after another.
func (b *bench) story(id string) (states []string) {
	for _, e := range b.find(runtime.StateChanged) {
		if e.EntityID == id && e.New() != nil {
			states = append(states, e.New().State)
		}
	}
	return states
}

func (b *bench) call(service, id string) (*runtime.Result, error) {
	data, _ := json.Marshal(map[string]string{"entity_id": id})
	return b.rt.Call(b.t.Context(), runtime.Command{Domain: runtime.Domain(id), Service: service, Data: data})
}

// failures returns the reasons of the adapter_failed events so far.
func (b *bench) failures() (reasons []string) {
	for _, e := range b.find(runtime.AdapterFailed) {
		var data struct {
			Reason string `json:"reason"`
		}
		json.Unmarshal(e.Data(), &data)
		reasons = append(reasons, data.Reason)
	}
	return reasons
}

// A heldJournal takes nothing from the first event of a type on, until it is let
// go.
type heldJournal struct {
	runtimetest.Journal

	mu sync.Mutex
	// Guarded by mu.
	trigger string // empty: never
	held    bool
	queue   []func()
}

// Append implements runtime.Journal.
func (j *heldJournal) Append(events []*runtime.Event, done func(uint64, error)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.trigger != "" && events[0].Type == j.trigger {
		j.held = true
	}
	if j.held {
		j.queue = append(j.queue, func() { j.Journal.Append(events, done) })
		return
	}
	j.Journal.Append(events, done)
}

func (j *heldJournal) letGo() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, fn := range j.queue {
		fn()
	}
	j.trigger, j.held, j.queue = "", false, nil
}
