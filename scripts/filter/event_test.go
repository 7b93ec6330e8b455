package filter

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dop251/goja"

	"carillon/runtime"
)

// wire returns a state_changed event as the journal gives it. Old and new are
// JSON: a state and its attributes, as in `"on",{"brightness":3}`, or empty.
func wire(seq uint64, entityID, old, next string) *runtime.Event {
	state := func(s string) string {
		if s == "" {
			return "null"
		}
		value, attributes, _ := strings.Cut(s, ",")
		return `{"entity_id":"` + entityID + `","state":` + value + `,"attributes":` + attributes +
			`,"last_changed":"2026-01-01T00:00:00.123456+00:00","last_reported":"2026-01-01T00:00:03+00:00","last_updated":"2026-01-01T00:00:02+00:00","context":{"id":"c","parent_id":null,"user_id":null}}`
	}
	data := `{"entity_id":"` + entityID + `","old_state":` + state(old) + `,"new_state":` + state(next) + `}`
	return fired(seq, runtime.StateChanged, entityID, data)
}

// fired returns an event with these data as the journal gives it.
func fired(seq uint64, typ, entityID, data string) *runtime.Event {
	text := `{"event_type":"` + typ + `","data":` + data + `,"origin":"LOCAL","time_fired":"2026-01-01T00:00:05.678901+00:00","context":{"id":"c","parent_id":null,"user_id":null}}`
	at := time.Date(2026, 1, 1, 0, 0, 5, 678_901_000, time.UTC)
	return runtime.ParseEvent(seq, "hall.js@7", typ, entityID, runtime.Domain(entityID), at, []byte(text))
}

func TestWhatAnEventIs(t *testing.T) {
	for _, test := range []struct {
		name  string
		event *runtime.Event
		want  string // JSON.stringify(e), which leaves out what is undefined
	}{
		{"a change", wire(7, "light.hall", `"off",{}`, `"21.5",{"unit_of_measurement":"°C","n":[1,{"a":null}]}`),
			`{"type":"state_changed","entity_id":"light.hall","domain":"light","source":"hall.js@7","time":1767225605678,"seq":7,"state":"21.5","number":21.5,"unit":"°C",` +
				`"attributes":{"unit_of_measurement":"°C","n":[1,{"a":null}]},"old":{"state":"off","attributes":{},"last_changed":1767225600123,"last_updated":1767225602000},` +
				`"data":DATA,"last_changed":1767225600123,"last_updated":1767225602000}`},
		{"a new entity", wire(1, "sensor.a", ``, `" ",{"unit_of_measurement":3}`),
			`{"type":"state_changed","entity_id":"sensor.a","domain":"sensor","source":"hall.js@7","time":1767225605678,"seq":1,"state":" ","attributes":{"unit_of_measurement":3},` +
				`"data":DATA,"last_changed":1767225600123,"last_updated":1767225602000}`},
		{"a removed entity", wire(1, "sensor.a", `"0x10",{"unit_of_measurement":"W"}`, ``),
			`{"type":"state_changed","entity_id":"sensor.a","domain":"sensor","source":"hall.js@7","time":1767225605678,"seq":1,` +
				`"old":{"state":"0x10","number":16,"unit":"W","attributes":{"unit_of_measurement":"W"},"last_changed":1767225600123,"last_updated":1767225602000},"data":DATA}`},
		{"another event", fired(3, "pressed", "", `{"button":"\u00e4\ud83d\ude00","b":1,"10":2,"b":3,"9":4}`),
			`{"type":"pressed","source":"hall.js@7","time":1767225605678,"seq":3,"data":{"9":4,"10":2,"button":"ä😀","b":3}}`},
	} {
		var e Event
		e.Reset(test.event)
		data, _ := appendJSON(nil, e.field(fieldData))
		text, _ := appendJSON(nil, e.root())
		want := strings.Replace(test.want, "DATA", string(data), 1)
		if string(text) != want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.name, text, want)
		}
		if got := e.hasOld(); got != strings.Contains(test.want, `"old":`) {
			t.Errorf("%s: hasOld: got %v", test.name, got)
		}
	}
}

func TestEventFieldsByName(t *testing.T) {
	for f := range endOfEvent {
		if got, ok := eventFieldOf(eventFieldNames[f]); got != f || !ok {
			t.Errorf("e.%s: got field %d, want %d", eventFieldNames[f], got, f)
		}
	}
	for f := oldState; f < endOfOld; f++ {
		if got, ok := oldFieldOf(eventFieldNames[f]); got != f || !ok {
			t.Errorf("e.old.%s: got field %d, want %d", eventFieldNames[f], got, f)
		}
	}
	if _, ok := eventFieldOf("context"); ok {
		t.Error("e.context: got a field, want none")
	}
	if _, ok := oldFieldOf("domain"); ok {
		t.Error("e.old.domain: got a field, want none")
	}
}

// TestParseIsJSONParse compares trees with what JSON.parse makes of the text.
func TestParseIsJSONParse(t *testing.T) {
	vm := goja.New()
	many := `{"dup":1,"7":"seven","__proto__":5,"length":0,`
	for i := range 40 {
		many += fmt.Sprintf(`"k%d":%d,`, i%30, i)
	}
	many += `"dup":[2],"0":"zero","07":1,"4294967295":1,"4294967294":2}`
	for _, text := range []string{
		many, `{}`, `[]`, ` [ ] `, `[1,-0,0.5,-1e3,1E+2,12345678901234567890,1e-999]`, `"\"\\\/\b\f\n\r\t\u0041\ud83d\ude00 x"`,
		`{"a":{"b":[{"c":[[],{}]}]}}`, `true`, `null`, `{"":1,"":2}`, `{"b":1,"a":2,"1":3,"0":4,"b":5,"1":6}`,
	} {
		v, ok := new(tree).parse([]byte(text))
		if !ok {
			t.Errorf("%s: not parsed", text)
			continue
		}
		got, _ := appendJSON(nil, v)
		want := vm.Get("JSON").ToObject(vm)
		stringify, _ := goja.AssertFunction(want.Get("stringify"))
		parse, _ := goja.AssertFunction(want.Get("parse"))
		parsed, err := parse(nil, vm.ToValue(text))
		if err != nil {
			t.Fatal(err)
		}
		again, err := stringify(nil, parsed)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != again.String() {
			t.Errorf("%s:\ngot  %s\nwant %s", text, got, again)
		}
		if v.kind != object {
			continue
		}
		for _, f := range v.node().fields {
			if !v.has(f.key) || show(v.get(f.key)) != show(f.value) {
				t.Errorf("%s: field %q: got %s, want %s", text, f.key, show(v.get(f.key)), show(f.value))
			}
		}
		if v.has("none") || v.has("k30") {
			t.Errorf("%s: has a field that it has not", text)
		}
	}
}

// TestParseWhereGojaDiffers has what JSON.parse takes, and goja refuses or
// changes.
func TestParseWhereGojaDiffers(t *testing.T) {
	half, ok := new(tree).parse([]byte(`"\ud83d x"`))
	if n, _ := half.length(); !ok || n != 3 || show(half.at(0)) != `"\xed\xa0\xbd"` {
		t.Errorf("a lone surrogate: got %s of length %d, want it kept", show(half), n)
	}
	v, ok := new(tree).parse([]byte(`[1e999,-1e999]`))
	if s, _ := v.toString(); !ok || s != "Infinity,-Infinity" {
		t.Errorf("got %s (ok %v), want Infinity,-Infinity", s, ok)
	}
}

func TestParseRefuses(t *testing.T) {
	deep := func(n int) string { return strings.Repeat(`[`, n) + strings.Repeat(`]`, n) }
	if _, ok := new(tree).parse([]byte(deep(maxNesting))); !ok {
		t.Errorf("%d levels: got a refusal, want a list", maxNesting)
	}
	for _, text := range []string{
		``, ` `, `{`, `[`, `[1`, `[1,`, `[1,]`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,}`, `{a:1}`, `"`, `"\`, `"\u12`, `"\u12x4"`, `"\x"`, `tru`, `nul`, `-`, `1 2`, `]`, `+`,
		deep(maxNesting + 1), strings.Repeat(`[`, 1<<20), strings.Repeat(`{"a":`, 1<<20),
	} {
		if v, ok := new(tree).parse([]byte(text)); ok {
			t.Errorf("%.20s: got %s, want a refusal", text, show(v))
		}
	}
}

// TestEventMemoryIsUsedAgain reads everything of events in turns: nothing is
// allocated, and what was read of one does not leak into the next.
func TestEventMemoryIsUsedAgain(t *testing.T) {
	events := []*runtime.Event{
		wire(1, "light.a", `"off",{"a":1,"b":[1,2,3]}`, `"on",{"text":"\u00e4\n","b":{"c":{"d":"e"}},"k1":1,"k2":2,"k3":3,"k4":4,"k5":5,"k6":6,"k7":7,"k8":8,"k9":9}`),
		fired(2, "pressed", "", `{"button":"\u0041bc","list":[[],[{}],"x"]}`),
		wire(3, "light.b", ``, `"3",{"unit_of_measurement":"W"}`),
	}
	var e Event
	var text []byte
	var want []string
	for _, ev := range events {
		var fresh Event
		fresh.Reset(ev)
		text, _ = appendJSON(nil, fresh.root())
		want = append(want, string(text))
	}
	text = make([]byte, 0, 1<<14)
	read := func() {
		for i, ev := range events {
			e.Reset(ev)
			text, _ = appendJSON(text[:0], e.root())
			if string(text) != want[i] {
				t.Fatalf("event %d: got %s, want %s", i, text, want[i])
			}
		}
	}
	read()
	if got := testing.AllocsPerRun(100, read); got != 0 {
		t.Errorf("reading events: got %v allocations, want 0", got)
	}
}

func TestAnEnormousEventIsNotKept(t *testing.T) {
	var e Event
	e.Reset(fired(1, "big", "", `{"a":[`+strings.Repeat(`{"k":"\u0041"},`, 200_000)+`1]}`))
	if got := len(e.field(fieldData).get("a").node().items); got != 200_001 {
		t.Errorf("items: got %d, want 200001", got)
	}
	e.Reset(fired(2, "small", "", `{}`))
	if got := cap(e.tree.nodes) + cap(e.tree.fields) + cap(e.tree.items) + cap(e.tree.text) + cap(e.tree.openItems); got > 5*keep {
		t.Errorf("kept for the next event: got %d elements, want at most %d", got, 5*keep)
	}
}

func BenchmarkPath(b *testing.B) {
	var e Event
	e.Reset(wire(1, "light.a", `"off",{}`, `"on",{"brightness":200,"color_temp":370,"friendly_name":"Kitchen","icon":"mdi:x","supported_features":44}`))
	b.ReportAllocs()
	for b.Loop() {
		if e.field(fieldAttributes).get("brightness").num() != 200 {
			b.Fatal("not found")
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	ev := wire(1, "light.a", `"off",{}`, `"on",{"brightness":200,"color_temp":370,"friendly_name":"Kitchen","icon":"mdi:x","supported_features":44}`)
	var e Event
	b.ReportAllocs()
	for b.Loop() {
		e.Reset(ev)
		if e.field(fieldAttributes).get("brightness").num() != 200 {
			b.Fatal("not found")
		}
	}
}
