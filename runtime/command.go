package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sort"
	"strings"
	"sync"
)

// A Command asks whoever answers Domain.Service to do something.
type Command struct {
	Domain, Service string
	EntityID        string          // which entity the handler is asked for; set by Call from Data
	Data            json.RawMessage // a JSON object; its entity_id is a string, a list, or "all"
	Context         Context         // a fresh one when it has no id
	Origin          Origin
	Source          string
}

// A Result is what became of a command.
type Result struct {
	Context  Context
	Changed  []*State        // the states that changed under the command's context, sorted by id, as they last were
	Response json.RawMessage // of the one handler; of several: an object by entity id; nil when there is none
}

// calls gathers the states that change under the context of a command that is
// running.
type calls struct {
	mu        sync.Mutex
	byContext map[string]*call // guarded by mu
}

type call struct {
	id      string
	changed map[string]*State // guarded by calls.mu
	running int               // nested commands share a context; guarded by calls.mu
}

func (cs *calls) begin(id string) *call {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.byContext[id]
	if c == nil {
		c = &call{id: id, changed: map[string]*State{}}
		cs.byContext[id] = c
	}
	c.running++
	return c
}

func (cs *calls) end(c *call) []*State {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c.running--; c.running == 0 {
		delete(cs.byContext, c.id)
	}
	states := make([]*State, 0, len(c.changed))
	for _, s := range c.changed {
		states = append(states, s)
	}
	sort.Slice(states, func(i, j int) bool { return states[i].EntityID < states[j].EntityID })
	return states
}

// collect runs on the tail's goroutine.
func (cs *calls) collect(batch []*Event) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if len(cs.byContext) == 0 {
		return
	}
	for _, e := range batch {
		if e.Type != StateChanged {
			continue
		}
		if c := cs.byContext[e.Context().ID]; c != nil {
			if s := e.New(); s != nil {
				c.changed[s.EntityID] = s
			} else {
				delete(c.changed, e.EntityID)
			}
		}
	}
}

// Call finds who answers the command, waits for the answer or the deadline,
// and tells it as a service_called and a command_result event with the
// command's context. homeassistant.turn_on, turn_off and toggle are for entities
// of any domain: in between, the commands of their domains are told likewise.
// Errors are ErrUnknownService, an *InvalidError (nothing was done), ErrJournal
// (nothing was done, of a command for one domain), or the *CallErrors of the
// handlers that failed; the Result is valid with those too.
func (r *Runtime) Call(ctx context.Context, c Command) (*Result, error) {
	data, err := compactObject(c.Data)
	if err != nil {
		return nil, invalid("data", "%v", err)
	}
	c.Data = data
	targets, err := entityTargets(data)
	if err != nil {
		return nil, err
	}
	if c.forAny() {
		return r.callAny(ctx, &c, targets)
	}
	services, err := r.owners.find(&c, targets)
	if err != nil {
		return nil, err
	}
	c.Context = c.Context.orNew()
	return r.carryOut(ctx, &c, targets, nil, func() (json.RawMessage, error) { return r.ask(ctx, &c, services) })
}

// carryOut has a command done, between the events that tell of it.
func (r *Runtime) carryOut(ctx context.Context, c *Command, targets, leftOut []string, do func() (json.RawMessage, error)) (*Result, error) {
	if _, err := r.Fire(ctx, c.event(ServiceCalled, c.describe(targets))); err != nil {
		return nil, err
	}
	began := r.now()
	running := r.calls.begin(c.Context.ID)
	response, failed := do()
	result := &Result{Context: c.Context, Changed: r.calls.end(running), Response: response}
	report := c.describe(targets)
	report["success"] = failed == nil
	report["duration"] = r.now().Sub(began).Seconds()
	changed := make([]string, len(result.Changed))
	for i, s := range result.Changed {
		changed[i] = s.EntityID
	}
	report["changed"] = changed
	if len(leftOut) > 0 {
		report["left_out"] = leftOut
	}
	if failed != nil {
		report["error"] = failed.Error()
	}
	// The command is done: its result is told even when the caller has left.
	if _, err := r.Fire(context.WithoutCancel(ctx), c.event(CommandResult, report)); err != nil {
		return result, errors.Join(failed, fmt.Errorf("telling the command's result: %w", err))
	}
	return result, failed
}

func (c *Command) describe(targets []string) map[string]any {
	m := map[string]any{"domain": c.Domain, "service": c.Service, "service_data": c.Data}
	switch len(targets) {
	case 0:
	case 1:
		m["entity_id"] = targets[0]
	default:
		m["entity_id"] = targets
	}
	return m
}

func (c *Command) event(typ string, data map[string]any) NewEvent {
	text, err := json.Marshal(data)
	if err != nil {
		panic("runtime: a command's description is no JSON: " + err.Error()) // its parts are JSON already
	}
	return NewEvent{Type: typ, Data: text, Origin: c.Origin, Context: c.Context, Source: c.Source}
}

// maxTargets bounds the entities of one command, and so its goroutines.
const maxTargets = 1000

// entityTargets reads data.entity_id: a string, commas allowed as Home
// Assistant does, or a list.
func entityTargets(data json.RawMessage) ([]string, error) {
	var w struct {
		EntityID json.RawMessage `json:"entity_id"`
	}
	if err := json.Unmarshal(data, &w); err != nil {
		return nil, invalid("data", "%v", err)
	}
	if len(w.EntityID) == 0 || string(w.EntityID) == "null" {
		return nil, nil
	}
	var list []string
	var one string
	if json.Unmarshal(w.EntityID, &one) == nil {
		for id := range strings.SplitSeq(one, ",") {
			if id = strings.TrimSpace(id); id != "" {
				list = append(list, id)
			}
		}
	} else if err := json.Unmarshal(w.EntityID, &list); err != nil {
		return nil, invalid("entity_id", "must be a string or a list of strings")
	}
	slices.Sort(list)
	list = slices.Compact(list)
	if len(list) > maxTargets {
		return nil, invalid("entity_id", "names %d entities, more than %d", len(list), maxTargets)
	}
	return list, nil
}

// ask runs the handlers, all at once, and waits until they end or the deadline.
func (r *Runtime) ask(ctx context.Context, c *Command, services []*Service) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, r.callTimeout)
	defer cancel()
	type answer struct {
		i        int
		response json.RawMessage
		err      error
	}
	answers := make(chan answer, len(services))
	for i, s := range services {
		mine := *c
		mine.EntityID = s.EntityID
		go func() {
			response, err := r.run(ctx, s, &mine)
			answers <- answer{i, response, err}
		}()
	}
	responses, errs := make([]json.RawMessage, len(services)), make([]error, len(services))
	for i, s := range services {
		errs[i] = &CallError{s.EntityID, lateError(r.callTimeout)}
	}
	for range services {
		select {
		case a := <-answers:
			responses[a.i], errs[a.i] = a.response, nil
			if a.err != nil {
				errs[a.i] = &CallError{services[a.i].EntityID, a.err}
			}
		case <-ctx.Done():
			return joinResponses(services, responses), errors.Join(errs...)
		}
	}
	return joinResponses(services, responses), errors.Join(errs...)
}

// run calls a handler; its panic is its error.
func (r *Runtime) run(ctx context.Context, s *Service, c *Command) (response json.RawMessage, err error) {
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("a command's handler panicked", "service", s.Domain+"."+s.Name, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("the handler panicked: %v", p)
		}
	}()
	response, err = s.Handler(ctx, c)
	if err == nil && len(response) > 0 && !json.Valid(response) {
		return nil, errors.New("the handler's response is no JSON")
	}
	return response, err
}

func joinResponses(services []*Service, responses []json.RawMessage) json.RawMessage {
	if len(services) == 1 {
		return responses[0]
	}
	by := map[string]json.RawMessage{}
	for i, s := range services {
		if len(responses[i]) > 0 {
			by[s.EntityID] = responses[i]
		}
	}
	if len(by) == 0 {
		return nil
	}
	text, err := json.Marshal(by)
	if err != nil {
		return nil // run has checked each of them
	}
	return text
}
