package runtime_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"carillon/runtime"
	"carillon/runtime/runtimetest"
)

// plug registers a switch that takes turn_on, and a sensor that takes nothing.
func plug(t *testing.T, r *runtime.Runtime, err error) {
	t.Helper()
	turnOn := func(ctx context.Context, c *runtime.Command) (json.RawMessage, error) {
		if err != nil {
			return nil, err
		}
		_, err := r.Set(ctx, runtime.Change{EntityID: c.EntityID, State: "on", Context: c.Context, Source: "plug"})
		return nil, err
	}
	reg := runtime.Registration{Entities: []string{"switch.plug", "sensor.room"}, Services: []runtime.Service{
		{Domain: "switch", Name: "turn_on", EntityID: "switch.plug", Handler: turnOn}}}
	if err := r.Register("plug", reg); err != nil {
		t.Fatal(err)
	}
}

func turnOnAny(r *runtime.Runtime, data string) (*runtime.Result, error) {
	return r.Call(context.Background(), runtime.Command{Domain: "homeassistant", Service: "turn_on", Data: json.RawMessage(data), Source: "api"})
}

// Entities of any domain are told by their own domain's service, in one story.
func TestAnyDomain(t *testing.T) {
	r := open(t, &runtimetest.Journal{}, runtime.Options{})
	lamps(t, r)
	plug(t, r, nil)
	rec := follow(r)
	result, err := turnOnAny(r, `{"entity_id":["switch.plug","light.b","light.a","light.none","sensor.room"],"transition":2}`)
	if err != nil {
		t.Fatal(err)
	}
	var changed []string
	for _, s := range result.Changed {
		changed = append(changed, s.EntityID+"="+s.State)
	}
	if got, want := strings.Join(changed, " "), "light.a=on light.b=on switch.plug=on"; got != want {
		t.Errorf("changed: got %s, want %s", got, want)
	}
	var told []string
	for _, e := range rec.all() {
		if got, want := e.Context().ID, result.Context.ID; got != want {
			t.Errorf("%s: got context %s, want %s", e.Type, got, want)
		}
		if e.Type == runtime.StateChanged {
			continue
		}
		var data struct {
			Domain      string
			EntityID    any            `json:"entity_id"`
			ServiceData map[string]any `json:"service_data"`
			LeftOut     []string       `json:"left_out"`
		}
		if err := json.Unmarshal(e.Data(), &data); err != nil || data.ServiceData["transition"] != 2.0 {
			t.Errorf("got %s and %v, want the command's data", e.Data(), err)
		}
		told = append(told, fmt.Sprintf("%s %s %v %v %v", e.Type, data.Domain, data.EntityID, data.ServiceData["entity_id"], data.LeftOut))
	}
	all := "[light.a light.b light.none sensor.room switch.plug]"
	as := "[switch.plug light.b light.a light.none sensor.room]"
	first, last := "service_called homeassistant "+all+" "+as+" []", "command_result homeassistant "+all+" "+as+" [light.none sensor.room]"
	if n := len(told); n != 6 || told[0] != first || told[5] != last {
		t.Fatalf("got %s, want 6 events from %s to %s", strings.Join(told, "\n"), first, last)
	}
	inner := told[1:5]
	slices.Sort(inner)
	want := []string{"command_result light [light.a light.b] [light.a light.b] []", "command_result switch switch.plug [switch.plug] []",
		"service_called light [light.a light.b] [light.a light.b] []", "service_called switch switch.plug [switch.plug] []"}
	if !slices.Equal(inner, want) {
		t.Errorf("got %s, want %s", strings.Join(inner, "\n"), strings.Join(want, "\n"))
	}
}

// What takes nothing is left out without an error; what is no entity, and no entity, is one.
func TestAnyDomainTargets(t *testing.T) {
	r := open(t, &runtimetest.Journal{}, runtime.Options{})
	if result, err := turnOnAny(r, `{"entity_id":"light.none"}`); err != nil || len(result.Changed) != 0 {
		t.Errorf("nobody takes it: got %+v and %v", result, err)
	}
	for _, data := range []string{`{}`, `{"entity_id":"all"}`, `{"entity_id":["light.a","hall"]}`} {
		if _, err := turnOnAny(r, data); !isInvalid(err) {
			t.Errorf("%s: got %v, want an error about entity_id", data, err)
		}
	}
	_, err := r.Call(t.Context(), runtime.Command{Domain: "homeassistant", Service: "restart"})
	if err == nil || err.Error() != "unknown service: homeassistant.restart" {
		t.Errorf("got %v, want an unknown service", err)
	}
}

// One that fails is the command's error, and the others are done.
func TestAnyDomainFails(t *testing.T) {
	r := open(t, &runtimetest.Journal{}, runtime.Options{})
	lamps(t, r)
	plug(t, r, fmt.Errorf("the plug is stuck"))
	result, err := turnOnAny(r, `{"entity_id":"light.a, switch.plug"}`)
	if !isCallError(err) || err.Error() != "switch.plug: the plug is stuck" {
		t.Errorf("got %v, want what the plug says", err)
	}
	if len(result.Changed) != 1 || result.Changed[0].EntityID != "light.a" {
		t.Errorf("got %v, want light.a", result.Changed)
	}
}

func TestAnyDomainIsListed(t *testing.T) {
	r := open(t, &runtimetest.Journal{}, runtime.Options{})
	lamps(t, r)
	plug(t, r, nil)
	var got []string
	for _, s := range r.Services() {
		if s.Domain == "homeassistant" {
			got = append(got, fmt.Sprint(s.Name, s.Entities))
		}
	}
	if want := "turn_on[light.a light.b switch.plug]"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %s", got, want)
	}
}
