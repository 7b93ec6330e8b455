//go:build unix

package main

import (
	"path/filepath"
	"testing"

	"carillon/plugins"
)

// What is published of the home may be narrowed, also to nothing that is there: the broker forgets
// the rest. An event that concerns no entity is published all the same.
func TestMQTTPublishesLess(t *testing.T) {
	program := filepath.Join(t.TempDir(), "mqtt")
	build(t, ".", program, "./plugins/mqtt")
	broker := mosquitto(t)
	home := newHome(t, nil)
	publish := func(what string) {
		write(t, filepath.Join(home, configFile), "plugins:\n  mqtt:\n    config:\n      broker: mqtt://"+broker+"\n      publish: "+what+"\n")
	}
	publish("{attributes: true}")
	in := serve(t, home, "-listen", "127.0.0.1:0")
	in.install(program, "mqtt")
	eventually(t, "the adapter runs", func() bool { return in.plugin("mqtt").State == plugins.Ready })
	in.do("POST", "/api/states/sensor.room", `{"state":"1"}`)
	d := newMQTTDevice(t, broker)
	eventually(t, "the broker has the state", d.has("carillon/sensor/room/state", "1"))
	eventually(t, "the broker has its attributes", d.has("carillon/sensor/room/attributes", "{}"))

	publish("{entities: [light.none], events: [doorbell]}")
	eventually(t, "the broker has no state", d.has("carillon/sensor/room/state", ""))
	eventually(t, "the broker has no attributes", d.has("carillon/sensor/room/attributes", ""))
	in.do("POST", "/api/events/doorbell", `{}`)
	eventually(t, "the broker has the event", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.heard["carillon/event/doorbell"] != ""
	})
}
