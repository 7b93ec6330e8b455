package main

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"carillon/plugins/mqtt/template"
)

// plugAnnouncements are what a plug that measures announces: a switch and nine sensors on one
// topic.
func plugAnnouncements(i int) (all [][2]string) {
	device := fmt.Sprintf(`"dev":{"ids":["plug%d"],"name":"Plug %d"}`, i, i)
	topic := fmt.Sprintf("plugs/%d", i)
	all = append(all, [2]string{
		fmt.Sprintf("homeassistant/switch/plug%d/relay/config", i),
		fmt.Sprintf(`{"uniq_id":"plug%d_relay","name":"Relay","stat_t":"%s","val_tpl":"{{ value_json.state }}","cmd_t":"%s/set",%s}`, i, topic, topic, device),
	})
	for _, s := range []string{"number", "power", "voltage", "current", "energy", "temperature", "linkquality", "factor", "frequency"} {
		all = append(all, [2]string{
			fmt.Sprintf("homeassistant/sensor/plug%d/%s/config", i, s),
			fmt.Sprintf(`{"uniq_id":"plug%d_%s","name":"%s","stat_t":"%s","val_tpl":"{{ value_json.%s }}","stat_cla":"measurement",%s}`, i, s, s, topic, s, device),
		})
	}
	return all
}

func plugMessage(n int) string {
	return fmt.Sprintf(`{"state":"ON","number":%d,"power":12.5,"voltage":231,"current":0.05,"energy":14.2,"temperature":31,"linkquality":120,"factor":0.98,"frequency":50}`, n)
}

// BenchmarkMessages is messages of 500 plugs, ten entities each of which one changes, into a home
// that stores at once.
func BenchmarkMessages(b *testing.B) {
	m, h := start(b, `{"confirm":"0s"}`)
	h.Until("it runs", func() bool { return m.b.linked.Load() != nil })
	for i := range 500 {
		for _, a := range plugAnnouncements(i) {
			m.say(a[0], a[1], true)
		}
	}
	m.quiet(h)
	b.ResetTimer()
	for n := 0; n < b.N; n++ {
		m.b.inbox <- &message{topic: fmt.Sprintf("plugs/%d", n%500), payload: []byte(plugMessage(n))}
	}
	m.quiet(h)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkOwnBroker is the same over the adapter's own broker, with one device for all.
func BenchmarkOwnBroker(b *testing.B) {
	for _, qos := range []byte{0, 1} {
		b.Run(fmt.Sprint("qos=", qos), func(b *testing.B) {
			address := freePort(b)
			h := listening(b, b.TempDir(), address, "")
			d := newThing(b, address, nil)
			for i := range 100 {
				for _, a := range plugAnnouncements(i) {
					d.say(a[0], a[1], 1, true)
				}
			}
			h.Until("all is there", func() bool { return len(h.Entities()) == 1000 })
			time.Sleep(time.Second) // until all is subscribed to
			b.ResetTimer()
			var under atomic.Int32
			for n := 0; n < b.N; n++ {
				token := d.c.Publish(fmt.Sprintf("plugs/%d", n%100), qos, false, plugMessage(n+1))
				if under.Add(1) > 100 && qos > 0 {
					token.Wait()
					under.Store(0)
				}
			}
			last := b.N
			h.Until("the last is there", shows(h, fmt.Sprintf("sensor.plug_%d_number", (last-1)%100), fmt.Sprint(last)))
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkRender is a value template over a message that was decoded.
func BenchmarkRender(b *testing.B) {
	t, err := template.Parse("{{ value_json.power }}")
	if err != nil {
		b.Fatal(err)
	}
	m := &message{topic: "x", payload: []byte(plugMessage(1))}
	e := &entity{id: "sensor.x"}
	for b.Loop() {
		if _, err := m.render(t, e); err != nil {
			b.Fatal(err)
		}
	}
}
