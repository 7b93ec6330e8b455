package main

import (
	"fmt"
	"strings"
	"testing"
)

// What the host does not take is reported, and ends nothing: a retained message would come
// to each process after it.
func TestWhatCannotBeTold(t *testing.T) {
	m, h := start(t, `{"confirm":"0s"}`)
	m.say("homeassistant/light/warm/config", `{"schema":"json","name":"Warm","uniq_id":"warm","cmd_t":"w/set","stat_t":"w","supported_color_modes":["color_temp"]}`, true)
	m.say("homeassistant/fan/wide/config", `{"name":"Wide","uniq_id":"wide","cmd_t":"f/set","pct_cmd_t":"f/p","pct_stat_t":"f","spd_rng_min":-1e308,"spd_rng_max":1e308}`, true)
	m.say("homeassistant/text/long/config", `{"name":"Long","uniq_id":"long","cmd_t":"l/set","max":1000,"avty_t":"l/av"}`, true)
	m.say("homeassistant/sensor/big/config", `{"name":"Big","uniq_id":"big","stat_t":"b","json_attr_t":"b/attrs"}`, true)
	m.say("homeassistant/device_automation/tell/config", `{"topic":"tell","type":"x","subtype":"y","device":{"ids":"d"}}`, true)
	m.say("homeassistant/sensor/good/config", `{"name":"Good","uniq_id":"good","stat_t":"w","val_tpl":"{{ value_json.brightness }}"}`, true)
	m.say("l/av", "online", true)
	m.quiet(h)
	m.say("w", `{"state":"ON","color_temp":1e-310,"brightness":7}`, true)
	m.say("f", "1e308", true)
	m.say("b", "1", true)
	var attrs []string
	for i := range 16 {
		attrs = append(attrs, fmt.Sprintf(`"a%d":%q`, i, strings.Repeat("<", 60_000)))
	}
	m.say("b/attrs", "{"+strings.Join(attrs, ",")+"}", true)
	m.say("tell", strings.Repeat("<", 1<<20), false)
	if _, err := h.Call(t.Context(), "text.set_value", "text.long", fmt.Sprintf(`{"value":%q}`, strings.Repeat("x", 300))); err != nil {
		t.Errorf("a long text: got %v", err)
	}
	m.say("l/av", "offline", true)
	m.say("l/av", "online", true)
	m.quiet(h)
	if e, _ := h.Entity("sensor.good"); e.State != "7" {
		t.Errorf("got %s, want 7: it comes of the same message", e.State)
	}
	for _, id := range []string{"light.warm", "sensor.big", "mqtt_trigger", "entity_id=text.long"} {
		h.Until(id+" is reported", func() bool { return logged(h, id) })
	}
	m.say("w", `{"state":"ON","color_temp":300,"brightness":8}`, true)
	h.Until("the lamp is back", shows(h, "light.warm", "on"))
}
