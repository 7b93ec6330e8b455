//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"carillon/plugins"
)

// mosquitto starts a real broker on loopback, and returns its address. On CI its absence
// fails the test.
func mosquitto(t testing.TB) string {
	t.Helper()
	program := "/usr/sbin/mosquitto"
	if _, err := os.Stat(program); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI must have mosquitto")
		}
		t.Skip("mosquitto is not installed")
	}
	address := unusedAddress(t)
	_, port, _ := net.SplitHostPort(address)
	config := filepath.Join(t.TempDir(), "mosquitto.conf")
	write(t, config, "listener "+port+" 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 100000\n")
	cmd := exec.Command(program, "-c", config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	eventually(t, "mosquitto listens", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return address
}

func unusedAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// A mqttDevice is a lamp and a counter on a broker.
type mqttDevice struct {
	t *testing.T
	c paho.Client

	mu    sync.Mutex
	heard map[string]string // the last payload by topic; guarded by mu
}

func newMQTTDevice(t *testing.T, address string) *mqttDevice {
	t.Helper()
	d := &mqttDevice{t: t, heard: map[string]string{}}
	o := paho.NewClientOptions().AddBroker("tcp://" + address).SetClientID("device").SetConnectTimeout(10 * time.Second)
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) {
		d.mu.Lock()
		d.heard[m.Topic()] = string(m.Payload())
		d.mu.Unlock()
		if m.Topic() == "lamp/set" {
			go d.c.Publish("lamp", 1, true, m.Payload())
		}
	})
	d.c = paho.NewClient(o)
	d.wait(d.c.Connect())
	t.Cleanup(func() { d.c.Disconnect(50) })
	d.wait(d.c.SubscribeMultiple(map[string]byte{"lamp/set": 1, "carillon/#": 1}, nil))
	d.say("homeassistant/light/lamp/config", `{"schema":"json","name":null,"uniq_id":"lamp","cmd_t":"lamp/set","stat_t":"lamp","brightness":true,"dev":{"ids":["lamp"],"name":"Lamp"}}`, true)
	d.say("homeassistant/sensor/count/config", `{"name":"Count","uniq_id":"count","stat_t":"count","frc_upd":true,"dev":{"ids":["lamp"]}}`, true)
	d.say("lamp", `{"state":"OFF"}`, true)
	return d
}

func (d *mqttDevice) wait(token paho.Token) {
	d.t.Helper()
	if !token.WaitTimeout(15*time.Second) || token.Error() != nil {
		d.t.Fatalf("the broker: %v", token.Error())
	}
}

func (d *mqttDevice) say(topic, payload string, retain bool) {
	d.t.Helper()
	d.wait(d.c.Publish(topic, 1, retain, payload))
}

func (d *mqttDevice) has(topic, payload string) func() bool {
	return func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.heard[topic] == payload
	}
}

// count publishes the numbers behind last until the channel is closed, and returns the
// last.
func (d *mqttDevice) count(last int, stop <-chan struct{}) int {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return last
		case <-tick.C:
			last++
			d.say("count", strconv.Itoa(last), false)
		}
	}
}

// counts are the numbers that a stream tells, until the last. Where they don't go up by one, the log
// has both events.
func counts(t testing.TB, frames <-chan frame, last int) (all []int) {
	t.Helper()
	var before frame
	await(t, frames, fmt.Sprint("count ", last), func(f frame) bool {
		id, state := f.entity()
		n, err := strconv.Atoi(state)
		if id != "sensor.lamp_count" || err != nil {
			return false
		}
		if len(all) > 0 && n != all[len(all)-1]+1 {
			t.Logf("%s %s\ncame behind %s %s", f.ID, f.raw, before.ID, before.raw)
		}
		before = f
		all = append(all, n)
		return n == last
	})
	return all
}

func upTo(n int) (all []int) {
	for i := range n {
		all = append(all, i+1)
	}
	return all
}

func TestMQTTEndToEnd(t *testing.T) {
	folder := t.TempDir()
	first, second := filepath.Join(folder, "first"), filepath.Join(folder, "second")
	build(t, ".", first, "./plugins/mqtt")
	build(t, ".", second, "-ldflags=-X main.version=2.0.0", "./plugins/mqtt")
	broker := mosquitto(t)
	home := newHome(t, nil)
	write(t, filepath.Join(home, configFile), "plugins:\n  mqtt:\n    config:\n      broker: mqtt://"+broker+"\n      confirm: 5s\n      publish: {attributes: true, events: [doorbell]}\n")
	in := serve(t, home, "-listen", "127.0.0.1:0")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	frames := in.stream(ctx, "/api/stream")
	in.install(first, "mqtt")
	d := newMQTTDevice(t, broker)
	await(t, frames, "the lamp", became("light.lamp", is("off")))

	var changed []struct {
		EntityID string `json:"entity_id"`
		State    string
		Context  struct{ ID string }
	}
	answer := in.do("POST", "/api/services/light/turn_on", `{"entity_id":"light.lamp","brightness":99}`)
	if err := json.Unmarshal([]byte(answer), &changed); err != nil || len(changed) != 1 || changed[0].State != "on" || !strings.Contains(answer, `"brightness":99`) {
		t.Errorf("turn_on: got %s, want the lamp on", answer)
	}
	status, text := in.request("POST", "/api/services/light/turn_on", `{"entity_id":"light.lamp","brightness":"dazzling"}`)
	if status != 400 || !strings.Contains(text, "brightness must be a number from 0 to 255, and is dazzling") {
		t.Errorf("a wrong brightness: got %d %s, want 400 and what it must be", status, text)
	}

	// What happens in the home goes back to the broker.
	in.do("POST", "/api/states/sensor.room", `{"state":"21.5","attributes":{"unit_of_measurement":"°C"}}`)
	in.ringWhileAway()
	eventually(t, "the broker has the state", d.has("carillon/sensor/room/state", "21.5"))
	eventually(t, "the broker has its attributes", d.has("carillon/sensor/room/attributes", `{"unit_of_measurement":"°C"}`))
	eventually(t, "the broker has the event", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return strings.Contains(d.heard["carillon/event/doorbell"], `"button":"front"`)
	})
	if d.has("carillon/light/lamp/state", "on")() {
		t.Error("what came by MQTT went back to it")
	}
	last := in.swapMQTT(d, frames, second)
	in.killWhileCounting(d, last)
}

// ringWhileAway has the first event happen that is to be published while the adapter is away.
func (in *instance) ringWhileAway() {
	in.t.Helper()
	eventually(in.t, "the adapter knows where it began", func() bool {
		_, err := os.Stat(filepath.Join(in.home, "data", "plugins", "state", "mqtt", "events_after"))
		return err == nil
	})
	in.do("POST", "/api/plugins/mqtt/disable", "")
	eventually(in.t, "the adapter is away", func() bool { return in.plugin("mqtt").State == plugins.Disabled })
	in.do("POST", "/api/events/doorbell", `{"button":"front"}`)
	in.do("POST", "/api/plugins/mqtt/enable", "")
	eventually(in.t, "the adapter is back", func() bool { return in.plugin("mqtt").State == plugins.Ready })
}

// swapMQTT replaces the adapter while a device tells it something: all of it is told, once and in
// order.
func (in *instance) swapMQTT(d *mqttDevice, frames <-chan frame, program string) int {
	in.t.Helper()
	stop, last := make(chan struct{}), make(chan int)
	go func() { last <- d.count(0, stop) }()
	await(in.t, frames, "the counter counts", became("sensor.lamp_count", is("50")))
	in.install(program, "mqtt")
	eventually(in.t, "the second version runs", func() bool { st := in.plugin("mqtt"); return st.State == plugins.Ready && st.Version == "2.0.0" })
	close(stop)
	n := <-last
	got := append(upTo(50), counts(in.t, frames, n)...)
	if want := upTo(n); !slices.Equal(got, want) {
		in.t.Errorf("while the adapter was replaced: got %d numbers that are not 1 to %d: %v", len(got), n, strange(got))
	}
	return n
}

// strange returns where numbers don't go up by one.
func strange(all []int) (places []string) {
	for i := 1; i < len(all); i++ {
		if all[i] != all[i-1]+1 {
			places = append(places, fmt.Sprintf("%d behind %d", all[i], all[i-1]))
		}
	}
	return places
}

// killWhileCounting kills the server while a device tells it something: nothing of that is
// lost. What was stored and not yet acknowledged comes twice.
func (in *instance) killWhileCounting(d *mqttDevice, last int) {
	in.t.Helper()
	t := in.t
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	frames := in.stream(ctx, "/api/stream")
	first := last
	stop, ended := make(chan struct{}), make(chan int)
	go func() { ended <- d.count(last, stop) }()
	from := await(t, frames, "the counter counts", became("sensor.lamp_count", is(strconv.Itoa(first+50)))).ID
	pid := in.plugin("mqtt").PID
	in.signal(syscall.SIGKILL)
	eventually(t, "the adapter ends with the server", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
	again := serve(t, in.home, "-listen", "127.0.0.1:0")
	eventually(t, "the adapter runs again", func() bool { return again.plugin("mqtt").State == plugins.Ready })
	close(stop)
	last = <-ended
	got := counts(t, again.stream(ctx, "/api/stream?last_event_id="+from), last)
	slices.Sort(got)
	if got = slices.Compact(got); len(got) != last-first-50 || got[0] != first+51 {
		t.Errorf("over the end of the server: got %d numbers, want %d: %v", len(got), last-first-50, strange(got))
	}
}

// A home without a broker can have one: the adapter's own.
func TestMQTTOwnBrokerEndToEnd(t *testing.T) {
	program := filepath.Join(t.TempDir(), "mqtt")
	build(t, ".", program, "./plugins/mqtt")
	address := unusedAddress(t)
	home := newHome(t, nil)
	write(t, filepath.Join(home, configFile), "plugins:\n  mqtt:\n    config: {listen: \""+address+"\", confirm: 5s}\n")
	in := serve(t, home, "-listen", "127.0.0.1:0")
	in.install(program, "mqtt")
	eventually(t, "the adapter runs", func() bool { return in.plugin("mqtt").State == plugins.Ready })
	d := newMQTTDevice(t, address)
	eventually(t, "the lamp is there", func() bool {
		_, body := in.request("GET", "/api/states/light.lamp", "")
		return strings.Contains(body, `"state":"off"`)
	})
	if got := in.do("POST", "/api/services/light/toggle", `{"entity_id":"light.lamp"}`); !strings.Contains(got, `"state":"on"`) {
		t.Errorf("toggle: got %s, want the lamp on", got)
	}
	d.say("count", "1", false)
	if body := in.do("GET", "/api/states/sensor.lamp_count", ""); !strings.Contains(body, `"state":"1"`) {
		t.Errorf("after the acknowledgement: got %s, want the state stored", body)
	}

	// Its end is that of the broker, too: the device comes back to the next one.
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	frames := in.stream(ctx, "/api/stream")
	if err := syscall.Kill(in.plugin("mqtt").PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, frames, "that the lamp is unavailable", became("light.lamp", is("unavailable")))
	await(t, frames, "that it is back", became("light.lamp", is("on")))
}
