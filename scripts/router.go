package scripts

import (
	"slices"
	"strings"
	"sync"

	"carillon/runtime"
)

// A router brings events to the handlers that asked for them, and commands to
// the generation that is in service. Handlers are found by type and entity, so
// that an event which nobody asked for costs two look-ups.
type router struct {
	mu sync.Mutex
	// Guarded by mu.
	current map[string]*generation // in service, by script
	subs    map[*generation]map[*subscription]struct{}
	byType  map[string]*handlers // of types without *
	anyType handlers             // of those with one
	touched []*generation        // scratch
}

// handlers are those of one type of event.
type handlers struct {
	byEntity map[string][]*subscription // of entity ids without *
	rest     []*subscription
}

func (h *handlers) each(s *subscription, fn func([]*subscription) []*subscription) {
	if len(s.entities) == 0 || slices.ContainsFunc(s.entities, isWild) {
		h.rest = fn(h.rest)
		return
	}
	if h.byEntity == nil {
		h.byEntity = map[string][]*subscription{}
	}
	for _, id := range s.entities {
		if list := fn(h.byEntity[id]); len(list) > 0 {
			h.byEntity[id] = list
		} else {
			delete(h.byEntity, id)
		}
	}
}

func isWild(pattern string) bool { return strings.Contains(pattern, "*") }

// places calls fn for each list that s belongs into.
func (r *router) places(s *subscription, fn func([]*subscription) []*subscription) {
	if slices.ContainsFunc(s.types, isWild) {
		r.anyType.each(s, fn)
		return
	}
	for _, typ := range s.types {
		h := r.byType[typ]
		if h == nil {
			h = &handlers{}
			r.byType[typ] = h
		}
		h.each(s, fn)
		if len(h.rest)+len(h.byEntity) == 0 {
			delete(r.byType, typ)
		}
	}
}

func (r *router) init() {
	r.current = map[string]*generation{}
	r.byType = map[string]*handlers{}
	r.subs = map[*generation]map[*subscription]struct{}{}
}

func (r *router) add(s *subscription) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// A generation that is no longer in service must not come back in parts.
	if r.current[s.g.script] == s.g {
		r.insert(s)
	}
}

func (r *router) insert(s *subscription) {
	if r.subs[s.g] == nil {
		r.subs[s.g] = map[*subscription]struct{}{}
	}
	r.subs[s.g][s] = struct{}{}
	r.places(s, func(list []*subscription) []*subscription {
		if len(list) > 0 && list[len(list)-1] == s {
			return list // the same type or entity twice
		}
		return append(list, s)
	})
}

func (r *router) remove(s *subscription) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delete(s)
}

func (r *router) delete(s *subscription) {
	delete(r.subs[s.g], s)
	r.places(s, func(list []*subscription) []*subscription {
		if i := slices.Index(list, s); i >= 0 {
			return slices.Delete(list, i, i+1)
		}
		return list
	})
}

// follow runs on the tail's goroutine.
func (r *router) follow(batch []*runtime.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range batch {
		r.route(e)
	}
}

// route puts e into the mailbox of each generation that has a handler for it.
func (r *router) route(e *runtime.Event) {
	h := r.byType[e.Type]
	if h != nil {
		r.match(h.byEntity[e.EntityID], e)
		r.match(h.rest, e)
	}
	r.match(r.anyType.byEntity[e.EntityID], e)
	r.match(r.anyType.rest, e)
	for i, g := range r.touched {
		subs := g.hits
		if len(subs) > 1 {
			slices.SortFunc(subs, func(a, b *subscription) int { return a.id - b.id })
			subs = slices.Compact(subs)
		}
		if g.box.put(job{event: e, subs: slices.Clone(subs)}) == errMailFull {
			g.stats.missed.Add(1)
		}
		clear(g.hits)
		g.hits, r.touched[i] = g.hits[:0], nil
	}
	r.touched = r.touched[:0]
}

func (r *router) match(list []*subscription, e *runtime.Event) {
	for _, s := range list {
		if !s.wants(e) {
			continue
		}
		if len(s.g.hits) == 0 {
			r.touched = append(r.touched, s.g)
		}
		s.g.hits = append(s.g.hits, s)
	}
}

// replace takes old out of service and puts next into it, as one step for
// events and commands: what waited for old goes to next. Either may be nil.
func (r *router) replace(script string, old, next *generation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var left []job
	if old != nil {
		for s := range r.subs[old] {
			r.delete(s)
		}
		delete(r.subs, old)
		left = old.stop()
	}
	if next == nil {
		delete(r.current, script)
	} else {
		r.current[script] = next
		for s := range next.subs {
			r.insert(s)
		}
	}
	for _, j := range left {
		switch {
		case j.command != nil && next != nil:
			j.command.send(next.box)
		case j.command != nil:
			j.command.finish(nil, errStopped)
		case j.event != nil && next != nil:
			r.forward(j.event, next)
		}
	}
}

// forward routes an event that waited for an old generation to the new one.
func (r *router) forward(e *runtime.Event, next *generation) {
	var subs []*subscription
	for s := range next.subs {
		if s.wants(e) {
			subs = append(subs, s)
		}
	}
	if len(subs) > 0 {
		slices.SortFunc(subs, func(a, b *subscription) int { return a.id - b.id })
		next.box.put(job{event: e, subs: subs})
	}
}

// send queues a command for the script's generation in service.
func (r *router) send(script string, c *command) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if g := r.current[script]; g != nil {
		c.send(g.box)
	} else {
		c.finish(nil, errStopped)
	}
}

func (r *router) inService() []*generation {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*generation, 0, len(r.current))
	for _, g := range r.current {
		list = append(list, g)
	}
	return list
}

// stop ends all generations in service.
func (r *router) stop() {
	for _, g := range r.inService() {
		r.replace(g.script, g, nil)
	}
}
