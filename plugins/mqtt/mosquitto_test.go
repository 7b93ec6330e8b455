package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"carillon/runtime/runtimetest"
)

// A mosquitto is a real broker on loopback.
type mosquitto struct {
	t       testing.TB
	config  string // file
	address string
	cmd     *exec.Cmd
	done    chan struct{} // closed when the process is gone
	said    *bytes.Buffer
}

// needProgram skips a test of a program that is not there; in CI it must be.
func needProgram(t testing.TB, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/bin") {
		if path := filepath.Join(dir, name); isExecutable(path) {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", name)
	}
	t.Skipf("%s is missing", name)
	return ""
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// freePort returns an address of loopback that nobody listens on.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startMosquitto starts a broker with more lines of configuration.
func startMosquitto(t testing.TB, more ...string) *mosquitto {
	t.Helper()
	needProgram(t, "mosquitto")
	dir := t.TempDir()
	m := &mosquitto{t: t, config: filepath.Join(dir, "mosquitto.conf"), address: freePort(t)}
	_, port, _ := net.SplitHostPort(m.address)
	lines := append([]string{
		"listener " + port + " 127.0.0.1", "persistence true", "persistence_location " + dir + "/", "autosave_interval 1", "user root",
		"max_queued_messages 100000",
	}, more...)
	if !strings.Contains(strings.Join(more, "\n"), "allow_anonymous") {
		lines = append(lines, "allow_anonymous true")
	}
	if err := os.WriteFile(m.config, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	m.start()
	t.Cleanup(m.kill)
	return m
}

func (m *mosquitto) start() {
	m.t.Helper()
	m.said = &bytes.Buffer{}
	m.cmd = exec.Command(needProgram(m.t, "mosquitto"), "-c", m.config)
	m.cmd.Stdout, m.cmd.Stderr = m.said, m.said
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.done = make(chan struct{})
	cmd, done := m.cmd, m.done
	go func() {
		defer close(done)
		cmd.Wait()
	}()
	deadline := time.Now().Add(time.Minute)
	for {
		c, err := net.DialTimeout("tcp", m.address, time.Second)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-m.done:
			m.t.Fatalf("mosquitto ended: %s", m.said)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("mosquitto does not listen: %v", err)
		}
	}
}

// kill ends the broker at once.
func (m *mosquitto) kill() {
	m.cmd.Process.Kill()
	<-m.done
}

// A thing is a device on a broker.
type thing struct {
	t testing.TB
	c paho.Client

	mu    sync.Mutex
	heard []string // "topic payload", guarded by mu
}

func newThing(t testing.TB, address string, change func(*paho.ClientOptions)) *thing {
	t.Helper()
	d := &thing{t: t}
	o := paho.NewClientOptions().AddBroker("tcp://" + address).SetClientID("thing-" + randomText()).SetConnectTimeout(10 * time.Second)
	o.SetMaxReconnectInterval(time.Second)
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.heard = append(d.heard, m.Topic()+" "+string(m.Payload()))
	})
	if change != nil {
		change(o)
	}
	d.c = paho.NewClient(o)
	if token := d.c.Connect(); !token.WaitTimeout(15*time.Second) || token.Error() != nil {
		t.Fatalf("connecting to %s: %v", address, token.Error())
	}
	t.Cleanup(func() { d.c.Disconnect(50) })
	return d
}

func (d *thing) say(topic, payload string, qos byte, retain bool) {
	d.t.Helper()
	if token := d.c.Publish(topic, qos, retain, payload); !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		d.t.Fatalf("publishing to %s: %v", topic, token.Error())
	}
}

func (d *thing) listen(filter string) {
	d.t.Helper()
	if token := d.c.Subscribe(filter, 1, nil); !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		d.t.Fatalf("subscribing to %s: %v", filter, token.Error())
	}
}

// has reports whether it heard "topic payload".
func (d *thing) has(said string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, one := range d.heard {
		if one == said {
			return true
		}
	}
	return false
}

// shows reports whether an entity has a state.
func shows(h *runtimetest.Home, id, state string) func() bool {
	return func() bool {
		e, ok := h.Entity(id)
		return ok && e.State == state
	}
}

const lampConfig = `{"schema":"json","name":null,"uniq_id":"lamp1","cmd_t":"z/lamp/set","stat_t":"z/lamp","avty_t":"z/lamp/availability","brightness":true,"qos":1,"dev":{"ids":["lamp1"],"name":"Lamp"}}`

// lampDevice is a device that does what it is told, and tells what it did.
func lampDevice(t testing.TB, address string, change func(*paho.ClientOptions)) *thing {
	d := newThing(t, address, change)
	token := d.c.Subscribe("z/lamp/set", 1, func(_ paho.Client, m paho.Message) {
		d.mu.Lock()
		d.heard = append(d.heard, m.Topic()+" "+string(m.Payload()))
		d.mu.Unlock()
		go d.c.Publish("z/lamp", 1, true, m.Payload())
	})
	if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	d.say("homeassistant/light/lamp1/config", lampConfig, 1, true)
	d.say("z/lamp/availability", "online", 1, true)
	d.say("z/lamp", `{"state":"OFF"}`, 1, true)
	return d
}

func TestMosquitto(t *testing.T) {
	m := startMosquitto(t)
	d := lampDevice(t, m.address, nil)
	d.listen("homeassistant/status")
	h := runtimetest.StartAdapter(t, newBridge(), fmt.Sprintf(`{"broker":"mqtt://%s","confirm":"5s"}`, m.address), t.TempDir())
	h.Until("the lamp is off", shows(h, "light.lamp", "off"))
	h.Until("devices hear that the home is there", func() bool { return d.has("homeassistant/status online") })
	if _, err := h.Call(t.Context(), "light.turn_on", "light.lamp", `{"brightness":77}`); err != nil {
		t.Fatal(err)
	}
	e, _ := h.Entity("light.lamp")
	if e.State != "on" || e.Attributes["brightness"] != 77.0 || e.ContextID != "command-1" {
		t.Errorf("after the command: got %s, %v, of %q, want it on, as the command's doing", e.State, e.Attributes, e.ContextID)
	}

	// The broker goes, and comes back with what was retained.
	m.kill()
	h.Until("it says that the broker is gone", func() bool { ready, detail := h.Ready(); return !ready && strings.Contains(detail, m.address) })
	if _, err := h.Call(t.Context(), "light.turn_off", "light.lamp", `{}`); err == nil || !strings.Contains(err.Error(), "can't be reached") {
		t.Errorf("a command without a broker: got %v, want that it can't be reached", err)
	}
	h.Until("the lamp is unavailable without a broker", shows(h, "light.lamp", "unavailable"))
	m.start()
	h.Until("it is back", func() bool { ready, _ := h.Ready(); return ready })
	h.Until("the lamp is back with it", shows(h, "light.lamp", "on"))
	again := lampDevice(t, m.address, nil)
	again.say("z/lamp/availability", "offline", 1, true)
	h.Until("the lamp is unavailable", shows(h, "light.lamp", "unavailable"))
	if err := h.Drain(); err != nil {
		t.Error(err)
	}
	h.Until("devices hear that the home is gone", func() bool { return d.has("homeassistant/status offline") || again.c.IsConnected() })
}

// What devices said with quality 1 while the adapter was away comes when it is back, and
// what the journal did not take comes again.
func TestNothingIsLostWhileAway(t *testing.T) {
	m := startMosquitto(t)
	d := newThing(t, m.address, nil)
	d.say("homeassistant/sensor/s1/config", `{"name":"S1","uniq_id":"s1","stat_t":"s1","force_update":true}`, 1, true)
	d.say("homeassistant/sensor/s2/config", `{"name":"S2","uniq_id":"s2","stat_t":"s2"}`, 1, true)
	d.say("s2", "0", 1, true)
	config, folder := fmt.Sprintf(`{"broker":"mqtt://%s"}`, m.address), t.TempDir()
	h := runtimetest.StartAdapter(t, newBridge(), config, folder)
	h.Until("it listens to both", shows(h, "sensor.s2", "0"))
	d.say("s1", "1", 1, false)
	h.Until("it has told", shows(h, "sensor.s1", "1"))

	h.Hold(true) // from here on the journal takes nothing
	for i := range 10 {
		d.say("s1", fmt.Sprint(100+i), 1, false)
	}
	h.Until("what it said is on its way", func() bool { e, _ := h.Entity("sensor.s1"); return slices.Contains(e.States, "100") })
	h.Kill() // before any of it is stored
	for i := range 10 {
		d.say("s1", fmt.Sprint(200+i), 1, false)
	}
	next := runtimetest.StartAdapter(t, newBridge(), config, folder)
	next.Until("the last is there", shows(next, "sensor.s1", "209"))
	if e, _ := next.Entity("sensor.s1"); strings.Join(e.States, " ") != "unknown 100 101 102 103 104 105 106 107 108 109 200 201 202 203 204 205 206 207 208 209" {
		t.Errorf("got the states %v, want all that were not stored, in order", e.States)
	}
}

func TestPasswordsAndTLS(t *testing.T) {
	dir := t.TempDir()
	passwords := filepath.Join(dir, "passwords")
	if out, err := exec.Command(needProgram(t, "mosquitto_passwd"), "-b", "-c", passwords, "home", "s3cret").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cert, key := makeCertificate(t, dir)
	m := startMosquitto(t, "allow_anonymous false", "password_file "+passwords, "certfile "+cert, "keyfile "+key)
	secured := func(o *paho.ClientOptions) {
		o.Servers = nil
		pool := x509.NewCertPool()
		text, _ := os.ReadFile(cert)
		pool.AppendCertsFromPEM(text)
		o.AddBroker("ssl://" + m.address).SetTLSConfig(&tls.Config{RootCAs: pool}).SetUsername("home").SetPassword("s3cret")
	}
	lampDevice(t, m.address, secured)
	for _, test := range []struct{ config, want string }{
		{`{"broker":"mqtts://%s","username":"home","password":"s3cret","tls":{"ca":"` + cert + `"}}`, ""},
		{`{"broker":"mqtts://%s","username":"home","password":"s3cret","tls":{"insecure":true}}`, ""},
		{`{"broker":"mqtts://%s","username":"home","password":"wrong","tls":{"ca":"` + cert + `"}}`, "not Authorized"},
		{`{"broker":"mqtts://%s","username":"home","password":"s3cret"}`, "certificate"},
		{`{"broker":"mqtt://%s","username":"home","password":"s3cret"}`, m.address},
	} {
		h := runtimetest.StartAdapter(t, newBridge(), fmt.Sprintf(test.config, m.address), t.TempDir())
		if test.want == "" {
			h.Until("the lamp is there", shows(h, "light.lamp", "off"))
			continue
		}
		h.Until("it says why it can't connect: "+test.config, func() bool {
			ready, detail := h.Ready()
			return !ready && strings.Contains(strings.ToLower(detail), strings.ToLower(test.want))
		})
	}
}

// makeCertificate makes a certificate for loopback that is its own authority.
func makeCertificate(t testing.TB, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// A message that is far too large is cut, and the connection goes on.
func TestOversizedMessage(t *testing.T) {
	m := startMosquitto(t)
	d := lampDevice(t, m.address, nil)
	h := runtimetest.StartAdapter(t, newBridge(), fmt.Sprintf(`{"broker":"mqtt://%s"}`, m.address), t.TempDir())
	h.Until("the lamp is there", shows(h, "light.lamp", "off"))
	huge := strings.Repeat("x", 20<<20)
	d.say("z/lamp", huge, 1, false)
	d.say("z/lamp", huge, 0, false)
	d.say("z/lamp", `{"state":"ON"}`, 1, false)
	h.Until("the lamp is on", shows(h, "light.lamp", "on"))
	h.Until("it is told", func() bool { return logged(h, "a message was cut") })
}

func logged(h *runtimetest.Home, what string) bool {
	return strings.Contains(strings.Join(h.Logs(), "\n"), what)
}

// MQTT 5 devices are heard as well.
func TestMQTT5Device(t *testing.T) {
	m := startMosquitto(t)
	h := runtimetest.StartAdapter(t, newBridge(), fmt.Sprintf(`{"broker":"%s"}`, m.address), t.TempDir())
	h.Until("it is connected", func() bool { ready, _ := h.Ready(); return ready })
	pub := needProgram(t, "mosquitto_pub")
	_, port, _ := net.SplitHostPort(m.address)
	say := func(args ...string) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		args = append([]string{"-V", "5", "-h", "127.0.0.1", "-p", port, "-q", "1"}, args...)
		if out, err := exec.CommandContext(ctx, pub, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	say("-r", "-t", "homeassistant/sensor/five/config", "-m", `{"name":"Five","stat_t":"five","uniq_id":"five"}`)
	h.Until("the sensor is there", func() bool { _, ok := h.Entity("sensor.five"); return ok })
	say("-r", "-t", "five", "-m", "5", "-D", "publish", "message-expiry-interval", "60")
	h.Until("it has told", shows(h, "sensor.five", "5"))
}
