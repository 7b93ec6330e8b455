package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"carillon/plugins/adapter"
)

// settings are the adapter's configuration.
type settings struct {
	Interval string            `json:"interval"` // between two reads, for devices that say nothing else
	Devices  []json.RawMessage `json:"devices"`  // deviceSettings
}

// deviceSettings are what is said of a device, and of the connection to it.
type deviceSettings struct {
	ID           string            `json:"id"`
	Name         string            `json:"name"`
	Manufacturer string            `json:"manufacturer"`
	Model        string            `json:"model"`
	Address      string            `json:"address"`  // host:port
	Protocol     string            `json:"protocol"` // tcp, rtu_over_tcp
	UnitID       int               `json:"unit_id"`
	Interval     string            `json:"interval"`
	Timeout      string            `json:"timeout"`       // of a request
	Retries      int               `json:"retries"`       // of a read that was not answered
	Pause        string            `json:"pause"`         // between an answer and the next request
	ConnectDelay string            `json:"connect_delay"` // between connecting and the first request
	MaxRegisters int               `json:"max_registers"` // of a request
	MaxBits      int               `json:"max_bits"`      // of a request
	MaxGap       int               `json:"max_gap"`       // registers or bits that may be read over
	Order        string            `json:"order"`         // of bytes and words
	Entities     []json.RawMessage `json:"entities"`      // entitySettings
}

// A device is one that is configured.
type device struct {
	adapter.Device // without its entities
	address        string
	rtu            bool
	timeout        time.Duration
	retries        int
	pause, delay   time.Duration
	limits         limits
	points         []*point

	declared bool              // with what nobody else has; owned by its line, once that runs
	taken    map[string]string // why entities are left out, by id; written by the line, with the gateway's mu
}

const (
	maxDevices  = 250
	maxEntities = 1000      // of a device
	maxDeclared = 512 << 10 // bytes that tell of the entities of a device: they must fit into a message
	maxName     = 100       // bytes
)

// A reader reads a configuration and gathers what is wrong with it.
type reader struct {
	wrong    adapter.FieldErrors
	entities map[string]string // field by id
}

func (r *reader) complain(field, format string, args ...any) {
	r.wrong = append(r.wrong, adapter.FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
}

// readSettings returns the devices of a configuration, or adapter.FieldErrors.
func readSettings(c adapter.Config) ([]*device, error) {
	r := &reader{entities: map[string]string{}}
	s := settings{Interval: "10s"}
	var devices []*device
	if r.decode(c.JSON, "", &s) {
		every := r.duration("/interval", s.Interval, minInterval, maxInterval)
		if len(s.Devices) == 0 || len(s.Devices) > maxDevices {
			r.complain("/devices", "must list 1 to %d devices, each with address and entities", maxDevices)
		}
		for i, raw := range s.Devices[:min(len(s.Devices), maxDevices)] {
			devices = append(devices, r.device(raw, fmt.Sprintf("/devices/%d", i), every))
		}
		r.checkTogether(devices)
	}
	if r.wrong != nil {
		return nil, r.wrong
	}
	return devices, nil
}

// durations are the fields that hold some: without a unit YAML takes them for numbers.
var durations = []string{"/interval", "/timeout", "/pause", "/connect_delay", "/settle"}

// decode reads an object into what v points to, and reports whether it could.
func (r *reader) decode(raw json.RawMessage, field string, v any) bool {
	if trimmed := bytes.TrimSpace(raw); len(trimmed) > 0 && trimmed[0] != '{' {
		r.complain(field, "must be an object of keys and values")
		return false
	}
	err := adapter.Config{JSON: raw}.Decode(v)
	if err == nil {
		return true
	}
	for _, e := range err.(adapter.FieldErrors) {
		if slices.Contains(durations, e.Field) {
			e.Message = strings.Replace(e.Message, "text", "a duration with its unit, such as 500ms", 1)
		}
		r.complain(field+e.Field, "%s", e.Message)
	}
	return false
}

// escape makes a part of a JSON pointer.
func escape(name string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(name) }

const (
	minInterval, maxInterval = 100 * time.Millisecond, 24 * time.Hour
	minTimeout, maxTimeout   = 50 * time.Millisecond, time.Minute
	maxPause                 = 10 * time.Second
	rtuPause                 = 5 * time.Millisecond // frames on the serial line behind have a silence between them
)

func (r *reader) duration(field, text string, least, most time.Duration) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil || d < least || d > most {
		r.complain(field, "must be a duration from %v to %v, such as 500ms, and is %.60q", least, most, text)
		return max(least, time.Second)
	}
	return d
}

func (r *reader) number(field string, n, least, most int) int {
	if n < least || n > most {
		r.complain(field, "must be from %d to %d, and is %d", least, most, n)
	}
	return n
}

func (r *reader) name(field, text string) string {
	if len(text) > maxName {
		r.complain(field, "must have %d bytes at most, and has %d", maxName, len(text))
	}
	return text
}

// choice returns a key of what can be chosen.
func choice[T any](r *reader, field, text string, of map[string]T) (chosen T) {
	chosen, ok := of[text]
	if !ok {
		var names []string
		for name := range of {
			names = append(names, name)
		}
		slices.Sort(names)
		r.complain(field, "must be one of %s, and is %.60q", strings.Join(names, ", "), text)
	}
	return chosen
}

var protocols = map[string]bool{"tcp": false, "rtu_over_tcp": true}

// device reads a device.
func (r *reader) device(raw json.RawMessage, field string, every time.Duration) *device {
	s := deviceSettings{
		Protocol: "tcp", UnitID: 1, Interval: every.String(), Timeout: "3s", Retries: 1, ConnectDelay: "0s",
		MaxRegisters: mostRegisters, MaxBits: mostBits, Order: "ABCD",
	}
	if !r.decode(raw, field, &s) {
		return nil
	}
	if s.Pause == "" {
		s.Pause = map[bool]string{false: "0s", true: rtuPause.String()}[protocols[s.Protocol]]
	}
	d := &device{
		Device: adapter.Device{ID: s.ID, Name: r.name(field+"/name", s.Name),
			Manufacturer: r.name(field+"/manufacturer", s.Manufacturer), Model: r.name(field+"/model", s.Model)},
		address: s.Address, rtu: choice(r, field+"/protocol", s.Protocol, protocols),
		timeout: r.duration(field+"/timeout", s.Timeout, minTimeout, maxTimeout),
		retries: r.number(field+"/retries", s.Retries, 0, 5),
		pause:   r.duration(field+"/pause", s.Pause, 0, maxPause),
		delay:   r.duration(field+"/connect_delay", s.ConnectDelay, 0, maxPause),
		limits: limits{
			registers: r.number(field+"/max_registers", s.MaxRegisters, 1, mostRegisters),
			bits:      r.number(field+"/max_bits", s.MaxBits, 1, mostBits),
			gap:       r.number(field+"/max_gap", s.MaxGap, 0, mostBits),
		},
	}
	if host, port, err := net.SplitHostPort(s.Address); err != nil || host == "" || !isPort(port) {
		r.complain(field+"/address", "must be host:port, such as 192.168.1.50:502, and is %.100q", s.Address)
	}
	if d.ID == "" {
		d.ID = fmt.Sprintf("%s/%d", s.Address, s.UnitID)
	}
	if d.Name == "" {
		d.Name = d.ID
	}
	r.name(field+"/id", d.ID)
	s.UnitID = r.unit(field, s.UnitID, d.rtu)
	s.Interval = r.duration(field+"/interval", s.Interval, minInterval, maxInterval).String()
	choice(r, field+"/order", s.Order, orders)
	if len(s.Entities) == 0 || len(s.Entities) > maxEntities {
		r.complain(field+"/entities", "must list 1 to %d entities, each with id, table and address", maxEntities)
	}
	size := 0
	for i, raw := range s.Entities[:min(len(s.Entities), maxEntities)] {
		if p := r.point(raw, fmt.Sprintf("%s/entities/%d", field, i), &s, d); p != nil {
			d.points = append(d.points, p)
			size += p.size()
		}
	}
	if size > maxDeclared {
		r.complain(field+"/entities", "tell %d bytes of themselves, more than %d: make it several devices", size, maxDeclared)
	}
	return d
}

func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}

// unit checks the id of a unit below a field. Unit 0 of a serial line is all of them, and none of them
// answers.
func (r *reader) unit(field string, id int, rtu bool) int {
	least := 0
	if rtu {
		least = 1
	}
	return r.number(field+"/unit_id", id, least, 255)
}

// checkTogether checks what devices must have in common, or must not.
func (r *reader) checkTogether(devices []*device) {
	ids, lines := map[string]int{}, map[string]*device{}
	for i, d := range devices {
		if d == nil {
			continue
		}
		if first, taken := ids[d.ID]; taken {
			r.complain(fmt.Sprintf("/devices/%d/id", i), "%.100q is the id of /devices/%d already: give each device one of its own", d.ID, first)
		} else {
			ids[d.ID] = i
		}
		first := lines[d.address]
		if first == nil {
			lines[d.address] = d
		} else if first.rtu != d.rtu {
			r.complain(fmt.Sprintf("/devices/%d/protocol", i), "must be that of the other devices at %.100q: they have one connection", d.address)
		}
	}
}
