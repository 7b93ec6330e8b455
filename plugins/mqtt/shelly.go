package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Shellies of the second generation and later say that they are there, and how they are when
// that changes; what they are they are asked for. The messages are those of
// https://shelly-api-docs.shelly.cloud/gen2/ComponentsAndServices/Mqtt and
// …/General/RPCProtocol.

const (
	// maxShellies bounds the devices, also those that only claim to be one.
	maxShellies = 2000
	// maxAsked is how many devices are asked at once. The others wait for their turn.
	maxAsked = 200
	// shellyPatience is how long an answer may take, and shellyTries how often a device is asked.
	shellyPatience = 5 * time.Second
	shellyTries    = 3
	// shellyCalm is the least between two times that a device is asked what it is.
	shellyCalm = 30 * time.Second
	// shellySilence is how long a device that did not answer is not asked again, unless it
	// goes and comes back.
	shellySilence = 10 * time.Minute
	// maxFrame is the largest message of a device that is read, in bytes; what they say of
	// themselves has some 10 KB.
	maxFrame = 256 << 10
	// maxAnswers is how many bytes all devices' answers may have together.
	maxAnswers = 32 << 20
)

// shellyQuestions are what a device is asked, one after another.
var shellyQuestions = []string{"Shelly.GetDeviceInfo", "Shelly.GetConfig", "Shelly.GetStatus"}

// shellyID is how devices are called: their kind and their MAC address.
var shellyID = regexp.MustCompile(`(?i)^shelly[a-z0-9]{0,40}-([0-9a-f]{12})$`)

// shellies are the devices. All of it is guarded by bridge.mu.
type shellies struct {
	byPrefix map[string]*shelly
	byMAC    map[string]*shelly
	others   map[string]int    // entities that other announcements have, by MAC addresses in the ids of their devices
	queue    []*shelly         // those that are to be asked
	asked    map[int64]*shelly // by the number of the request that is not answered
	commands map[int64]*reply  // as well
	freed    []*shelly         // somebody else announced them, and does so no more
	silent   map[string]time.Time
	bytes    int   // of the answers that entities are made of
	call     bool  // those of the first generation are to say what they are
	last     int64 // number of a request
	calm     time.Duration
}

func newShellies() shellies {
	return shellies{
		byPrefix: map[string]*shelly{}, byMAC: map[string]*shelly{}, others: map[string]int{}, asked: map[int64]*shelly{}, commands: map[int64]*reply{},
		silent: map[string]time.Time{}, calm: shellyCalm,
	}
}

// A shelly is what is known of a device.
type shelly struct {
	prefix  string // of its topics
	id      string // what it calls itself
	mac     string
	online  bool
	queued  bool
	due     time.Time // when it may be asked
	began   time.Time // when it was asked last what it is
	request int64     // 0: it is not being asked
	until   time.Time // when its answer is waited for no more
	step    int       // which question
	tries   int
	first   bool // it is of the first generation, and can't be asked
	asleep  bool // it is away most of the time, as devices with batteries are
	answers [3]map[string]any
	bytes   int     // of them
	parts   []*part // of which it is announced; nil: it is not
}

// shelly reports whether Shellies' own messages are taken.
func (s *settings) shelly() bool { return s.Shelly == nil || *s.Shelly }

// shellyFilters are what Shellies say that they are there by, and answer to.
func (s *settings) shellyFilters() []string {
	if !s.shelly() || s.source == "" {
		return nil
	}
	return []string{"+/online", "+/+/online", "+/events/rpc", "+/+/events/rpc", s.source + "/rpc", shelliesAnswer}
}

// shellySays takes a message of a Shelly's own. It reports whether it is for nobody else.
func (b *bridge) shellySays(m *message) bool {
	if !b.settings.shelly() || b.settings.source == "" {
		return false
	}
	if prefix, ok := strings.CutSuffix(m.topic, "/online"); ok {
		b.shellyOnline(prefix, string(m.payload[:min(len(m.payload), 10)]))
		return len(b.routes.of(m.topic)) == 0
	}
	if prefix, ok := strings.CutSuffix(m.topic, "/events/rpc"); ok {
		b.shellyTells(m, prefix)
		return len(b.routes.of(m.topic)) == 0
	}
	switch m.topic {
	case b.settings.source + "/rpc":
		b.shellyAnswers(m)
		return true
	case shelliesAnswer:
		b.firstShelly(m)
		return len(b.routes.of(m.topic)) == 0
	}
	return false
}

// shellyOnline takes what a device's last will says, or the device itself.
func (b *bridge) shellyOnline(prefix, said string) {
	all := &b.shellies
	d := all.byPrefix[prefix]
	switch {
	case said == "false":
		delete(all.silent, prefix)
		if d != nil {
			d.online = false
		}
	case said == "" && d != nil: // somebody cleared what the broker keeps: it is gone for good
		b.forgetShelly(d)
	case said != "true":
	case d != nil && !d.online:
		d.online = true
		if !d.asleep { // it would cost its battery, and it says by itself what changes
			b.wantShelly(d)
		}
	case d == nil && shellyID.MatchString(prefix):
		b.meetShelly(prefix, prefix)
	}
}

// meetShelly makes a device known and asks it what it is. It returns nil if there are too many.
func (b *bridge) meetShelly(prefix, id string) *shelly {
	all := &b.shellies
	if since, silent := all.silent[prefix]; silent && time.Since(since) < shellySilence {
		return nil
	}
	if len(all.byPrefix) >= maxShellies {
		b.numbers.rejected.Add(1)
		b.reports.warn("a Shelly is left out", "", fmt.Errorf("there are %d already", maxShellies))
		return nil
	}
	if len(prefix) > maxBase || validTopic(prefix+"/rpc") != nil {
		return nil
	}
	d := &shelly{prefix: prefix, id: id, mac: macOf(id), online: true}
	all.byPrefix[prefix] = d
	if all.byMAC[d.mac] == nil {
		all.byMAC[d.mac] = d
	}
	b.wantShelly(d)
	return d
}

// forgetShelly takes a device away.
func (b *bridge) forgetShelly(d *shelly) {
	all := &b.shellies
	all.bytes -= d.bytes
	b.withdraw(b.announced[d.key()])
	delete(all.byPrefix, d.prefix)
	delete(all.asked, d.request)
	all.queue = slices.DeleteFunc(all.queue, func(other *shelly) bool { return other == d })
	if all.byMAC[d.mac] == d {
		delete(all.byMAC, d.mac)
	}
}

// key is what its announcement is known by: no topic, as it has none.
func (d *shelly) key() string { return d.prefix + "/rpc" }

// wantShelly has a device asked what it is, as soon as it may be, unless somebody else announces
// it.
func (b *bridge) wantShelly(d *shelly) {
	if b.shellies.others[d.mac] > 0 {
		return
	}
	if d.first {
		b.showShelly(d)
		return
	}
	d.due = time.Now()
	if at := d.began.Add(b.shellies.calm); !d.began.IsZero() && at.After(d.due) {
		d.due = at
	}
	d.tries = 0
	b.queueShelly(d)
}

func (b *bridge) queueShelly(d *shelly) {
	if !d.queued {
		d.queued = true
		b.shellies.queue = append(b.shellies.queue, d)
	}
	b.askShellies()
}

// askShellies asks those whose time has come, as many as there may be.
func (b *bridge) askShellies() {
	all := &b.shellies
	now := time.Now()
	rest := all.queue[:0]
	for _, d := range all.queue {
		if !d.online {
			d.queued = false
			continue
		}
		if len(all.asked) >= maxAsked || d.request != 0 || d.due.After(now) {
			rest = append(rest, d)
			continue
		}
		d.queued = false
		if d.tries == 0 {
			d.began, d.step = now, 0
			all.bytes, d.bytes = all.bytes-d.bytes, 0
		}
		b.askShelly(d)
	}
	clear(all.queue[len(rest):])
	all.queue = rest
}

// askShelly sends a device its next question.
func (b *bridge) askShelly(d *shelly) {
	out := b.shellyRequest(d.prefix, shellyQuestions[d.step], nil)
	d.request, d.until = b.shellies.last, time.Now().Add(shellyPatience)
	b.shellies.asked[d.request] = d
	b.link.later(func() {
		ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
		defer cancel()
		if err := b.link.publish(ctx, out); err != nil && ctx.Err() == nil {
			b.reports.warn("asking a Shelly what it is", out.topic, err)
		}
	})
}

// shellyRequest makes the message of a request. Callers hold mu.
func (b *bridge) shellyRequest(prefix, method string, params any) outgoing {
	b.shellies.last++
	text, err := json.Marshal(struct {
		ID     int64  `json:"id"`
		Source string `json:"src"`
		Method string `json:"method"`
		Params any    `json:"params,omitempty"`
	}{b.shellies.last, b.settings.source, method, params})
	if err != nil {
		panic(err) // numbers and texts alone
	}
	return outgoing{topic: prefix + "/rpc", payload: string(text), request: b.shellies.last}
}

// tendShellies asks again those that did not answer, and those whose time has come.
func (b *bridge) tendShellies() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shellies.call {
		b.shellies.call = false
		b.callShellies()
	}
	now := time.Now()
	for _, id := range slices.Sorted(maps.Keys(b.shellies.asked)) {
		if d := b.shellies.asked[id]; d != nil && now.After(d.until) {
			b.shellyFails(d, errors.New("it does not answer; it does if RPC over MQTT (enable_rpc) is switched on"))
		}
	}
	b.askShellies()
}

// shellyFails notes that a device did not answer, or wrongly.
func (b *bridge) shellyFails(d *shelly, why error) {
	all := &b.shellies
	delete(all.asked, d.request)
	d.request = 0
	if d.tries++; d.tries < shellyTries && d.online {
		d.due = time.Now()
		b.queueShelly(d)
		return
	}
	d.tries = 0
	if d.parts != nil && (d.asleep || !d.online) {
		return
	}
	b.numbers.rejected.Add(1)
	b.reports.warn("a Shelly can't be asked what it is", d.prefix, why)
	if d.parts == nil {
		if len(all.silent) >= maxShellies {
			clear(all.silent)
		}
		all.silent[d.prefix] = time.Now()
		b.forgetShelly(d)
	}
}

// refreshShellies asks all that are there how they are: what they said meanwhile is lost.
func (b *bridge) refreshShellies() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shellies.call = true // soon: there may be no link yet
	for _, prefix := range slices.Sorted(maps.Keys(b.shellies.byPrefix)) {
		if d := b.shellies.byPrefix[prefix]; d.online && !d.asleep && !d.first {
			b.wantShelly(d)
		}
	}
}
