package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

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
		p.length = r.number(field+"/length", s.Length, 1, d.limits.registers)
		if p.domain != "sensor" {
			r.complain(field+"/type", "string is for sensors")
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
	r.unused(p, field, s)
}

// unused complains of what would have no effect.
func (r *reader) unused(p *point, field string, s *entitySettings) {
	number := !p.isText && !p.onOff && s.Map == nil && p.domain != "button"
	keys := map[string]struct{ given, used bool }{
		"scale": {s.Scale != nil, number}, "offset": {s.Offset != 0, number}, "precision": {s.Precision != nil, number},
		"min": {s.Min != nil, number}, "max": {s.Max != nil, number}, "step": {s.Step != nil, p.domain == "number"},
		"invalid": {s.Invalid != nil, !p.isText && p.domain != "button"}, "map": {s.Map != nil, p.domain == "sensor" || p.domain == "select"},
		"on_value": {s.OnValue != "", p.onOff}, "off_value": {s.OffValue != "", p.onOff}, "press_value": {s.PressValue != "", p.domain == "button"},
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if is := keys[key]; is.given && !is.used {
			r.complain(field+"/"+key, "has no effect on a %s of this kind: remove it", p.domain)
		}
	}
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
