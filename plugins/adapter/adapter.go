package adapter

import (
	"context"
	"encoding/json"
	"strings"
)

// An Adapter is a driver for hardware. Describe, Configure and, if it has them,
// Discover and Health may be called at any time, from any goroutine.
type Adapter interface {
	// Describe says what the adapter is. It changes nothing.
	Describe() Description

	// Configure checks a configuration and, unless ValidateOnly is set, keeps it for
	// Run; with an error it changes nothing. What is wrong with a part of the
	// configuration is best said by FieldErrors. Calls come one at a time: once
	// before Run, and while it runs if the adapter Reconfigures.
	Configure(ctx context.Context, c Config) error

	// Run is the adapter's life. It is called once, after Configure, and publishes
	// to h until ctx ends; then it publishes what it still holds, lets go of the
	// hardware, and returns. The methods of h go on taking what is published with ctx
	// until then, so that nothing that was read is lost; it is ctx that says when to
	// stop. An error ends the process; the host starts another.
	Run(ctx context.Context, h *Host) error
}

// A Discoverer is an Adapter that can look for devices that could be configured.
type Discoverer interface {
	// Discover calls found for each, until it has looked everywhere or ctx ends.
	Discover(ctx context.Context, found func(Discovered)) error
}

// A Healther is an Adapter that can be running and not well: a gateway that
// doesn't answer, some of many devices lost.
type Healther interface {
	// Health reports whether the adapter can do its work; detail says why it can't, or
	// what is wrong although it can. It must answer within a second.
	Health() (ready bool, detail string)
}

// A Description says what an adapter is.
type Description struct {
	Name    string          // [a-z0-9_-]{1,64}
	Version string          // for people
	Summary string          // one sentence
	Schema  json.RawMessage // JSON schema (draft 2020-12) of the configuration; nil: it takes none

	// Exclusive says that two of it can't run at once, as on a serial port: the old
	// one ends before the new one starts.
	Exclusive bool
	// Reconfigures says that Configure may be called while Run runs. Others are
	// started anew when their configuration changes.
	Reconfigures bool
}

// A Config is the configuration of an adapter.
type Config struct {
	JSON         json.RawMessage // an object
	ValidateOnly bool            // it is only to be checked
	StateDir     string          // a folder of the adapter's own, which outlives its process
}

// A FieldError says what is wrong with one part of a configuration.
type FieldError struct {
	Field   string // as a JSON pointer, "/devices/0/address"; empty: the whole
	Message string // what is wrong with it, and what it should be
}

// FieldErrors is an error of Configure.
type FieldErrors []FieldError

func (e FieldErrors) Error() string {
	parts := make([]string, len(e))
	for i, f := range e {
		parts[i] = f.Message
		if f.Field != "" {
			parts[i] = f.Field + ": " + f.Message
		}
	}
	return strings.Join(parts, "; ")
}

// Discovered is a device that could be configured.
type Discovered struct {
	ID     string          // what tells it from others: an address, a serial number
	Title  string          // for people
	Config json.RawMessage // an object to put into the configuration
}
