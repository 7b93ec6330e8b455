package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// An announcement is one discovery message: the components of one topic.
type announcement struct {
	topic   string
	payload string // as it came, to see whether it changes
	parts   []*entity
	wants   []string // keys of what was left out of it, for which there may be a place later
	leaves  bool     // another topic is to announce the same: it takes it over
	again   func()   // announces the same anew; nil: its message does
}

// size is about how many bytes it takes.
func (a *announcement) size() int {
	if a == nil {
		return 0
	}
	return len(a.topic) + len(a.payload) + 200
}

// has reports whether an entity is one of the announcement's.
func (a *announcement) has(e *entity) bool { return a != nil && slices.Contains(a.parts, e) }

// find returns the entity of a part; nil if there is none.
func (a *announcement) find(key string) *entity {
	if a == nil {
		return nil
	}
	for _, e := range a.parts {
		if e.part.key == key {
			return e
		}
	}
	return nil
}

// takeOut takes an entity out, and returns it.
func (a *announcement) takeOut(e *entity) *entity {
	a.parts = slices.DeleteFunc(a.parts, func(other *entity) bool { return other == e })
	return e
}

// rest takes those entities out that none of the new ones succeeds, and returns them as an
// announcement.
func (a *announcement) rest(by []*entity) *announcement {
	if a == nil {
		return nil
	}
	rest := &announcement{topic: a.topic}
	for _, old := range slices.Clone(a.parts) {
		if !slices.ContainsFunc(by, func(e *entity) bool { return e.key == old.key }) {
			rest.parts = append(rest.parts, a.takeOut(old))
		}
	}
	return rest
}

// A part is a component as it was announced.
type part struct {
	key       string // unique among all: the topic, and within a device's announcement the component's key
	topic     string
	component string // "light"
	object    string // what its id is made of, if nothing better is known
	options   map[string]any
	make      func(*builder) // in place of what the component has; nil: that
	wrong     error          // why it is none, if there is more in its announcement
	shelly    bool           // nobody announced it: a Shelly was asked what it is
}

// discoveryTopic is <prefix>/<component>/[<node>/]<object>/config.
var discoveryTopic = regexp.MustCompile(`^([a-zA-Z0-9_-]+)/(?:([a-zA-Z0-9_-]+)/)?([a-zA-Z0-9_-]+)/config$`)

// splitTopic takes the part of a discovery topic behind the prefix apart.
func splitTopic(rest string) (component, node, object string, err error) {
	m := discoveryTopic.FindStringSubmatch(rest)
	if m == nil {
		return "", "", "", errors.New("the topic is not <prefix>/<component>/[<node>/]<object>/config with letters, digits, - and _ between the slashes")
	}
	return m[1], m[2], m[3], nil
}

const (
	// maxAnnouncement is the largest discovery message, in bytes: a device with a hundred
	// components takes some 60 KB.
	maxAnnouncement = 1 << 20
	// maxOptions is how many options a component may have; Home Assistant knows some 250
	// of all kinds.
	maxOptions = 300
	// maxShared is how many bytes of options that a device's components share may be copied
	// to them: 2 KB to each of 2,000.
	maxShared = 4 << 20
	// maxBase is how long a base topic (~) may be, in bytes: it is put into many others.
	maxBase = 1024
)

// readAnnouncement returns the parts that a discovery message announces. Rest is its
// topic behind the prefix.
func readAnnouncement(topic, rest string, payload []byte) ([]*part, error) {
	component, _, object, err := splitTopic(rest)
	if err != nil {
		return nil, err
	}
	if len(payload) > maxAnnouncement {
		return nil, fmt.Errorf("the message has %d bytes, more than %d", len(payload), maxAnnouncement)
	}
	m, err := parseObject(payload)
	if err != nil {
		return nil, fmt.Errorf("the message %w", err)
	}
	if component == "device" {
		return readDevice(topic, object, m)
	}
	m = expandConfig(m)
	if err := insertBase(m); err != nil {
		return nil, err
	}
	return []*part{{key: topic, topic: topic, component: component, object: object, options: m}}, nil
}

// readDevice takes a device's announcement apart: options that it has besides its
// components are those of each of them.
func readDevice(topic, object string, m map[string]any) ([]*part, error) {
	m = expandConfig(m)
	components, ok := m["components"].(map[string]any)
	if !ok {
		return nil, errors.New("a device's announcement must have components (cmps), an object")
	}
	if _, ok := m["device"].(map[string]any); !ok {
		return nil, errors.New("a device's announcement must have a device (dev), an object")
	}
	if len(components) > maxEntities {
		return nil, fmt.Errorf("%d components are more than %d", len(components), maxEntities)
	}
	delete(m, "components")
	if shared, err := json.Marshal(m); err != nil || len(shared)*len(components) > maxShared {
		return nil, fmt.Errorf("%d components share options of %d bytes: that is more than %d", len(components), len(shared), maxShared)
	}
	var parts []*part
	for _, name := range slices.Sorted(maps.Keys(components)) {
		p := &part{key: topic + "#" + name, topic: topic, object: object + "_" + name}
		if p.wrong = p.readComponent(components[name], m); p.wrong != nil || len(p.options) > 0 {
			parts = append(parts, p)
		}
	}
	return parts, nil
}

// readComponent reads a component of a device, and the options that it shares with others.
// Without options it is taken away.
func (p *part) readComponent(v any, shared map[string]any) error {
	own, ok := v.(map[string]any)
	if !ok {
		return errors.New("the component must be an object")
	}
	own = expandConfig(own)
	platform, _ := own["platform"].(string)
	switch {
	case platform == "":
		return errors.New("the component must say its platform (p)")
	case len(own) == 1:
		return nil
	case own["unique_id"] == nil && platform != "device_automation" && platform != "tag":
		return errors.New("the component must have a unique_id")
	case len(shared)+len(own) > maxOptions:
		return fmt.Errorf("the component has %d options, more than %d", len(shared)+len(own), maxOptions)
	}
	p.component, p.options = platform, maps.Clone(shared)
	maps.Copy(p.options, own)
	return insertBase(p.options)
}

// isMigration reports whether a discovery message says that another topic is going to announce
// what this one did (homeassistant/components/mqtt/discovery.py, migrate_discovery).
func isMigration(payload []byte) bool {
	if len(payload) > 100 {
		return false
	}
	m, err := parseObject(payload)
	return err == nil && len(m) == 1 && expand(m, short.component)["migrate_discovery"] == true
}

// A deviceInfo is what announcements say of a device.
type deviceInfo struct {
	id                                          string // empty: there is none
	name, manufacturer, model, serial, software string
}

// readDeviceInfo reads the device of a part. A device is known by its first identifier, or
// by its first connection.
func readDeviceInfo(f *fields) (d deviceInfo) {
	v := f.take("device")
	if v == nil {
		return d
	}
	m, ok := v.(map[string]any)
	if !ok {
		f.fail("device", "must be an object")
		return d
	}
	of := newFields(m)
	if ids := of.strs("identifiers"); len(ids) > 0 {
		d.id = ids[0]
	}
	connections, _ := of.take("connections").([]any)
	for _, c := range connections {
		pair, _ := c.([]any)
		if len(pair) == 2 && d.id == "" {
			d.id = fmt.Sprint(pair[0], ":", pair[1])
		}
	}
	if d.id == "" {
		f.fail("device", "must have identifiers or connections")
		return d
	}
	d.id = cut(d.id, 200)
	d.name, d.manufacturer = cut(of.str("name", ""), 200), cut(of.str("manufacturer", ""), 200)
	d.model, d.serial, d.software = cut(of.str("model", ""), 200), cut(of.str("serial_number", ""), 200), cut(of.str("sw_version", ""), 200)
	if id := of.str("model_id", ""); id != "" && d.model == "" {
		d.model = cut(id, 200)
	}
	for _, err := range of.errs {
		f.fail("device", "%v", err)
	}
	return d
}

// cut keeps the beginning of a text.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}
