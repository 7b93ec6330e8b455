package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"carillon/runtime/runtimetest"
)

// bareBridge is a bridge without a host, whose messages go into memory.
func bareBridge(t *testing.T) (*bridge, *memory) {
	b := newBridge()
	b.log, b.reports.log, b.ctx = discard, discard, t.Context()
	b.settings.prefix, b.settings.source = "homeassistant", "home"
	if err := b.ids.load(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	m := &memory{b: b, filters: map[string]bool{}, retained: map[string]string{}}
	b.link = m
	return b, m
}

// requests is how many requests were sent since it was called last.
func (m *memory) requests() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.sent)
	m.sent = nil
	return n
}

// pass lets seconds pass, and what is due in them happen.
func pass(b *bridge, seconds int) {
	for range seconds {
		<-time.After(time.Second)
		b.tendShellies()
		synctest.Wait()
	}
}

// A device that never answers is asked three times, and then left alone until it goes and comes
// back, or for ten minutes.
func TestShellyThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, m := bareBridge(t)
		say := func(text string) {
			b.look(&message{topic: "shellyplus1-aabbccddeeff/online", payload: []byte(text)})
		}
		say("true")
		pass(b, 60)
		if got := m.requests(); got != shellyTries {
			t.Errorf("got %d requests, want %d", got, shellyTries)
		}
		if len(b.shellies.byPrefix)+len(b.shellies.byMAC)+len(b.shellies.asked)+len(b.shellies.queue) > 0 || b.numbers.rejected.Load() != 1 {
			t.Errorf("it is still known: %+v, rejected %d", b.shellies, b.numbers.rejected.Load())
		}
		for range 100 {
			say("true")
		}
		pass(b, 60)
		if got := m.requests(); got != 0 {
			t.Errorf("while it is left alone: got %d requests, want none", got)
		}
		say("false")
		say("true")
		pass(b, 1)
		if got := m.requests(); got != 1 {
			t.Errorf("when it came back: got %d requests, want 1", got)
		}
		pass(b, 60)
		m.requests()
		pass(b, int(shellySilence/time.Second))
		say("true")
		pass(b, 1)
		if got := m.requests(); got != 1 {
			t.Errorf("ten minutes later: got %d requests, want 1", got)
		}
	})
}

// Whoever claims to be thousands of devices makes a bounded number of them, and they end.
func TestFloodOfShellies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, m := bareBridge(t)
		for i := range maxShellies + 500 {
			b.look(&message{topic: fmt.Sprintf("shellyplus1-%012x/online", i), payload: []byte("true")})
		}
		if got := len(b.shellies.byPrefix); got != maxShellies {
			t.Errorf("got %d devices, want %d", got, maxShellies)
		}
		if got := b.numbers.rejected.Load(); got != 500 {
			t.Errorf("got %d rejected, want 500", got)
		}
		synctest.Wait()
		if got := m.requests(); got != maxAsked {
			t.Errorf("got %d requests, want %d at once", got, maxAsked)
		}
		pass(b, 200)
		if len(b.shellies.byPrefix) != 0 || len(b.shellies.silent) > maxShellies {
			t.Errorf("after 200 s: %d devices and %d that are silent", len(b.shellies.byPrefix), len(b.shellies.silent))
		}
	})
}

// answerAsPlus1 answers the request that waits as a Plus 1 would.
func answerAsPlus1(b *bridge, id string) {
	for request, d := range b.shellies.asked {
		b.look(&message{topic: "home/rpc", payload: []byte(plus1Answer(request, id, shellyQuestions[d.step]))})
		return
	}
}

func plus1Answer(request int64, id, method string) string {
	_, mac, _ := strings.Cut(id, "-")
	result := map[string]string{
		"Shelly.GetDeviceInfo": `{"name":"Pump","id":"` + id + `","mac":"` + mac + `","model":"SNSW-001X16EU","gen":2,"ver":"1.6.1","app":"Plus1"}`,
		"Shelly.GetConfig":     `{"input:0":{"id":0,"type":"button","enable":true},"switch:0":{"id":0,"name":null},"sys":{"device":{"name":"Pump"}}}`,
		"Shelly.GetStatus":     `{"input:0":{"id":0,"state":null},"switch:0":{"id":0,"output":false},"sys":{"mac":"` + mac + `"}}`,
		"Switch.Set":           `{"was_on":false}`,
	}[method]
	return fmt.Sprintf(`{"id":%d,"src":%q,"dst":"home","result":%s}`, request, id, result)
}

// A device whose configuration changes all the time is asked once in 30 s; so is one that is gone and
// back all the time. A broker that is reached again has all asked.
func TestShelliesAreAskedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const id = "shellyplus1-aabbccddeeff"
		b, m := bareBridge(t)
		b.look(&message{topic: id + "/online", payload: []byte("true")})
		for range 3 {
			answerAsPlus1(b, id)
		}
		if len(b.shellies.asked) > 0 || len(b.byKey) != 2 {
			t.Fatalf("got %d entities, want 2", len(b.byKey))
		}
		synctest.Wait()
		m.requests()
		for range 60 {
			for range 20 {
				b.look(&message{topic: id + "/events/rpc", payload: []byte(`{"src":"` + id + `","method":"NotifyEvent","params":{"ts":1,"events":[{"component":"sys","event":"config_changed"}]}}`)})
				b.look(&message{topic: id + "/online", payload: []byte("false")})
				b.look(&message{topic: id + "/online", payload: []byte("true")})
			}
			pass(b, 1)
			answerAsPlus1(b, id)
			answerAsPlus1(b, id)
			answerAsPlus1(b, id)
		}
		synctest.Wait()
		if got := m.requests(); got != 6 {
			t.Errorf("in a minute: got %d requests, want 6", got)
		}
		pass(b, 60)
		for range 3 {
			answerAsPlus1(b, id)
		}
		synctest.Wait()
		m.requests()
		pass(b, 60)
		b.bornAgain()
		synctest.Wait()
		if got := m.requests(); got != 1 {
			t.Errorf("after the broker was reached again: got %d requests, want 1", got)
		}
	})
}

// What devices say of themselves is bounded, all together.
func TestShelliesThatSayTooMuch(t *testing.T) {
	b, _ := bareBridge(t)
	long := strings.Repeat("x", maxFrame-1000)
	for i := range 2 * maxAnswers / maxFrame {
		id := fmt.Sprintf("shellyplus1-%012x", i)
		b.look(&message{topic: id + "/online", payload: []byte("true")})
		if d := b.shellies.byPrefix[id]; d != nil && d.request != 0 {
			text, _ := json.Marshal(map[string]any{"id": d.request, "src": id, "result": map[string]string{"id": id, "x": long}})
			b.look(&message{topic: "home/rpc", payload: text})
		}
	}
	if got := b.shellies.bytes; got > maxAnswers || got < maxAnswers/2 {
		t.Errorf("got %d bytes, want at most %d", got, maxAnswers)
	}
}

// What waited for a Shelly to be known, or what a broker kept, is older than what it was asked.
func TestOldStatusOfAShelly(t *testing.T) {
	const id = "shellyplus1-aabbccddeeff"
	b, _ := bareBridge(t)
	b.early.begin()
	old := &message{topic: id + "/status/switch:0", payload: []byte(`{"id":0,"output":true}`), ack: func() {}}
	b.look(old)
	if !old.kept {
		t.Fatal("the message does not wait")
	}
	b.look(&message{topic: id + "/online", payload: []byte("true")})
	for range 3 {
		answerAsPlus1(b, id)
	}
	b.replayEarly()
	b.look(&message{topic: id + "/status/switch:0", payload: []byte(`{"id":0,"output":true}`), retained: true})
	e := b.byKey["switch/id/aabbccddeeff-switch:0"]
	if e == nil || e.state != "off" {
		t.Fatalf("got %+v, want it off", e)
	}
	b.look(&message{topic: id + "/status/switch:0", payload: []byte(`{"id":0,"output":true}`)})
	if e.state != "on" {
		t.Errorf("after news: got %s, want on", e.state)
	}
}

// An announcement of somebody else that changes does not have the device asked.
func TestAnnouncementElsewhereThatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, m := bareBridge(t)
		say := func(name string) {
			b.look(&message{topic: "homeassistant/switch/x/config", payload: fmt.Appendf(nil, `{"name":%q,"uniq_id":"x","cmd_t":"x","dev":{"ids":"shellyplus1-aabbccddeeff"}}`, name)})
		}
		say("A")
		b.look(&message{topic: "shellyplus1-aabbccddeeff/online", payload: []byte("true")})
		say("B")
		b.showFreed() // as settle does
		synctest.Wait()
		if got := m.requests(); got != 0 || len(b.byKey) != 1 {
			t.Errorf("got %d requests and %d entities, want none and 1", got, len(b.byKey))
		}
	})
}

// FuzzShelly lets hostile devices answer and tell anything.
func FuzzShelly(f *testing.F) {
	status := `{"switch:0":{"output":true,"apower":1,"aenergy":{"total":2}},"cover:0":{"state":"open","current_pos":3},"light:0":{"output":true,"brightness":4},"rgbw:0":{"rgb":[1,2,3]},"input:0":{"state":true},"sys":{"mac":"x"}}`
	config := `{"switch:0":{"name":"A"},"cct:0":{"ct_range":[1,2]},"input:0":{"type":"button"},"sys":{"device":{"name":"B"},"ui_data":{"consumption_types":["light"]}}}`
	f.Add([]byte(config), []byte(status), []byte(status), []byte(`{"event":"S","event_cnt":1}`))
	f.Add([]byte(config), []byte(status), []byte(`{"events":[{"component":"input:0","event":"single_push"}]}`), []byte(`{"id":"x","mac":"aabbccddeeff","model":"SHSW-25"}`))
	f.Fuzz(func(t *testing.T, config, status, params, first []byte) {
		const id = "shellyplus1-aabbccddeeff"
		b, _ := bareBridge(t)
		b.look(&message{topic: id + "/online", payload: []byte("true")})
		for i, result := range []string{`{"id":"` + id + `"}`, string(config), string(status)} {
			b.look(&message{topic: "home/rpc", payload: fmt.Appendf(nil, `{"id":%d,"src":%q,"result":%s}`, i+1, id, result)})
		}
		for _, method := range []string{"NotifyStatus", "NotifyEvent"} {
			b.look(&message{topic: id + "/events/rpc", payload: fmt.Appendf(nil, `{"src":%q,"method":%q,"params":%s}`, id, method, params)})
		}
		b.look(&message{topic: shelliesAnswer, payload: first})
		for _, topic := range b.routes.topics() {
			b.look(&message{topic: topic, payload: params})
			b.look(&message{topic: topic, payload: first})
		}
		for _, e := range b.byKey {
			for service, do := range e.commands {
				_, _, _ = do(&call{service: service, data: map[string]any{"brightness": json.Number("5"), "position": json.Number("7")}})
			}
		}
	})
}

// With shelly: false nothing is listened to, and nobody asked.
func TestWithoutShellies(t *testing.T) {
	m, h := start(t, `{"shelly":false}`)
	m.say("shellyplus1-aabbccddeeff/online", "true", true)
	m.quiet(h)
	if o, asked := m.next(); asked || m.filters["+/online"] {
		t.Errorf("got %v, want nothing; it listens to %v", o, m.filters)
	}
}

// A Shelly at a real broker is there by itself, does what it is told, and a push of its button
// comes once.
func TestShellyAtABroker(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (*runtimetest.Home, string){
		"mosquitto": func(t *testing.T) (*runtimetest.Home, string) {
			m := startMosquitto(t)
			return runtimetest.StartAdapter(t, newBridge(), fmt.Sprintf(`{"broker":"mqtt://%s","confirm":"5s"}`, m.address), t.TempDir()), m.address
		},
		"own": func(t *testing.T) (*runtimetest.Home, string) {
			address := freePort(t)
			return listening(t, t.TempDir(), address, ""), address
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, address := open(t)
			const id = "shellyplus1-aabbccddeeff"
			notify := func(d *thing, method, params string) {
				d.c.Publish(id+"/events/rpc", 1, false, fmt.Sprintf(`{"src":%q,"dst":"%s/events","method":%q,"params":%s}`, id, id, method, params))
			}
			var d *thing
			d = newThing(t, address, func(o *paho.ClientOptions) {
				o.SetWill(id+"/online", "false", 1, true)
				o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) {
					var f struct {
						ID     int64
						Src    string
						Method string
						Params struct{ On bool }
					}
					if json.Unmarshal(m.Payload(), &f) != nil {
						return
					}
					if f.Method == "Switch.Set" && !f.Params.On {
						d.c.Publish(f.Src+"/rpc", 1, false, fmt.Sprintf(`{"id":%d,"src":%q,"dst":%q,"error":{"code":-106,"message":"it is too hot"}}`, f.ID, id, f.Src))
						return
					}
					d.c.Publish(f.Src+"/rpc", 1, false, plus1Answer(f.ID, id, f.Method))
					if f.Method == "Switch.Set" {
						notify(d, "NotifyStatus", fmt.Sprintf(`{"ts":1,"switch:0":{"id":0,"output":%v,"source":"MQTT"}}`, f.Params.On))
					}
				})
			})
			d.listen(id + "/rpc")
			d.say(id+"/online", "true", 1, true)
			h.Until("the switch is off", shows(h, "switch.pump", "off"))
			if _, err := h.Call(t.Context(), "switch.turn_on", "switch.pump", `{}`); err != nil {
				t.Fatal(err)
			}
			if e, _ := h.Entity("switch.pump"); e.State != "on" || e.ContextID != "command-1" {
				t.Errorf("after the command: got %s, of %q, want it on, as the command's doing", e.State, e.ContextID)
			}
			_, err := h.Call(t.Context(), "switch.turn_off", "switch.pump", `{}`)
			if want := "the device refuses it: it is too hot (-106)"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("a command that it refuses: got %v, want %q", err, want)
			}
			notify(d, "NotifyEvent", `{"ts":1,"events":[{"component":"input:0","id":0,"event":"single_push","ts":1}]}`)
			notify(d, "NotifyStatus", `{"ts":1,"switch:0":{"id":0,"output":false}}`)
			h.Until("the switch is off", shows(h, "switch.pump", "off"))
			e, _ := h.Entity("event.pump_input_0")
			if pushes := slices.DeleteFunc(e.States, func(s string) bool { return s == "unknown" || s == "unavailable" }); len(pushes) != 1 {
				t.Errorf("got the pushes %q, want one", pushes)
			}
		})
	}
}
