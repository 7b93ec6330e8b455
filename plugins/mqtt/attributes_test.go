package main

import (
	"encoding/json"
	"testing"
)

// TestAttributesKeepNumbers: a device's attributes are shown as they came, also whole numbers that
// a float64 does not hold.
func TestAttributesKeepNumbers(t *testing.T) {
	m, h := start(t, `{}`)
	m.say("homeassistant/sensor/a/config", `{"name":"A","unique_id":"a","state_topic":"a/s","json_attributes_topic":"a/a"}`, true)
	m.quiet(h)
	m.say("a/s", "on", false)
	m.say("a/a", `{"id":9007199254740993}`, false)
	m.quiet(h)
	m.b.mu.Lock()
	defer m.b.mu.Unlock()
	text, err := json.Marshal(m.b.entities["sensor.a"].shown.Attributes)
	if want := `{"id":9007199254740993}`; err != nil || string(text) != want {
		t.Errorf("got attributes %s and %v, want %s", text, err, want)
	}
}
