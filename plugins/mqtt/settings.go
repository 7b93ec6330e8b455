package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"carillon/plugins/adapter"
)

// settings are the adapter's configuration.
type settings struct {
	Broker       string                     `json:"broker"`
	Username     string                     `json:"username"`
	Password     string                     `json:"password"`
	PasswordFile string                     `json:"password_file"`
	TLS          *tlsSettings               `json:"tls"`
	Discovery    *string                    `json:"discovery"`
	Tasmota      *bool                      `json:"tasmota"`
	Shelly       *bool                      `json:"shelly"`
	Status       *string                    `json:"status_topic"`
	Confirm      string                     `json:"confirm"`
	Listen       string                     `json:"listen"`
	ListenWS     string                     `json:"listen_websocket"`
	Origins      []string                   `json:"websocket_origins"`
	Users        map[string]json.RawMessage `json:"users"`
	Anonymous    bool                       `json:"anonymous"`
	Publish      *publishSettings           `json:"publish"`

	// Made of the above.
	url         *url.URL
	password    string
	tls         *tls.Config       // nil: none
	users       map[string]string // passwords by name
	prefix      string            // of discovery; empty: none
	statusTopic string            // empty: none
	source      string            // what Shellies answer to; empty: nothing
	confirm     time.Duration
}

// publishSettings say what of the home goes to the broker.
type publishSettings struct {
	Prefix     string   `json:"prefix"`
	States     *bool    `json:"states"`
	Attributes bool     `json:"attributes"`
	Events     []string `json:"events"`
	Entities   []string `json:"entities"`
	Domains    []string `json:"domains"`
	Own        bool     `json:"own"`
}

const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "broker": {"type": "string", "default": "mqtt://127.0.0.1:1883",
      "description": "The broker: mqtt://host[:1883], mqtts://host[:8883], ws://host/path or wss://host/path."},
    "username": {"type": "string"},
    "password": {"type": "string"},
    "password_file": {"type": "string", "description": "A file that holds the password."},
    "tls": {"type": "object", "additionalProperties": false, "description": "For mqtts:// and wss://; with listen, the broker's cert and key.", "properties": {
      "ca": {"type": "string", "description": "A file with the certificates to trust, in PEM; the system's by default."},
      "cert": {"type": "string", "description": "The adapter's own certificate, a file in PEM; for listen, the broker's."},
      "key": {"type": "string", "description": "Its private key, a file in PEM."},
      "insecure": {"type": "boolean", "default": false, "description": "Takes any certificate."}}},
    "discovery": {"type": "string", "default": "homeassistant", "description": "What discovery topics begin with; \"\" for no discovery."},
    "tasmota": {"type": "boolean", "default": true, "description": "Takes Tasmota's own discovery, too."},
    "shelly": {"type": "boolean", "default": true, "description": "Asks Shellies what they are, and takes what they say by themselves."},
    "status_topic": {"type": "string", "description": "Where devices hear that the home is there; <discovery>/status by default, \"\" for nowhere."},
    "confirm": {"type": "string", "default": "300ms", "description": "How long a command waits for the device to tell what it did, 0s to 10s."},
    "listen": {"type": "string", "description": "Be the broker, at this address: 127.0.0.1:1883, or :1883 for the whole network."},
    "listen_websocket": {"type": "string", "description": "The same for WebSocket clients."},
    "websocket_origins": {"type": "array", "items": {"type": "string"}, "description": "Web pages elsewhere that may use it: https://dash.lan; * for all."},
    "users": {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}, "minProperties": 1, "description": "Who may use the broker: passwords by name."},
    "anonymous": {"type": "boolean", "default": false, "description": "Anyone who reaches the broker may use it, also from other machines."},
    "publish": {"type": "object", "additionalProperties": false, "description": "What of the home goes to the broker.", "properties": {
      "prefix": {"type": "string", "default": "carillon", "description": "What the topics begin with."},
      "states": {"type": "boolean", "default": true, "description": "States, retained, at <prefix>/<domain>/<object>/state."},
      "attributes": {"type": "boolean", "default": false, "description": "Their attributes, a JSON object, at <prefix>/<domain>/<object>/attributes."},
      "events": {"type": "array", "items": {"type": "string"}, "description": "Types of events, * stands for any characters, at <prefix>/event/<type>."},
      "entities": {"type": "array", "items": {"type": "string"}, "description": "Only these, * stands for any characters."},
      "domains": {"type": "array", "items": {"type": "string"}, "description": "Only these."},
      "own": {"type": "boolean", "default": false, "description": "Also what came by MQTT."}}}
  }
}`

// tasmota reports whether Tasmota's own discovery is wanted.
func (s *settings) tasmota() bool { return s.Tasmota == nil || *s.Tasmota }

// publishes reports whether a topic is one that the home's states and events go to.
func (s *settings) publishes(topic string) bool {
	if s.Publish == nil {
		return false
	}
	rest, ok := strings.CutPrefix(topic, s.Publish.Prefix+"/")
	levels := strings.Split(rest, "/")
	last := levels[len(levels)-1]
	switch {
	case !ok:
		return false
	case len(levels) == 3:
		return last == "state" || last == "attributes"
	}
	return rest == "gap" || len(levels) == 2 && levels[0] == "event"
}

// A reader gathers what is wrong with a configuration.
type reader struct {
	*settings
	wrong adapter.FieldErrors
}

func (r *reader) complain(field, format string, args ...any) {
	r.wrong = append(r.wrong, adapter.FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
}

// readSettings returns the configuration, or adapter.FieldErrors.
func readSettings(c adapter.Config) (settings, error) {
	var s settings
	if err := c.Decode(&s); err != nil {
		return s, withRemedy(err)
	}
	r := &reader{settings: &s}
	if r.readBroker() {
		r.readTLS()
	}
	r.readCredentials()
	r.readTopics()
	r.readListen()
	r.checkOrigins()
	r.readUsers()
	r.readPublish()
	slices.SortFunc(r.wrong, func(a, b adapter.FieldError) int { return strings.Compare(a.Field, b.Field) })
	if r.wrong != nil {
		return s, r.wrong
	}
	return s, nil
}

// withRemedy says of values that are no text how they would be.
func withRemedy(err error) error {
	var wrong adapter.FieldErrors
	if !errors.As(err, &wrong) {
		return err
	}
	for i := range wrong {
		switch w := &wrong[i]; {
		case w.Field == "/confirm":
			w.Message += ", such as 300ms"
		case strings.HasPrefix(w.Message, "must be text, not number"), strings.HasPrefix(w.Message, "must be text, not bool"):
			w.Message += ": write it in quotes"
		}
	}
	return wrong
}

// ports are the usual ones by scheme.
var ports = map[string]string{"mqtt": "1883", "mqtts": "8883", "ws": "80", "wss": "443"}

// readBroker reports whether url is what the configuration says.
func (r *reader) readBroker() bool {
	address := r.Broker
	if address == "" {
		address = "mqtt://127.0.0.1:1883"
	}
	if !strings.Contains(address, "://") {
		address = "mqtt://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || ports[u.Scheme] == "" {
		r.complain("/broker", "must be mqtt://host:port, mqtts://…, ws://… or wss://…, and is %.100q", r.Broker)
		return false
	}
	r.url = u
	bare := &url.URL{Scheme: u.Scheme, Host: u.Host}
	switch web := u.Scheme == "ws" || u.Scheme == "wss"; {
	case u.Port() != "" && !validPort(u.Port()):
		r.complain("/broker", "must have a port from 1 to 65535, and has %.20s", u.Port())
	case u.User != nil:
		r.complain("/broker", "must not hold a password: write username and password")
	case u.Fragment != "" || !web && (u.Path != "" && u.Path != "/" || u.RawQuery != ""):
		r.complain("/broker", "must have nothing behind the port: write %.100s; only ws:// and wss:// have a path", bare)
	case u.Port() == "":
		u.Host = net.JoinHostPort(u.Hostname(), ports[u.Scheme])
	}
	return true
}

// readCredentials reads what the adapter says to a broker of who it is.
func (r *reader) readCredentials() {
	r.password = r.Password
	if r.Listen != "" {
		for field, text := range map[string]string{"/username": r.Username, "/password": r.Password, "/password_file": r.PasswordFile} {
			if text != "" {
				r.complain(field, "must not be there with listen: name who may use the adapter's own broker at users")
			}
		}
		return
	}
	if r.PasswordFile != "" {
		r.readPassword()
	}
	if r.Username == "" && (r.Password != "" || r.PasswordFile != "") {
		r.complain("/username", "is missing: a broker takes no password without it")
	}
}

func validPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}

// readPassword reads the password's file.
func (r *reader) readPassword() {
	if r.Password != "" {
		r.complain("/password_file", "must not be there besides password")
	}
	if !filepath.IsAbs(r.PasswordFile) {
		r.complain("/password_file", "must be an absolute path, and is %.100q", r.PasswordFile)
		return
	}
	text, err := os.ReadFile(r.PasswordFile)
	if err != nil {
		r.complain("/password_file", "can't be read: %v", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	r.password = strings.TrimRight(line, "\r")
}

func (r *reader) readTopics() {
	r.prefix = "homeassistant"
	if r.Discovery != nil {
		r.prefix = strings.Trim(*r.Discovery, "/")
	}
	if err := validTopic(r.prefix); r.prefix != "" && err != nil {
		r.complain("/discovery", "%v", err)
	}
	if r.prefix != "" {
		r.statusTopic = r.prefix + "/status"
	}
	if r.Status != nil {
		r.statusTopic = *r.Status
	}
	if err := validTopic(r.statusTopic); r.statusTopic != "" && err != nil {
		r.complain("/status_topic", "%v", err)
	}
	r.confirm = 300 * time.Millisecond
	if r.Confirm != "" {
		var err error
		if r.confirm, err = time.ParseDuration(r.Confirm); err != nil || r.confirm < 0 || r.confirm > 10*time.Second {
			r.complain("/confirm", "must be a duration from 0s to 10s, such as 300ms, and is %.60q", r.Confirm)
		}
	}
}

func (r *reader) readListen() {
	for field, address := range map[string]string{"/listen": r.Listen, "/listen_websocket": r.ListenWS} {
		if address == "" {
			continue
		}
		host, port, err := net.SplitHostPort(address)
		if err != nil || port != "0" && !validPort(port) {
			r.complain(field, "must be host:port, such as 127.0.0.1:1883, and is %.100q", address)
			continue
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) && len(r.Users) == 0 && !r.Anonymous {
			r.complain(field, "lets other machines in: name users with passwords, or say anonymous: true")
		}
	}
	if r.Listen != "" && r.Broker != "" {
		r.complain("/listen", "must not be there besides broker: the adapter connects to a broker or is one")
	}
	if r.Listen != "" && r.Status != nil && *r.Status != "" {
		r.complain("/status_topic", "must not be there with listen: what a device announced is there as soon as the broker is")
	}
	if sameAddress(r.Listen, r.ListenWS) {
		r.complain("/listen_websocket", "must be another address than listen, and is %.100q", r.ListenWS)
	}
	if r.Listen == "" && (r.ListenWS != "" || len(r.Users) > 0 || r.Anonymous) {
		r.complain("/listen", "is missing: listen_websocket, users and anonymous are of the adapter's own broker")
	}
}

// sameAddress reports whether only one of two addresses can be listened at.
func sameAddress(a, b string) bool {
	aHost, aPort, aErr := net.SplitHostPort(a)
	bHost, bPort, bErr := net.SplitHostPort(b)
	wide := func(host string) bool {
		ip := net.ParseIP(host)
		return host == "" || ip != nil && ip.IsUnspecified()
	}
	return aErr == nil && bErr == nil && aPort == bPort && aPort != "0" && (aHost == bHost || wide(aHost) || wide(bHost))
}

func (r *reader) readUsers() {
	if r.Users == nil {
		return
	}
	if len(r.Users) == 0 {
		r.complain("/users", "is empty: name users with their passwords, or leave it out")
	}
	if r.Anonymous {
		r.complain("/anonymous", "must not be there besides users: with it they need no passwords")
	}
	r.users = map[string]string{}
	for name, raw := range r.Users {
		var password *string
		field := "/users/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
		switch err := json.Unmarshal(raw, &password); {
		case name == "":
			r.complain("/users", "has a user without a name")
		case err != nil:
			r.complain(field, "must be a password, as text: write it in quotes")
		case password == nil || *password == "":
			r.complain(field, "must be a password, and is empty: whoever has the name could use the broker")
		default:
			r.users[name] = *password
		}
	}
}

// What can be of use where the home's entities are named: the patterns of ids, and of their domains.
var (
	idPattern     = regexp.MustCompile(`^([a-z0-9_*]+\.[a-z0-9_*]+|[a-z0-9_]*\*[a-z0-9_*]*)$`)
	domainPattern = regexp.MustCompile(`^[a-z0-9_*]+$`)
)

func (r *reader) readPublish() {
	p := r.Publish
	if p == nil {
		return
	}
	if p.Prefix == "" {
		p.Prefix = "carillon"
	}
	if err := validTopic(p.Prefix); err != nil {
		r.complain("/publish/prefix", "%v", err)
	}
	if r.prefix != "" && (p.Prefix == r.prefix || strings.HasPrefix(p.Prefix, r.prefix+"/")) {
		r.complain("/publish/prefix", "must not lie within the discovery topics, which begin with %s", r.prefix)
	}
	if p.Attributes && p.States != nil && !*p.States {
		r.complain("/publish/attributes", "wants states: true")
	}
	for i, pattern := range p.Events {
		if pattern == "" {
			r.complain(fmt.Sprintf("/publish/events/%d", i), "is empty: write an event's type, * for any characters")
		}
	}
	for i, pattern := range p.Entities {
		if !idPattern.MatchString(pattern) {
			r.complain(fmt.Sprintf("/publish/entities/%d", i), "must be an entity's id, such as light.hall or sensor.*, and is %.100q, which none can have", pattern)
		}
	}
	for i, domain := range p.Domains {
		if !domainPattern.MatchString(domain) {
			r.complain(fmt.Sprintf("/publish/domains/%d", i), "must be a domain, such as light, and is %.100q, which none can have", domain)
		}
	}
}

// version can be set by the linker: -ldflags "-X main.version=1.2.3".
var version = "1.0.0"

// Describe is the Adapter's. It is exclusive: a broker keeps one session for it, and
// has one address.
func (b *bridge) Describe() adapter.Description {
	return adapter.Description{
		Name: "mqtt", Version: version, Schema: json.RawMessage(schema), Exclusive: true,
		Summary: "Devices that announce themselves over MQTT: Zigbee2MQTT, Tasmota, ESPHome, Shelly and others.",
	}
}

// Configure is the Adapter's.
func (b *bridge) Configure(_ context.Context, c adapter.Config) error {
	s, err := readSettings(c)
	if err == nil && !c.ValidateOnly {
		b.settings, b.stateDir = s, c.StateDir
	}
	return err
}

// randomText is a text that nobody else has.
func randomText() string { return strings.ToLower(rand.Text()[:12]) }
