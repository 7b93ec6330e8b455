package httpd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"carillon/runtime"
)

// deepObject is nested deeper than the runtime takes.
var deepObject = `{"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`

// routeCases run in their order, with the administrator's token.
var routeCases = []struct {
	method, path, body string
	status             int
	part               string
}{
	{"GET", "/api/", "", 200, `{"message":"API running."}`},
	{"GET", "/api", "", 404, "did you mean /api/?"},
	{"HEAD", "/api/", "", 200, ""},
	{"POST", "/api/", "", 405, "GET, HEAD, OPTIONS"},
	{"GET", "/api/config", "", 200, `"version":"1.2.3"`},
	{"GET", "/api/components", "", 200, `["api","http","light"]`},
	{"GET", "/api/states", "", 200, `[{"entity_id":"light.hall","state":"on"`},
	{"GET", "/api/states/", "", 404, "did you mean /api/states?"},
	{"GET", "/api/states/light.hall", "", 200, `"attributes":{"brightness":255}`},
	{"GET", "/api/states/light.none", "", 404, `{"message":"Entity not found."}`},
	{"DELETE", "/api/states/light.none", "", 404, "Entity not found."},
	{"PUT", "/api/states/light.hall", "{}", 405, "POST, DELETE"},
	{"POST", "/api/states/Light.Hall", `{"state":"on"}`, 400, "Invalid entity ID"},
	{"POST", "/api/states/light.a%0d%0ab", `{"state":"on"}`, 400, "Invalid entity ID"},
	{"POST", "/api/states/light.a%00", `{"state":"on"}`, 400, "Invalid entity ID"},
	{"POST", "/api/states/light.new", "", 400, "the body is empty"},
	{"POST", "/api/states/light.new", "[]", 400, "must be a JSON object"},
	{"POST", "/api/states/light.new", "{\n  \"state\": on}", 400, "line 2, byte 12"},
	{"POST", "/api/states/light.new", `{"state":"on"} x`, 400, "line 1, byte 16"},
	{"POST", "/api/states/light.new", `{}`, 400, "No state specified."},
	{"POST", "/api/states/light.new", `{"state":{}}`, 400, "a string, a number or a boolean"},
	{"POST", "/api/states/light.new", `{"state":"on","force_update":1}`, 400, "force_update must be true or false"},
	{"POST", "/api/states/light.new", `{"state":"on","attributes":[]}`, 400, "Attributes must be a JSON object"},
	{"POST", "/api/states/light.new", `{"state":"on","attributes":` + deepObject + `}`, 400, "nested deeper"},
	{"POST", "/api/states/light.new", `{"state":"` + strings.Repeat("x", 256) + `"}`, 400, "256 characters"},
	{"GET", "/api/plugins", "", 200, `[{"name":"mqtt"`},
	{"POST", "/api/plugins", "", 405, "GET, HEAD, OPTIONS"},
	{"POST", "/api/plugins/mqtt/restart", "", 202, `{"message":"Adapter mqtt: restart is under way."}`},
	{"POST", "/api/plugins/zigbee/restart", "", 404, "Adapter zigbee: there is no such adapter."},
	{"POST", "/api/plugins/off/restart", "", 409, "Adapter off is switched off."},
	{"POST", "/api/plugins/mqtt/explode", "", 404, "what can be asked of an adapter is disable, discover, restart."},
	{"POST", "/api/plugins/mqtt", "", 405, "/api/plugins/mqtt takes GET, HEAD, OPTIONS."},
	{"PUT", "/api/plugins/mqtt", "", 405, "/api/plugins/mqtt takes GET, HEAD, OPTIONS."},
	{"PUT", "/api/plugins/mqtt/restart", "", 405, "/api/plugins/mqtt/restart takes POST, OPTIONS."},
	{"PUT", "/api/plugins/mqtt/explode", "", 404, "what can be asked of an adapter is disable, discover, restart."},
	{"POST", "/api/plugins/mqtt/discover", "", 200, `{"limit":10}`},
	{"POST", "/api/plugins/mqtt/discover", `{"timeout": 2.5}`, 200, `{"limit":2.5}`},
	{"POST", "/api/plugins/mqtt/discover", `{}`, 200, `{"limit":10}`},
	{"POST", "/api/plugins/mqtt/discover", `{"timeout": 61}`, 400, "Parameter timeout must be 1 to 60 seconds."},
	{"POST", "/api/plugins/mqtt/discover", `{"timeout": 0}`, 400, "Parameter timeout must be 1 to 60 seconds."},
	{"POST", "/api/plugins/mqtt/discover", `{"time": 1}`, 400, "The body must be a JSON object"},
	{"POST", "/api/plugins/mqtt/discover", `{} {}`, 400, "The body must be a JSON object"},
	{"POST", "/api/plugins/zigbee/discover", "", 404, `{"message":"Adapter zigbee: there is no such adapter."}`},
	{"POST", "/api/plugins/busy/discover", "", 409, "busy"},
	{"POST", "/api/plugins/relay/discover", "", 501, "relay"},
	{"POST", "/api/plugins/broken/discover", "", 502, "broken"},
	{"GET", "/api/plugins/mqtt/restart", "", 405, "POST, OPTIONS"},
	{"GET", "/api/plugins/mqtt", "", 200, `{"name":"mqtt"}`},
	{"GET", "/api/plugins/zigbee", "", 404, "Adapter zigbee: there is no such adapter."},
	{"GET", "/api/plugins/mqtt/entities", "", 404, "what can be asked of an adapter is disable, discover, restart."},
	{"GET", "/api/events", "", 200, `[]`},
	{"POST", "/api/events/tick", "", 200, `{"message":"Event tick fired."}`},
	{"POST", "/api/events/tick", "null", 200, `fired.`},
	{"POST", "/api/events/tick", `{"n":1}`, 200, `fired.`},
	{"POST", "/api/events/tick", `[1]`, 400, "should be a JSON object, not array"},
	{"POST", "/api/events/tick", `{"n":`, 400, "should be valid JSON: line 1, byte 5"},
	{"POST", "/api/events/a%0ab", "", 400, "event_type"},
	{"POST", "/api/events/" + strings.Repeat("x", 65), "", 400, "1 to 64 bytes"},
	{"POST", "/api/events/state_changed", "", 400, "can't be fired"},
	{"GET", "/api/events/tick", "", 405, "POST, OPTIONS"},
	{"POST", "/api/events", "", 400, "No events"},
	{"POST", "/api/events", `{"event_type":"a"}` + "\n\n" + `{"event_type":"b","data":{"x":1}}` + "\r\n", 200, `"fired":2`},
	{"POST", "/api/events", `{"event_type":"a"}` + "\n" + `{"event_type":}`, 400, "Line 2: byte 15"},
	{"POST", "/api/events", `{"event_type":"a"}` + "\n\n" + `{"event_type":""}`, 400, "Line 3: event_type"},
	{"POST", "/api/events", `{"event_type":"a"}` + "\n" + `{"event_type":"b","data":[1]}`, 400, "Line 2: Data must be a JSON object"},
	{"POST", "/api/events", strings.Repeat(`{"event_type":"a"}`+"\n", 4), 413, "Line 4: more than 3 events"},
	{"GET", "/api/services", "", 200, "[]"},
	{"POST", "/api/services/light/turn_on", "{}", 400, "Unknown service: light.turn_on."},
	{"POST", "/api/services/light", "{}", 404, "nothing at"},
	{"POST", "/api/services/light/turn_on/x", "{}", 404, "nothing at"},
	{"GET", "/api/services/light", "", 404, "nothing at"},
	{"GET", "/api/services/light/turn_on", "", 405, "POST, OPTIONS"},
	{"GET", "/api/scripts", "", 200, `[{"file":"hall.js"}]`},
	{"GET", "/api/error_log", "", 200, "one line\n"},
	{"POST", "/api/config/core/check_config", "", 200, `{"errors":null,"result":"valid"}`},
	{"GET", "/get_sse_stats", "", 200, `"totalClients":0`},
	{"GET", "/metrics", "", 200, "carillon_entities 1"},
	{"GET", "/metrics", "", 200, "process_resident_memory_bytes"},
	{"GET", "/healthz", "", 200, `{"status":"ok"}`},
	{"GET", "/readyz", "", 200, `{"status":"ready"}`},
	{"GET", "/", "", 200, "<title>Carillon</title>"},
	{"GET", "/", "", 200, `<a href="/api/plugins">`},
	{"GET", "/nothing/here", "", 404, `There is nothing at /nothing/here.`},
}

func TestRoutes(t *testing.T) {
	h := startHome(t, Settings{MaxBulk: 3}, func(s *Server) {
		s.Version = "1.2.3"
		s.ErrorLog = func() []byte { return []byte("one line\n") }
		s.Scripts = func() any { return []map[string]string{{"file": "hall.js"}} }
		s.Plugins, s.PluginActions = testPlugins(new([]string))
		s.Plugin = testPlugin
		s.DiscoverPlugin = testDiscover
	})
	h.set("light.hall", "on", `{"brightness":255}`)
	for _, c := range routeCases {
		what := fmt.Sprintf("%s %.60s %.60s", c.method, c.path, c.body)
		got := h.ask(c.method, c.path, c.body)
		got.want(t, what, c.status, c.part)
		if allow := got.header.Get("Allow"); got.status == 405 && (allow == "" || c.method != "HEAD" && !strings.Contains(got.body, " takes "+allow+".")) {
			t.Errorf("%s: got the header Allow: %s, and %s", what, allow, got.body)
		}
		if got.status >= 400 && c.method != "HEAD" {
			var body struct{ Message string }
			if err := json.Unmarshal([]byte(got.body), &body); err != nil || body.Message == "" {
				t.Errorf("%s: got body %q, want a JSON message", what, got.body)
			}
		}
	}
	if n := h.runtime.Head(); n != 6 { // the state, three ticks, two of the bulk
		t.Errorf("got %d events in the journal, want 6: a refused bulk fires nothing", n)
	}
}

func TestStates(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	first := h.ask("POST", "/api/states/sensor.x", `{"state": 0, "attributes": {"unit":"K"}}`)
	first.want(t, "new state", 201, `"state":"0"`)
	if got := first.header.Get("Location"); got != "/api/states/sensor.x" {
		t.Errorf("got Location %q, want /api/states/sensor.x", got)
	}
	for _, c := range []struct{ body, part string }{
		{`{"state": 21.50}`, `"state":"21.50","attributes":{}`},
		{`{"state": true}`, `"state":"True"`},
		{`{"state": false}`, `"state":"False"`},
		{`{"state": ""}`, `"state":""`},
		{`{"state": "ünï\ud83d\ude00"}`, `"state":"ünï😀"`},
	} {
		h.ask("POST", "/api/states/sensor.x", c.body, "Content-Type: application/x-www-form-urlencoded").want(t, c.body, 200, c.part)
	}
	before := h.runtime.Head()
	h.ask("POST", "/api/states/sensor.x", `{"state": "ünï😀"}`).want(t, "the same again", 200, "sensor.x")
	if got := h.runtime.Head(); got != before {
		t.Errorf("the same state again: got %d events more, want none", got-before)
	}
	h.ask("POST", "/api/states/sensor.x", `{"state": "ünï😀", "force_update": true}`).want(t, "forced", 200, "sensor.x")
	if got := h.runtime.Head(); got != before+1 {
		t.Errorf("force_update: got %d events more, want 1", got-before)
	}
	h.ask("DELETE", "/api/states/sensor.x", "").want(t, "removing", 200, `{"message":"Entity removed."}`)
	h.ask("GET", "/api/states/sensor.x", "").want(t, "after removing", 404, "Entity not found.")
}

func TestServices(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	switchTo := func(ctx context.Context, c *runtime.Command) (json.RawMessage, error) {
		_, err := h.runtime.Set(ctx, runtime.Change{EntityID: c.EntityID, State: "on", Context: c.Context, Source: "hall.js@1"})
		return json.RawMessage(`{"took":1}`), err
	}
	fail := func(context.Context, *runtime.Command) (json.RawMessage, error) {
		return nil, errors.New("bulb is broken")
	}
	dim := func(_ context.Context, c *runtime.Command) (json.RawMessage, error) {
		if c.EntityID == "light.c" {
			return nil, errors.New("bulb is broken")
		}
		return nil, &runtime.DataError{Err: errors.New("brightness must be at most 255")}
	}
	late := func(context.Context, *runtime.Command) (json.RawMessage, error) { return nil, context.DeadlineExceeded }
	err := h.runtime.Register("hall.js", runtime.Registration{
		Source: "hall.js@1", Entities: []string{"light.a", "light.b", "light.c"},
		Services: []runtime.Service{
			{Domain: "light", Name: "turn_on", EntityID: "light.a", Description: "Switch on", Handler: switchTo},
			{Domain: "light", Name: "turn_on", EntityID: "light.b", Handler: switchTo},
			{Domain: "light", Name: "fail", EntityID: "light.a", Handler: fail},
			{Domain: "light", Name: "dim", EntityID: "light.a", Handler: dim},
			{Domain: "light", Name: "dim", EntityID: "light.b", Handler: dim},
			{Domain: "light", Name: "dim", EntityID: "light.c", Handler: dim},
			{Domain: "light", Name: "late", EntityID: "light.a", Handler: late},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	h.ask("GET", "/api/services", "").want(t, "services", 200,
		`"turn_on":{"name":"turn_on","description":"Switch on","fields":{},"target":{"entity":[{"domain":["light"]}],"entity_id":["light.a","light.b"]}}`)
	one := h.ask("POST", "/api/services/light/turn_on", `{"entity_id":"light.a"}`)
	one.want(t, "one entity", 200, `[{"entity_id":"light.a","state":"on"`)
	if strings.Contains(one.body, "light.b") {
		t.Errorf("one entity: got %s, want only light.a", one.body)
	}
	h.ask("POST", "/api/services/light/turn_on", `{"entity_id":["light.b"]}`).want(t, "a list", 200, `"entity_id":"light.b","state":"on"`)
	h.ask("POST", "/api/services/light/turn_on", `{"entity_id":"all"}`).want(t, "all, nothing new", 200, `[]`)
	h.ask("POST", "/api/services/light/turn_on?return_response", `{"entity_id":"light.a"}`).
		want(t, "with response", 200, `{"changed_states":[],"service_response":{"took":1}}`)
	h.ask("POST", "/api/services/light/turn_on", ``).want(t, "no entity", 400, "entity_id is missing")
	h.ask("POST", "/api/services/light/turn_on", `{"entity_id":5}`).want(t, "wrong type", 400, "string or a list")
	h.ask("POST", "/api/services/light/turn_on", `{"entity_id":"light.c"}`).want(t, "unknown entity", 400, "does not take")
	h.ask("POST", "/api/services/light/fail", `{"entity_id":"light.a"}`).want(t, "failing", 500, "bulb is broken")
	h.ask("POST", "/api/services/light/dim", `{"entity_id":"light.a,light.b"}`).want(t, "wrong data", 400, "brightness must be at most 255")
	h.ask("POST", "/api/services/light/dim", `{"entity_id":"light.b,light.c"}`).want(t, "wrong data and a failure", 500, "bulb is broken")
	h.ask("POST", "/api/services/light/late", `{"entity_id":"light.a"}`).want(t, "late", 504, "light.a")
	anyDomain(t, h)
}

// anyDomain calls what Home Assistant's clients call for entities of any domain.
func anyDomain(t *testing.T, h *home) {
	t.Helper()
	h.ask("GET", "/api/services", "").want(t, "services", 200, `{"domain":"homeassistant","services":{"turn_on":{"name":"turn_on",`)
	h.set("light.b", "off", `{}`)
	h.ask("POST", "/api/services/homeassistant/turn_on", `{"entity_id":["light.b","light.none","sensor.x"]}`).
		want(t, "any domain", 200, `[{"entity_id":"light.b","state":"on"`)
	h.ask("POST", "/api/services/homeassistant/turn_off", `{"entity_id":"light.b"}`).want(t, "what no entity takes", 200, `[]`)
	h.ask("POST", "/api/services/homeassistant/turn_on", `{}`).want(t, "no entity", 400, "entity_id is missing")
}

func TestNotReadyAndInvalidConfig(t *testing.T) {
	h := startHome(t, Settings{}, func(s *Server) {
		s.Ready = func() error { return errors.New("scripts are loading") }
		s.CheckConfig = func() error { return errors.New("carillon.yaml:3: unknown key") }
	})
	h.askBare("GET", "/readyz", "").want(t, "not ready", 503, "Scripts are loading.")
	h.ask("POST", "/api/config/core/check_config", "").want(t, "invalid configuration", 200,
		`{"errors":"carillon.yaml:3: unknown key","result":"invalid"}`)
}

func TestPanicIsAnswered(t *testing.T) {
	h := startHome(t, Settings{}, func(s *Server) { s.Scripts = func() any { panic("scripts are gone") } })
	h.ask("GET", "/api/scripts", "").want(t, "panic", 500, "Internal error")
	h.ask("GET", "/metrics", "").want(t, "metrics", 200, "carillon_http_panics_total 1")
	if !strings.Contains(h.log.String(), "scripts are gone") {
		t.Error("the panic is not in the log")
	}
}

func TestRemoteOriginAndUser(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	stream := h.open("/api/stream?type=greeting")
	stream.moved()
	h.ask("POST", "/api/events/greeting", `{"x":1}`).want(t, "fire", 200, "fired")
	if got := stream.message(); !strings.Contains(got.data, `"data":{"x":1},"origin":"REMOTE"`) {
		t.Errorf("got %s, want data {\"x\":1} of origin REMOTE", got.data)
	}
}

// Nothing that a client may take for the place of a credential is logged.
func TestLogHoldsNoCredential(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	const secret = "s3cret-in-a-wrong-place"
	h.askBare("GET", "/api/?token="+secret, "", "X-HA-Access: "+secret, "Cookie: "+cookieName+"="+secret)
	h.askBare("GET", "/api/stream%3Ftoken="+secret, "")
	h.askBare("GET", "/local/x?token="+secret, "")
	h.raw("GET /?token=" + secret + " HTTP/1.1\r\nHost: x\r\nToken " + secret + "\r\n\r\n")
	h.raw(secret + "\r\n\r\n")
	h.raw("GET / HTTP/1.1\r\nContent-Length: " + secret + "\r\n\r\n")
	h.ask("GET", "/api/", "").want(t, "afterwards", 200, "running")
	if log := h.log.String(); strings.Contains(log, secret) || !strings.Contains(log, "path=/api/") {
		t.Errorf("got log %s, want the paths and no credential", log)
	}
}

func BenchmarkParseBulk(b *testing.B) {
	line := `{"event_type":"load","data":{"n":1234567,"at":1700000000000,"pad":"` + strings.Repeat("x", 120) + `"}}` + "\n"
	body := []byte(strings.Repeat(line, 1000))
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := parseBulk(body, 10_000); err != nil {
			b.Fatal(err)
		}
	}
}
