package httpd

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/valyala/fasthttp"

	"carillon/internal/sse"
	"carillon/runtime"
)

// postEvent fires one event; the body is its data.
func (s *Server) postEvent(c *call) error {
	data, err := optionalObject(c, "Event data")
	if err != nil {
		return err
	}
	ctx, cancel := c.patience()
	defer cancel()
	_, err = s.Runtime.Fire(ctx, runtime.NewEvent{
		Type: c.rest, Data: data, Origin: runtime.Remote, Context: c.story(), Source: source,
	})
	if err != nil {
		return err
	}
	writeMessage(c.RequestCtx, "Event "+c.rest+" fired.")
	return nil
}

// optionalObject returns the body, which must be a JSON object or empty.
func optionalObject(c *call, what string) (json.RawMessage, error) {
	body := bytes.TrimSpace(c.PostBody())
	if len(body) == 0 {
		return nil, nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(c.PostBody(), &object); err != nil {
		var wrongType *json.UnmarshalTypeError
		if errors.As(err, &wrongType) {
			return nil, refuse(fasthttp.StatusBadRequest, "%s should be a JSON object, not %s.", what, wrongType.Value)
		}
		return nil, refuse(fasthttp.StatusBadRequest, "%s should be valid JSON: %s.", what, describeJSON(c.PostBody(), err))
	}
	if object == nil { // null
		return nil, nil
	}
	return body, nil
}

// A bulkLine is one line of POST /api/events.
type bulkLine struct {
	Type string          `json:"event_type"`
	Data json.RawMessage `json:"data"`
}

// postEvents fires the events of a body of newline-delimited JSON, all of them
// or none. The answer names the id of the last, or the line that is wrong.
func (s *Server) postEvents(c *call) error {
	events, lines, err := parseBulk(c.PostBody(), s.settings().MaxBulk)
	if err != nil {
		return err
	}
	for i := range events {
		events[i].Context = c.story()
	}
	ctx, cancel := c.patience()
	defer cancel()
	last, err := s.Runtime.Fire(ctx, events...)
	if err != nil {
		var refused *runtime.EventError
		if errors.As(err, &refused) {
			return refuse(errorStatus(err).status, "Line %d: %s Nothing was fired.", lines[refused.Index], sentence(refused.Err))
		}
		return err
	}
	answer, err := json.Marshal(map[string]any{
		"message": plural(len(events), "event") + " fired.", "fired": len(events), "last_id": sse.FormatID(s.Epoch, last),
	})
	if err != nil {
		return err
	}
	c.SetContentType("application/json")
	c.SetBody(answer)
	return nil
}

// parseBulk returns the events and the line of each, from 1. Empty lines are
// passed over.
func parseBulk(body []byte, most int) (events []runtime.NewEvent, lines []int, err error) {
	n := min(bytes.Count(body, []byte{'\n'})+1, most)
	events, lines = make([]runtime.NewEvent, 0, n), make([]int, 0, n)
	for line := 1; len(body) > 0; line++ {
		var text []byte
		text, body, _ = bytes.Cut(body, []byte{'\n'})
		text = bytes.TrimSpace(text)
		if len(text) == 0 {
			continue
		}
		if len(events) == most {
			return nil, nil, refuse(fasthttp.StatusRequestEntityTooLarge,
				"Line %d: more than %d events in one body (the configured limit). Nothing was fired.", line, most)
		}
		var one bulkLine
		if err := json.Unmarshal(text, &one); err != nil {
			return nil, nil, refuse(fasthttp.StatusBadRequest, "Line %d: %s. Nothing was fired.", line, describeLine(err))
		}
		if string(one.Data) == "null" {
			one.Data = nil
		}
		events = append(events, runtime.NewEvent{Type: one.Type, Data: one.Data, Origin: runtime.Remote, Source: source})
		lines = append(lines, line)
	}
	if len(events) == 0 {
		return nil, nil, refuse(fasthttp.StatusBadRequest, `No events: send one {"event_type": …, "data": {…}} a line.`)
	}
	return events, lines, nil
}
