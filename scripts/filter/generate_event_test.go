package filter

import (
	"strconv"
	"strings"
	"time"

	"carillon/runtime"
)

// event returns a weird event.
func (g *generator) event() *runtime.Event {
	at := time.UnixMilli(1700000000000 + int64(g.pick(65536))*997).Add(time.Duration(g.pick(256)) * 3907).UTC()
	source := g.one("api", "core", "hall.js@7")
	seq := uint64(g.pick(65536)) + 1
	if g.pick(6) == 0 {
		return eventOf(g.one("motion", "x", "call"), "", "", source, seq, at, g.object(3))
	}
	id := g.one("light.hall", "sensor.t", "switch.a_b", "light.x")
	data := `{"entity_id":"` + id + `","old_state":` + g.state(id, at.Add(-time.Minute)) + `,"new_state":` + g.state(id, at) + `}`
	return eventOf(runtime.StateChanged, id, runtime.Domain(id), source, seq, at, data)
}

// eventOf makes an event as the journal gives it.
func eventOf(typ, id, domain, source string, seq uint64, at time.Time, data string) *runtime.Event {
	text := `{"event_type":"` + typ + `","data":` + data + `,"origin":"LOCAL","time_fired":"` + at.Format(time.RFC3339Nano) +
		`","context":{"id":"01","parent_id":null,"user_id":null}}`
	return runtime.ParseEvent(seq, source, typ, id, domain, at, []byte(text))
}

// state returns a state as JSON, or null.
func (g *generator) state(id string, at time.Time) string {
	if g.pick(7) == 0 {
		return "null"
	}
	stamp := at.Format(time.RFC3339Nano)
	return `{"entity_id":"` + id + `","state":` + g.jsonText() + `,"attributes":` + g.attributes() + `,"last_changed":"` + stamp +
		`","last_reported":"` + stamp + `","last_updated":"` + stamp + `","context":{"id":"01","parent_id":null,"user_id":null}}`
}

// attributes returns an object that has, most often, what programs ask for.
func (g *generator) attributes() string {
	var parts []string
	for _, key := range []string{"brightness", "list", "tags", "nested", "name", "x"} {
		switch g.pick(4) {
		case 0:
		case 1:
			parts = append(parts, `"`+key+`":`+g.json(2))
		default:
			usual := map[string]string{"brightness": g.jsonNumber(), "list": g.array(2), "tags": g.array(1), "nested": g.object(2), "name": g.jsonText(), "x": g.jsonNumber()}
			parts = append(parts, `"`+key+`":`+usual[key])
		}
	}
	for range g.pick(4) {
		parts = append(parts, string(appendQuoted(nil, keys[g.pick(len(keys))]))+":"+g.json(2))
	}
	for i := range g.pick(24) - 12 { // now and then enough to be indexed
		parts = append(parts, `"k`+strconv.Itoa(i)+`":`+strconv.Itoa(i))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func (g *generator) jsonNumber() string {
	return g.one("0", "1", "255", "100", "12.5", "-3", "1e21", "1e-7", "0.1", "9007199254740993", "1e300", "5e-324", "2147483648", "1.0", "10", "1E2")
}

func (g *generator) jsonText() string {
	if g.pick(10) == 0 { // no lone surrogates: goja's JSON.parse loses them
		return g.one(`"\u00e4"`, `"\ud83d\ude00"`, `"\/"`)
	}
	return string(appendQuoted(nil, wordPool[g.pick(len(wordPool))]))
}

func (g *generator) json(depth int) string {
	switch g.pick(8) {
	case 0, 1:
		return g.jsonNumber()
	case 2, 3:
		return g.jsonText()
	case 4:
		return g.one("true", "false")
	case 5:
		return "null"
	case 6:
		return g.array(depth)
	}
	return g.object(depth)
}

func (g *generator) array(depth int) string {
	var parts []string
	if depth > 0 {
		for range g.pick(5) {
			parts = append(parts, g.json(depth-1))
		}
	}
	return "[" + strings.Join(parts, ",") + "]"
}

func (g *generator) object(depth int) string {
	var parts []string
	if depth > 0 {
		for range g.pick(4) {
			parts = append(parts, string(appendQuoted(nil, keys[g.pick(len(keys))]))+":"+g.json(depth-1))
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}
