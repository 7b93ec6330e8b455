package httpd

import (
	"bytes"
	"encoding/json"

	"github.com/valyala/fasthttp"

	"carillon/runtime"
)

func (s *Server) getStates(c *call) error {
	writeStates(c, s.Runtime.States())
	return nil
}

func writeStates(c *call, states []*runtime.State) {
	c.SetContentType("application/json")
	c.SetBody(appendStates(nil, states))
}

func appendStates(b []byte, states []*runtime.State) []byte {
	b = append(b, '[')
	for i, state := range states {
		if i > 0 {
			b = append(b, ',')
		}
		b = state.AppendJSON(b)
	}
	return append(b, ']')
}

func (s *Server) getState(c *call) error {
	state := s.Runtime.State(c.rest)
	if state == nil {
		return runtime.ErrNotFound
	}
	c.SetContentType("application/json")
	c.SetBody(state.AppendJSON(nil))
	return nil
}

// stateBody is what POST /api/states/<id> takes.
type stateBody struct {
	State       json.RawMessage `json:"state"`
	Attributes  json.RawMessage `json:"attributes"`
	ForceUpdate bool            `json:"force_update"`
}

// postState sets an entity's state. As in Home Assistant, a body without
// attributes takes those away that the entity had.
func (s *Server) postState(c *call) error {
	if !runtime.ValidEntityID(c.rest) {
		return refuse(fasthttp.StatusBadRequest, "Invalid entity ID specified: %.300q is not <domain>.<object> of lower-case "+
			"letters, digits and single underscores.", c.rest)
	}
	var body stateBody
	if err := readObject(c, &body); err != nil {
		return err
	}
	value, err := stateText(body.State)
	if err != nil {
		return err
	}
	attributes := body.Attributes
	if len(attributes) == 0 || string(attributes) == "null" {
		attributes = json.RawMessage("{}")
	}
	ctx, cancel := c.patience()
	defer cancel()
	results, err := s.Runtime.Set(ctx, runtime.Change{
		EntityID: c.rest, State: value, Attributes: attributes, ForceUpdate: body.ForceUpdate,
		Origin: runtime.Remote, Context: c.story(), Source: source,
	})
	if err != nil {
		return err
	}
	if results[0].Created {
		c.SetStatusCode(fasthttp.StatusCreated)
	}
	c.Response.Header.Set("Location", "/api/states/"+c.rest)
	c.SetContentType("application/json")
	c.SetBody(results[0].State.AppendJSON(nil))
	return nil
}

// stateText returns the state that a JSON value stands for: a string, a number
// as it is written, or a boolean as Python and so Home Assistant writes it.
func stateText(value json.RawMessage) (string, error) {
	value = bytes.TrimSpace(value)
	switch {
	case len(value) == 0 || string(value) == "null":
		return "", refuse(fasthttp.StatusBadRequest, "No state specified.")
	case value[0] == '"':
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			return "", refuse(fasthttp.StatusBadRequest, "Invalid state specified: %s.", describeJSON(value, err))
		}
		return text, nil
	case string(value) == "true":
		return "True", nil
	case string(value) == "false":
		return "False", nil
	case value[0] == '{' || value[0] == '[':
		return "", refuse(fasthttp.StatusBadRequest, "Invalid state specified: state must be a string, a number or a boolean.")
	}
	return string(value), nil
}

func (s *Server) deleteState(c *call) error {
	ctx, cancel := c.patience()
	defer cancel()
	if err := s.Runtime.Remove(ctx, c.rest, runtime.Remote, c.story(), source); err != nil {
		return err
	}
	writeMessage(c.RequestCtx, "Entity removed.")
	return nil
}

// source is who makes the events that come over REST.
const source = "api"

// readObject decodes the body, a JSON object, into v. Its content type is not
// looked at: curl calls everything a form.
func readObject(c *call, v any) error {
	body := bytes.TrimSpace(c.PostBody())
	if len(body) == 0 {
		return refuse(fasthttp.StatusBadRequest, "Invalid JSON specified: the body is empty; send a JSON object.")
	}
	if body[0] != '{' {
		return refuse(fasthttp.StatusBadRequest, "Invalid JSON specified: the body must be a JSON object.")
	}
	if err := json.Unmarshal(c.PostBody(), v); err != nil {
		return refuse(fasthttp.StatusBadRequest, "Invalid JSON specified: %s.", describeJSON(c.PostBody(), err))
	}
	return nil
}
