package httpd

import (
	"encoding/json"
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
		for _, event := range wrapEvents(events) {
			if n := testing.AllocsPerRun(100, func() { buf = format.Append(buf[:0], event) }); n != 0 {
				t.Errorf("format %s, event %s: got %v allocations, want 0", format.Name, event.Type, n)
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() { wrapEvents(events) }); n > 2 {
		t.Errorf("wrapping a batch: got %v allocations, want 2", n)
	}
}
