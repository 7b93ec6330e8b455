//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

const (
	mqttDevices  = 500
	mqttEntities = 10    // of each device: a plug that measures has as many
	mqttRate     = 5_000 // messages a second of all of them
	mqttSeconds  = 10
)

// BenchmarkMQTTHome announces 500 devices at once, lets them tell 5,000 messages a second, and
// gives them commands meanwhile: with a real server, adapter and broker, one run each.
//
//	go test -run '^$' -bench MQTTHome -benchtime 1x .
func BenchmarkMQTTHome(x *testing.B) {
	for _, own := range []bool{false, true} {
		for _, qos := range []byte{0, 1} {
			x.Run(fmt.Sprintf("own=%v/qos=%d", own, qos), func(x *testing.B) {
				for x.Loop() {
					runMQTTHome(x, own, qos)
				}
			})
		}
	}
}

func runMQTTHome(x *testing.B, own bool, qos byte) {
	program := filepath.Join(x.TempDir(), "mqtt")
	build(x, ".", program, "./plugins/mqtt")
	var address, config string
	if own {
		address = unusedAddress(x)
		config = "{listen: \"" + address + "\", confirm: 5s}"
	} else {
		address = mosquitto(x)
		config = "{broker: \"mqtt://" + address + "\", confirm: 5s}"
	}
	home := filepath.Join(x.TempDir(), "home")
	write(x, filepath.Join(home, configFile), "plugins:\n  mqtt:\n    config: "+config+"\n")
	in := serve(x, home, "-listen", "127.0.0.1:0")
	in.install(program, "mqtt")
	eventually(x, "the adapter is ready", func() bool { return in.plugin("mqtt").State == "ready" })
	h := &mqttHome{x: x, in: in, qos: qos, seen: make([]atomic.Int64, mqttDevices)}
	ctx, stop := context.WithCancel(x.Context())
	defer stop()
	h.watch(ctx)
	h.connect(address)
	h.announce()
	h.talk(ctx)
}

// A mqttHome is 500 devices.
type mqttHome struct {
	x    *testing.B
	in   *instance
	qos  byte
	c    []paho.Client  // of ten devices each
	seen []atomic.Int64 // by device: how many of its numbers came in order
	bad  atomic.Int64   // numbers that did not
	ids  atomic.Int64   // entities that were seen
}

// watch counts entities and numbers on a stream.
func (h *mqttHome) watch(ctx context.Context) {
	frames := h.in.stream(ctx, "/subscribe_events?type=state_changed&fields=entity_id,state")
	known := map[string]bool{}
	go func() {
		for f := range frames {
			id, state := flatEntity(f.raw)
			if id != "" && !known[id] {
				known[id] = true
				h.ids.Add(1)
			}
			var device, n int64
			if _, err := fmt.Sscanf(id, "sensor.plug_%d_number", &device); err != nil {
				continue
			}
			if _, err := fmt.Sscan(state, &n); err != nil || n == 0 {
				continue
			}
			if !h.seen[device].CompareAndSwap(n-1, n) {
				h.bad.Add(1)
			}
		}
	}()
}

// flatEntity takes entity and state out of a frame without decoding it: the benchmark's own
// cost must not be what is measured.
func flatEntity(raw string) (id, state string) {
	return between(raw, `"entity_id":"`), between(raw, `"state":"`)
}

func between(text, before string) string {
	_, rest, ok := strings.Cut(text, before)
	if !ok {
		return ""
	}
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

func (h *mqttHome) connect(address string) {
	wait := func(t paho.Token) {
		if !t.WaitTimeout(15*time.Second) || t.Error() != nil {
			h.x.Fatalf("the broker: %v", t.Error())
		}
	}
	for i := range mqttDevices / 10 {
		o := paho.NewClientOptions().AddBroker("tcp://" + address).SetClientID(fmt.Sprint("home", i)).SetConnectTimeout(10 * time.Second).SetOrderMatters(false)
		c := paho.NewClient(o)
		wait(c.Connect())
		h.x.Cleanup(func() { c.Disconnect(50) })
		for j := range 10 {
			topic := fmt.Sprint("plugs/", 10*i+j)
			wait(c.Subscribe(topic+"/set", 1, func(c paho.Client, m paho.Message) { c.Publish(topic+"/relay", 1, false, m.Payload()) }))
		}
		h.c = append(h.c, c)
	}
}

// announce announces all devices, and reports how long it takes until the last entity is
// on the stream.
func (h *mqttHome) announce() {
	began := time.Now()
	for i := range mqttDevices {
		device := fmt.Sprintf(`"dev":{"ids":["plug%d"],"name":"Plug %d","mdl":"P110","mf":"Acme"},"o":{"name":"bench"}`, i, i)
		topic := fmt.Sprintf("plugs/%d", i)
		say := func(component, object, options string) {
			h.c[i/10].Publish(fmt.Sprintf("homeassistant/%s/plug%d/%s/config", component, i, object), h.qos, true,
				fmt.Sprintf(`{"uniq_id":"plug%d_%s",%s,%s}`, i, object, options, device))
		}
		say("switch", "relay", fmt.Sprintf(`"name":"Relay","stat_t":"%s/relay","cmd_t":"%s/set"`, topic, topic))
		for _, s := range []string{"number", "power", "voltage", "current", "energy", "temperature", "linkquality", "factor", "frequency"} {
			say("sensor", s, fmt.Sprintf(`"name":"%s","stat_t":"%s","val_tpl":"{{ value_json.%s }}","stat_cla":"measurement"`, s, topic, s))
		}
	}
	deadline := time.Now().Add(30 * time.Second)
	for h.ids.Load() < mqttDevices*mqttEntities && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	h.x.ReportMetric(time.Since(began).Seconds(), "s-to-all-entities")
	if got := h.ids.Load(); got != mqttDevices*mqttEntities {
		h.x.Fatalf("%d entities came, want %d", got, mqttDevices*mqttEntities)
	}
	time.Sleep(time.Second) // until the adapter has subscribed to all that was announced
}

// talk lets the devices tell numbers, and reports what was lost and how long commands took.
func (h *mqttHome) talk(ctx context.Context) {
	talking, hush := context.WithTimeout(ctx, mqttSeconds*time.Second)
	defer hush()
	took := make(chan []time.Duration)
	go func() { took <- h.command(talking) }()
	began := time.Now()
	sent := 0
	for talking.Err() == nil {
		for due := int(time.Since(began).Seconds() * mqttRate); sent < due; sent++ {
			i, n := sent%mqttDevices, sent/mqttDevices+1
			h.c[i/10].Publish(fmt.Sprintf("plugs/%d", i), h.qos, false,
				fmt.Sprintf(`{"number":%d,"power":12.5,"voltage":231,"current":0.05,"energy":14.2,"temperature":31,"linkquality":120,"factor":0.98,"frequency":50}`, n))
		}
		time.Sleep(time.Millisecond)
	}
	h.x.ReportMetric(float64(sent)/time.Since(began).Seconds(), "messages/s")
	commands := <-took
	want := func(i int) int64 { return int64((sent - i + mqttDevices - 1) / mqttDevices) }
	missing := func() (all int64) {
		for i := range h.seen {
			all += want(i) - h.seen[i].Load()
		}
		return all
	}
	for deadline := time.Now().Add(20 * time.Second); missing() > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	h.x.ReportMetric(float64(missing()), "lost")
	h.x.ReportMetric(float64(h.bad.Load()), "out-of-order")
	slices.Sort(commands)
	if len(commands) > 0 {
		h.x.ReportMetric(float64(commands[len(commands)/2].Microseconds())/1000, "command-p50-ms")
		h.x.ReportMetric(float64(commands[len(commands)*99/100].Microseconds())/1000, "command-p99-ms")
	}
	h.x.ReportMetric(float64(len(commands)), "commands")
}

// command gives commands over REST, one after another, each of which the device answers by its
// new state.
func (h *mqttHome) command(ctx context.Context) (took []time.Duration) {
	for i := 0; ctx.Err() == nil; i++ {
		began := time.Now()
		body := fmt.Sprintf(`{"entity_id":"switch.plug_%d_relay"}`, i%mqttDevices)
		req, err := http.NewRequestWithContext(ctx, "POST", h.in.url+"/api/services/switch/"+[]string{"turn_on", "turn_off"}[i/mqttDevices%2], strings.NewReader(body))
		if err != nil {
			h.x.Error(err)
			return took
		}
		req.Header.Set("Authorization", "Bearer "+testToken)
		resp, err := http.DefaultClient.Do(req)
		if ctx.Err() != nil {
			return took
		}
		if err != nil {
			h.x.Error(err)
			return took
		}
		answer, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if ctx.Err() != nil {
			return took
		}
		if err != nil || resp.StatusCode != 200 || !strings.Contains(string(answer), `"state":"o`) {
			h.x.Errorf("command %d: got %s %s, %v", i, resp.Status, answer, err)
			return took
		}
		took = append(took, time.Since(began))
		time.Sleep(5 * time.Millisecond)
	}
	return took
}
