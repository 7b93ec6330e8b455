package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
)

// Home Assistant's commands for entities of any domain: homeassistant.turn_on and its
// like call the service of the same name in each entity's own domain.
const anyDomain = "homeassistant"

var anyServices = []string{"toggle", "turn_off", "turn_on"}

func (c *Command) forAny() bool {
	return c.Domain == anyDomain && slices.Contains(anyServices, c.Service)
}

// A part is the command of one domain that a command for any stands for.
type part struct {
	command  Command
	targets  []string
	services []*Service
}

// callAny carries out a command for entities of any domain, as commands of their domains
// in the same context, all at once. Entities that don't take it, or are not there, are
// left out.
func (r *Runtime) callAny(ctx context.Context, c *Command, targets []string) (*Result, error) {
	if len(targets) == 0 {
		return nil, invalid("entity_id", "is missing: %s.%s is for an entity", c.Domain, c.Service)
	}
	for _, id := range targets {
		if !ValidEntityID(id) {
			return nil, invalid("entity_id", "%.300q is none, as %s.%s wants them: name entities, such as light.kitchen", id, c.Domain, c.Service)
		}
	}
	c.Context = c.Context.orNew()
	parts, leftOut, err := r.owners.parts(c, targets)
	if err != nil {
		return nil, err
	}
	return r.carryOut(ctx, c, targets, leftOut, func() (json.RawMessage, error) {
		errs := make([]error, len(parts))
		var all sync.WaitGroup
		for i := range parts {
			p := &parts[i]
			all.Go(func() {
				_, errs[i] = r.carryOut(ctx, &p.command, p.targets, nil, func() (json.RawMessage, error) { return r.ask(ctx, &p.command, p.services) })
			})
		}
		all.Wait()
		return nil, errors.Join(errs...)
	})
}

// parts finds the commands that c stands for, and the entities that take none. The targets
// are sorted, so those of a domain are neighbours.
func (o *owners) parts(c *Command, targets []string) (parts []part, leftOut []string, err error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	for _, id := range targets {
		domain := Domain(id)
		known := o.services[serviceName{domain, c.Service}]
		own := known[""]
		if own == nil && known[id] == nil {
			leftOut = append(leftOut, id)
			continue
		}
		if n := len(parts); n == 0 || parts[n-1].command.Domain != domain {
			parts = append(parts, part{command: *c})
			parts[n].command.Domain = domain
			if own != nil {
				parts[n].services = []*Service{own}
			}
		}
		p := &parts[len(parts)-1]
		p.targets = append(p.targets, id)
		if own == nil {
			p.services = append(p.services, known[id])
		}
	}
	for i := range parts {
		if parts[i].command.Data, err = withTargets(c.Data, parts[i].targets); err != nil {
			return nil, nil, err
		}
	}
	return parts, leftOut, nil
}

// withTargets returns a command's data for some of its entities.
func withTargets(data json.RawMessage, targets []string) (json.RawMessage, error) {
	var all map[string]json.RawMessage
	err := json.Unmarshal(data, &all)
	if err == nil {
		all["entity_id"], err = json.Marshal(targets)
	}
	if err == nil {
		data, err = json.Marshal(all)
	}
	if err != nil {
		return nil, invalid("data", "%v", err)
	}
	return data, nil
}

// addAny adds to what can be called, by name, the commands for any domain that there
// are entities for. Callers hold mu.
func (o *owners) addAny(infos map[serviceName]ServiceInfo) {
	for _, name := range anyServices {
		targets := map[string]bool{}
		for service, known := range o.services {
			for id := range known {
				if service == (serviceName{Domain(id), name}) {
					targets[id] = true
				}
			}
		}
		if len(targets) > 0 {
			infos[serviceName{anyDomain, name}] = ServiceInfo{
				Domain: anyDomain, Name: name, Entities: slices.Sorted(maps.Keys(targets)),
				Description: "For entities of any domain: calls the service of the same name in each one's own.",
			}
		}
	}
}
