package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"carillon/plugins/adapter"
)

// settings are the adapter's configuration.
type settings struct {
	Broker       string            `json:"broker"`
	Username     string            `json:"username"`
	Password     string            `json:"password"`
	PasswordFile string            `json:"password_file"`
	TLS          tlsSettings       `json:"tls"`
	Discovery    *string           `json:"discovery"`
	Tasmota      *bool             `json:"tasmota"`
	Status       *string           `json:"status_topic"`
	Confirm      string            `json:"confirm"`
	Listen       string            `json:"listen"`
	ListenWS     string            `json:"listen_websocket"`
	Users        map[string]string `json:"users"`
	Anonymous    bool              `json:"anonymous"`
	Publish      *publishSettings  `json:"publish"`

	// Made of the above.
	url         *url.URL
	password    string
	tls         *tls.Config
	prefix      string // of discovery; empty: none
	statusTopic string // empty: none
	confirm     time.Duration
}

type tlsSettings struct {
	CA       string `json:"ca"`
	Cert     string `json:"cert"`
	Key      string `json:"key"`
	Insecure bool   `json:"insecure"`
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
    "tls": {"type": "object", "additionalProperties": false, "properties": {
      "ca": {"type": "string", "description": "A file with the certificates to trust, in PEM; the system's by default."},
      "cert": {"type": "string", "description": "The adapter's own certificate, a file in PEM; for listen, the broker's."},
      "key": {"type": "string", "description": "Its private key, a file in PEM."},
      "insecure": {"type": "boolean", "default": false, "description": "Takes any certificate."}}},
    "discovery": {"type": "string", "default": "homeassistant", "description": "What discovery topics begin with; \"\" for no discovery."},
    "tasmota": {"type": "boolean", "default": true, "description": "Takes Tasmota's own discovery, too."},
    "status_topic": {"type": "string", "description": "Where devices hear that the home is there; <discovery>/status by default, \"\" for nowhere."},
    "confirm": {"type": "string", "default": "300ms", "description": "How long a command waits for the device to tell what it did, 0s to 10s."},
    "listen": {"type": "string", "description": "Be the broker, at this address: 127.0.0.1:1883, or :1883 for the whole network."},
    "listen_websocket": {"type": "string", "description": "The same for WebSocket clients."},
    "users": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Who may use the broker: passwords by name."},
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
		return s, err
	}
	r := &reader{settings: &s}
	r.readBroker()
	r.readTopics()
	r.readListen()
	r.readPublish()
	slices.SortFunc(r.wrong, func(a, b adapter.FieldError) int { return strings.Compare(a.Field, b.Field) })
	if r.wrong != nil {
		return s, r.wrong
	}
	return s, nil
}

// ports are the usual ones by scheme.
var ports = map[string]string{"mqtt": "1883", "mqtts": "8883", "ws": "80", "wss": "443"}

func (r *reader) readBroker() {
	address := r.Broker
	if address == "" {
		address = "mqtt://127.0.0.1:1883"
	}
	if !strings.Contains(address, "://") {
		address = "mqtt://" + address
	}
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "" || ports[u.Scheme] == "":
		r.complain("/broker", "must be mqtt://host:port, mqtts://…, ws://… or wss://…, and is %.100q", r.Broker)
		u = &url.URL{Scheme: "mqtt", Host: "127.0.0.1:1883"}
	case u.Port() != "" && !validPort(u.Port()):
		r.complain("/broker", "must have a port from 1 to 65535, and has %.20s", u.Port())
	case u.User != nil:
		r.complain("/broker", "must not hold a password: write username and password")
	case u.Port() == "":
		u.Host = net.JoinHostPort(u.Hostname(), ports[u.Scheme])
	}
	r.url, r.password = u, r.Password
	if r.PasswordFile != "" {
		r.readPassword()
	}
	if (r.TLS.Cert == "") != (r.TLS.Key == "") {
		r.complain("/tls", "cert and key go together")
	} else if r.tls, err = r.tlsConfig(); err != nil {
		r.complain("/tls", "%v", err)
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
	if r.Listen == "" && (r.ListenWS != "" || len(r.Users) > 0 || r.Anonymous) {
		r.complain("/listen", "is missing: listen_websocket, users and anonymous are of the adapter's own broker")
	}
}

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
