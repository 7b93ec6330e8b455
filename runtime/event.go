package runtime

import (
	"encoding/json"
	"sync"
	"time"
	"unicode/utf8"
)

// Types of the events that Carillon itself makes.
const (
	StateChanged   = "state_changed"
	ServiceCalled  = "service_called"
	CommandResult  = "command_result"
	ConfigReloaded = "config_reloaded"
	ConfigRejected = "config_rejected"
	ScriptLoaded   = "script_loaded"
	ScriptFailed   = "script_failed"
	ScriptRemoved  = "script_removed"
	FilterLoaded   = "filter_loaded"
	FilterFailed   = "filter_failed"
	FilterRemoved  = "filter_removed"
	SystemStatus   = "system_status"

	AdapterStarted   = "adapter_started"   // in service
	AdapterFailed    = "adapter_failed"    // its process ended or was ended, or could not be started
	AdapterStopped   = "adapter_stopped"   // drained on request
	AdapterDegraded  = "adapter_degraded"  // it says that it can't do all of its work
	AdapterRecovered = "adapter_recovered" // it can again
	AdapterLog       = "adapter_log"       // a line of its log
)

// An Event is something that happened. It is immutable once published; the
// accessors are safe for concurrent use.
type Event struct {
	Seq      uint64 // the place in the journal, from 1; 0 before it is appended
	Type     string // see ValidEventType
	EntityID string // the entity it concerns (data.entity_id), or empty
	Domain   string // the domain of EntityID, else data.domain, or empty
	Source   string // who made it: "api", "core", "hall.js@7"
	Time     time.Time
	JSON     []byte // as Home Assistant writes it: event_type, data, origin, time_fired, context

	once   sync.Once
	detail detail
}

// detail is what JSON says, decoded when first asked for.
type detail struct {
	data     json.RawMessage
	old, new *State
	context  Context
	origin   Origin
}

type eventWire struct {
	Data    json.RawMessage `json:"data"`
	Origin  Origin          `json:"origin"`
	Context contextWire     `json:"context"`
}

// ParseEvent returns the event that the journal holds as text. Only what a
// selection needs is given; the rest is decoded when first asked for.
func ParseEvent(seq uint64, source, typ, entityID, domain string, at time.Time, text []byte) *Event {
	return &Event{Seq: seq, Type: typ, EntityID: entityID, Domain: domain, Source: source, Time: at, JSON: text}
}

// Data returns the event's data, always a JSON object.
func (e *Event) Data() json.RawMessage { return e.decoded().data }

// Old returns the state before a state_changed event; nil for a new entity and
// for other events.
func (e *Event) Old() *State { return e.decoded().old }

// New returns the state after a state_changed event; nil for a removed entity
// and for other events.
func (e *Event) New() *State { return e.decoded().new }

// Context returns the story that the event belongs to.
func (e *Event) Context() Context { return e.decoded().context }

// Origin tells whether the event came over REST.
func (e *Event) Origin() Origin { return e.decoded().origin }

func (e *Event) decoded() *detail {
	e.once.Do(e.decode)
	return &e.detail
}

// decode fills detail from JSON unless the event was made here. What can't be
// decoded stays empty: the journal only holds what newEvent wrote.
func (e *Event) decode() {
	if e.detail.data != nil {
		return
	}
	e.detail = detail{data: json.RawMessage("{}"), origin: Local}
	var w eventWire
	if json.Unmarshal(e.JSON, &w) != nil || w.Data == nil {
		return
	}
	e.detail = detail{data: w.Data, context: Context(w.Context), origin: w.Origin}
	if e.Type != StateChanged {
		return
	}
	var change struct {
		Old *State `json:"old_state"`
		New *State `json:"new_state"`
	}
	if json.Unmarshal(w.Data, &change) == nil {
		e.detail.old, e.detail.new = change.Old, change.New
	}
}

// newEvent makes an event and its JSON. Data must be a compact JSON object.
func newEvent(typ string, data json.RawMessage, origin Origin, at time.Time, context Context, source string) *Event {
	if origin == "" {
		origin = Local
	}
	e := &Event{Type: typ, Source: source, Time: at}
	b := make([]byte, 0, len(typ)+len(data)+220)
	b = append(b, `{"event_type":`...)
	b = AppendString(b, typ)
	b = append(b, `,"data":`...)
	start := len(b)
	b = append(b, data...)
	end := len(b)
	b = append(b, `,"origin":"`...)
	b = append(b, origin...)
	b = append(b, `","time_fired":`...)
	b = appendQuotedTime(b, at)
	b = append(b, `,"context":`...)
	b = context.AppendJSON(b)
	e.JSON = append(b, '}')
	e.detail = detail{data: e.JSON[start:end:end], context: context, origin: origin}
	return e
}

// newStateChanged makes the event of an entity's change; one of the two states
// may be nil.
func newStateChanged(old, new *State, origin Origin, at time.Time, context Context, source string) *Event {
	id := ""
	if new != nil {
		id = new.EntityID
	} else {
		id = old.EntityID
	}
	data := make([]byte, 0, 640)
	data = append(data, `{"entity_id":`...)
	data = AppendString(data, id)
	data = append(data, `,"old_state":`...)
	data = old.AppendJSON(data)
	data = append(data, `,"new_state":`...)
	data = new.AppendJSON(data)
	data = append(data, '}')
	e := newEvent(StateChanged, data, origin, at, context, source)
	e.EntityID, e.Domain = id, Domain(id)
	e.detail.old, e.detail.new = old, new
	return e
}

// Event returns a state_changed event without an old state that tells what the state
// is, for who begins with present states. It is in no journal: its sequence is 0.
func (s *State) Event() *Event {
	return newStateChanged(nil, s, Local, s.LastUpdated, s.Context, "")
}

// MaxEventType is the longest event type, in bytes, as in Home Assistant.
const MaxEventType = 64

// ValidEventType reports whether s is a type of 1 to 64 bytes of UTF-8 without
// control characters.
func ValidEventType(s string) bool {
	if s == "" || len(s) > MaxEventType || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return false
		}
	}
	return true
}

// concerns finds the entity and the domain that an event's data name.
func concerns(data json.RawMessage) (entityID, domain string) {
	var w struct {
		EntityID any `json:"entity_id"`
		Domain   any `json:"domain"`
	}
	if json.Unmarshal(data, &w) != nil {
		return "", ""
	}
	if id, ok := w.EntityID.(string); ok && ValidEntityID(id) {
		return id, Domain(id)
	}
	if d, ok := w.Domain.(string); ok && validSlug(d) {
		return "", d
	}
	return "", ""
}
