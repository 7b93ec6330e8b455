package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxShellyParts bounds the entities of one Shelly: a meter of three phases with four
// relays has some 50.
const maxShellyParts = 300

// announceShelly makes the entities of a device that has said what it is, and shows how it is.
func (b *bridge) announceShelly(d *shelly) {
	b.claimMAC(d, macOf(d.id))
	sys, _ := d.answers[2]["sys"].(map[string]any)
	period, _ := asNumber(sys["wakeup_period"])
	d.asleep = period > 0
	d.parts = d.makeParts()
	if len(d.parts) > maxShellyParts {
		b.reports.warn("entities of a Shelly are left out", d.prefix, fmt.Errorf("it has %d, more than %d", len(d.parts), maxShellyParts))
		d.parts = d.parts[:maxShellyParts]
	}
	b.showShelly(d)
	status := d.answers[2]
	d.answers = [3]map[string]any{} // the parts have what they need of them
	a := b.announced[d.key()]
	if a == nil {
		return
	}
	for _, e := range a.parts { // it has just answered
		for i := range e.reach.said {
			e.reach.say(i, true)
		}
		b.touch(e)
	}
	b.shellyStatus(d, status)
}

// claimMAC notes that a device has said its MAC address.
func (b *bridge) claimMAC(d *shelly, mac string) {
	all := &b.shellies
	if all.byMAC[d.mac] == d {
		delete(all.byMAC, d.mac)
	}
	d.mac = mac
	if other := all.byMAC[mac]; other != nil {
		b.forgetShelly(other) // it has other topics now
	}
	all.byMAC[mac] = d
}

// showShelly puts a device's entities in force, unless it is announced in another way.
func (b *bridge) showShelly(d *shelly) {
	if b.shellies.others[d.mac] > 0 {
		b.withdraw(b.announced[d.key()])
		return
	}
	b.announce(&message{topic: d.key(), payload: d.describe()}, func() ([]*part, error) { return d.parts, nil })
	if a := b.announced[d.key()]; a != nil {
		a.again = func() {
			b.showShelly(d)
			b.wantShelly(d) // new entities are to be told how they are
		}
	}
}

// describe tells whether an announcement differs from the one before.
func (d *shelly) describe() []byte {
	var all []any
	for _, p := range d.parts {
		all = append(all, p.component, p.key, p.options)
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic(err) // it came from JSON
	}
	return text
}

// macInID is a MAC address that an id of a device ends with.
var macInID = regexp.MustCompile(`(?i)(?:^|[^0-9a-f])([0-9a-f]{12})$`)

// macOf returns the MAC address in an identifier or a connection of a device; empty if it has
// none.
func macOf(id string) string {
	if m := macInID.FindStringSubmatch(strings.ReplaceAll(id, ":", "")); m != nil {
		return strings.ToLower(m[1])
	}
	if mac, ok := strings.CutPrefix(strings.ToLower(id), "mac:"); ok {
		return strings.ReplaceAll(mac, ":", "")
	}
	return ""
}

// announcedElsewhere counts the entities that others announce of a device: one that somebody
// announces by Home Assistant's discovery is not there twice.
func (b *bridge) announcedElsewhere(e *entity, by int) {
	mac := macOf(e.device.id)
	if e.part.shelly || mac == "" {
		return
	}
	all := &b.shellies
	d := all.byMAC[mac]
	if all.others[mac] += by; all.others[mac] > 0 {
		if d != nil {
			b.withdraw(b.announced[d.key()])
		}
		return
	}
	delete(all.others, mac)
	if d != nil {
		all.freed = append(all.freed, d)
	}
}

// showFreed has those shown that nobody else announces any more. It is not done at once, since
// an announcement that changes is taken back for a moment.
func (b *bridge) showFreed() {
	all := &b.shellies
	freed := all.freed
	all.freed = nil
	for _, d := range freed {
		if all.byPrefix[d.prefix] == d && all.others[d.mac] == 0 && d.online {
			b.wantShelly(d)
		}
	}
}

// component is one of a device's: what the answers say of it.
type component struct {
	key            string // "switch:0"
	kind           string
	n              int
	config, status map[string]any
	name           string // that it was given; empty: none
	lone           bool   // the device has one of its kind
}

// components returns the components of a device, in the order of their keys.
func (d *shelly) components() (all []component) {
	config, status := d.answers[1], d.answers[2]
	count := map[string]int{}
	for _, key := range slices.Sorted(maps.Keys(status)) {
		c := component{key: key}
		var id string
		var numbered bool
		c.kind, id, numbered = strings.Cut(key, ":")
		n, err := strconv.Atoi(id)
		if c.status, _ = status[key].(map[string]any); !numbered || err != nil || n < 0 || c.status == nil || validTopic(d.prefix+"/status/"+key) != nil {
			continue
		}
		c.n = n
		c.config, _ = config[key].(map[string]any)
		name, _ := c.config["name"].(string)
		c.name = cut(name, 100)
		count[c.kind]++
		all = append(all, c)
	}
	for i := range all {
		all[i].lone = count[all[i].kind] == 1
	}
	return all
}

// called is the name of the component's main entity behind the device's. The only one of
// its kind has the device's, unless it was given another.
func (c *component) called() string {
	switch {
	case c.name != "":
		return c.name
	case c.lone && c.kind != "input":
		return ""
	}
	return c.title()
}

// title is "Switch 0".
func (c *component) title() string {
	title := map[string]string{"rgb": "RGB light", "rgbw": "RGBW light", "cct": "CCT light", "rgbcct": "RGBCCT light", "em1": "Energy meter", "em1data": "Energy meter", "pm1": "Meter"}[c.kind]
	if title == "" {
		title = strings.ToUpper(c.kind[:min(1, len(c.kind))]) + c.kind[min(1, len(c.kind)):]
	}
	return fmt.Sprint(title, " ", c.n)
}

// of is the name of something that the component measures.
func (c *component) of(what string) string {
	switch {
	case c.name != "" && c.kind != "em":
		return c.name + " " + what
	case c.lone:
		return strings.ToUpper(what[:1]) + what[1:]
	}
	return c.title() + " " + what
}

// part makes a part of the device.
func (d *shelly) part(c *component, domain, field, name string, make func(*builder)) *part {
	info := d.answers[0]
	text := func(key string) string { s, _ := info[key].(string); return s }
	key := c.key
	if field != "" {
		key += "-" + field
	}
	options := map[string]any{
		"name": name, "unique_id": d.mac + "-" + key,
		"device": map[string]any{
			"identifiers": d.id, "name": d.name(), "manufacturer": "Shelly", "model": text("model"), "sw_version": text("ver"), "serial_number": text("mac"),
		},
	}
	if !d.asleep {
		options["availability_topic"], options["payload_available"], options["payload_not_available"] = d.prefix+"/online", "true", "false"
	}
	if d.first {
		options["device"].(map[string]any)["identifiers"] = "shelly-" + d.mac // its owner may have chosen its id
	}
	return &part{key: d.key() + "#" + key, topic: d.key(), component: domain, object: d.id + "_" + key, options: options, make: make, shelly: true}
}

// name is what the device was called, or else what it calls itself.
func (d *shelly) name() string {
	if name, _ := d.answers[0]["name"].(string); name != "" {
		return name
	}
	sys, _ := d.answers[1]["sys"].(map[string]any)
	device, _ := sys["device"].(map[string]any)
	if name, _ := device["name"].(string); name != "" {
		return name
	}
	return d.id
}

// makeParts returns the entities of a device.
func (d *shelly) makeParts() (parts []*part) {
	for _, c := range d.components() {
		main, options := d.mainPart(&c)
		if main != nil {
			maps.Copy(main.options, options)
			parts = append(parts, main)
		}
		parts = append(parts, d.sensorParts(&c)...)
	}
	return parts
}

// mainPart returns what is there of a component besides what it measures; nil if nothing. Options
// are what else makes the entity another one when it changes.
func (d *shelly) mainPart(c *component) (p *part, options map[string]any) {
	topic := d.prefix + "/status/" + c.key
	add := func(domain string, make func(*shellyBuilder)) *part {
		return d.part(c, domain, "", c.called(), func(m *builder) { make(&shellyBuilder{builder: m, d: d, c: c, topic: topic}) })
	}
	switch c.kind {
	case "switch":
		if d.isLight(c.n) {
			return add("light", func(m *shellyBuilder) { m.light("onoff") }), nil
		}
		return add("switch", (*shellyBuilder).relay), nil
	case "cover":
		return add("cover", (*shellyBuilder).cover), map[string]any{"calibrated": c.status["pos_control"]}
	case "light":
		return add("light", func(m *shellyBuilder) { m.light("brightness") }), nil
	case "rgb", "rgbw":
		return add("light", func(m *shellyBuilder) { m.light(c.kind) }), nil
	case "cct":
		return add("light", func(m *shellyBuilder) { m.light("color_temp") }), map[string]any{"range": c.config["ct_range"]}
	case "rgbcct":
		return add("light", func(m *shellyBuilder) { m.light("color_temp", "rgb") }), map[string]any{"range": c.config["ct_range"]}
	case "smoke", "flood":
		return add("binary_sensor", func(m *shellyBuilder) { m.alarm(map[string]string{"smoke": "smoke", "flood": "moisture"}[c.kind]) }), nil
	case "input":
		enabled, told := c.config["enable"].(bool)
		switch kind := c.config["type"]; {
		case told && !enabled:
		case kind == "switch":
			return add("binary_sensor", (*shellyBuilder).contact), nil
		case kind == "button":
			return add("event", (*shellyBuilder).button), nil
		}
	}
	return nil, nil
}

// isLight reports whether somebody told the device that a relay of its is of a lamp.
func (d *shelly) isLight(n int) bool {
	sys, _ := d.answers[1]["sys"].(map[string]any)
	ui, _ := sys["ui_data"].(map[string]any)
	types, _ := ui["consumption_types"].([]any)
	if n >= len(types) {
		return false
	}
	kind, _ := types[n].(string)
	return strings.HasPrefix(strings.ToLower(kind), "light")
}

var errNoTruth = errors.New("it is neither true nor false")
