package runtime

import (
	"encoding/json"
	"time"
)

// MaxState is the longest state, in characters, as in Home Assistant.
const MaxState = 255

// Unavailable is the state of an entity whose producer is gone.
const Unavailable = "unavailable"

// A State is what is known of one entity. It is immutable once published.
type State struct {
	EntityID   string
	State      string          // at most MaxState characters
	Attributes json.RawMessage // a canonical JSON object (CanonicalObject), never nil

	LastChanged  time.Time // when State last became what it is
	LastUpdated  time.Time // when State or Attributes last became what they are
	LastReported time.Time // when somebody last said so

	Context Context // of the last update
}

// AppendJSON appends Home Assistant's State object; a nil State is null.
func (s *State) AppendJSON(b []byte) []byte {
	if s == nil {
		return append(b, "null"...)
	}
	b = append(b, `{"entity_id":`...)
	b = AppendString(b, s.EntityID)
	b = append(b, `,"state":`...)
	b = AppendString(b, s.State)
	b = append(b, `,"attributes":`...)
	b = append(b, s.Attributes...)
	b = append(b, `,"last_changed":`...)
	b = appendQuotedTime(b, s.LastChanged)
	b = append(b, `,"last_reported":`...)
	b = appendQuotedTime(b, s.LastReported)
	b = append(b, `,"last_updated":`...)
	b = appendQuotedTime(b, s.LastUpdated)
	b = append(b, `,"context":`...)
	b = s.Context.AppendJSON(b)
	return append(b, '}')
}

// MarshalJSON is AppendJSON for encoding/json.
func (s *State) MarshalJSON() ([]byte, error) { return s.AppendJSON(nil), nil }

type stateWire struct {
	EntityID     string          `json:"entity_id"`
	State        string          `json:"state"`
	Attributes   json.RawMessage `json:"attributes"`
	LastChanged  time.Time       `json:"last_changed"`
	LastReported time.Time       `json:"last_reported"`
	LastUpdated  time.Time       `json:"last_updated"`
	Context      contextWire     `json:"context"`
}

type contextWire struct {
	ID       string `json:"id"`
	ParentID string `json:"parent_id"`
	UserID   string `json:"user_id"`
}

// UnmarshalJSON reads what AppendJSON wrote.
func (s *State) UnmarshalJSON(text []byte) error {
	var w stateWire
	if err := json.Unmarshal(text, &w); err != nil {
		return err
	}
	if w.Attributes == nil {
		w.Attributes = json.RawMessage("{}")
	}
	*s = State{
		EntityID: w.EntityID, State: w.State, Attributes: w.Attributes,
		LastChanged: w.LastChanged.UTC(), LastReported: w.LastReported.UTC(), LastUpdated: w.LastUpdated.UTC(),
		Context: Context(w.Context),
	}
	return nil
}

// Domain returns what stands before the dot of an entity id, empty when there
// is no dot.
func Domain(entityID string) string {
	for i := range len(entityID) {
		if entityID[i] == '.' {
			return entityID[:i]
		}
	}
	return ""
}

// ValidEntityID reports whether id is <domain>.<object> where both parts are
// of lower-case letters, digits and single underscores, without one at an end:
// Home Assistant's ^(?!.+__)(?!_)[\da-z_]+(?<!_)\.(?!_)[\da-z_]+(?<!_)$, and at
// most 255 bytes long.
func ValidEntityID(id string) bool {
	domain := Domain(id)
	return len(id) <= 255 && validSlug(domain) && validSlug(id[min(len(id), len(domain)+1):])
}

func validSlug(s string) bool {
	if s == "" || s[0] == '_' || s[len(s)-1] == '_' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case c == '_' && s[i-1] != '_':
		default:
			return false
		}
	}
	return true
}
