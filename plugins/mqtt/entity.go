package main

import (
	"context"
	"maps"
	"slices"
	"time"

	"carillon/plugins/adapter"
	"carillon/plugins/mqtt/template"
)

// An entity is a component that was announced: what it listens to, what it shows,
// and what it takes. All of it is guarded by bridge.mu once it is known to the bridge.
type entity struct {
	// Static after it was built.
	part     *part
	key      string // what its id is kept under: the same device has it again after a restart
	domain   string
	name     string // of the entity, without the device's; empty: the device's alone
	wish     string // the object part of the id that the announcement asks for; may be empty
	device   deviceInfo
	own      map[string]any // attributes of every state
	commands map[string]command
	inputs   []*input
	numbers  map[string]template.Value // of its announcement, which its templates know
	reach    availability
	retain   bool // of what is published
	qos      byte
	assumed  bool          // nothing tells its state, or it is not to be waited for
	patience time.Duration // after which it is unavailable without news; 0: never
	offDelay time.Duration // after which a binary sensor is off again; 0: never
	forced   bool          // every message is an event
	silent   bool          // it has no entity: a trigger, a tag

	id       string
	declared bool

	standing
	attrs   map[string]any // that go with the state
	json    map[string]any // of its attributes' topic
	lamp    *lamp          // that it is; nil: it is none
	closes  bool           // a cover or a valve that was closing when it moved last
	resting bool           // a cover that said stopped last: its position says whether it is open
	dirty   bool           // there may be something to publish
	by      *message       // that brought it
	shown   *adapter.State // what the host was told last; nil: nothing since it was declared
	reached bool           // the entity is available, as far as the host was told
	stale   bool           // patience ran out
	timers  map[string]*timer

	story   context.Context // of the last command, until storyEnds
	told    time.Time       // when that was sent
	replies []*reply        // that commands wait for
}

// A standing is how an entity is.
type standing struct {
	state string
	known bool // state is valid
	news  bool // it was told since it was published
}

// An input is a topic that tells something of an entity.
type input struct {
	e        *entity
	topic    string
	template *template.Template
	quiet    bool // what it tells is not of the state: availability
	apply    func(m *message, value string) error
}

// A command makes messages of a service call, and returns what to assume once they are
// sent; nil if the device tells what it does.
type command func(c *call) (out []outgoing, assume func(), err error)

// A call is a service that was called.
type call struct {
	service string
	data    map[string]any
}

// guess returns fn, if what a command does must be assumed since nothing tells it.
func (e *entity) guess(fn func()) func() { return guessIf(e.assumed, fn) }

func guessIf(untold bool, fn func()) func() {
	if untold {
		return fn
	}
	return nil
}

// set changes the state.
func (e *entity) set(state string) {
	if state == "opening" || state == "closing" {
		e.closes = state == "closing"
	}
	e.state, e.known, e.news = state, true, true
}

// unknown forgets the state.
func (e *entity) unknown() { e.set("unknown") }

// attr changes an attribute; nil takes it away.
func (e *entity) attr(name string, v any) {
	e.news = true
	if v == nil {
		delete(e.attrs, name)
		return
	}
	e.attrs[name] = v
}

// attributes returns what goes with the state.
func (e *entity) attributes() map[string]any {
	all := make(map[string]any, len(e.attrs)+len(e.json))
	maps.Copy(all, e.json)
	maps.Copy(all, e.attrs)
	return all
}

// friendlyName is the name that people see.
func (e *entity) friendlyName() string {
	switch {
	case e.device.name == "" && e.name == "":
		return e.part.object
	case e.device.name == "" || e.name == "":
		return e.device.name + e.name
	}
	return e.device.name + " " + e.name
}

// declaration is the entity for the host.
func (e *entity) declaration() adapter.Entity {
	own := maps.Clone(e.own)
	own["friendly_name"] = e.friendlyName()
	if e.assumed && len(e.commands) > 0 && e.domain != "button" && e.domain != "scene" {
		own["assumed_state"] = true
	}
	services := slices.Sorted(maps.Keys(e.commands))
	return adapter.Entity{ID: e.id, Attributes: own, Services: services}
}

// available reports whether the entity can be shown as it is.
func (e *entity) available() bool { return !e.stale && e.reach.ok() }

// An availability is what topics say of whether an entity can be reached.
type availability struct {
	mode string // "all", "any" or "latest"
	said []bool // by topic
	last bool   // what was said last
}

func (a *availability) ok() bool {
	switch {
	case len(a.said) == 0:
		return true
	case a.mode == "any":
		return slices.Contains(a.said, true)
	case a.mode == "latest":
		return a.last
	}
	return !slices.Contains(a.said, false)
}

func (a *availability) say(topic int, yes bool) {
	a.said[topic], a.last = yes, yes
}

// A timer runs a function of an entity later, with bridge.mu held.
type timer struct {
	t   *time.Timer
	due time.Time
}
