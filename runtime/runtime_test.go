package runtime_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"carillon/runtime"
	"carillon/runtime/runtimetest"
)

func open(t *testing.T, j runtime.Journal, o runtime.Options) *runtime.Runtime {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r, err := runtime.Open(t.Context(), j, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return r
}

// record gathers everything a runtime hands out.
type record struct {
	mu     sync.Mutex
	events []*runtime.Event
}

func follow(r *runtime.Runtime) *record {
	rec := &record{}
	r.Follow(func(batch []*runtime.Event) {
		rec.mu.Lock()
		defer rec.mu.Unlock()
		rec.events = append(rec.events, batch...)
	})
	return rec
}

func (rec *record) all() []*runtime.Event {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return append([]*runtime.Event(nil), rec.events...)
}

func set(t *testing.T, r *runtime.Runtime, c runtime.Change) runtime.SetResult {
	t.Helper()
	results, err := r.Set(t.Context(), c)
	if err != nil {
		t.Fatalf("setting %s: %v", c.EntityID, err)
	}
	return results[0]
}

func TestStateRules(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r := open(t, &runtimetest.Journal{}, runtime.Options{Now: func() time.Time { now = now.Add(time.Second); return now }})
	rec := follow(r)
	const id = "light.hall"

	first := set(t, r, runtime.Change{EntityID: id, State: "on", Attributes: json.RawMessage(`{"b":1,"a":2}`)})
	if !first.Created || !first.Changed || string(first.State.Attributes) != `{"a":2,"b":1}` {
		t.Errorf("new entity: got %+v", first)
	}
	same := set(t, r, runtime.Change{EntityID: id, State: "on", Attributes: json.RawMessage(`{ "a": 2, "b": 1 }`)})
	if same.Created || same.Changed || !same.State.LastReported.After(first.State.LastReported) || same.State.LastUpdated != first.State.LastUpdated {
		t.Errorf("same again: got %+v, want only last_reported moved", same)
	}
	if got := r.State(id); got.LastReported != same.State.LastReported {
		t.Errorf("same again: the table has last_reported %v, want %v", got.LastReported, same.State.LastReported)
	}
	attr := set(t, r, runtime.Change{EntityID: id, State: "on", Attributes: json.RawMessage(`{}`)})
	if !attr.Changed || attr.State.LastChanged != first.State.LastChanged || attr.State.LastUpdated == first.State.LastUpdated {
		t.Errorf("other attributes: got %+v, want last_changed kept and last_updated moved", attr.State)
	}
	keep := set(t, r, runtime.Change{EntityID: id, State: "off"})
	if !keep.Changed || string(keep.State.Attributes) != `{}` || keep.State.LastChanged == first.State.LastChanged {
		t.Errorf("other state: got %+v", keep.State)
	}
	forced := set(t, r, runtime.Change{EntityID: id, State: "off", ForceUpdate: true})
	if !forced.Changed || forced.State.LastChanged == keep.State.LastChanged {
		t.Errorf("forced: got %+v, want an event with last_changed moved", forced)
	}
	if err := r.Remove(t.Context(), id, runtime.Remote, runtime.Context{}, "api"); err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(t.Context(), id, runtime.Remote, runtime.Context{}, "api"); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("removing again: got %v, want ErrNotFound", err)
	}
	events := rec.all()
	if len(events) != 5 {
		t.Fatalf("got %d events, want 5", len(events))
	}
	if e := events[0]; e.Old() != nil || e.New().State != "on" || e.Domain != "light" || e.Origin() != runtime.Local {
		t.Errorf("first event: got %s", e.JSON)
	}
	if e := events[4]; e.New() != nil || e.Old().State != "off" || e.Origin() != runtime.Remote {
		t.Errorf("last event: got %s", e.JSON)
	}
	checkChain(t, events)
}

// checkChain fails where an event's old state is not the new state before it.
func checkChain(t *testing.T, events []*runtime.Event) {
	t.Helper()
	present := map[string]string{}
	for i, e := range events {
		if e.Seq != events[0].Seq+uint64(i) {
			t.Fatalf("got sequence %d at place %d behind %d", e.Seq, i, events[0].Seq)
		}
		if e.Type != runtime.StateChanged {
			continue
		}
		// Read as a client would: from the JSON.
		read := runtime.ParseEvent(e.Seq, e.Source, e.Type, e.EntityID, e.Domain, e.Time, e.JSON)
		old := told(read.Old())
		if want, ok := present[e.EntityID]; ok && old != want {
			t.Fatalf("event %d of %s tells old state %s, want %s", e.Seq, e.EntityID, old, want)
		}
		present[e.EntityID] = told(read.New())
	}
}

// told is a state without its last_reported, which moves without an event.
func told(s *runtime.State) string {
	if s == nil {
		return "null"
	}
	without := *s
	without.LastReported = without.LastUpdated
	return string(without.AppendJSON(nil))
}

func TestWritersNeverTellAWrongOldState(t *testing.T) {
	var failing sync.Mutex
	random := rand.New(rand.NewPCG(1, 2))
	j := &runtimetest.Journal{Fail: func([]*runtime.Event) error {
		failing.Lock()
		defer failing.Unlock()
		if random.IntN(20) == 0 {
			return errors.New("no space left on device")
		}
		return nil
	}}
	r := open(t, j, runtime.Options{})
	rec := follow(r)
	var writing sync.WaitGroup
	var mu sync.Mutex
	stored, refused := 0, 0
	for w := range 16 {
		writing.Go(func() {
			for i := range 200 {
				id := fmt.Sprintf("sensor.s%d", (w+i)%3)
				var err error
				if i%17 == 16 {
					err = r.Remove(t.Context(), id, runtime.Local, runtime.Context{}, "test")
				} else {
					_, err = r.Set(t.Context(), runtime.Change{EntityID: id, State: fmt.Sprint(w, "-", i)})
				}
				mu.Lock()
				switch {
				case err == nil:
					stored++
				case errors.Is(err, runtime.ErrJournal):
					refused++
				case !errors.Is(err, runtime.ErrNotFound):
					t.Errorf("writing: %v", err)
				}
				mu.Unlock()
			}
		})
	}
	writing.Wait()
	events := rec.all()
	checkChain(t, events)
	if len(events) != stored || refused == 0 {
		t.Errorf("got %d events for %d writes that succeeded, %d refused", len(events), stored, refused)
	}
	for _, s := range r.States() {
		if s.LastReported.Before(s.LastUpdated) {
			t.Errorf("%s: last_reported is before last_updated", s.EntityID)
		}
	}
}

func TestInvalidInput(t *testing.T) {
	r := open(t, &runtimetest.Journal{}, runtime.Options{})
	good := runtime.Change{EntityID: "light.ok", State: "on"}
	for _, test := range []struct {
		change runtime.Change
		want   string
	}{
		{runtime.Change{EntityID: "light", State: "on"}, "entity_id"},
		{runtime.Change{EntityID: "Light.hall"}, "entity_id"},
		{runtime.Change{EntityID: "light.a__b"}, "entity_id"},
		{runtime.Change{EntityID: "light._a"}, "entity_id"},
		{runtime.Change{EntityID: "light.a_"}, "entity_id"},
		{runtime.Change{EntityID: "light.a.b"}, "entity_id"},
		{runtime.Change{EntityID: "light." + strings.Repeat("a", 300)}, "entity_id"},
		{runtime.Change{EntityID: "light.a", State: strings.Repeat("ä", 256)}, "state has 256 characters"},
		{runtime.Change{EntityID: "light.a", State: "\xff"}, "UTF-8"},
		{runtime.Change{EntityID: "light.a", Attributes: json.RawMessage(`[1]`)}, "attributes must be a JSON object"},
		{runtime.Change{EntityID: "light.a", Attributes: json.RawMessage(`{"a":}`)}, "at byte 6"},
		{runtime.Change{EntityID: "light.a", Attributes: json.RawMessage(`{} {}`)}, "behind the JSON object"},
		{runtime.Change{EntityID: "light.a", Attributes: json.RawMessage(strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100))}, "nested deeper"},
	} {
		_, err := r.Set(t.Context(), good, test.change)
		var at *runtime.EventError
		var inv *runtime.InvalidError
		if !errors.As(err, &at) || at.Index != 1 || !errors.As(err, &inv) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("setting %.60q %.20q %.60s: got %v, want an error about %q", test.change.EntityID, test.change.State, test.change.Attributes, err, test.want)
		}
	}
	if r.State("light.ok") != nil {
		t.Error("a refused batch changed an entity")
	}
	for _, test := range []struct {
		event runtime.NewEvent
		want  string
	}{
		{runtime.NewEvent{Type: ""}, "event_type"},
		{runtime.NewEvent{Type: "a\nb"}, "event_type"},
		{runtime.NewEvent{Type: strings.Repeat("a", 65)}, "event_type"},
		{runtime.NewEvent{Type: runtime.StateChanged}, "can't be fired"},
		{runtime.NewEvent{Type: "x", Data: json.RawMessage(`"s"`)}, "data must be a JSON object"},
		{runtime.NewEvent{Type: "x", Data: json.RawMessage(`{"a":1`)}, "ends too early"},
	} {
		_, err := r.Fire(t.Context(), runtime.NewEvent{Type: "ok"}, test.event)
		var at *runtime.EventError
		if !errors.As(err, &at) || at.Index != 1 || !strings.Contains(err.Error(), test.want) {
			t.Errorf("firing %q %s: got %v, want an error about %q", test.event.Type, test.event.Data, err, test.want)
		}
	}
	if r.Head() != 0 {
		t.Errorf("refused events reached the journal: head %d", r.Head())
	}
}

func TestTableSurvivesReopening(t *testing.T) {
	j := &runtimetest.Journal{}
	r, err := runtime.Open(t.Context(), j, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	set(t, r, runtime.Change{EntityID: "light.a", State: "on", Source: "a.js@3"})
	set(t, r, runtime.Change{EntityID: "light.b", State: "on"})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Set(t.Context(), runtime.Change{EntityID: "light.a", State: "off"}); !errors.Is(err, runtime.ErrClosed) {
		t.Errorf("setting after Close: got %v, want ErrClosed", err)
	}
	// What comes behind the checkpoint is folded from the journal.
	behind := open(t, j, runtime.Options{})
	set(t, behind, runtime.Change{EntityID: "light.b", State: "off"})
	again := open(t, j, runtime.Options{})
	states, seq := again.Snapshot()
	if len(states) != 2 || seq != 3 || states[0].State != "on" || states[1].State != "off" {
		t.Errorf("after reopening: got %d states at %d, want light.a on, light.b off at 3", len(states), seq)
	}
}

func TestFollowSeesEverythingBehindItsStart(t *testing.T) {
	r := open(t, &runtimetest.Journal{}, runtime.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	writing.Go(func() {
		for ctx.Err() == nil {
			r.Fire(ctx, runtime.NewEvent{Type: "tick"})
		}
	})
	for range 50 {
		var mu sync.Mutex
		var first uint64
		got := make(chan struct{})
		after, stop := r.Follow(func(batch []*runtime.Event) {
			mu.Lock()
			defer mu.Unlock()
			if first == 0 {
				first = batch[0].Seq
				close(got)
			}
		})
		<-got
		stop()
		mu.Lock()
		if first != after+1 {
			t.Errorf("follower after %d: the first event was %d", after, first)
		}
		mu.Unlock()
	}
	cancel()
	writing.Wait()
}

func TestReleasedEntitiesBecomeUnavailableThenGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, &runtimetest.Journal{}, runtime.Options{Grace: time.Minute})
		reg := runtime.Registration{Source: "a.js@1", Entities: []string{"light.a", "light.b"}}
		if err := r.Register("a.js", reg); err != nil {
			t.Fatal(err)
		}
		for _, id := range reg.Entities {
			set(t, r, runtime.Change{EntityID: id, State: "on", Attributes: json.RawMessage(`{"x":1}`), Source: "a.js@1"})
		}
		var inv *runtime.InvalidError
		if err := r.Register("b.js", runtime.Registration{Entities: []string{"light.a"}}); !errors.As(err, &inv) || !strings.Contains(err.Error(), "a.js") {
			t.Errorf("claiming another's entity: got %v, want an error that names a.js", err)
		}
		if err := r.Register("a.js", runtime.Registration{Source: "a.js@2", Entities: []string{"light.a"}}); err != nil {
			t.Fatal(err)
		}
		if s := r.State("light.b"); s.State != runtime.Unavailable || string(s.Attributes) != `{"x":1}` {
			t.Errorf("released entity: got %s %s", s.State, s.Attributes)
		}
		if s := r.State("light.a"); s.State != "on" {
			t.Errorf("kept entity: got %s, want on", s.State)
		}
		time.Sleep(59 * time.Second)
		if r.State("light.b") == nil {
			t.Error("released entity was removed before the grace period")
		}
		// light.a leaves and comes back in time; light.b's time runs out.
		r.Register("a.js", runtime.Registration{})
		time.Sleep(30 * time.Second)
		r.Register("a.js", reg)
		time.Sleep(2 * time.Minute)
		if r.State("light.b") != nil || r.State("light.a") == nil {
			t.Errorf("after the grace period: light.a %v, light.b %v", r.State("light.a"), r.State("light.b"))
		}
	})
}

func TestReleaseUnclaimed(t *testing.T) {
	j := &runtimetest.Journal{}
	before := open(t, j, runtime.Options{})
	set(t, before, runtime.Change{EntityID: "light.gone", State: "on", Source: "gone.js@1"})
	set(t, before, runtime.Change{EntityID: "light.here", State: "on", Source: "here.js@1"})
	set(t, before, runtime.Change{EntityID: "light.free", State: "on", Source: "api"})
	r := open(t, j, runtime.Options{})
	if err := r.Register("here.js", runtime.Registration{Source: "here.js@1", Entities: []string{"light.here"}}); err != nil {
		t.Fatal(err)
	}
	r.ReleaseUnclaimed(t.Context())
	for id, want := range map[string]string{"light.gone": runtime.Unavailable, "light.here": "on", "light.free": "on"} {
		if got := r.State(id).State; got != want {
			t.Errorf("%s: got %s, want %s", id, got, want)
		}
	}
}

func service(id, name string) runtime.Service {
	handler := func(context.Context, *runtime.Command) (json.RawMessage, error) { return nil, nil }
	return runtime.Service{Domain: "light", Name: name, EntityID: id, Handler: handler}
}

// refuseAmendments makes amendments that are all wrong. Light.other is another's.
func refuseAmendments(t *testing.T, r *runtime.Runtime) {
	t.Helper()
	for what, wrong := range map[string]runtime.Amendment{
		"another's entity":           {Entities: []string{"light.c", "light.other"}, Gone: []string{"light.a"}},
		"a service of no entity":     {Entities: []string{"light.a"}, Services: []runtime.Service{service("", "x")}},
		"a service of one unnamed":   {Services: []runtime.Service{service("light.a", "toggle")}},
		"an entity that can't be":    {Entities: []string{"Light"}},
		"a service that can't be so": {Entities: []string{"light.a"}, Services: []runtime.Service{service("light.a", "Turn")}},
	} {
		if err := r.Amend("lamps", wrong); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
}

// An amendment changes what it names, or nothing.
func TestAmend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, &runtimetest.Journal{}, runtime.Options{Grace: time.Minute})
		takes := func() string {
			var text []string
			for _, s := range r.Services() {
				if s.Domain == "homeassistant" {
					continue // what is there for any domain
				}
				text = append(text, fmt.Sprintf("%s.%s%v", s.Domain, s.Name, s.Entities))
			}
			return strings.Join(text, " ")
		}
		amend := func(a runtime.Amendment) {
			t.Helper()
			if err := r.Amend("lamps", a); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Register("other.js", runtime.Registration{Entities: []string{"light.other"}}); err != nil {
			t.Fatal(err)
		}
		amend(runtime.Amendment{Entities: []string{"light.a"}, Services: []runtime.Service{service("light.a", "turn_on"), service("light.a", "turn_off")}})
		amend(runtime.Amendment{Entities: []string{"light.b"}, Services: []runtime.Service{service("light.b", "turn_on")}})
		if got, want := takes(), "light.turn_off[light.a] light.turn_on[light.a light.b]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		for _, id := range []string{"light.a", "light.b", "light.other"} {
			set(t, r, runtime.Change{EntityID: id, State: "on", Source: "lamps@1"})
		}
		refuseAmendments(t, r)
		if got, want := takes(), "light.turn_off[light.a] light.turn_on[light.a light.b]"; got != want {
			t.Errorf("after what was refused: got %s, want %s", got, want)
		}
		amend(runtime.Amendment{Entities: []string{"light.a"}, Services: []runtime.Service{service("light.a", "toggle")}, Gone: []string{"light.b", "light.other", "light.none"}})
		if got, want := takes(), "light.toggle[light.a]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		for id, want := range map[string]string{"light.a": "on", "light.b": runtime.Unavailable, "light.other": "on"} {
			if got := r.State(id).State; got != want {
				t.Errorf("%s: got %s, want %s", id, got, want)
			}
		}
		amend(runtime.Amendment{Entities: []string{"light.b"}}) // within the grace period
		time.Sleep(2 * time.Minute)
		if r.State("light.b") == nil {
			t.Error("light.b came back, and was removed")
		}
		if err := r.Register("lamps", runtime.Registration{}); err != nil || takes() != "" {
			t.Errorf("behind the end: got %v, %s", err, takes())
		}
	})
}
