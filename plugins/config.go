package plugins

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	sdk "carillon/plugins/adapter"
)

// An AdapterConfig says how one adapter is to be run. Its zero value is right for
// an executable of the folder that needs no configuration.
type AdapterConfig struct {
	// Path is the executable, relative to the folder of the adapters; empty: the file of the
	// adapter's name in that folder. What is executed is a copy of it.
	Path string
	// Args are its arguments.
	Args []string
	// Config is what the adapter is configured with, a JSON object; nil is {}.
	Config json.RawMessage
	// SHA256 is what the executable must hash to, in hexadecimal; empty: anything.
	SHA256 string
	// User is the name or number of the system's user that it runs as; empty: the
	// server's own. On Unix only, and for a server that may choose.
	User string
	// Memory bounds its data segment in bytes, on Linux only; 0: no bound. Less than 64
	// MiB doesn't start a Go program.
	Memory int64
	// Disabled keeps it from running.
	Disabled bool
	// Deaf keeps it from following what happens in the home.
	Deaf bool
	// Env are the variables of its environment besides the few that all get: NAME
	// passes the server's own on, NAME=value sets one.
	Env []string
}

var validName = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

// ValidName reports whether an adapter may have this name: 1 to 64 lower-case letters,
// digits, - and _.
func ValidName(name string) bool { return validName.MatchString(name) }

// check returns what is wrong with the configuration of the adapter name.
func (c *AdapterConfig) check(name string) *failure {
	bad := func(format string, args ...any) *failure {
		return &failure{Reason: ReasonConfig, Err: fmt.Errorf(format, args...), permanent: true}
	}
	if !validName.MatchString(name) {
		return bad("%.100q is no name of an adapter: it is 1 to 64 lower-case letters, digits, - and _", name)
	}
	if sum, err := hex.DecodeString(c.SHA256); err != nil || len(sum) != 0 && len(sum) != 32 {
		return bad("sha256 must be 64 hexadecimal digits, as sha256sum prints them")
	}
	if c.Memory < 0 {
		return bad("memory must not be negative")
	}
	if text := bytes.TrimSpace(c.Config); len(text) > 0 && (text[0] != '{' || !json.Valid(text)) {
		return bad("config must be a JSON object")
	}
	for _, e := range c.Env {
		if key, _, _ := strings.Cut(e, "="); key == "" || strings.HasPrefix(key, "PLUGIN_") || key == sdk.Handshake.MagicCookieKey {
			return bad("env: %q can't be set", e)
		}
	}
	return nil
}

// json returns the configuration as the adapter gets it.
func (c *AdapterConfig) json() string {
	if len(bytes.TrimSpace(c.Config)) == 0 {
		return "{}"
	}
	return string(c.Config)
}

// sameProcess reports whether a process started for c would be started alike for
// d.
func (c *AdapterConfig) sameProcess(d *AdapterConfig) bool {
	return slices.Equal(c.Args, d.Args) && c.SHA256 == d.SHA256 && c.User == d.User && c.Memory == d.Memory && c.Deaf == d.Deaf && slices.Equal(c.Env, d.Env)
}

// path returns the executable's path.
func (c *AdapterConfig) path(dir string) string {
	switch {
	case c.Path == "":
		return ""
	case filepath.IsAbs(c.Path):
		return filepath.Clean(c.Path)
	}
	return filepath.Join(dir, c.Path)
}

// A Reason says in one word why an adapter is not in service. It is a label of
// the metrics.
type Reason string

// The reasons.
const (
	ReasonFile      Reason = "file"       // the executable can't be read, or is none
	ReasonSHA256    Reason = "sha256"     // the executable is not the one that was pinned
	ReasonConfig    Reason = "config"     // the configuration is wrong; the adapter may have said so
	ReasonStart     Reason = "start"      // the system doesn't start the process
	ReasonHandshake Reason = "handshake"  // its first line is not that of an adapter, or it doesn't speak TLS
	ReasonTimeout   Reason = "timeout"    // it did not answer in time while it was started
	ReasonContract  Reason = "contract"   // it broke the contract: credit, order of batches, ids
	ReasonTooLarge  Reason = "too_large"  // a message was larger than MaxMessage
	ReasonHang      Reason = "hang"       // it did not answer beats
	ReasonExit      Reason = "exit"       // its process ended
	ReasonSession   Reason = "session"    // it ended the session
	ReasonUnhealthy Reason = "unhealthy"  // a new generation did not become ready
	ReasonDisabled  Reason = "disabled"   // by configuration or on request
	ReasonDrained   Reason = "drained"    // on request
	ReasonRemoved   Reason = "removed"    // its executable is gone
	ReasonSwapped   Reason = "swapped"    // another generation took over
	ReasonStopping  Reason = "stopping"   // the server stops
	ReasonCrashes   Reason = "crash_loop" // five crashes in ten minutes
)

// A failure is why an adapter is not in service.
type failure struct {
	Reason    Reason
	Err       error
	permanent bool // trying again doesn't help
}

func (f *failure) Error() string {
	if f.Err == nil {
		return string(f.Reason)
	}
	return f.Err.Error()
}

func (f *failure) Unwrap() error { return f.Err }

func failed(r Reason, format string, args ...any) *failure {
	return &failure{Reason: r, Err: fmt.Errorf(format, args...)}
}

// asFailure returns err as a failure; r is the reason if it has none yet.
func asFailure(err error, r Reason) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	return &failure{Reason: r, Err: err}
}
