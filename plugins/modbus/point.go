package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"carillon/plugins/adapter"
)

// A point is an entity: where a device keeps it, and what that means.
type point struct {
	// Static after construction.
	id         string
	domain     string
	unit       byte
	place      place
	length     int // registers; 1 for a bit
	kind       kind
	order      order
	isText     bool
	bit        int // of the register; -1: all of it
	onOff      bool
	on, off    uint64 // raw
	onGiven    bool   // on is what equals on; else what is not off
	scale      float64
	offset     float64
	precision  int
	low, high  float64 // a sensor beyond has a fault; a number can't be set beyond
	step       float64
	rounding   float64 // how far what a device has may be from what was set
	invalid    map[uint64]bool
	words      map[uint64]string
	options    []string
	write      *writing // nil: it can't be written
	press      uint64   // what a button writes
	every      time.Duration
	attributes map[string]any

	// Owned by its line.
	away     bool // it was published as unavailable
	taken    bool // somebody else has its id: it is left out
	refusals int  // how often, in a row, the device refused to have it
	strange  bool // that it has no word for what it is was logged
}

// A place is where a value begins in a device.
type place struct {
	table   table
	address uint16
}

func (p place) String() string { return fmt.Sprintf("%s %d", p.table, p.address) }

// writing is how a point is written.
type writing struct {
	place    place
	function byte
	verify   bool
	settle   time.Duration // how long the device may take until it reads as it was written
}

const (
	unknown = "unknown"
	on      = "on"
	off     = "off"
)

// read reports whether the point is polled: a button has no state of its own in the device.
func (p *point) read() bool { return p.domain != "button" }

// end is the address behind the point; up to 65536.
func (p *point) end() int { return int(p.place.address) + p.length }

// raw returns the bits of the point in the data of a block that starts before or with it.
func (p *point) raw(data []byte, start uint16) uint64 {
	at := int(p.place.address - start)
	if p.place.table.bits() {
		return uint64(data[at/8]>>(at%8)) & 1
	}
	bits := p.order.join(data[2*at : 2*(at+min(p.length, 4))])
	if p.bit >= 0 {
		return bits >> p.bit & 1
	}
	return bits
}

// state returns the state that data says. Strange is true if it has no word for it.
func (p *point) state(data []byte, start uint16) (text string, strange bool) {
	if p.isText {
		at := 2 * int(p.place.address-start)
		return cmp.Or(p.order.text(data[at:at+2*p.length]), unknown), false
	}
	return p.meaning(p.raw(data, start))
}

// meaning returns the state that the bits mean.
func (p *point) meaning(bits uint64) (text string, strange bool) {
	word, known := p.words[bits]
	switch {
	case p.invalid[bits]:
		return unknown, false
	case known:
		return word, false
	case p.words != nil:
		return unknown, true
	case p.onOff && bits == p.off:
		return off, false
	case p.onOff && (bits == p.on || !p.onGiven):
		return on, false
	case p.onOff:
		return unknown, true
	}
	return p.number(bits), false
}

// number returns the state of a number.
func (p *point) number(bits uint64) string {
	plain := p.scale == 1 && p.offset == 0
	x := p.kind.number(bits)*p.scale + p.offset
	switch {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return unknown
	case p.domain == "sensor" && (x < p.low || x > p.high):
		return unknown
	case plain && !p.kind.float && p.precision <= 0 && p.kind.signed:
		return strconv.FormatInt(p.kind.integer(bits), 10)
	case plain && !p.kind.float && p.precision <= 0:
		return strconv.FormatUint(bits, 10)
	case plain && p.precision < 0 && p.kind.registers == 2 && math.Abs(x) < manyDigits && math.Abs(x) > 1e-6:
		return strconv.FormatFloat(x, 'f', -1, 32) // as short as tells it from its neighbours
	}
	return format(x, p.precision)
}

// bitsOf returns the bits of a number that somebody wants to set.
func (p *point) bitsOf(x float64) (uint64, error) {
	if !(x >= p.low && x <= p.high) {
		return 0, fmt.Errorf("it can be set to %s, not to %s", p.bounds(), format(x, -1))
	}
	bits, ok := p.kind.bits((x - p.offset) / p.scale)
	if !ok {
		return 0, fmt.Errorf("it can't be %s: its register doesn't hold that", format(x, -1))
	}
	return bits, nil
}

// bounds says what a number can be set to.
func (p *point) bounds() string {
	switch {
	case math.IsInf(p.low, -1):
		return format(p.high, -1) + " at most"
	case math.IsInf(p.high, 1):
		return format(p.low, -1) + " at least"
	}
	return format(p.low, -1) + " to " + format(p.high, -1)
}

// option returns the bits of an option.
func (p *point) option(name string) (uint64, error) {
	for bits, word := range p.words {
		if word == name {
			return bits, nil
		}
	}
	return 0, fmt.Errorf("it has no option %.100q; it has %q", name, p.options)
}

// near reports whether a state is what was written: a device may round a number.
func (p *point) near(state, written string) bool {
	if state == written {
		return true
	}
	a, err := strconv.ParseFloat(state, 64)
	b, err2 := strconv.ParseFloat(written, 64)
	return p.domain == "number" && err == nil && err2 == nil && math.Abs(a-b) <= p.rounding*(1+1e-9)
}

// services are what the domain takes, as Home Assistant has it.
var services = map[string][]string{
	"switch": {"turn_on", "turn_off", "toggle"}, "number": {"set_value"}, "select": {"select_option"}, "button": {"press"},
}

// size is about how many bytes declare the point.
func (p *point) size() int {
	n := len(p.id) + 200
	for _, word := range p.options {
		n += len(word) + 8
	}
	return n + len(fmt.Sprint(p.attributes["icon"], p.attributes["unit_of_measurement"], p.attributes["device_class"], p.attributes["state_class"]))
}

// entity declares the point.
func (p *point) entity() adapter.Entity {
	return adapter.Entity{ID: p.id, Attributes: p.attributes, Services: slices.Clone(services[p.domain])}
}
