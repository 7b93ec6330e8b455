package plugins

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"carillon/plugins/adapter/wire"
	"carillon/runtime"
)

// convert makes proposals of what was received.
func (p *publisher) convert(entries []entry) {
	p.declareAhead(entries, 0)
	for n, e := range entries {
		if e.fn != nil {
			p.unit(false, false).then = append(p.unit(false, false).then, e.fn)
			continue
		}
		b := &progress{id: e.batch.Id, items: len(e.batch.Items), size: e.size}
		for i, item := range e.batch.Items {
			_, ahead := p.ahead[item]
			if err := p.convertItem(origin{b, i}, item); err != nil {
				p.refuse(origin{b, i}, err)
			}
			if item.GetRemoval() != nil || item.GetDevice() != nil && !ahead {
				p.declareAhead(entries[n:], i+1)
			}
		}
		u := p.unit(false, false)
		u.then = append(u.then, func() { p.acknowledge(b) })
	}
	p.propose()
	p.ahead, p.follows = nil, nil
}

// unit returns a unit that takes changes or events, or, of neither, the one that
// is open.
func (p *publisher) unit(changes, events bool) *unit {
	u := p.open
	if u != nil && (changes && (len(u.events) > 0 || len(u.changes) >= maxUnit) || events && (len(u.changes) > 0 || len(u.events) >= maxUnit)) {
		p.propose()
		u = nil
	}
	if u == nil || p.open == nil {
		u = &unit{}
		p.open = u
	}
	return u
}

// declareAhead declares all devices that the entries tell of before they take
// something away, with a Removal or with a Device that has less than before: what stands
// in front of that may be about it. One registration serves them all. The first skip
// items are done.
func (p *publisher) declareAhead(entries []entry, skip int) {
	var devices []*wire.Device
	var items []*wire.Item
	seen := map[string]bool{}
	p.ahead, p.follows = map[*wire.Item]error{}, map[string]bool{}
collect:
	for _, e := range entries {
		all := e.batch.GetItems()
		todo := all[min(skip, len(all)):]
		skip = 0
		for _, item := range todo {
			switch i := item.Item.(type) {
			case *wire.Item_Device:
				if seen[i.Device.Id] || p.s.a.entities.shrinks(i.Device) {
					break collect
				}
				seen[i.Device.Id] = true
				devices, items = append(devices, i.Device), append(items, item)
			case *wire.Item_State:
				p.follows[i.State.EntityId] = true
			case *wire.Item_Removal:
				break collect
			}
		}
	}
	if len(devices) == 0 {
		return
	}
	for i, err := range p.s.a.entities.declare(p.s.g.number, devices) {
		p.ahead[items[i]] = err
	}
	p.s.a.routes.changed()
}

// convertItem proposes one item.
func (p *publisher) convertItem(o origin, item *wire.Item) error {
	story := p.s.calls.story(item.ContextId)
	switch i := item.Item.(type) {
	case *wire.Item_State:
		return p.state(o, i.State, story)
	case *wire.Item_Event:
		return p.event(o, i.Event, story)
	case *wire.Item_Device:
		return p.device(o, item, i.Device, story)
	case *wire.Item_Availability:
		return p.availability(o, i.Availability, story)
	case *wire.Item_Removal:
		return p.removal(i.Removal, story)
	}
	return errors.New("an item of a kind that is not known")
}

func (p *publisher) state(o origin, w *wire.State, story runtime.Context) error {
	deferred := p.follows[w.EntityId]
	delete(p.follows, w.EntityId)
	e := p.s.a.entities.of(p.s.g.number, w.EntityId)
	if e == nil {
		return notDeclared(w.EntityId)
	}
	err := checkState(w.State)
	if err == nil && w.Attributes != "" && w.Attributes != e.extra {
		if err = e.merge(w.Attributes); err != nil {
			err = fmt.Errorf("the attributes of %s %w", e.id, err)
		}
	}
	if err != nil {
		if deferred {
			p.show(o, e, false, story) // its device left that to the state
		}
		return err
	}
	e.state, e.known = w.State, true
	var back []*entity
	if e.away {
		back = p.s.a.entities.reach(e)
	}
	p.show(o, e, w.Force, story)
	for _, other := range back {
		p.show(o, other, false, story)
	}
	return nil
}

// show proposes what an entity is.
func (p *publisher) show(o origin, e *entity, force bool, story runtime.Context) {
	c := runtime.Change{EntityID: e.id, State: e.state, ForceUpdate: force, Context: story, Source: p.s.g.source}
	present := p.s.a.host.Runtime.State(e.id)
	switch {
	case e.away:
		c.State = runtime.Unavailable
	case !e.known:
		c.State = "unknown"
		if present != nil && present.State != runtime.Unavailable {
			c.State = present.State
		}
	}
	if !e.told || present == nil || !bytes.Equal(present.Attributes, e.merged) { // others may have changed or removed it
		c.Attributes, e.told = e.merged, true
	}
	u := p.unit(true, false)
	u.changes, u.origins = append(u.changes, c), append(u.origins, o)
}

// device shows what a device declared and no state follows for.
func (p *publisher) device(o origin, item *wire.Item, d *wire.Device, story runtime.Context) error {
	err, declared := p.ahead[item]
	if !declared {
		err = p.s.a.entities.declare(p.s.g.number, []*wire.Device{d})[0]
		p.s.a.routes.changed()
	}
	if err != nil {
		return err
	}
	for _, w := range d.Entities {
		if e := p.s.a.entities.of(p.s.g.number, w.EntityId); e != nil && !p.follows[e.id] {
			p.show(o, e, false, story)
		}
	}
	return nil
}

func (p *publisher) availability(o origin, w *wire.Availability, story runtime.Context) error {
	found, err := p.s.a.entities.find(p.s.g.number, w.DeviceId, w.EntityIds)
	if err != nil {
		return err
	}
	for _, e := range found {
		if e.away == w.Available {
			e.away, e.withDevice = !w.Available, w.DeviceId != ""
			p.show(o, e, false, story)
		}
	}
	return nil
}

// removal takes entities away, when all before it is visible.
func (p *publisher) removal(w *wire.Removal, story runtime.Context) error {
	found, err := p.s.a.entities.find(p.s.g.number, w.DeviceId, w.EntityIds)
	if err != nil {
		return err
	}
	p.settleAll()
	ids := make([]string, len(found))
	for i, e := range found {
		ids[i] = e.id
	}
	for {
		err := p.remove(ids, story)
		if err == nil {
			return p.s.a.entities.drop(w.DeviceId, ids)
		}
		if p.ctx.Err() != nil || errors.Is(err, runtime.ErrClosed) {
			return err
		}
		select {
		case <-time.After(p.s.a.host.times.retry):
		case <-p.ctx.Done():
		}
		p.writer.Reset()
	}
}

func (p *publisher) remove(ids []string, story runtime.Context) (err error) {
	pending := make([]*runtime.Pending, 0, len(ids))
	for _, id := range ids {
		var one *runtime.Pending
		if one, err = p.writer.Remove(p.ctx, id, story, p.s.g.source); err != nil {
			break
		}
		pending = append(pending, one)
	}
	for _, one := range pending {
		err = cmp.Or(err, p.outcome(one))
	}
	return err
}

var validType = regexp.MustCompile(`^[a-z0-9_]{1,64}$`)

// ours are the types, and the beginnings of types, of Carillon's own events.
var ours = []string{
	"state_changed", "service_called", "command_result", "config_", "script_", "filter_", "adapter_", "system_status", "call_service", "homeassistant_",
}

func (p *publisher) event(o origin, w *wire.Event, story runtime.Context) error {
	if !validType.MatchString(w.Type) {
		return fmt.Errorf("%.100q is no event type: it is 1 to 64 lower-case letters, digits and underscores", w.Type)
	}
	for _, own := range ours {
		if w.Type == own || strings.HasSuffix(own, "_") && strings.HasPrefix(w.Type, own) {
			return fmt.Errorf("events of type %s are Carillon's own", w.Type)
		}
	}
	u := p.unit(false, true)
	u.events = append(u.events, runtime.NewEvent{Type: w.Type, Data: json.RawMessage(w.Data), Context: story, Source: p.s.g.source})
	u.origins = append(u.origins, o)
	return nil
}
