package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"carillon/runtime/runtimetest"
)

var discard = slog.New(slog.DiscardHandler)

func TestSlug(t *testing.T) {
	for text, want := range map[string]string{
		"Living Room": "living_room", "Küche": "kuche", "Straße 5": "strasse_5", "0x00158d": "0x00158d", "--a__b--": "a_b", "": "", "!!": "",
		"Bob's lamp": "bobs_lamp", "CO₂": "co2", strings.Repeat("ab ", 100): strings.Repeat("ab_", 40)[:119],
	} {
		if got := slug(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestTopicMatches(t *testing.T) {
	for _, test := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a/c", false}, {"a/+", "a/b", true}, {"a/+", "a", false}, {"a/+", "a/b/c", false}, {"+/b", "a/b", true},
		{"#", "a/b", true}, {"a/#", "a", true}, {"a/#", "a/b/c", true}, {"a/#", "b", false}, {"+", "$SYS", false}, {"#", "$SYS/x", false},
		{"$SYS/#", "$SYS/x", true}, {"a/+/c", "a//c", true}, {"+/+", "/a", true}, {"a", "a/b", false}, {"a/b", "a", false},
	} {
		if got := topicMatches(test.filter, test.topic); got != test.want {
			t.Errorf("%s and %s: got %v, want %v", test.filter, test.topic, got, test.want)
		}
	}
}

func TestColors(t *testing.T) {
	near := func(what string, got, want []float64, by float64) {
		for i := range want {
			if math.Abs(got[i]-want[i]) > by {
				t.Errorf("%s: got %v, want %v", what, got, want)
				return
			}
		}
	}
	for _, rgb := range [][]float64{{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {255, 128, 0}, {10, 20, 255}, {255, 255, 255}} {
		near("by hs", toRGB("hs", fromRGB("hs", rgb)), rgb, 1)
		near("by rgbw", toRGB("rgbw", fromRGB("rgbw", rgb)), rgb, 10) // white light makes it brighter, and it is scaled back
		near("by xy", fromRGB("hs", toRGB("xy", fromRGB("xy", rgb))), fromRGB("hs", rgb), 4)
	}
	near("xy of white", fromRGB("xy", []float64{255, 255, 255}), []float64{0.323, 0.329}, 0.002)
	near("warm white", kelvinToRGB(2700), []float64{255, 167, 87}, 3)
	if got := miredsOf(2700); got != 370 {
		t.Errorf("2700 K: got %v mireds, want 370", got)
	}
}

func TestIDsOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	entityOf := func(key, name string) *entity {
		return &entity{key: key, domain: "light", name: name, part: &part{}}
	}
	var first ids
	if err := first.load(dir); err != nil {
		t.Fatal(err)
	}
	if got := first.assign(entityOf("a", "Lamp")) + " " + first.assign(entityOf("b", "Lamp")); got != "light.lamp light.lamp_2" {
		t.Errorf("got %s", got)
	}
	if err := first.save(); err != nil {
		t.Fatal(err)
	}
	var second ids
	if err := second.load(dir); err != nil {
		t.Fatal(err)
	}
	if got := second.assign(entityOf("b", "Lamp")) + " " + second.assign(entityOf("c", "Lamp")); got != "light.lamp_2 light.lamp_3" {
		t.Errorf("after a restart: got %s", got)
	}
	second.release("b")
	if got := second.assign(entityOf("d", "Lamp")); got != "light.lamp_2" {
		t.Errorf("after one was taken away: got %s", got)
	}
	if err := os.WriteFile(filepath.Join(dir, idsFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := second.load(dir); err == nil || !strings.Contains(err.Error(), idsFile) {
		t.Errorf("a broken file: got %v, want an error that names it", err)
	}
}

func TestVersions(t *testing.T) {
	for _, test := range []struct {
		version, than string
		want          bool
	}{{"1.10", "1.9", true}, {"1.9", "1.10", false}, {"1.0", "1", false}, {"v2", "1", true}, {"a", "b", true}, {"a", "a", false}, {"-1", "5", false}, {"2", "-1", true}} {
		if got := isNewer(test.version, test.than); got != test.want {
			t.Errorf("%s newer than %s: got %v", test.version, test.than, got)
		}
	}
}

// Time makes entities unavailable that are not heard of, and turns motion off.
func TestTimers(t *testing.T) {
	m, h := start(t, `{"confirm":"0s"}`)
	m.say("homeassistant/binary_sensor/pir/config", `{"name":"Pir","stat_t":"pir","off_delay":0.2,"uniq_id":"pir"}`, true)
	m.say("homeassistant/sensor/temp/config", `{"name":"Temp","stat_t":"temp","exp_aft":0.3,"uniq_id":"temp"}`, true)
	m.quiet(h)
	if e, _ := h.Entity("sensor.temp"); e.State != "unavailable" {
		t.Errorf("before it is heard of: got %s, want unavailable", e.State)
	}
	m.say("pir", "ON", false)
	m.say("temp", "21", false)
	h.Until("the motion is over", func() bool {
		e, _ := h.Entity("binary_sensor.pir")
		return slices.Equal(e.States, []string{"unknown", "on", "off"})
	})
	h.Until("the temperature is stale", func() bool {
		e, _ := h.Entity("sensor.temp")
		return slices.Equal(e.States[len(e.States)-2:], []string{"21", "unavailable"})
	})
	m.say("temp", "22", false)
	h.Until("it is back", func() bool { // and soon stale again
		e, _ := h.Entity("sensor.temp")
		return slices.Contains(e.States, "22")
	})
}

// A device that never answers does not keep a command longer than it is waited for, and
// commands that fail say why.
func TestCommandsThatGoWrong(t *testing.T) {
	m, h := start(t, `{"confirm":"50ms"}`)
	m.say("homeassistant/switch/s/config", `{"name":"S","stat_t":"s","cmd_t":"s/set","uniq_id":"s","avty_t":"s/av"}`, true)
	h.Until("it is declared", shows(h, "switch.s", "unavailable"))
	if _, err := h.Call(t.Context(), "switch.turn_on", "switch.s", `{}`); err == nil || !strings.Contains(err.Error(), "unavailable") {
		t.Errorf("an unavailable device: got %v", err)
	}
	m.say("s/av", "online", true)
	m.quiet(h)
	if _, err := h.Call(t.Context(), "switch.turn_on", "switch.s", `{}`); err != nil {
		t.Errorf("a silent device: got %v", err)
	}
	if _, err := h.Call(t.Context(), "switch.turn_on", "switch.s", `[1]`); err == nil || !strings.Contains(err.Error(), "object") {
		t.Errorf("data that is no object: got %v", err)
	}
	m.mu.Lock()
	m.refusal = errUnreached
	m.mu.Unlock()
	if _, err := h.Call(t.Context(), "switch.turn_on", "switch.s", `{}`); err == nil || !strings.Contains(err.Error(), "can't be reached") {
		t.Errorf("without a broker: got %v", err)
	}
}

// Ten thousand announcements of a hostile device are bounded, and told.
func TestTooManyEntities(t *testing.T) {
	b := newBridge()
	b.log, b.reports.log, b.ctx = discard, discard, t.Context()
	b.settings.prefix = "homeassistant"
	if err := b.ids.load(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	for i := range maxEntities + 10 {
		topic := fmt.Sprintf("homeassistant/sensor/s%d/config", i)
		b.look(&message{topic: topic, payload: fmt.Appendf(nil, `{"name":"S","stat_t":"s","uniq_id":"u%d"}`, i)})
	}
	if got := len(b.byKey); got != maxEntities {
		t.Errorf("got %d entities, want %d", got, maxEntities)
	}
	if got := b.numbers.rejected.Load(); got != 10 {
		t.Errorf("got %d rejected, want 10", got)
	}
}

func TestEarlyMessagesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBridge()
		b.log, b.reports.log = discard, discard
		b.acks.wake = make(chan struct{}, 1)
		m := &memory{filters: map[string]bool{"x": true}}
		b.link = m
		b.early.begin()
		for range maxEarly + 5 {
			b.look(&message{topic: "x", payload: []byte("y"), ack: func() {}})
		}
		if got := len(b.early.messages); got != maxEarly {
			t.Errorf("got %d, want %d", got, maxEarly)
		}
		time.Sleep(earlyPatience + time.Second) // of the bubble
		b.dropEarly()
		if got := len(b.acks.list); got != maxEarly || b.numbers.unclaimed.Load() != int64(maxEarly)+5 {
			t.Errorf("got %d acknowledged and %d counted, want %d and 5 more", got, b.numbers.unclaimed.Load(), maxEarly)
		}
		if m.filters["x"] {
			t.Error("it is still subscribed to")
		}
	})
}

// A device that announces itself all the time doesn't keep messages for others from their end.
func TestEarlyMessagesWaitForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBridge()
		b.log, b.reports.log = discard, discard
		b.acks.wake = make(chan struct{}, 1)
		m := &memory{filters: map[string]bool{"x": true}}
		b.link = m
		b.early.begin()
		b.look(&message{topic: "x", payload: []byte("y"), ack: func() {}})
		for range 40 {
			<-time.After(time.Second)
			b.mu.Lock()
			b.replayEarly() // as settle does
			b.mu.Unlock()
			b.dropEarly()
		}
		if len(b.acks.list) != 1 || len(b.early.messages) != 0 {
			t.Errorf("after 40 s: %d acknowledged and %d waiting, want it acknowledged", len(b.acks.list), len(b.early.messages))
		}
	})
}

// publishPacket makes a packet as a broker sends it.
func publishPacket(topic string, payload []byte, qos byte) []byte {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Payload, p.Qos, p.MessageID = topic, payload, qos, 7
	var b bytes.Buffer
	p.Write(&b)
	return b.Bytes()
}

func TestLimited(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	var cuts []string
	l := newLimited(here, func(topic string) { cuts = append(cuts, topic) })
	go func() {
		defer there.Close()
		for _, size := range []int{10, maxPayload + 1, 5, maxPayload, 0, 3 * maxPayload} {
			for qos := range byte(3) {
				there.Write(publishPacket("t", bytes.Repeat([]byte("x"), size), qos))
			}
		}
		packets.NewControlPacket(packets.Pingresp).Write(there)
	}()
	for _, want := range []int{10, maxPayload, 5, maxPayload, 0, maxPayload} {
		for qos := range byte(3) {
			p, err := packets.ReadPacket(l)
			if err != nil {
				t.Fatal(err)
			}
			got := p.(*packets.PublishPacket)
			if len(got.Payload) != want || got.Qos != qos || got.TopicName != "t" || qos > 0 && got.MessageID != 7 {
				t.Errorf("got %d bytes of quality %d, want %d of %d", len(got.Payload), got.Qos, want, qos)
			}
		}
	}
	if p, err := packets.ReadPacket(l); err != nil || p.(*packets.PingrespPacket) == nil {
		t.Errorf("got %v and %v, want what comes behind", p, err)
	}
	if len(cuts) != 6 {
		t.Errorf("%d were cut, want 6", len(cuts))
	}
}

// pieces reads in pieces of a few bytes, as networks do.
type pieces struct {
	net.Conn
	r io.Reader
}

func (p pieces) Read(b []byte) (int, error) { return p.r.Read(b[:min(len(b), 3)]) }

func FuzzLimited(f *testing.F) {
	f.Add(publishPacket("a/b", []byte("x"), 1))
	f.Add([]byte{0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1, 'a'})
	f.Add([]byte{0x30, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{0x32, 0x80, 0x80, 0x41, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, stream []byte) {
		got, _ := io.ReadAll(io.LimitReader(newLimited(pieces{r: bytes.NewReader(stream)}, func(string) {}), 1<<22))
		if len(got) > len(stream)+4 {
			t.Errorf("%d bytes became %d", len(stream), len(got))
		}
	})
}

// FuzzAnnouncement lets hostile devices announce themselves and tell anything.
func FuzzAnnouncement(f *testing.F) {
	files, err := filepath.Glob("testdata/stories/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatal("no stories")
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			word, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			topic, payload, _ := strings.Cut(rest, " ")
			if word == "retained" && strings.HasSuffix(topic, "/config") && len(payload) < 1<<16 {
				f.Add(topic, []byte(payload), []byte(`{"state":"ON"}`))
			}
		}
	}
	f.Fuzz(func(t *testing.T, topic string, payload, said []byte) {
		b := newBridge()
		b.log, b.reports.log, b.ctx = discard, discard, t.Context()
		b.settings.prefix = "homeassistant"
		if err := b.ids.load("/nonexistent"); err != nil {
			t.Fatal(err)
		}
		b.look(&message{topic: topic, payload: payload})
		for _, filter := range b.routes.topics() {
			b.look(&message{topic: strings.NewReplacer("+", "x", "#", "y").Replace(filter), payload: said})
		}
		for _, e := range b.byKey {
			for service, do := range e.commands {
				for _, data := range []map[string]any{{}, {"brightness": "7", "value": "x", "position": 5.0, "percentage": 3.0, "temperature": 20.0, "hs_color": []any{1.0, 2.0}}} {
					if out, assume, err := do(&call{service: service, data: data}); err == nil && assume != nil {
						assume()
						_ = out
					}
				}
			}
			for purpose := range e.timers {
				b.cancel(e, purpose)
			}
		}
	})
}

// What is told of a broker that can't be reached is the same at each attempt, so that
// it is logged once.
func TestReason(t *testing.T) {
	reset := func(port int) error {
		return &net.OpError{Op: "read", Net: "tcp", Source: &net.TCPAddr{Port: port}, Err: errors.New("connection reset by peer")}
	}
	for _, test := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("%w : %w", packets.ErrorNetworkError, reset(40001)), "read: connection reset by peer"},
		{reset(40002), "read: connection reset by peer"},
		{fmt.Errorf("%w : %w", packets.ErrorNetworkError, io.EOF), "the broker hung up"},
		{packets.ErrorRefusedNotAuthorised, "not Authorized: check username and password"},
		{fmt.Errorf("%w : %w", packets.ErrorNetworkError, errors.New("dial tcp: refused")), "dial tcp: refused"},
	} {
		if got := reason(test.err); got != test.want {
			t.Errorf("%v: got %q, want %q", test.err, got, test.want)
		}
	}
}

// Who takes a port for one without TLS, or with it, is told, unless it was right once.
func TestWrongScheme(t *testing.T) {
	cert, key := makeCertificate(t, t.TempDir())
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	serve := func(l net.Listener, err error, with func(net.Conn)) string {
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				with(c)
				c.Close()
			}
		}()
		return l.Addr().String()
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	secured := serve(l, err, func(c net.Conn) { c.(*tls.Conn).Handshake() })
	l, err = net.Listen("tcp", "127.0.0.1:0")
	resets := serve(l, err, func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) })
	l, err = net.Listen("tcp", "127.0.0.1:0")
	plain := serve(l, err, func(c net.Conn) { c.Write([]byte("hello, who are you?")) })
	for broker, want := range map[string]string{
		"mqtt://" + secured: "mqtts://", "mqtt://" + resets: "mqtts://", "ws://" + resets: "wss://", "mqtts://" + plain: "mqtt://", "mqtts://" + resets: "mqtt://", "wss://" + plain: "ws://",
	} {
		h := runtimetest.StartAdapter(t, newBridge(), fmt.Sprintf(`{"broker":%q}`, broker), t.TempDir())
		h.Until(broker+" is not reached", func() bool {
			_, detail := h.Ready()
			return strings.HasSuffix(detail, "; the port may want "+want)
		})
	}
	b := newBridge()
	b.log, b.settings.url = discard, &url.URL{Scheme: "mqtt", Host: "h"}
	c := &client{b: b, reached: true}
	if c.notReached(io.EOF); c.why != "h: the broker hung up" {
		t.Errorf("got %q of a broker that was reached before", c.why)
	}
	if got := hint("mqtts", io.EOF) + hint("mqtt", errors.New("refused")); got != "" {
		t.Errorf("got %q where nothing points to TLS", got)
	}
}
