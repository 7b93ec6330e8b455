package main

import (
	"fmt"
	"strings"
	"testing"

	"carillon/runtime/runtimetest"
)

// Topics that a broker ends the connection for never reach it: else one announcement
// would cost all devices.
func TestTopicsThatBrokersRefuse(t *testing.T) {
	m := startMosquitto(t)
	d := newThing(t, m.address, nil)
	bad := []string{strings.Repeat("a/", 210) + "b", `a\nb`, `a\u007fb`, `a\uffffb`, `a\ufdd0b`, "$share", "$share/x", "$share/x/y", "$queue/x"}
	for i, topic := range bad {
		d.say(fmt.Sprintf("homeassistant/sensor/bad%d/config", i), fmt.Sprintf(`{"name":"Bad","stat_t":"%s","uniq_id":"bad%d"}`, topic, i), 1, true)
	}
	tasmota := strings.Replace(tasmotaRelay, `"t":"relay"`, `"t":"`+strings.Repeat("x", maxTopic-8)+`"`, 1)
	d.say("tasmota/discovery/000000000001/config", tasmota, 1, true)
	d.say("homeassistant/sensor/good/config", `{"name":"Good","stat_t":"a b/ü","uniq_id":"good"}`, 1, true)
	d.say("a b/ü", "1", 1, true)
	h := runtimetest.StartAdapter(t, newBridge(), fmt.Sprintf(`{"broker":"mqtt://%s"}`, m.address), t.TempDir())
	h.Until("the good sensor is there", shows(h, "sensor.good", "1"))
	h.Until("all are reported", func() bool {
		return strings.Count(strings.Join(h.Logs(), "\n"), "is not understood") == len(bad)+1
	})
	if got := strings.Count(strings.Join(h.Logs(), "\n"), "connected to the broker"); got != 1 {
		t.Errorf("connected %d times, want once", got)
	}
	if got := h.Entities(); len(got) != 1 {
		t.Errorf("got the entities %v, want the good one alone", got)
	}
}

// tasmotaRelay is Tasmota's announcement of a device with one relay.
const tasmotaRelay = `{"dn":"Relay","fn":["Relay"],"mac":"000000000001","md":"Basic","ofln":"Offline","onln":"Online","state":["OFF","ON","TOGGLE","HOLD"],` +
	`"sw":"14.3.0","t":"relay","ft":"%prefix%/%topic%/","tp":["cmnd","stat","tele"],"rl":[1],"swc":[-1],"btn":[0],"so":{}}`

// What the adapter publishes itself is not heard by a device that listens to it, or to
// everything: it would have no end.
func TestOwnMessagesAreNotHeard(t *testing.T) {
	m, h := start(t, `{"confirm":"0s","publish":{"own":true,"prefix":"home/x","states":false}}`)
	m.say("homeassistant/sensor/n/config", `{"name":"N","uniq_id":"n","stat_t":"home/x/sensor/n/state","val_tpl":"{{ value|int + 1 }}"}`, true)
	m.say("homeassistant/sensor/all/config", `{"name":"All","uniq_id":"all","stat_t":"#"}`, true)
	m.quiet(h)
	for _, topic := range []string{"home/x/sensor/n/state", "home/x/sensor/n/attributes", "home/x/event/ring", "home/x/gap"} {
		m.say(topic, "1", false)
	}
	m.quiet(h)
	if e, _ := h.Entity("sensor.n"); e.State != "unknown" {
		t.Errorf("the one that listens to itself is %s, want unknown", e.State)
	}
	if e, _ := h.Entity("sensor.all"); e.State != "unknown" {
		t.Errorf("the one that listens to all is %s, want unknown", e.State)
	}
	for _, topic := range []string{"home/x/sensor/n/set", "home/x", "home/other/sensor/n/state"} {
		m.say(topic, topic, false)
		m.quiet(h)
		if e, _ := h.Entity("sensor.all"); e.State != topic {
			t.Errorf("after a message to %s it is %s", topic, e.State)
		}
	}
	h.Until("it is reported", func() bool { return logged(h, "a device listens to what the adapter publishes") })
}

// What is taken back right before the end is gone.
func TestTakenBackAtTheEnd(t *testing.T) {
	m, h := start(t, `{"confirm":"0s"}`)
	m.say("homeassistant/sensor/n/config", `{"name":"N","uniq_id":"n","stat_t":"n"}`, true)
	m.quiet(h)
	m.say("homeassistant/sensor/n/config", "", true)
	if err := h.Drain(); err != nil {
		t.Fatal(err)
	}
	if got := h.Entities(); len(got) > 0 {
		t.Errorf("%v are still there", got)
	}
}
