package httpd

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"carillon/httpd/broadcast"
	"carillon/runtime"
)

const (
	// maxExplained bounds the events that a filter is explained on, and
	// fewExplained is how many there are if nothing is said.
	maxExplained = 100
	fewExplained = 10
	// explainedPast is how far back events are looked for, in sequences.
	explainedPast = 2000
)

// getFilters lists the named filters.
func (s *Server) getFilters(c *call) error {
	if s.ListFilters == nil {
		return writeJSON(c, []any{})
	}
	streams := map[broadcast.Filter]int{}
	s.hub.Streams(func(info broadcast.StreamInfo) {
		if f := info.Selection.Filter; f != nil {
			streams[f]++
		}
	})
	return writeJSON(c, s.ListFilters(streams))
}

// postExplain answers what a filter is compiled to, and what it says of events,
// and why: of those given, or of the newest, or of the newest of an entity.
func (s *Server) postExplain(c *call) error {
	settings := s.settings()
	p, given, err := explainParams(c.PostBody())
	if err != nil {
		return err
	}
	spec, err := p.filter(settings.MaxFilter, "events", "limit")
	if err != nil {
		return err
	}
	if spec == nil || s.ExplainFilter == nil {
		return refuse(fasthttp.StatusBadRequest, `Parameter filter is missing: send {"filter":"e => …"}, and params, events, entity_id or limit.`)
	}
	s.authorise(c, spec)
	ctx, cancel := c.patience()
	defer cancel()
	var events []*runtime.Event
	if given != nil {
		events, err = givenEvents(given, s.now())
	} else {
		events, err = s.newestEvents(ctx, p, settings.MaxNames)
	}
	if err != nil {
		return err
	}
	answer, err := s.ExplainFilter(ctx, *spec, events)
	if err != nil {
		return err
	}
	return writeJSON(c, answer)
}

// explainParams reads the parameters of a body, and the list of events apart:
// here they are no types of events. It is nil if there is none.
func explainParams(body []byte) (p params, events []json.RawMessage, err error) {
	p = params{}
	object, err := p.readBody(body)
	if err != nil {
		return nil, nil, err
	}
	if given, ok := object["events"]; ok {
		delete(object, "events")
		if err := json.Unmarshal(given, &events); err != nil {
			return nil, nil, malformed("events", "must be a list of events")
		}
	}
	return p, events, p.addObject(object)
}

func givenEvents(given []json.RawMessage, now time.Time) ([]*runtime.Event, error) {
	if len(given) > maxExplained {
		return nil, malformed("events", "has %d events, more than %d", len(given), maxExplained)
	}
	events := make([]*runtime.Event, len(given))
	for i, text := range given {
		e, err := givenEvent(text, now)
		if err != nil {
			return nil, malformed("events", "has in place %d what is no event: %s", i+1, strings.TrimSuffix(err.Error(), "."))
		}
		events[i] = e
	}
	return events, nil
}

// givenEvent reads an event as format ha or native has it, or a state as
// /api/states has it: that stands for the entity's appearance.
func givenEvent(text []byte, now time.Time) (*runtime.Event, error) {
	var w struct {
		EventType string          `json:"event_type"`
		Type      string          `json:"type"`
		Data      json.RawMessage `json:"data"`
		TimeFired *time.Time      `json:"time_fired"`
		Time      *time.Time      `json:"time"`
		Source    string          `json:"source"`
		Sequence  uint64          `json:"sequence"`

		EntityID   string          `json:"entity_id"`
		State      *string         `json:"state"`
		Attributes json.RawMessage `json:"attributes"`
	}
	if err := json.Unmarshal(text, &w); err != nil {
		_, what := explainJSON(err)
		return nil, fmt.Errorf("%s", what)
	}
	at := now
	for _, t := range []*time.Time{w.Time, w.TimeFired} {
		if t != nil {
			at = *t
		}
	}
	typ, data := w.Type, w.Data
	if w.EventType != "" {
		typ = w.EventType
	}
	if typ == "" && w.State != nil {
		attributes, err := runtime.CanonicalObject(w.Attributes)
		if err != nil {
			return nil, fmt.Errorf("attributes %w", err)
		}
		typ = runtime.StateChanged
		data = appendPresent(nil, &runtime.State{
			EntityID: w.EntityID, State: *w.State, Attributes: attributes, LastChanged: at, LastUpdated: at, LastReported: at,
		}, nil)
	}
	return runtime.Draft(runtime.NewEvent{Type: typ, Data: data, Source: w.Source}, w.Sequence, at)
}

// newestEvents returns the newest events, or those of the entities that are
// named; of entities without one, the state.
func (s *Server) newestEvents(ctx context.Context, p params, names int) ([]*runtime.Event, error) {
	sel, err := p.selection(names)
	if err != nil {
		return nil, err
	}
	limit, err := p.count("limit", maxExplained)
	if err != nil {
		return nil, err
	}
	if limit == 0 {
		limit = fewExplained
	}
	select {
	case s.readings.quick <- struct{}{}:
		defer func() { <-s.readings.quick }()
	case <-time.After(readingTime):
		return nil, s.later(tooManyReadings)
	}
	head := s.Runtime.Head()
	var events []*runtime.Event
	err = s.Replay(ctx, max(head, explainedPast)-explainedPast, func(e *runtime.Event) bool {
		if sel.Matches(e.Type, e.Domain, e.EntityID) {
			events = append(events, e)
		}
		return e.Seq < head
	})
	if err != nil {
		return nil, fmt.Errorf("%w: reading what happened last: %w", runtime.ErrJournal, err)
	}
	if len(events) == 0 && len(sel.Entities) > 0 {
		states, _ := s.Runtime.Snapshot()
		for _, state := range states {
			if takesState(&sel, state) {
				events = append(events, asEvent(state))
			}
		}
	}
	return slices.Clone(events[max(len(events)-limit, 0):]), nil
}
