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
