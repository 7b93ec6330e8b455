package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
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

// shape reads how registers make a value.
func (r *reader) shape(p *point, field string, s *entitySettings, d *device) {
	bits := p.place.table.bits()
	p.order = choice(r, field+"/order", s.Order, orders)
	if s.Type == "" {
		s.Type = "uint16"
		if bits || s.Bit != nil {
			s.Type = "bool"
		}
	}
	p.isText = s.Type == "string"
	if p.isText {
		p.length = r.number(field+"/length", s.Length, 1, min(maxStates, d.limits.registers))
		if p.domain != "sensor" || s.Map != nil {
			r.complain(field+"/type", "string is for sensors without a map")
		}
		if p.order.swapWords {
			r.complain(field+"/order", "must be ABCD or BADC for a string: only the two characters of a register can be swapped")
		}
		if bits {
			r.complain(field+"/type", "must be bool, or left out, in a table of bits")
		}
		if p.end() > math.MaxUint16+1 {
			r.complain(field+"/address", "must leave room for %d registers up to 65535", p.length)
		}
		return
	}
	if s.Length != 0 {
		r.complain(field+"/length", "is for strings; the type says how long others are")
	}
	p.kind = choice(r, field+"/type", s.Type, kinds)
	p.length = max(p.kind.registers, 1)
	if s.Bit != nil {
		p.bit = r.number(field+"/bit", *s.Bit, 0, 15)
		if bits || p.length > 1 {
			r.complain(field+"/bit", "is for one register of holding or input; name that by its address")
		}
	}
	p.onOff = s.Map == nil && (p.domain == "switch" || p.domain == "binary_sensor" || s.Type == "bool")
	switch {
	case bits && s.Type != "bool":
		r.complain(field+"/type", "must be bool, or left out, in a table of bits")
	case p.length > d.limits.registers:
		r.complain(field+"/type", "takes %d registers, and the device's max_registers is %d", p.length, d.limits.registers)
	case p.end() > math.MaxUint16+1:
		r.complain(field+"/address", "must leave room for %d registers up to 65535", p.length)
	case p.kind.float && (p.onOff || s.Map != nil):
		r.complain(field+"/type", "must be an integer for what is on or off, or has a map")
	}
}

// value reads what the value means.
func (r *reader) value(p *point, field string, s *entitySettings) {
	if s.Scale != nil {
		if p.scale = *s.Scale; p.scale == 0 {
			r.complain(field+"/scale", "must not be 0")
		}
	}
	p.offset = s.Offset
	switch {
	case s.Precision != nil:
		p.precision = r.number(field+"/precision", *s.Precision, 0, 9)
	case !p.kind.float && (p.scale != 1 || p.offset != 0):
		p.precision = max(decimals(p.scale), decimals(p.offset))
	}
	if s.Min != nil {
		p.low = *s.Min
	}
	if s.Max != nil {
		p.high = *s.Max
	}
	if p.low > p.high {
		r.complain(field+"/min", "must not be above max")
	}
	if p.step = math.Abs(p.scale); s.Step != nil {
		if p.step = *s.Step; p.step <= 0 {
			r.complain(field+"/step", "must be above 0")
		}
	}
	if p.rounding = p.step; s.Step == nil && p.kind.float {
		p.rounding = 0
	}
	if p.domain == "number" && (p.onOff || s.Map != nil) {
		r.complain(field+"/id", "a number needs a number: make it a switch, or a select with a map")
	}
	for i, text := range s.Invalid {
		if p.invalid == nil {
			p.invalid = map[uint64]bool{}
		}
		p.invalid[r.bits(p, fmt.Sprintf("%s/invalid/%d", field, i), text, 0)] = true
	}
	p.on, p.onGiven = r.bits(p, field+"/on_value", s.OnValue, 1), s.OnValue != ""
	p.off = r.bits(p, field+"/off_value", s.OffValue, 0)
	p.press = r.bits(p, field+"/press_value", s.PressValue, 1)
	if p.onOff && p.on == p.off {
		r.complain(field+"/on_value", "must differ from off_value")
	}
	r.words(p, field, s)
}

// words reads the map.
func (r *reader) words(p *point, field string, s *entitySettings) {
	if s.Map == nil {
		if p.domain == "select" {
			r.complain(field+"/map", "is missing: a select has a word for each value, such as {0: off, 1: heating}")
		}
		return
	}
	if len(s.Map) == 0 || len(s.Map) > maxWords {
		r.complain(field+"/map", "must have 1 to %d words", maxWords)
	}
	p.words = map[uint64]string{}
	type option struct {
		bits uint64
		word string
	}
	var options []option
	for _, key := range slices.Sorted(maps.Keys(s.Map)) {
		raw, at := s.Map[key], field+"/map/"+escape(key)
		var word string
		if json.Unmarshal(raw, &word) != nil {
			word = string(raw) // a number, or true
		}
		bits := r.bits(p, at, json.Number(key), 0)
		switch {
		case word == "" || len(word) > maxName || strings.ContainsAny(word[:1], "{["):
			r.complain(at, "must be a word of 1 to %d bytes", maxName)
		case p.words[bits] != "":
			r.complain(at, "is another way to write a value that has a word already")
		case slices.ContainsFunc(options, func(o option) bool { return o.word == word }):
			r.complain(at, "%.60q is the word of another value already", word)
		}
		p.words[bits] = word
		options = append(options, option{bits, word})
	}
	slices.SortFunc(options, func(a, b option) int { return cmp.Compare(p.kind.integer(a.bits), p.kind.integer(b.bits)) })
	for _, o := range options {
		p.options = append(p.options, o.word)
	}
}

// bits reads a raw value: decimal, or hexadecimal if it is text. It returns the default for nothing.
func (r *reader) bits(p *point, field string, n json.Number, otherwise uint64) uint64 {
	if n == "" {
		return otherwise
	}
	size := 16 * max(p.kind.registers, 1)
	if p.place.table.bits() || p.bit >= 0 {
		size = 1
	}
	if p.kind.float {
		x, err := n.Float64()
		bits, ok := p.kind.bits(x)
		if err != nil || !ok {
			r.complain(field, "must be a number, and is %.60q", n)
		}
		return bits
	}
	text := string(n)
	if unsigned, err := strconv.ParseUint(text, 0, size); err == nil {
		return unsigned
	}
	signed, err := strconv.ParseInt(text, 0, size)
	if err != nil || size == 1 {
		r.complain(field, "must be an integer of %d bits, and is %.60q", size, text)
	}
	return uint64(signed) & (math.MaxUint64 >> (64 - size))
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
	w := writeSettings{Table: s.Table, Address: s.Address, Verify: true, Settle: "0s"}
	if s.Write != nil && !r.decode(s.Write, field, &w) {
		return
	}
	p.write = &writing{verify: w.Verify && p.domain != "button", settle: r.duration(field+"/settle", w.Settle, 0, maxSettle)}
	if s.Address == nil && w.Address == nil {
		return // which was said
	}
	p.write.place = r.place(field, w.Table, w.Address)
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
