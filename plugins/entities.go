package plugins

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"unicode/utf8"

	"carillon/plugins/adapter/wire"
	"carillon/runtime"
)

// entities are what an adapter has declared, over all of its generations.
type entities struct {
	a        *adapter
	changing sync.Mutex // held while what is declared changes; telling the runtime may wait for the journal

	mu sync.Mutex
	// Guarded by mu, never held for long. What an entity shows is written by the publisher of the
	// generation in service only.
	byID    map[string]*entity
	devices map[string][]string // ids of entities, by device
}

// An entity is what the adapter says of one.
type entity struct {
	id         string
	device     string
	services   []string
	generation int // that declared it last

	attributes json.RawMessage // of its own, canonical
	extra      string          // those of the last state, as they came
	merged     json.RawMessage // both, canonical
	told       bool            // merged is what the runtime was told last
	state      string          // the last; valid if known
	known      bool
	away       bool // the adapter doesn't reach it
	withDevice bool // nor its device
}

// declare takes devices in, and returns what is wrong with each. Those that are
// all right belong to the adapter from then on. It costs what the devices have, not
// what there is.
func (es *entities) declare(generation int, devices []*wire.Device) []error {
	es.changing.Lock()
	defer es.changing.Unlock()
	errs := make([]error, len(devices))
	before := es.copy(devices)
	good := 0
	for i, d := range devices {
		if errs[i] = es.add(generation, d); errs[i] == nil {
			good++
		}
	}
	if good == 0 || es.register(before.ids()) == nil {
		return errs
	}
	// Somebody else has one of them: find out whose devices are to blame.
	es.restore(before)
	for i, d := range devices {
		if errs[i] != nil {
			continue
		}
		before = es.copy(devices[i : i+1])
		if errs[i] = es.add(generation, d); errs[i] != nil {
			continue
		}
		if errs[i] = es.register(before.ids()); errs[i] != nil {
			es.restore(before)
		}
	}
	return errs
}

// An image is what declare goes back to: all that devices may change.
type image struct {
	byID    map[string]*entity  // nil: it is not there
	devices map[string][]string // nil: it is not there
}

func (m image) ids() []string { return slices.Sorted(maps.Keys(m.byID)) }

// copy returns an image of what devices may change.
func (es *entities) copy(devices []*wire.Device) image {
	es.mu.Lock()
	defer es.mu.Unlock()
	m := image{map[string]*entity{}, map[string][]string{}}
	note := func(id string) {
		if m.byID[id] = es.byID[id]; m.byID[id] != nil {
			kept := *m.byID[id]
			m.byID[id] = &kept
			m.devices[kept.device] = slices.Clone(es.devices[kept.device])
		}
	}
	for _, d := range devices {
		m.devices[d.Id] = slices.Clone(es.devices[d.Id])
		for _, id := range es.devices[d.Id] {
			note(id)
		}
		for _, e := range d.Entities {
			note(e.EntityId)
		}
	}
	return m
}

func (es *entities) restore(m image) {
	es.mu.Lock()
	defer es.mu.Unlock()
	for id, e := range m.byID {
		if es.byID[id] = e; e == nil {
			delete(es.byID, id)
		}
	}
	for id, ids := range m.devices {
		if es.devices[id] = ids; ids == nil {
			delete(es.devices, id)
		}
	}
}

// add takes one device in, or nothing of it.
func (es *entities) add(generation int, d *wire.Device) error {
	if d.Id == "" || len(d.Id) > 255 {
		return errors.New("a device's id has 1 to 255 bytes")
	}
	es.mu.Lock()
	defer es.mu.Unlock()
	attributes := make([]json.RawMessage, len(d.Entities))
	fresh := 0
	for i, e := range d.Entities {
		if !runtime.ValidEntityID(e.EntityId) {
			return fmt.Errorf("%.300q is no entity id: it is <domain>.<object>, both of lower-case letters, digits and single underscores (light.kitchen)", e.EntityId)
		}
		known := es.byID[e.EntityId]
		switch {
		case known == nil:
			fresh++
		case known.device != d.Id && known.generation == generation:
			return fmt.Errorf("%s is of device %.100q already", e.EntityId, known.device)
		}
		if len(e.Services) > maxServices {
			return fmt.Errorf("%s takes %d commands, more than %d", e.EntityId, len(e.Services), maxServices)
		}
		var err error
		if attributes[i], err = canonical(e.Attributes); err != nil {
			return fmt.Errorf("the attributes of %s %w", e.EntityId, err)
		}
	}
	if _, known := es.devices[d.Id]; !known && len(es.devices) >= maxEntities {
		return fmt.Errorf("an adapter has at most %d devices", maxEntities)
	}
	if len(es.byID)+fresh > maxEntities {
		return fmt.Errorf("an adapter has at most %d entities", maxEntities)
	}
	es.put(generation, d, attributes)
	return nil
}

// put makes d all that is said of the device.
func (es *entities) put(generation int, d *wire.Device, attributes []json.RawMessage) {
	former := es.devices[d.Id]
	ids := make([]string, 0, len(d.Entities))
	for i, w := range d.Entities {
		e := es.byID[w.EntityId]
		if e == nil {
			e = &entity{id: w.EntityId}
			es.byID[e.id] = e
		} else if e.device != d.Id {
			es.devices[e.device] = slices.DeleteFunc(es.devices[e.device], func(id string) bool { return id == e.id })
		}
		e.away = false
		e.device, e.generation, e.services = d.Id, generation, slices.Clone(w.Services)
		if !bytes.Equal(e.attributes, attributes[i]) || e.merged == nil {
			e.attributes = attributes[i]
			e.merge(e.extra)
		}
		ids = append(ids, e.id)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	for _, id := range former {
		if _, still := slices.BinarySearch(ids, id); !still {
			delete(es.byID, id)
		}
	}
	es.devices[d.Id] = ids
}

// shrinks reports whether a device has fewer entities than before.
func (es *entities) shrinks(d *wire.Device) bool {
	es.mu.Lock()
	defer es.mu.Unlock()
	former := es.devices[d.Id]
	if len(former) == 0 {
		return false
	}
	now := make(map[string]bool, len(d.Entities))
	for _, e := range d.Entities {
		now[e.EntityId] = true
	}
	return slices.ContainsFunc(former, func(id string) bool { return !now[id] })
}

// register tells the runtime which of some entities the adapter has.
func (es *entities) register(ids []string) error {
	var a runtime.Amendment
	es.mu.Lock()
	for _, id := range ids {
		e := es.byID[id]
		if e == nil {
			a.Gone = append(a.Gone, id)
			continue
		}
		a.Entities = append(a.Entities, id)
		for _, name := range e.services {
			a.Services = append(a.Services, runtime.Service{Domain: runtime.Domain(id), Name: name, EntityID: id, Handler: es.a.obey})
		}
	}
	es.mu.Unlock()
	return es.a.host.Runtime.Amend(es.a.producer(), a)
}

// drop forgets a device, if one is given, and entities. Without a device, those that have
// no entities then stay.
func (es *entities) drop(device string, ids []string) error {
	es.changing.Lock()
	defer es.changing.Unlock()
	err := es.dropAll(ids)
	if device != "" {
		es.mu.Lock()
		delete(es.devices, device)
		es.mu.Unlock()
	}
	return err
}

// dropUndeclared drops those that a generation has not declared, and returns their ids.
func (es *entities) dropUndeclared(generation int) ([]string, error) {
	es.changing.Lock()
	defer es.changing.Unlock()
	left := es.undeclared(generation)
	if len(left) == 0 {
		return nil, nil
	}
	es.mu.Lock()
	theirs := map[string]bool{}
	for _, id := range left {
		theirs[es.byID[id].device] = true
	}
	es.mu.Unlock()
	err := es.dropAll(left)
	es.mu.Lock()
	defer es.mu.Unlock()
	maps.DeleteFunc(es.devices, func(id string, ids []string) bool { return theirs[id] && len(ids) == 0 })
	return left, err
}

// missUndeclared makes unavailable what a generation has not declared. What it declares
// meanwhile waits, and is shown behind that.
func (es *entities) missUndeclared(generation int, source string) error {
	es.changing.Lock()
	defer es.changing.Unlock()
	ids := es.undeclared(generation)
	es.forgetShown(ids)
	return es.a.setUnavailable(ids, source)
}

// dropAll drops entities. Callers hold changing.
func (es *entities) dropAll(ids []string) error {
	es.mu.Lock()
	for _, id := range ids {
		e := es.byID[id]
		if e == nil {
			continue
		}
		delete(es.byID, id)
		es.devices[e.device] = slices.DeleteFunc(es.devices[e.device], func(other string) bool { return other == id })
	}
	es.mu.Unlock()
	return es.register(ids)
}

// undeclared returns the entities that the generation has not declared.
func (es *entities) undeclared(generation int) (ids []string) {
	es.mu.Lock()
	defer es.mu.Unlock()
	for id, e := range es.byID {
		if e.generation != generation {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// all returns the ids of all entities, sorted.
func (es *entities) all() []string { return es.undeclared(-1) }

func (es *entities) count() int {
	es.mu.Lock()
	defer es.mu.Unlock()
	return len(es.byID)
}

// forgetShown forgets what entities showed: nobody speaks for them any more.
func (es *entities) forgetShown(ids []string) {
	es.mu.Lock()
	defer es.mu.Unlock()
	for _, id := range ids {
		if e := es.byID[id]; e != nil {
			e.known, e.told, e.away = false, false, false
		}
	}
}

// find returns what an Availability or a Removal is about.
func (es *entities) find(generation int, device string, ids []string) ([]*entity, error) {
	es.mu.Lock()
	defer es.mu.Unlock()
	if device != "" {
		of, declared := es.devices[device]
		if ids = append(slices.Clone(of), ids...); !declared {
			return nil, fmt.Errorf("device %.100q is not declared", device)
		}
	}
	found := make([]*entity, 0, len(ids))
	for _, id := range ids {
		e := es.byID[id]
		if e == nil || e.generation != generation {
			return nil, notDeclared(id)
		}
		found = append(found, e)
	}
	return found, nil
}

func notDeclared(id string) error {
	return fmt.Errorf("%.300q is not declared by this adapter", id)
}

// reach notes that the adapter has heard of an entity that it did not reach, and
// returns the others that it reaches thereby: those of the same device.
func (es *entities) reach(e *entity) (others []*entity) {
	es.mu.Lock()
	defer es.mu.Unlock()
	e.away = false
	if !e.withDevice {
		return nil
	}
	for _, id := range es.devices[e.device] {
		if other := es.byID[id]; other.away && other.withDevice {
			other.away = false
			others = append(others, other)
		}
	}
	return others
}

// of returns an entity that the generation has declared.
func (es *entities) of(generation int, id string) *entity {
	es.mu.Lock()
	defer es.mu.Unlock()
	if e := es.byID[id]; e != nil && e.generation == generation {
		return e
	}
	return nil
}

// merge makes the attributes that a state with extra ones carries.
func (e *entity) merge(extra string) error {
	merged := e.attributes
	if extra != "" {
		var own, more map[string]json.RawMessage
		if err := json.Unmarshal([]byte(extra), &more); err != nil {
			return fmt.Errorf("must be a JSON object: %w", err)
		}
		if err := json.Unmarshal(e.attributes, &own); err != nil {
			return err
		}
		for k, v := range more {
			own[k] = v
		}
		text, err := json.Marshal(own)
		if err != nil {
			return err
		}
		if merged, err = canonical(string(text)); err != nil {
			return err
		}
	}
	e.extra, e.merged, e.told = extra, merged, false
	return nil
}

// canonical checks attributes.
func canonical(text string) (json.RawMessage, error) {
	if len(text) > runtime.MaxAttributes {
		return nil, fmt.Errorf("have %d bytes, more than %d", len(text), runtime.MaxAttributes)
	}
	c, err := runtime.CanonicalObject([]byte(text))
	if err == nil && len(c) > runtime.MaxAttributes {
		err = fmt.Errorf("have %d bytes, more than %d", len(c), runtime.MaxAttributes)
	}
	return c, err
}

// checkState returns what is wrong with the value of a state.
func checkState(s string) error {
	if len(s) > runtime.MaxState && utf8.RuneCountInString(s) > runtime.MaxState {
		return fmt.Errorf("the state has more than %d characters: put long values into an attribute", runtime.MaxState)
	}
	if !utf8.ValidString(s) {
		return errors.New("the state is no UTF-8")
	}
	return nil
}
