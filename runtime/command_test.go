package runtime_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"carillon/runtime"
	"carillon/runtime/runtimetest"
)

// lamps registers two lamps that take turn_on.
func lamps(t *testing.T, r *runtime.Runtime) {
	t.Helper()
	turnOn := func(ctx context.Context, c *runtime.Command) (json.RawMessage, error) {
		_, err := r.Set(ctx, runtime.Change{EntityID: c.EntityID, State: "on", Context: c.Context, Source: "lamp.js@1"})
		return json.RawMessage(`"` + c.EntityID + `"`), err
	}
	err := r.Register("lamp.js", runtime.Registration{
		Source:   "lamp.js@1",
		Entities: []string{"light.a", "light.b"},
		Services: []runtime.Service{
			{Domain: "light", Name: "turn_on", EntityID: "light.a", Description: "switches it on", Handler: turnOn},
			{Domain: "light", Name: "turn_on", EntityID: "light.b", Handler: turnOn},
			{Domain: "light", Name: "fail", EntityID: "light.a", Handler: func(context.Context, *runtime.Command) (json.RawMessage, error) {
				return nil, errors.New("the bulb is broken")
			}},
			{Domain: "light", Name: "panic", EntityID: "light.a", Handler: func(context.Context, *runtime.Command) (json.RawMessage, error) { panic("ouch") }},
			{Domain: "light", Name: "hang", EntityID: "light.a", Handler: func(ctx context.Context, _ *runtime.Command) (json.RawMessage, error) {
				<-ctx.Done()
				select {}
			}},
			{Domain: "scene", Name: "party", Handler: func(context.Context, *runtime.Command) (json.RawMessage, error) {
				return json.RawMessage(`{"ok":true}`), nil
			}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCallTellsOneStory(t *testing.T) {
	r := open(t, &runtimetest.Journal{}, runtime.Options{})
	lamps(t, r)
	rec := follow(r)
	parent := runtime.NewContext("", "user")
	result, err := r.Call(t.Context(), runtime.Command{
		Domain: "light", Service: "turn_on", Data: json.RawMessage(`{"entity_id":["light.b","light.a"],"brightness":7}`),
		Origin: runtime.Remote, Source: "api", Context: runtime.NewContext(parent.ID, "user"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Changed) != 2 || result.Changed[0].EntityID != "light.a" || result.Changed[1].State != "on" {
		t.Errorf("changed states: got %v", result.Changed)
	}
	if got, want := string(result.Response), `{"light.a":"light.a","light.b":"light.b"}`; got != want {
		t.Errorf("response: got %s, want %s", got, want)
	}
	events := rec.all()
	if len(events) != 4 || events[0].Type != runtime.ServiceCalled || events[3].Type != runtime.CommandResult {
		t.Fatalf("got %d events", len(events))
	}
	for _, e := range events {
		if c := e.Context(); c.ID != result.Context.ID || c.ParentID != parent.ID || c.UserID != "user" {
			t.Errorf("%s: got context %+v, want the command's %+v", e.Type, c, result.Context)
		}
	}
	var told struct {
		Success bool
		Changed []string
		Domain  string
	}
	if err := json.Unmarshal(events[3].Data(), &told); err != nil || !told.Success || len(told.Changed) != 2 || told.Domain != "light" {
		t.Errorf("command_result: got %s", events[3].Data())
	}
	if events[0].Domain != "light" || string(events[0].Origin()) != "REMOTE" {
		t.Errorf("service_called: got %s", events[0].JSON)
	}
}

func TestCallErrors(t *testing.T) {
	r := open(t, &runtimetest.Journal{}, runtime.Options{})
	lamps(t, r)
	for _, test := range []struct {
		name, data, want string
		is               func(error) bool
	}{
		{"light.turn_off", `{}`, "unknown service", func(err error) bool { return errors.Is(err, runtime.ErrUnknownService) }},
		{"light.turn_on", `{}`, "entity_id is missing", isInvalid},
		{"light.turn_on", `{"entity_id":"light.c"}`, "does not take", isInvalid},
		{"light.turn_on", `{"entity_id":7}`, "string or a list", isInvalid},
		{"light.turn_on", `[`, "data must be a JSON object", isInvalid},
		{"light.fail", `{"entity_id":"light.a"}`, "light.a: the bulb is broken", isCallError},
		{"light.panic", `{"entity_id":"light.a"}`, "panicked: ouch", isCallError},
	} {
		domain, service, _ := strings.Cut(test.name, ".")
		_, err := r.Call(t.Context(), runtime.Command{Domain: domain, Service: service, Data: json.RawMessage(test.data)})
		if err == nil || !test.is(err) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s %s: got %v, want %q", test.name, test.data, err, test.want)
		}
	}
	result, err := r.Call(t.Context(), runtime.Command{Domain: "scene", Service: "party"})
	if err != nil || string(result.Response) != `{"ok":true}` {
		t.Errorf("scene.party: got %v and %v", result, err)
	}
	if _, err := r.Call(t.Context(), runtime.Command{Domain: "light", Service: "turn_on", Data: json.RawMessage(`{"entity_id":"all"}`)}); err != nil {
		t.Errorf("light.turn_on all: %v", err)
	}
	if got := len(r.Services()); got != 6 { // with homeassistant.turn_on
		t.Errorf("services: got %d, want 6", got)
	}
}

func isInvalid(err error) bool {
	var e *runtime.InvalidError
	return errors.As(err, &e)
}

func isCallError(err error) bool {
	var e *runtime.CallError
	return errors.As(err, &e)
}

func TestCallHasADeadline(t *testing.T) {
	r := open(t, &runtimetest.Journal{}, runtime.Options{CallTimeout: 20 * time.Millisecond})
	lamps(t, r)
	rec := follow(r)
	_, err := r.Call(t.Context(), runtime.Command{Domain: "light", Service: "hang", Data: json.RawMessage(`{"entity_id":"light.a"}`)})
	if !isCallError(err) || !errors.Is(err, context.DeadlineExceeded) || err.Error() != "light.a: no answer within 20ms" {
		t.Errorf("got %v, want a deadline", err)
	}
	events := rec.all()
	if last := events[len(events)-1]; last.Type != runtime.CommandResult || !strings.Contains(string(last.Data()), `"success":false`) {
		t.Errorf("last event: got %s", last.JSON)
	}
}

func TestCallTimeoutIsPerCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, &runtimetest.Journal{}, runtime.Options{CallTimeout: 5 * time.Second})
		err := r.Register("slow.js", runtime.Registration{Services: []runtime.Service{{Domain: "slow", Name: "go", Handler: func(ctx context.Context, _ *runtime.Command) (json.RawMessage, error) {
			time.Sleep(3 * time.Second)
			return nil, ctx.Err()
		}}}})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := r.Call(t.Context(), runtime.Command{Domain: "slow", Service: "go"}); err != nil {
				t.Errorf("got %v, want an answer after 3 s", err)
			}
		}
	})
}
