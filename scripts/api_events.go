package scripts

import (
	"slices"

	"github.com/dop251/goja"

	"carillon/runtime"
)

// A subscription is one on(). Its fields do not change but for cancelled.
type subscription struct {
	g         *generation
	id        int // the order of registration
	handler   handler
	cancelled bool // owned by the generation's goroutine

	types, entities, domains []string // patterns; none: any
	change                   bool     // to, from or attribute is given
	to, from                 []string
	attribute                string
}

// apiOn is on(type, fn) and on(type, filter, fn) -> cancel.
func (g *generation) apiOn(c goja.FunctionCall) goja.Value {
	types := g.list("on: the type", c.Argument(0))
	if types == nil {
		g.throw("on: the type must be an event type, like 'state_changed', or a list of them")
	}
	filter, fn := c.Argument(1), c.Argument(2)
	if len(c.Arguments) < 3 {
		filter, fn = goja.Undefined(), filter
	}
	s := &subscription{g: g, id: g.nextSub, types: types, handler: handler{g.callable("on: the last argument", fn), g.here()}}
	g.readFilter(s, filter)
	if len(g.subs) >= maxSubscriptions {
		g.throw("on: more than %d subscriptions in one script", maxSubscriptions)
	}
	g.nextSub++
	g.subs[s] = struct{}{}
	g.count()
	if !g.loading {
		g.host.router.add(s)
	}
	return g.vm.ToValue(func(goja.FunctionCall) goja.Value {
		if _, known := g.subs[s]; known {
			s.cancelled = true
			delete(g.subs, s)
			g.count()
			g.host.router.remove(s)
		}
		return goja.Undefined()
	})
}

const filterKeys = "entity_id, domain, to, from, attribute"

func (g *generation) readFilter(s *subscription, v goja.Value) {
	if missing(v) {
		return
	}
	o, ok := v.(*goja.Object)
	if !ok {
		g.throw("on: the filter must be an object with some of %s", filterKeys)
	}
	for _, key := range o.Keys() {
		value := o.Get(key)
		switch key {
		case "entity_id":
			s.entities = g.list("on: entity_id", value)
		case "domain":
			s.domains = g.list("on: domain", value)
		case "to":
			s.to = g.list("on: to", value)
		case "from":
			s.from = g.list("on: from", value)
		case "attribute":
			s.attribute = g.text("on: attribute", value)
		default:
			g.throw("on: unknown filter key %.50q: want %s", key, filterKeys)
		}
	}
	if s.change = s.to != nil || s.from != nil || s.attribute != ""; s.change && !slices.Equal(s.types, []string{runtime.StateChanged}) {
		g.throw("on: to, from and attribute are for 'state_changed' only")
	}
}

// wants reports whether e is for s, but for the change of an attribute, which
// costs decoding and is looked at on the script's own goroutine.
func (s *subscription) wants(e *runtime.Event) bool {
	if !wildAny(s.types, e.Type) || !wildAny(s.entities, e.EntityID) || !wildAny(s.domains, e.Domain) {
		return false
	}
	if !s.change || s.attribute != "" {
		return true
	}
	from, to := stateOf(e.Old()), stateOf(e.New())
	return from != to && wildAny(s.from, from) && wildAny(s.to, to)
}

func stateOf(s *runtime.State) string {
	if s == nil {
		return ""
	}
	return s.State
}

// wantsAttribute is the rest of wants. An attribute that is no string, number
// or boolean is compared by its JSON.
func (s *subscription) wantsAttribute(o *eventObject) bool {
	if s.attribute == "" {
		return true
	}
	from, to := attributeOf(o.event.Old(), s.attribute), attributeOf(o.event.New(), s.attribute)
	return from != to && wildAny(s.from, from) && wildAny(s.to, to)
}

// hear runs the handlers of an event.
func (g *generation) hear(e *runtime.Event, subs []*subscription) {
	var o *eventObject
	for _, s := range subs {
		if s.cancelled || g.ctx.Err() != nil {
			continue
		}
		if o == nil {
			o = &eventObject{g: g, event: e}
			o.self = g.vm.NewDynamicObject(o)
		}
		if !s.wantsAttribute(o) {
			continue
		}
		g.stats.handled.Add(1)
		g.run(&story{parent: e.Context().ID}, s.handler.at, func() error {
			_, err := s.handler.fn(goja.Undefined(), o.self)
			return err
		})
	}
}

// apiEmit is emit(type, data).
func (g *generation) apiEmit(c goja.FunctionCall) goja.Value {
	e := runtime.NewEvent{
		Type: g.text("emit: the type", c.Argument(0)), Data: g.object("emit: the data", c.Argument(1)),
		Context: g.story.get(), Source: g.source,
	}
	switch {
	case !runtime.ValidEventType(e.Type):
		g.throw("emit: %.100q is no event type: want 1 to %d bytes without control characters", e.Type, runtime.MaxEventType)
	case e.Type == runtime.StateChanged:
		g.throw("emit: state_changed can't be emitted: set the state of a device instead")
	case slices.Contains(ownTypes, e.Type):
		g.throw("emit: %s is the script host's own", e.Type)
	case len(e.Data) > runtime.MaxEventData:
		g.throw("emit: the data has %d bytes, more than %d", len(e.Data), runtime.MaxEventData)
	}
	if g.loading {
		return g.hold(heldBack{event: &e})
	}
	ctx, cancel := g.budget()
	defer cancel()
	if _, err := g.host.Runtime.Fire(ctx, e); err != nil {
		g.throw("emit: %v", plain(err))
	}
	return goja.Undefined()
}
