package main

import (
	"encoding/json"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
)

// entitySettings are what is said of an entity.
type entitySettings struct {
	ID          string                     `json:"id"`
	Name        string                     `json:"name"`
	Table       string                     `json:"table"`
	Address     *int                       `json:"address"` // from 0
	UnitID      *int                       `json:"unit_id"`
	Type        string                     `json:"type"`
	Length      int                        `json:"length"` // of a string, in registers
	Bit         *int                       `json:"bit"`    // of the register, from 0, the lowest
	Order       string                     `json:"order"`
	Scale       *float64                   `json:"scale"`  // state = raw * scale + offset
	Offset      float64                    `json:"offset"` // of that
	Precision   *int                       `json:"precision"`
	Unit        string                     `json:"unit"`
	DeviceClass string                     `json:"device_class"`
	StateClass  string                     `json:"state_class"`
	Icon        string                     `json:"icon"`
	Min         *float64                   `json:"min"`
	Max         *float64                   `json:"max"`
	Step        *float64                   `json:"step"`
	Invalid     []json.Number              `json:"invalid"` // raw
	Map         map[string]json.RawMessage `json:"map"`     // words by raw value
	OnValue     json.Number                `json:"on_value"`
	OffValue    json.Number                `json:"off_value"`
	PressValue  json.Number                `json:"press_value"`
	Interval    string                     `json:"interval"`
	Write       json.RawMessage            `json:"write"` // writeSettings
}

// writeSettings are how an entity is written.
type writeSettings struct {
	Table    string `json:"table"`
	Address  *int   `json:"address"`
	Function int    `json:"function"`
	Verify   bool   `json:"verify"`
	Settle   string `json:"settle"`
}

var (
	domains  = map[string]bool{"sensor": false, "binary_sensor": false, "switch": true, "number": true, "select": true, "button": true} // whether they are written
	tables   = map[string]table{"holding": holding, "input": input, "coil": coil, "discrete": discrete}
	entityID = regexp.MustCompile(`^([a-z0-9]+(?:_[a-z0-9]+)*)\.([a-z0-9]+(?:_[a-z0-9]+)*)$`)
)

const (
	maxSettle = 5 * time.Second // other commands of the connection wait so long
	maxWords  = 256
)

// point reads an entity of a device.
func (r *reader) point(raw json.RawMessage, field string, ds *deviceSettings, d *device) *point {
	s := entitySettings{Order: ds.Order, Interval: ds.Interval}
	if !r.decode(raw, field, &s) {
		return nil
	}
	p := &point{id: s.ID, bit: -1, scale: 1, precision: -1, length: 1, low: math.Inf(-1), high: math.Inf(1)}
	m := entityID.FindStringSubmatch(s.ID)
	if m == nil || len(s.ID) > 255 {
		r.complain(field+"/id", "must be an entity id such as sensor.boiler_flow, of lower-case letters, digits and single underscores, and is %.100q", s.ID)
		return nil
	}
	p.domain = m[1]
	if _, ok := domains[p.domain]; !ok {
		r.complain(field+"/id", "must be a sensor, binary_sensor, switch, number, select or button, and is a %.60q", p.domain)
		return nil
	}
	if first, taken := r.entities[s.ID]; taken {
		r.complain(field+"/id", "%s is the entity of %s already", s.ID, first)
	}
	r.entities[s.ID] = field
	if s.Name = r.name(field+"/name", s.Name); s.Name == "" {
		s.Name = title(m[2])
	}
	p.unit = byte(ds.UnitID)
	if s.UnitID != nil {
		p.unit = byte(r.unit(field, *s.UnitID, d.rtu))
	}
	p.every = r.duration(field+"/interval", s.Interval, minInterval, maxInterval)
	p.place = r.place(field, s.Table, s.Address)
	r.shape(p, field, &s, d)
	r.value(p, field, &s)
	r.writing(p, field, &s)
	r.attributes(p, &s)
	return p
}

// title makes a name of an id's second part.
func title(object string) string {
	text := strings.ReplaceAll(object, "_", " ")
	return strings.ToUpper(text[:1]) + text[1:]
}

func (r *reader) place(field, name string, address *int) place {
	p := place{table: choice(r, field+"/table", name, tables)}
	if address == nil {
		r.complain(field+"/address", "is missing: 0 is the first register of a table, number 40001 or 30001 in many manuals")
		return p
	}
	p.address = uint16(r.number(field+"/address", *address, 0, math.MaxUint16))
	return p
}

// writing reads how it is written.
func (r *reader) writing(p *point, field string, s *entitySettings) {
	field += "/write"
	if !domains[p.domain] {
		if s.Write != nil {
			r.complain(field, "is not for a %s: make it a switch, number, select or button", p.domain)
		}
		return
	}
	w := writeSettings{Table: s.Table, Verify: true, Settle: "0s"}
	if s.Write != nil && !r.decode(s.Write, field, &w) {
		return
	}
	p.write = &writing{verify: w.Verify && p.domain != "button", settle: r.duration(field+"/settle", w.Settle, 0, maxSettle)}
	if w.Address == nil {
		w.Address = s.Address
	}
	if w.Address == nil {
		return // which was said
	}
	said := r.wrong
	p.write.place = r.place(field, w.Table, w.Address)
	if w.Table == s.Table && s.Address != nil && *w.Address == *s.Address {
		r.wrong = said // of where it is read
	}
	if _, ok := tables[w.Table]; !ok {
		return
	}
	functions := []int{writeRegister, writeRegisters}
	switch {
	case p.write.place.table == coil && (p.place.table.bits() || p.bit >= 0):
		functions = []int{writeCoil, writeCoils}
	case p.write.place.table != holding:
		r.complain(field+"/table", "must be holding, or coil for one bit, and is %s: name where it is written", p.write.place.table)
		return
	case p.bit >= 0:
		functions = []int{writeRegister, writeRegisters, maskRegister}
	case p.length > 1:
		functions = []int{writeRegisters}
	}
	if w.Function == 0 {
		w.Function = functions[0]
	}
	if !slices.Contains(functions, w.Function) {
		r.complain(field+"/function", "must be one of %v, and is %d", functions, w.Function)
	}
	p.write.function = byte(w.Function)
}

// attributes makes what every state of the entity carries, named as Home Assistant does.
func (r *reader) attributes(p *point, s *entitySettings) {
	p.attributes = map[string]any{"friendly_name": s.Name}
	for key, value := range map[string]string{
		"unit_of_measurement": s.Unit, "device_class": s.DeviceClass, "state_class": s.StateClass, "icon": s.Icon,
	} {
		if value != "" {
			p.attributes[key] = value
		}
	}
	if p.options != nil {
		p.attributes["options"] = p.options
	}
	if p.domain != "number" {
		return
	}
	low, high := p.low, p.high
	if !p.kind.float {
		least, most := p.kind.limits()
		a, b := least*p.scale+p.offset, most*p.scale+p.offset
		low, high = max(low, min(a, b)), min(high, max(a, b))
	}
	p.low, p.high = low, high
	for key, x := range map[string]float64{"min": low, "max": high, "step": p.step} {
		if !math.IsInf(x, 0) {
			p.attributes[key] = x
		}
	}
}
