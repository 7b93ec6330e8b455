package adapter

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"carillon/plugins/adapter/wire"
)

// MaxState is the greatest length of a state, in characters.
const MaxState = 255

// A Device is a thing with entities.
type Device struct {
	ID           string // unique within the adapter
	Name         string
	Manufacturer string
	Model        string
	Serial       string
	Software     string
	Entities     []Entity
}

// An Entity is something of a device that has a state.
type Entity struct {
	ID         string         // <domain>.<object>, "light.hall"
	Attributes map[string]any // every state of it carries these: friendly_name, unit_of_measurement, device_class…
	Services   []string       // commands of its domain that it takes: "turn_on"
}

// A State is what an entity is now.
type State struct {
	EntityID   string         // of a device that was declared before
	State      string         // at most MaxState characters
	Attributes map[string]any // on top of the entity's own; nil: as they were
	Force      bool           // an event even if nothing differs
}

// A Command asks an entity to do something.
type Command struct {
	ID       uint64
	EntityID string          // empty: the adapter itself
	Domain   string          // "light"
	Service  string          // "turn_on"
	Data     json.RawMessage // an object
}

// EntityID and event types are as package runtime of the server has them.
var (
	entityID    = regexp.MustCompile(`^[a-z0-9]+(_[a-z0-9]+)*\.[a-z0-9]+(_[a-z0-9]+)*$`)
	eventType   = regexp.MustCompile(`^[a-z0-9_]{1,64}$`)
	adapterName = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)
)

func (d Device) item() (*wire.Item, error) {
	if d.ID == "" {
		return nil, errors.New("a device has no id")
	}
	w := &wire.Device{Id: d.ID, Name: d.Name, Manufacturer: d.Manufacturer, Model: d.Model, Serial: d.Serial, Software: d.Software}
	for _, e := range d.Entities {
		if !entityID.MatchString(e.ID) {
			return nil, fmt.Errorf("device %s: %q is no entity id: it is <domain>.<object>, both of lower-case letters, digits and single underscores (light.kitchen)", d.ID, e.ID)
		}
		attributes, err := object(e.Attributes)
		if err != nil {
			return nil, fmt.Errorf("device %s: attributes of %s: %w", d.ID, e.ID, err)
		}
		w.Entities = append(w.Entities, &wire.Entity{EntityId: e.ID, Attributes: attributes, Services: e.Services})
	}
	return &wire.Item{Item: &wire.Item_Device{Device: w}}, nil
}

func (s *State) item() (*wire.Item, error) {
	if len(s.State) > MaxState && utf8.RuneCountInString(s.State) > MaxState {
		return nil, fmt.Errorf("the state of %s is longer than %d characters: put long values into an attribute", s.EntityID, MaxState)
	}
	if !utf8.ValidString(s.State) {
		return nil, fmt.Errorf("the state of %s is no UTF-8", s.EntityID)
	}
	attributes, err := object(s.Attributes)
	if err != nil {
		return nil, fmt.Errorf("attributes of %s: %w", s.EntityID, err)
	}
	return &wire.Item{Item: &wire.Item_State{State: &wire.State{EntityId: s.EntityID, State: s.State, Attributes: attributes, Force: s.Force}}}, nil
}

func event(typ string, data any) (*wire.Item, error) {
	if !eventType.MatchString(typ) {
		return nil, fmt.Errorf("%.100q is no event type: it is 1 to 64 lower-case letters, digits and underscores", typ)
	}
	text, err := json.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("data of %s: %w", typ, err)
	}
	switch {
	case string(text) == "null":
		text = []byte("{}")
	case text[0] != '{':
		return nil, fmt.Errorf("data of %s must be an object, not %.40s", typ, text)
	}
	return &wire.Item{Item: &wire.Item_Event{Event: &wire.Event{Type: typ, Data: string(text)}}}, nil
}

// object returns m as JSON, or nothing for nil.
func object(m map[string]any) (string, error) {
	if m == nil {
		return "", nil
	}
	text, err := json.Marshal(m)
	return string(text), err
}

// describe names what an item is about, for errors.
func describe(item *wire.Item) string {
	switch i := item.Item.(type) {
	case *wire.Item_Device:
		return "device " + i.Device.Id
	case *wire.Item_State:
		return i.State.EntityId
	case *wire.Item_Event:
		return "event " + i.Event.Type
	case *wire.Item_Availability:
		return "availability of " + i.Availability.DeviceId
	case *wire.Item_Removal:
		return "removal of " + i.Removal.DeviceId
	}
	return "item"
}

// valid returns s as UTF-8: protobuf takes nothing else, and hardware sends
// anything.
func valid(s string) string { return strings.ToValidUTF8(s, "�") }
