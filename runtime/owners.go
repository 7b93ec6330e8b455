package runtime

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sort"
	"sync"
	"time"
)

// A Handler answers one kind of command. It must end when ctx does. Response is
// a JSON value, or nil.
type Handler func(ctx context.Context, c *Command) (response json.RawMessage, err error)

// A Service is a kind of command that a producer answers.
type Service struct {
	Domain, Name string
	EntityID     string // the entity it is for; empty: a service of its own, called without a target
	Description  string
	Handler      Handler
}

// A Registration is everything that one generation of a producer has.
type Registration struct {
	Source   string   // the generation, "hall.js@7"
	Entities []string // entity ids
	Services []Service
}

// An Amendment is a change of what a producer has, at the cost of what changes.
type Amendment struct {
	Entities []string  // that it has from now on; what they took before they take no more
	Services []Service // that they take
	Gone     []string  // entities that it has no more
}

// owners knows which producer owns which entity and answers which command.
type owners struct {
	r     *Runtime
	grace time.Duration

	mu sync.RWMutex
	// Guarded by mu.
	byProducer map[string]holding
	byEntity   map[string]string                   // the producer's name
	services   map[serviceName]map[string]*Service // by entity id; "" for a service of its own
	leaving    map[string]*time.Timer              // entities without a producer, until they are removed
	closed     bool
}

// A holding is what one producer has: the services of each entity, by its id; "" for
// those of its own.
type holding map[string][]serviceName

type serviceName struct{ domain, name string }

func (o *owners) init(r *Runtime, grace time.Duration) {
	o.r, o.grace = r, grace
	o.byProducer = map[string]holding{}
	o.byEntity = map[string]string{}
	o.services = map[serviceName]map[string]*Service{}
	o.leaving = map[string]*time.Timer{}
}

// SetGrace changes how long an entity without a producer stays before it is
// removed, from the next one on.
func (r *Runtime) SetGrace(d time.Duration) {
	r.owners.mu.Lock()
	defer r.owners.mu.Unlock()
	r.owners.grace = d
}

// Register replaces all that a producer has by reg, at once: commands that
// come later meet the new handlers. An empty Registration takes the producer
// away. What another producer has is refused with an *InvalidError, and then
// nothing changes. Entities that the producer no longer has become unavailable
// now and are removed after the grace period, unless a producer registers them
// before.
func (r *Runtime) Register(producer string, reg Registration) error {
	o := &r.owners
	o.mu.Lock()
	if err := o.check(producer, reg.Entities, reg.Services); err != nil {
		o.mu.Unlock()
		return err
	}
	former := slices.Sorted(maps.Keys(o.byProducer[producer]))
	o.replace(producer, former, reg.Entities, reg.Services)
	dropped := slices.DeleteFunc(former, func(id string) bool { return id == "" || o.byEntity[id] != "" })
	o.mu.Unlock()
	o.release(context.Background(), dropped)
	return nil
}

// Amend changes a part of what a producer has, as Register does the whole: at once,
// and not at all if it is refused.
func (r *Runtime) Amend(producer string, a Amendment) error {
	o := &r.owners
	o.mu.Lock()
	err := o.check(producer, a.Entities, a.Services)
	for _, s := range a.Services {
		if err == nil && s.EntityID == "" {
			err = invalid("service", "%s.%s is for no entity", s.Domain, s.Name)
		}
	}
	if err != nil {
		o.mu.Unlock()
		return err
	}
	gone := slices.DeleteFunc(slices.Clone(a.Gone), func(id string) bool { return o.byEntity[id] != producer })
	o.replace(producer, slices.Concat(gone, a.Entities), a.Entities, a.Services)
	dropped := slices.DeleteFunc(gone, func(id string) bool { return o.byEntity[id] != "" })
	o.mu.Unlock()
	o.release(context.Background(), dropped)
	return nil
}

func (o *owners) check(producer string, entities []string, services []Service) error {
	mine := make(map[string]bool, len(entities))
	for _, id := range entities {
		mine[id] = true
		if !ValidEntityID(id) {
			return invalid("entity_id", "%.300q is none: it is <domain>.<object>, both of lower-case letters, digits and single underscores (light.kitchen)", id)
		}
		if owner := o.byEntity[id]; owner != "" && owner != producer {
			return invalid("entity_id", "%s belongs to %s: an entity has one owner", id, owner)
		}
	}
	for _, s := range services {
		name := serviceName{s.Domain, s.Name}
		if !validSlug(s.Domain) || !validSlug(s.Name) {
			return invalid("service", "%q is none: domain and name are of lower-case letters, digits and single underscores", s.Domain+"."+s.Name)
		}
		if s.EntityID != "" && !mine[s.EntityID] {
			return invalid("service", "%s.%s is for %s, which is not among the producer's entities", s.Domain, s.Name, s.EntityID)
		}
		if s.EntityID == "" && o.services[name][""] != nil && !slices.Contains(o.byProducer[producer][""], name) {
			return invalid("service", "%s.%s is answered by another producer already", s.Domain, s.Name)
		}
	}
	return nil
}

// replace takes entities away from a producer, with what they take, and gives it others.
// The id "" stands for the services of its own.
func (o *owners) replace(producer string, former, entities []string, services []Service) {
	has := o.byProducer[producer]
	if has == nil {
		has = holding{}
		o.byProducer[producer] = has
	}
	for _, id := range former {
		for _, name := range has[id] {
			delete(o.services[name], id)
			if len(o.services[name]) == 0 {
				delete(o.services, name)
			}
		}
		delete(has, id)
		delete(o.byEntity, id)
	}
	for _, id := range entities {
		has[id], o.byEntity[id] = nil, producer
		if t := o.leaving[id]; t != nil {
			t.Stop()
			delete(o.leaving, id)
		}
	}
	services = slices.Clone(services)
	for i := range services {
		s := &services[i]
		name := serviceName{s.Domain, s.Name}
		if o.services[name] == nil {
			o.services[name] = map[string]*Service{}
		}
		o.services[name][s.EntityID] = s
		has[s.EntityID] = append(has[s.EntityID], name)
	}
	if len(has) == 0 {
		delete(o.byProducer, producer)
	}
}

// ReleaseUnclaimed lets go of the entities of producers that have not come
// back since the last start: they become unavailable and are removed after the
// grace period. It is called once all producers had their chance to register.
func (r *Runtime) ReleaseUnclaimed(ctx context.Context) {
	var orphans []string
	o := &r.owners
	produced := r.table.produced()
	o.mu.RLock()
	for id := range produced {
		if o.byEntity[id] == "" {
			orphans = append(orphans, id)
		}
	}
	o.mu.RUnlock()
	sort.Strings(orphans)
	o.release(ctx, orphans)
}

// release makes entities unavailable and sets their removal.
func (o *owners) release(ctx context.Context, ids []string) {
	changes := make([]Change, 0, len(ids))
	o.mu.Lock()
	for _, id := range ids {
		if o.r.State(id) == nil || o.byEntity[id] != "" || o.closed {
			continue
		}
		if t := o.leaving[id]; t != nil {
			t.Stop()
		}
		o.leaving[id] = time.AfterFunc(o.grace, func() { o.expire(id) })
		changes = append(changes, Change{EntityID: id, State: Unavailable, Source: "core"})
	}
	o.mu.Unlock()
	if len(changes) == 0 {
		return
	}
	if _, err := o.r.Set(ctx, changes...); err != nil {
		o.r.log.Error("making entities unavailable", "entities", len(changes), "err", err)
	}
}

// expire removes an entity whose grace period is over.
func (o *owners) expire(id string) {
	o.mu.Lock()
	gone := o.leaving[id] != nil && o.byEntity[id] == "" && !o.closed
	delete(o.leaving, id)
	o.mu.Unlock()
	if !gone {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := o.r.Remove(ctx, id, Local, Context{}, "core"); err != nil && err != ErrNotFound {
		o.r.log.Error("removing an entity without a producer", "entity_id", id, "err", err)
	}
}

func (o *owners) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for _, t := range o.leaving {
		t.Stop()
	}
}

// A ServiceInfo describes one kind of command.
type ServiceInfo struct {
	Domain, Name string
	Description  string
	Entities     []string // that take it, sorted; empty for a service without a target
}

// Services returns what can be called, sorted by domain and name.
func (r *Runtime) Services() []ServiceInfo {
	o := &r.owners
	o.mu.RLock()
	defer o.mu.RUnlock()
	infos := make(map[serviceName]ServiceInfo, len(o.services))
	for name, targets := range o.services {
		info := ServiceInfo{Domain: name.domain, Name: name.name}
		for id, s := range targets {
			if id != "" {
				info.Entities = append(info.Entities, id)
			}
			info.Description = cmp.Or(info.Description, s.Description)
		}
		sort.Strings(info.Entities)
		infos[name] = info
	}
	o.addAny(infos)
	list := slices.AppendSeq(make([]ServiceInfo, 0, len(infos)), maps.Values(infos))
	slices.SortFunc(list, func(a, b ServiceInfo) int {
		return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Name, b.Name))
	})
	return list
}

// find returns the services that a command is for: the one without a target
// when it names none, else one for each entity, in their order.
func (o *owners) find(c *Command, targets []string) ([]*Service, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	known := o.services[serviceName{c.Domain, c.Service}]
	if known == nil {
		return nil, fmt.Errorf("%w: %.100s.%.100s", ErrUnknownService, c.Domain, c.Service)
	}
	if len(targets) == 1 && targets[0] == "all" {
		targets = targets[:0]
		for id := range known {
			if id != "" {
				targets = append(targets, id)
			}
		}
		sort.Strings(targets)
	}
	if own := known[""]; own != nil {
		return []*Service{own}, nil
	}
	if len(targets) == 0 {
		return nil, invalid("entity_id", "is missing: %s.%s is for an entity", c.Domain, c.Service)
	}
	found := make([]*Service, len(targets))
	for i, id := range targets {
		if found[i] = known[id]; found[i] == nil {
			return nil, invalid("entity_id", "%.300q does not take %s.%s", id, c.Domain, c.Service)
		}
	}
	return found, nil
}
