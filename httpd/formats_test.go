package httpd

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/url"
	"strings"
	"testing"
	"time"

	"carillon/runtime"
)

func TestFlat(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 123456000, time.UTC)
	const context = `,"origin":"LOCAL","time_fired":"2026-01-01T00:00:00.123456+00:00","context":{"id":"c","parent_id":null,"user_id":null}}`
	const lamp = `{"entity_id":"light.a","state":"on","attributes":{"b":1},"last_changed":"2026-01-01T00:00:00+00:00",` +
		`"last_reported":"2026-01-01T00:00:00+00:00","last_updated":"2026-01-01T00:00:00.5+00:00","context":{"id":"c","parent_id":null,"user_id":null}}`
	event := func(typ, id, domain, data string) *runtime.Event {
		text := `{"event_type":"` + typ + `","data":` + data + context
		return runtime.ParseEvent(7, "api", typ, id, domain, at, []byte(text))
	}
	for _, c := range []struct {
		what  string
		event *runtime.Event
		want  string
	}{
		{"change", event("state_changed", "light.a", "light", `{"entity_id":"light.a","old_state":null,"new_state":`+lamp+`}`),
			`{"type":"state_changed","entity_id":"light.a","domain":"light","state":"on","attributes":{"b":1},"timestamp":"2026-01-01T00:00:00.123Z",` +
				`"data":{"entity_id":"light.a","state":"on","attributes":{"b":1},"last_changed":"2026-01-01T00:00:00.000000+00:00",` +
				`"last_updated":"2026-01-01T00:00:00.500000+00:00"}}`},
		{"removal", event("state_changed", "light.a", "light", `{"entity_id":"light.a","old_state":`+lamp+`,"new_state":null}`),
			`{"type":"state_changed","entity_id":"light.a","domain":"light","state":null,"attributes":{},"timestamp":"2026-01-01T00:00:00.123Z",` +
				`"data":{"entity_id":"light.a","state":null,"attributes":{}}}`},
		{"event", event("bell", "", "", `{"x":[1]}`), `{"type":"bell","timestamp":"2026-01-01T00:00:00.123Z","data":{"x":[1]}}`},
		{"event of an entity", event("bell", "light.a", "light", `{"entity_id":"light.a"}`),
			`{"type":"bell","entity_id":"light.a","domain":"light","timestamp":"2026-01-01T00:00:00.123Z","data":{"entity_id":"light.a"}}`},
	} {
		got := string(appendFlat(nil, c.event))
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.what, got, c.want)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("%s: %s is no JSON", c.what, got)
		}
	}
}

const (
	testContext = `{"id":"c","parent_id":"p","user_id":"a,\"origin\":\"b"}`
	testTail    = `,"origin":"REMOTE","time_fired":"2026-01-01T00:00:00.123456+00:00","context":` + testContext + `}`
)

// testEvent is an event as it is read back from the journal.
func testEvent(source, typ, id, domain, data string) *runtime.Event {
	at := time.Date(2026, 1, 1, 0, 0, 0, 123456000, time.UTC)
	text := runtime.AppendString([]byte(`{"event_type":`), typ)
	return runtime.ParseEvent(7, source, typ, id, domain, at, append(text, `,"data":`+data+testTail...))
}

func TestNative(t *testing.T) {
	const tricky = `{"data":1,"origin":"LOCAL","time_fired":"x","context":{"id":"y"},"s":",\"data\":}"}`
	for _, c := range []struct {
		what  string
		event *runtime.Event
		want  string
		name  string
	}{
		{"change", testEvent("hall.js@7", "state_changed", "light.a", "light", `{"entity_id":"light.a","old_state":null,"new_state":null}`),
			`{"id":"epochone-7","sequence":7,"epoch":"epochone","type":"state_changed","entity_id":"light.a","domain":"light","source":"hall.js@7",` +
				`"origin":"REMOTE","time":"2026-01-01T00:00:00.123456+00:00","context":` + testContext + `,` +
				`"data":{"entity_id":"light.a","old_state":null,"new_state":null}}`, "state_changed"},
		{"event with members that look like the envelope's", testEvent("", `a ",\"data\":`, "", "", tricky),
			`{"id":"epochone-7","sequence":7,"epoch":"epochone","type":"a \",\\\"data\\\":","entity_id":null,"domain":null,"source":null,` +
				`"origin":"REMOTE","time":"2026-01-01T00:00:00.123456+00:00","context":` + testContext + `,"data":` + tricky + `}`, `a ",\"data\":`},
		{"event named as what streams say", testEvent("api", "leave", "", "", `{}`), "", ""},
		{"event named as what streams say", testEvent("api", "stream", "", "", `{}`), "", ""},
	} {
		got := string(appendNative(nil, testEpoch, c.event, nil))
		if c.want != "" && got != c.want {
			t.Errorf("%s: got\n%s, want\n%s", c.what, got, c.want)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("%s: %s is no JSON", c.what, got)
		}
		if name := nativeName(wrapEvent(c.event)); name != c.name {
			t.Errorf("%s: got name %q, want %q", c.what, name, c.name)
		}
	}
}

// checkCloudEvent holds a message against the rules of CloudEvents 1.0 and its
// JSON format: the attributes that must be there, their types and characters.
func checkCloudEvent(t *testing.T, text string) map[string]any {
	t.Helper()
	var e map[string]any
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Errorf("%v in %s", err, text)
		return nil
	}
	for name, value := range e {
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") != "" || len(name) > 20 {
			t.Errorf("attribute %q is not named as attributes are: %s", name, text)
		}
		s, isString := value.(string)
		if name == "data" {
			continue
		}
		if !isString || s == "" {
			t.Errorf("attribute %s is %v, want a string that is not empty: %s", name, value, text)
		}
		for _, r := range s {
			if r < ' ' || r >= 0x7f && r < 0xa0 || r&0xfffe == 0xfffe || r >= 0xfdd0 && r <= 0xfdef || r >= 0xd800 && r < 0xe000 {
				t.Errorf("attribute %s has the code point %U, which strings may not have: %s", name, r, text)
			}
		}
	}
	for _, required := range []string{"id", "source", "specversion", "type"} {
		if e[required] == nil {
			t.Errorf("the attribute %s is missing: %s", required, text)
		}
	}
	if e["specversion"] != "1.0" {
		t.Errorf("got specversion %v, want 1.0", e["specversion"])
	}
	if u, err := url.Parse(fmt.Sprint(e["source"])); err != nil || strings.Trim(u.EscapedPath(), uriCharacters) != "" {
		t.Errorf("source %v is no URI reference (%v)", e["source"], err)
	}
	if at, ok := e["time"]; ok {
		if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(at)); err != nil {
			t.Errorf("time: %v", err)
		}
	}
	if kind, _, err := mime.ParseMediaType(fmt.Sprint(e["datacontenttype"])); err != nil || kind != "application/json" {
		t.Errorf("got datacontenttype %v, %v", kind, err)
	}
	if _, ok := e["data_base64"]; ok || e["data"] == nil {
		t.Errorf("got no JSON as data: %s", text)
	}
	return e
}

const uriCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/%"

func TestCloudEvents(t *testing.T) {
	for _, c := range []struct {
		event *runtime.Event
		want  map[string]string
	}{
		{testEvent("hall.js@7", "state_changed", "light.a", "light", `{"entity_id":"light.a"}`),
			map[string]string{"id": "epochone-7", "source": "carillon/hall.js@7", "type": "carillon.state_changed", "subject": "light.a",
				"time": "2026-01-01T00:00:00.123456+00:00"}},
		{testEvent("", "bell", "", "", `{}`), map[string]string{"source": "carillon/", "type": "carillon.bell"}},
		{testEvent("lights/küche 1%.js@2", "a\"b\\", "", "", `{}`),
			map[string]string{"source": "carillon/lights/k%C3%BCche%201%25.js@2", "type": `carillon.a"b\`}},
		{testEvent("api", "x\ufffe\U0001ffff\ufdd0é", "", "", `{}`), map[string]string{"type": "carillon.x\ufffd\ufffd\ufffdé"}},
	} {
		e := checkCloudEvent(t, string(appendCloudEvent(nil, testEpoch, c.event, nil)))
		for name, want := range c.want {
			if e[name] != want {
				t.Errorf("%s: got %v, want %q", name, e[name], want)
			}
		}
		if _, there := e["subject"]; there != (c.event.EntityID != "") {
			t.Errorf("got subject %v of entity %q", e["subject"], c.event.EntityID)
		}
	}
	f := newCloudEvents(testEpoch)
	state := &runtime.State{EntityID: "light.a", State: "on", Attributes: []byte("{}"), LastUpdated: time.Unix(0, 0)}
	first, again := checkCloudEvent(t, string(f.state(nil, state, 7, nil))), checkCloudEvent(t, string(f.state(nil, state, 8, nil)))
	if first["id"] == again["id"] || first["subject"] != "light.a" {
		t.Errorf("got %v and %v, want another id in another snapshot", first, again)
	}
	ids := map[any]bool{}
	for _, told := range []string{
		string(f.told(nil, "leave", 7, []byte(`{"entity_id":"light.a"}`))), string(f.told(nil, "leave", 7, []byte(`{"entity_id":"light.b"}`))),
		string(f.told(nil, "leave", 8, []byte(`{"entity_id":"light.a"}`))), string(f.told(nil, "gap", 8, []byte(`{}`))),
	} {
		ids[checkCloudEvent(t, told)["id"]] = true
	}
	if len(ids) != 4 {
		t.Errorf("got the ids %v, want four", ids)
	}
}

// Every message of a stream of CloudEvents is one, and a native stream names its
// events, from memory as from the journal.
func TestNewFormatsOnStreams(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	h.set("light.a", "on", "{}")
	cloud, native := h.open("/api/stream?format=cloudevents&snapshot=1"), h.open("/api/stream?format=native&snapshot=1")
	var hello struct{ ID string }
	for _, stream := range []*streamClient{cloud, native} {
		f := stream.message()
		if err := json.Unmarshal([]byte(f.data), &hello); err != nil || f.event != "stream" || hello.ID != stream.id() || f.hasID {
			t.Errorf("got %v, want the stream's id", f)
		}
	}
	h.set("light.a", "off", "{}")
	h.fire("leave", `{"x":1}`)
	h.fire("gap", `{"x":1}`)
	late := h.open("/api/stream?format=native", "Last-Event-ID: "+id(0))
	late.message()
	if f := late.message(); f.event != "state_changed" || f.id != id(1) {
		t.Errorf("from the journal: got %v, want state_changed 1", f)
	}
	for i, want := range []string{"carillon.state_changed", "carillon.state_changed", "carillon.leave", "carillon.gap"} {
		f := cloud.message()
		if e := checkCloudEvent(t, f.data); e["type"] != want || f.event != "" || f.hasID != (i > 0) || i > 0 && e["id"] != f.id {
			t.Errorf("got %v, want %s", f, want)
		}
	}
	for i, want := range []string{"state_changed", "state_changed", "", ""} {
		f := native.message()
		late := late
		if f.event != want || f.hasID != (i > 0) || !json.Valid([]byte(f.data)) {
			t.Errorf("got %v, want it named %q", f, want)
		}
		if i > 0 {
			if other := late.message(); other.data != f.data || other.event != f.event {
				t.Errorf("got %v from the journal and %v from memory", other, f)
			}
		}
	}
}

// Writing an event costs no allocation, in either format, whatever the number
// of streams.
func TestFormatsDoNotAllocate(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	var events []*runtime.Event
	h.set("light.a", "on", `{"brightness":255}`)
	h.fire("bell", `{"x":1}`)
	err := h.server.Replay(t.Context(), 0, func(e *runtime.Event) bool {
		events = append(events, e)
		return true
	})
	if err != nil || len(events) != 2 {
		t.Fatalf("got %d events and %v, want 2", len(events), err)
	}
	buf := make([]byte, 0, 4096)
	for _, format := range newFormats(testEpoch) {
		for _, event := range append(wrapEvents(events), wrapEvent(testEvent("hall.js@7", "bell", "", "", `{"x":1}`))) {
			if n := testing.AllocsPerRun(100, func() { buf = format.Append(buf[:0], event) }); n != 0 {
				t.Errorf("format %s, event %s: got %v allocations, want 0", format.Name, event.Type, n)
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() { wrapEvents(events) }); n > 2 {
		t.Errorf("wrapping a batch: got %v allocations, want 2", n)
	}
}
