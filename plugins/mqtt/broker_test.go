package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"carillon/runtime/runtimetest"
)

// listening runs an adapter that is a broker.
func listening(t testing.TB, folder, address, more string) *runtimetest.Home {
	t.Helper()
	h, _ := listeningBroker(t, folder, address, more)
	return h
}

// listeningBroker is listening, and returns the broker, too.
func listeningBroker(t testing.TB, folder, address, more string) (*runtimetest.Home, *broker) {
	t.Helper()
	b := newBridge()
	h := runtimetest.StartAdapter(t, b, fmt.Sprintf(`{"listen":%q,"confirm":"5s"%s}`, address, more), folder)
	h.Until("the broker is open", func() bool { ready, _ := h.Ready(); return ready })
	return h, (*b.linked.Load()).(*broker)
}

func TestOwnBroker(t *testing.T) {
	address, folder := freePort(t), t.TempDir()
	h := listening(t, folder, address, "")
	// A connection that is accepted while the broker closes is answered by nobody, and ends with
	// the process, which a test does not: the lamp gives it up before the test gives up the lamp.
	d := lampDevice(t, address, func(o *paho.ClientOptions) { o.SetConnectTimeout(8 * time.Second) })
	h.Until("the lamp is off", shows(h, "light.lamp", "off"))
	if _, err := h.Call(t.Context(), "light.turn_on", "light.lamp", `{"brightness":77}`); err != nil {
		t.Fatal(err)
	}
	if e, _ := h.Entity("light.lamp"); e.State != "on" || e.ContextID != "command-1" {
		t.Errorf("after the command: got %s, of %q, want it on, as the command's doing", e.State, e.ContextID)
	}
	if !d.has(`z/lamp/set {"brightness":77,"state":"ON"}`) {
		t.Errorf("the lamp heard %v", d.heard)
	}
	if err := h.Drain(); err != nil {
		t.Fatal(err)
	}

	// What was retained outlives the broker, and devices come back by themselves.
	again := listening(t, folder, address, "")
	again.Until("the lamp is there again", shows(again, "light.lamp", "on"))
	again.Until("the device is back", func() bool { return d.c.IsConnectionOpen() })
}

// A device that publishes with quality 1 gets its acknowledgement when the journal holds
// what it said.
func TestOwnBrokerAcknowledgesWhatIsStored(t *testing.T) {
	address := freePort(t)
	h := listening(t, t.TempDir(), address, "")
	d := lampDevice(t, address, nil)
	h.Until("the lamp is off", shows(h, "light.lamp", "off"))
	h.Hold(true)
	token := d.c.Publish("z/lamp", 1, false, `{"state":"ON"}`)
	h.Until("the lamp is on", shows(h, "light.lamp", "on"))
	if token.WaitTimeout(200 * time.Millisecond) {
		t.Error("the message was acknowledged before it was stored")
	}
	h.Hold(false)
	if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		t.Errorf("the message was not acknowledged: %v", token.Error())
	}
	d.say("elsewhere", "nobody cares", 1, false) // what is of no interest needs no journal
}

func TestOwnBrokerUsers(t *testing.T) {
	address := freePort(t)
	h := listening(t, t.TempDir(), address, `,"users":{"shelly":"abc"}`)
	for _, test := range []struct {
		user, password string
		want           bool
	}{{"shelly", "abc", true}, {"shelly", "ab", false}, {"shelly", "", false}, {"other", "", false}, {"", "", false}} {
		o := paho.NewClientOptions().AddBroker("tcp://" + address).SetUsername(test.user).SetPassword(test.password).SetConnectTimeout(10 * time.Second)
		c := paho.NewClient(o)
		token := c.Connect()
		if !token.WaitTimeout(15 * time.Second) {
			t.Fatal("no answer")
		}
		if got := token.Error() == nil; got != test.want {
			t.Errorf("%q with %q: got %v, want let in: %v", test.user, test.password, token.Error(), test.want)
		}
		c.Disconnect(50)
	}
	h.Until("it is told", func() bool { return logged(h, "a device was refused") })
	if !strings.Contains(strings.Join(h.Logs(), "\n"), "address") {
		t.Errorf("the logs do not call it an address: %q", h.Logs())
	}
}

// Somebody who connects and says nothing doesn't keep the broker from its end.
func TestOwnBrokerEndsWithSilentClients(t *testing.T) {
	address := freePort(t)
	h := listening(t, t.TempDir(), address, "")
	lampDevice(t, address, nil)
	h.Until("the lamp is off", shows(h, "light.lamp", "off"))
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	newThing(t, address, nil) // behind it
	began := time.Now()
	if err := h.Drain(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 2*closePatience || logged(h, "left behind") {
		t.Errorf("the end took %v, and leaves devices behind", took)
	}
}

// Websocket clients and MQTT 5 clients are served, too.
func TestOwnBrokerKinds(t *testing.T) {
	address, ws := freePort(t), freePort(t)
	h := listening(t, t.TempDir(), address, fmt.Sprintf(`,"listen_websocket":%q`, ws))
	d := newThing(t, address, func(o *paho.ClientOptions) {
		o.Servers = nil
		o.AddBroker("ws://" + ws + "/")
	})
	d.say("homeassistant/sensor/ws/config", `{"name":"WS","stat_t":"ws","uniq_id":"ws"}`, 1, true)
	h.Until("the sensor is there", func() bool { _, ok := h.Entity("sensor.ws"); return ok })
	pub := needProgram(t, "mosquitto_pub")
	_, port, _ := net.SplitHostPort(address)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, pub, "-V", "5", "-h", "127.0.0.1", "-p", port, "-q", "2", "-r", "-t", "ws", "-m", "7").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h.Until("it has told", shows(h, "sensor.ws", "7"))
}

// A store that can't be read is put aside, and said so.
func TestOwnBrokerBadStore(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, brokerFile), []byte(strings.Repeat("garbage\n", 5000)), 0o600); err != nil {
		t.Fatal(err)
	}
	h := listening(t, folder, freePort(t), "")
	h.Until("it is told", func() bool { return logged(h, "put aside") })
	if _, err := os.Stat(filepath.Join(folder, brokerFile+".bad")); err != nil {
		t.Error(err)
	}
}

// A port that is taken is an error that names it and what to change, and leaves nothing behind.
func TestOwnBrokerAddressTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	b := newBridge()
	b.stateDir, b.log, b.reports.log = t.TempDir(), discard, discard
	for _, test := range []struct{ listen, web, want string }{{taken, "", "listen"}, {freePort(t), taken, "listen_websocket"}} {
		b.settings.Listen, b.settings.ListenWS = test.listen, test.web
		_, err := b.openBroker(t.Context())
		if err == nil || !strings.Contains(err.Error(), taken) || !strings.Contains(err.Error(), "choose another address for "+test.want+",") {
			t.Errorf("got %v, want an error that names %s and %s", err, taken, test.want)
		}
	}
	b.settings.ListenWS = ""
	link, err := b.openBroker(t.Context())
	if err != nil {
		t.Fatalf("once nothing is in the way: %v", err)
	}
	link.close()
}

// What is retained never stands behind what took its place.
func TestOwnBrokerRetainedInOrder(t *testing.T) {
	b := newBridge()
	b.inbox = make(chan *message) // nothing waits in it
	b.settings.Listen, b.stateDir, b.log, b.reports.log = freePort(t), t.TempDir(), discard, discard
	b.settings.Tasmota = new(bool)
	link, err := b.openBroker(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer link.close()
	k := link.(*broker)
	for _, topic := range []string{"a/1", "a/2", "a/3"} {
		if err := k.publish(t.Context(), outgoing{topic: topic, payload: "old", retain: true}); err != nil {
			t.Fatal(err)
		}
	}
	link.subscribe([]string{"a/#"})
	last := map[string]string{}
	take := func(m *message) { last[m.topic] = string(m.payload) }
	take(<-b.inbox)
	var all sync.WaitGroup
	for topic, payload := range map[string]string{"a/1": "new", "a/2": "new", "a/3": ""} {
		all.Go(func() { k.publish(t.Context(), outgoing{topic: topic, payload: payload, retain: true}) })
	}
	for _, topic := range []string{"a/1", "a/2", "a/3"} { // then they wait for the inbox, or are about to
		for deadline := time.Now().Add(time.Minute); ; <-time.After(time.Millisecond) {
			now, there := k.server.Topics.Retained.Get(topic)
			if !there || string(now.Payload) == "new" {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s does not change", topic)
			}
		}
	}
	<-time.After(20 * time.Millisecond)
	all.Add(1)
	link.later(all.Done)
	done := make(chan struct{})
	go func() {
		defer close(done)
		all.Wait()
	}()
	for over := false; !over; {
		select {
		case m := <-b.inbox:
			take(m)
		case <-done:
			over = true
		}
	}
	for topic, want := range map[string]string{"a/1": "new", "a/2": "new", "a/3": ""} {
		if last[topic] != want {
			t.Errorf("%s: %q was told last, want %q", topic, last[topic], want)
		}
	}
}

// connected connects by hand as s1, without a session, and returns the connection behind CONNACK.
func connected(t *testing.T, address string, version byte) net.Conn {
	t.Helper()
	return connectedAs(t, address, version, 2)
}

// connectedAs is connected with the flags of CONNECT.
func connectedAs(t *testing.T, address string, version, flags byte) net.Conn {
	t.Helper()
	return connectedFor(t, address, version, flags, 60)
}

// connectedFor is connectedAs with a keep-alive, in seconds.
func connectedFor(t *testing.T, address string, version, flags, keepAlive byte) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	packet, answer := []byte{0x10, 14, 0, 4, 'M', 'Q', 'T', 'T', version, flags, 0, keepAlive, 0, 2, 's', '1'}, make([]byte, 2)
	if version == 5 {
		packet = []byte{0x10, 15, 0, 4, 'M', 'Q', 'T', 'T', version, flags, 0, keepAlive, 0, 0, 2, 's', '1'}
	}
	if _, err = c.Write(packet); err == nil {
		if _, err = io.ReadFull(c, answer); err == nil {
			_, err = io.CopyN(io.Discard, c, int64(answer[1]))
		}
	}
	if err != nil || answer[0] != 0x20 {
		t.Fatalf("got % x and %v, want CONNACK", answer, err)
	}
	return c
}

// Only clients of MQTT 5 are told why their connection ends, as others take that for an error.
func TestOwnBrokerHangsUp(t *testing.T) {
	for version, want := range map[byte]byte{4: 0, 5: 0xe0} {
		for what, end := range map[string]func(k *broker){
			"it ends":            func(k *broker) { k.close() },
			"another takes over": func(k *broker) { connected(t, k.b.settings.Listen, version) },
		} {
			t.Run(fmt.Sprintf("version %d, %s", version, what), func(t *testing.T) {
				k := ownBroker(t)
				c := connected(t, k.b.settings.Listen, version)
				end(k)
				got, err := io.ReadAll(c)
				if err != nil || want == 0 && len(got) > 0 || want != 0 && (len(got) == 0 || got[0] != want) {
					t.Errorf("got % x and %v, want the end alone, or behind %x", got, err, want)
				}
			})
		}
	}
}

// Of browsers, only those that show a page of this host or of an origin that is allowed are served.
func TestOwnBrokerOrigins(t *testing.T) {
	address, ws := freePort(t), freePort(t)
	h := listening(t, t.TempDir(), address, fmt.Sprintf(`,"listen_websocket":%q,"websocket_origins":["https://dash.lan"]`, ws))
	for origin, want := range map[string]int{
		"": 101, "http://" + ws: 101, "https://" + ws: 101, "https://dash.lan": 101, "https://DASH.lan": 101,
		"http://dash.lan": 403, "https://dash.lan.evil.com": 403, "http://127.0.0.1": 403, "http://localhost:8080": 403, "null": 403, "%": 403, "//": 403,
	} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+ws, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}}
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%q: got %d, want %d", origin, answer.StatusCode, want)
		}
	}
	h.Until("it is told", func() bool { return logged(h, "a web page was refused") })
}

// A public name may have been made to point here: it proves nothing where no password is asked for.
func TestOwnBrokerPublicNames(t *testing.T) {
	k := &broker{b: newBridge()}
	k.b.reports.log = discard
	for host, want := range map[string]bool{
		"127.0.0.1:1884": true, "[::1]:1884": true, "[fd00::1]": true, "broker:1884": true, "localhost": true, "Home.LAN": true, "pi.local:1884": true,
		"mqtt.home.arpa": true, "evil.com:1884": false, "127.0.0.1.evil.com": false, "local.evil.com": false, "evil.comlan": false,
	} {
		k.b.settings.users = nil
		r := &http.Request{Host: host, Header: http.Header{"Origin": {"http://" + host}}}
		if got := k.allowsOrigin(r); got != want {
			t.Errorf("%s: got %v, want %v", host, got, want)
		}
		if k.b.settings.users = map[string]string{"a": "b"}; !k.allowsOrigin(r) {
			t.Errorf("%s, where users are asked for passwords: it is refused", host)
		}
	}
}

// What the server logs without a message says something, and an address is called one.
func TestOwnBrokerLogs(t *testing.T) {
	var text strings.Builder
	log := slog.New(brokerLog{Handler: slog.NewTextHandler(&text, nil)})
	log.With("listener", "mqtt").Warn("", "error", io.EOF)
	log.With("hook", "bolt-db").Error("", "error", io.EOF)
	log.Warn("")
	log.With("listener", "mqtt").Warn("itself", "error", io.EOF)
	log.With("listener", "mqtt").Warn("", "error", fmt.Errorf("reading: %w", net.ErrClosed)) // by the broker
	if n := strings.Count(text.String(), "\n"); n != 4 {
		t.Errorf("got %d lines, want 4: %s", n, text.String())
	}
	r := reports{log: slog.New(slog.NewTextHandler(&text, nil))}
	r.about("address", "a device was refused", "127.0.0.1", io.EOF)
	for _, want := range []string{
		`msg="broker: a device's connection ended" listener=mqtt`, `msg="broker: keeping messages and sessions"`, `msg="broker: something went wrong"`,
		`msg="broker: itself"`, `msg="a device was refused" address=127.0.0.1`,
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("got %s, want %s", text.String(), want)
		}
	}
}
