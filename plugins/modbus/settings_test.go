package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"carillon/plugins/adapter"
	"carillon/runtime/runtimetest"
)

// one is a configuration of one entity, and what else is said of its device.
func one(entity string, device ...string) string {
	return `{"devices": [{"address": "10.0.0.1:502", ` + strings.Join(append(device, ""), ", ") + `"entities": [` + entity + `]}]}`
}

const (
	first = "/devices/0"
	item  = "/devices/0/entities/0"
)

var wrong = map[string]string{
	`{}`:                                                  "/devices",
	`{"devices": {}}`:                                     "/devices",
	`{"devices": [5]}`:                                    first,
	`{"colour": "red"}`:                                   "/colour",
	`{"interval": "5 bananas"}`:                           "/interval",
	`{"devices": [{"adress": "a:1"}]}`:                    first + "/adress",
	`{"devices": [{"address": "a"}]}`:                     first + "/address",
	`{"devices": [{"address": ":502"}]}`:                  first + "/address",
	`{"devices": [{"address": "a:0"}]}`:                   first + "/address",
	`{"devices": [{"address": "a:99999"}]}`:               first + "/address",
	`{"devices": [{"address": "a:502"}]}`:                 first + "/entities",
	one(`{}`, `"unit_id": 256`):                           first + "/unit_id",
	one(`{}`, `"unit_id": "one"`):                         first + "/unit_id",
	one(`{}`, `"protocol": "rtu_over_tcp", "unit_id": 0`): first + "/unit_id",
	one(`{}`, `"protocol": "ascii"`):                      first + "/protocol",
	one(`{}`, `"timeout": "1ms"`):                         first + "/timeout",
	one(`{}`, `"timeout": 3`):                             first + "/timeout",
	one(`{}`, `"retries": 6`):                             first + "/retries",
	one(`{}`, `"pause": "1m"`):                            first + "/pause",
	one(`{}`, `"connect_delay": "-1s"`):                   first + "/connect_delay",
	one(`{}`, `"interval": "25h"`):                        first + "/interval",
	one(`{}`, `"max_registers": 126`):                     first + "/max_registers",
	one(`{}`, `"max_bits": 0`):                            first + "/max_bits",
	one(`{}`, `"max_gap": -1`):                            first + "/max_gap",
	one(`{}`, `"order": "ACBD"`):                          first + "/order",
	one(`{}`, `"name": "`+strings.Repeat("x", 101)+`"`):   first + "/name",
	one(`{}`): item + "/id",
	one(`{"id": "light.a", "table": "coil", "address": 0}`):                                                       item + "/id",
	one(`{"id": "sensor.A", "table": "coil", "address": 0}`):                                                      item + "/id",
	one(`{"id": "sensor.a", "table": "coils", "address": 0}`):                                                     item + "/table",
	one(`{"id": "sensor.a", "address": 0}`):                                                                       item + "/table",
	one(`{"id": "sensor.a", "table": "coil"}`):                                                                    item + "/address",
	one(`{"id": "sensor.a", "table": "coil", "address": 65536}`):                                                  item + "/address",
	one(`{"id": "sensor.a", "table": "input", "address": 65535, "type": "int32"}`):                                item + "/address",
	one(`{"id": "sensor.a", "table": "input", "address": 65530, "type": "string", "length": 8}`):                  item + "/address",
	one(`{"id": "sensor.a", "table": "input", "address": 1.5}`):                                                   item + "/address",
	one(`{"id": "sensor.a", "table": "input", "address": 0, "type": "int8"}`):                                     item + "/type",
	one(`{"id": "sensor.a", "table": "coil", "address": 0, "type": "int16"}`):                                     item + "/type",
	one(`{"id": "sensor.a", "table": "coil", "address": 0, "type": "string", "length": 1}`):                       item + "/type",
	one(`{"id": "number.a", "table": "holding", "address": 0, "type": "string", "length": 2}`):                    item + "/type",
	one(`{"id": "switch.a", "table": "holding", "address": 0, "type": "float32"}`):                                item + "/type",
	one(`{"id": "sensor.a", "table": "input", "address": 0, "type": "uint64"}`, `"max_registers": 3`):             item + "/type",
	one(`{"id": "sensor.a", "table": "input", "address": 0, "type": "string"}`):                                   item + "/length",
	one(`{"id": "sensor.a", "table": "input", "address": 0, "type": "string", "length": 126}`):                    item + "/length",
	one(`{"id": "sensor.a", "table": "input", "address": 0, "length": 2}`):                                        item + "/length",
	one(`{"id": "sensor.a", "table": "input", "address": 0, "type": "string", "length": 2, "order": "CDAB"}`):     item + "/order",
	one(`{"id": "sensor.a", "table": "input", "address": 0, "order": "AB"}`):                                      item + "/order",
	one(`{"id": "binary_sensor.a", "table": "input", "address": 0, "bit": 16}`):                                   item + "/bit",
	one(`{"id": "binary_sensor.a", "table": "coil", "address": 0, "bit": 1}`):                                     item + "/bit",
	one(`{"id": "binary_sensor.a", "table": "input", "address": 0, "bit": 1, "type": "uint32"}`):                  item + "/bit",
	one(`{"id": "sensor.a", "table": "input", "address": 0, "scale": 0}`):                                         item + "/scale",
	one(`{"id": "sensor.a", "table": "input", "address": 0, "scale": "tenth"}`):                                   item + "/scale",
	one(`{"id": "sensor.a", "table": "input", "address": 0, "precision": 10}`):                                    item + "/precision",
	one(`{"id": "sensor.a", "table": "input", "address": 0, "min": 5, "max": 4}`):                                 item + "/min",
	one(`{"id": "number.a", "table": "holding", "address": 0, "step": 0}`):                                        item + "/step",
	one(`{"id": "number.a", "table": "coil", "address": 0}`):                                                      item + "/id",
	one(`{"id": "sensor.a", "table": "input", "address": 0, "invalid": [70000]}`):                                 item + "/invalid/0",
	one(`{"id": "sensor.a", "table": "input", "address": 0, "invalid": [1, -32769]}`):                             item + "/invalid/1",
	one(`{"id": "sensor.a", "table": "input", "address": 0, "interval": "50ms"}`):                                 item + "/interval",
	one(`{"id": "sensor.a", "table": "input", "address": 0, "unit_id": 300}`):                                     item + "/unit_id",
	one(`{"id": "sensor.a", "table": "input", "address": 0, "map": {"on": "x"}}`):                                 item + "/map/on",
	one(`{"id": "sensor.a", "table": "input", "address": 0, "map": {"a/b~": "x"}}`):                               item + "/map/a~1b~0",
	one(`{"id": "sensor.a", "table": "input", "address": 0, "map": {"1": "x", "0x1": "y"}}`):                      item + "/map/1",
	one(`{"id": "sensor.a", "table": "input", "address": 0, "map": {"1": {}}}`):                                   item + "/map/1",
	one(`{"id": "sensor.a", "table": "input", "address": 0, "map": {}}`):                                          item + "/map",
	one(`{"id": "sensor.a", "table": "input", "address": 0, "type": "float32", "map": {"1": "x"}}`):               item + "/type",
	one(`{"id": "switch.a", "table": "holding", "address": 0, "map": {"1": "x"}}`):                                item + "/map",
	one(`{"id": "sensor.a", "table": "holding", "address": 0, "map": {"1": "x"}, "scale": 2}`):                    item + "/scale",
	one(`{"id": "sensor.a", "table": "holding", "address": 0, "type": "string", "length": 1, "precision": 2}`):    item + "/precision",
	one(`{"id": "sensor.a", "table": "holding", "address": 0, "on_value": 2}`):                                    item + "/on_value",
	one(`{"id": "binary_sensor.a", "table": "coil", "address": 0, "min": 2}`):                                     item + "/min",
	one(`{"id": "button.a", "table": "coil", "address": 0, "offset": 2}`):                                         item + "/offset",
	one(`{"id": "select.a", "table": "holding", "address": 0, "map": {"1": "x"}, "press_value": 2}`):              item + "/press_value",
	one(`{"id": "select.a", "table": "holding", "address": 0}`):                                                   item + "/map",
	one(`{"id": "switch.a", "table": "holding", "address": 0, "on_value": 0}`):                                    item + "/on_value",
	one(`{"id": "switch.a", "table": "coil", "address": 0, "on_value": 2}`):                                       item + "/on_value",
	one(`{"id": "button.a", "table": "holding", "address": 0, "press_value": 1.5}`):                               item + "/press_value",
	one(`{"id": "sensor.a", "table": "holding", "address": 0, "write": {}}`):                                      item + "/write",
	one(`{"id": "switch.a", "table": "discrete", "address": 0}`):                                                  item + "/write/table",
	one(`{"id": "switch.a", "table": "input", "address": 0}`):                                                     item + "/write/table",
	one(`{"id": "number.a", "table": "input", "address": 0, "write": {"table": "coil"}}`):                         item + "/write/table",
	one(`{"id": "switch.a", "table": "coil", "address": 0, "write": {"function": 6}}`):                            item + "/write/function",
	one(`{"id": "number.a", "table": "holding", "address": 0, "type": "int32", "write": {"function": 6}}`):        item + "/write/function",
	one(`{"id": "switch.a", "table": "coil", "address": 0, "write": {"settle": "6s"}}`):                           item + "/write/settle",
	one(`{"id": "switch.a", "table": "coil", "address": 0, "write": {"settel": "1s"}}`):                           item + "/write/settel",
	one(`{"id": "switch.a", "table": "coil", "address": 0, "write": 5}`):                                          item + "/write",
	one(`{"id": "sensor.a", "table": "input", "address": 0}, {"id": "sensor.a", "table": "input", "address": 1}`): "/devices/0/entities/1/id",
	`{"devices": [{"address": "a:1", "protocol": "tcp", "entities": [{"id": "sensor.a", "table": "coil", "address": 0}]},
		{"address": "a:1", "unit_id": 2, "protocol": "rtu_over_tcp", "entities": [{"id": "sensor.b", "table": "coil", "address": 0}]}]}`: "/devices/1/protocol",
	`{"devices": [{"address": "a:1", "entities": [{"id": "sensor.a", "table": "coil", "address": 0}]},
		{"address": "a:1", "entities": [{"id": "sensor.b", "table": "coil", "address": 0}]}]}`: "/devices/1/id",
}

func TestContract(t *testing.T) {
	device := newFake(boilerValues())
	runtimetest.TestAdapter(t, runtimetest.AdapterTest{
		New:      func() adapter.Adapter { return newGateway() },
		Config:   strings.Replace(boiler, "boiler:502", device.listen(t), 1),
		Wrong:    wrong,
		Entities: 10,
	})
}

// What is wrong is told once, in words that help.
func TestMessages(t *testing.T) {
	for config, want := range map[string]string{
		`{"devices": [{"adress": "a:1"}]}`: "/devices/0/adress: is not known; known here are id, name, manufacturer, model, address, protocol, unit_id, interval, timeout, " +
			"retries, pause, connect_delay, max_registers, max_bits, max_gap, order, entities",
		one(`{"id": "sensor.a", "table": "holdin", "address": 70000}`): "/devices/0/entities/0/table: must be one of coil, discrete, holding, input, and is \"holdin\"; " +
			"/devices/0/entities/0/address: must be from 0 to 65535, and is 70000",
		one(`{"id": "sensor.a", "table": "holding"}`):                                         "/devices/0/entities/0/address: is missing: 0 is the first register of a table, number 40001 or 30001 in many manuals",
		one(`{"id": "sensor.a", "table": "holding", "address": 0, "invalid": [70000]}`):       "/devices/0/entities/0/invalid/0: must be an integer of 16 bits, and is \"70000\"",
		one(`{"id": "switch.a", "table": "discrete", "address": 0}`):                          "/devices/0/entities/0/write/table: must be holding, or coil for one bit, and is discrete: name where it is written",
		one(`{"id": "switch.a", "table": "coil", "address": 70000}`):                          "/devices/0/entities/0/address: must be from 0 to 65535, and is 70000",
		one(`{"id": "switch.a", "table": "coils", "address": 0}`):                             "/devices/0/entities/0/table: must be one of coil, discrete, holding, input, and is \"coils\"",
		one(`{"id": "switch.a", "table": "coil", "address": 0, "write": {"address": 70000}}`): "/devices/0/entities/0/write/address: must be from 0 to 65535, and is 70000",
		one(`{"id": "switch.a", "table": "coil", "address": 70000, "write": {"address": 5}}`): "/devices/0/entities/0/address: must be from 0 to 65535, and is 70000",
		one(`{"id": "switch.a", "table": "coil", "address": 0, "write": {"settle": 1}}`):      "/devices/0/entities/0/write/settle: must be a duration with its unit, such as 500ms, not number",
		`{"interval": 1, "devices": []}`:                                                      "/interval: must be a duration with its unit, such as 500ms, not number",
		`{"interval": "1ms", "devices": []}`:                                                  "/interval: must be a duration from 100ms to 24h0m0s, such as 500ms, and is \"1ms\"; /devices: must list 1 to 250 devices, each with address and entities",
	} {
		if _, err := readSettings(adapter.Config{JSON: json.RawMessage(config)}); err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", config, err, want)
		}
	}
}

// An entity is declared with what Home Assistant has for its domain.
func TestDeclaration(t *testing.T) {
	devices, err := readSettings(adapter.Config{JSON: json.RawMessage(one(`
		{"id": "sensor.flow_temperature", "table": "input", "address": 0, "unit": "°C", "device_class": "temperature", "state_class": "measurement", "icon": "mdi:water"},
		{"id": "number.a", "table": "holding", "address": 0, "type": "int16", "scale": 0.5, "offset": 10, "min": 0},
		{"id": "number.b", "table": "holding", "address": 0, "type": "float32", "step": 0.1, "max": 5},
		{"id": "select.c", "table": "holding", "address": 0, "type": "int16", "map": {"-1": "off", "10": 5, "2": true}},
		{"id": "sensor.d", "name": "Mode", "table": "holding", "address": 0, "map": {"0": "off"}}`))})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		`{"device_class":"temperature","friendly_name":"Flow temperature","icon":"mdi:water","state_class":"measurement","unit_of_measurement":"°C"} []`,
		`{"friendly_name":"A","max":16393.5,"min":0,"step":0.5} [set_value]`,
		`{"friendly_name":"B","max":5,"step":0.1} [set_value]`,
		`{"friendly_name":"C","options":["off","true","5"]} [select_option]`,
		`{"friendly_name":"Mode","options":["off"]} []`,
	} {
		e := devices[0].points[i].entity()
		text, err := json.Marshal(e.Attributes)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%s %v", text, e.Services); got != want {
			t.Errorf("%s: got %s, want %s", e.ID, got, want)
		}
	}
	if d := devices[0]; d.ID != "10.0.0.1:502/1" || d.Name != d.ID || d.pause != 0 {
		t.Errorf("defaults of a device: got %+v", d)
	}
}

// The schema and what is read of the configuration must name the same things.
func TestSchema(t *testing.T) {
	type object struct {
		Properties map[string]any
		Defs       map[string]object `json:"$defs"`
	}
	var s object
	if err := json.Unmarshal([]byte(schema), &s); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		object object
		v      any
	}{
		"settings": {s, settings{}}, "device": {s.Defs["device"], deviceSettings{}},
		"entity": {s.Defs["entity"], entitySettings{}}, "write": {s.Defs["write"], writeSettings{}},
	} {
		var got []string
		for property := range test.object.Properties {
			got = append(got, property)
		}
		p := reflect.New(reflect.TypeOf(test.v))
		if want := sorted(fields(p.Interface())); !slices.Equal(sorted(got), want) {
			t.Errorf("%s: the schema has %v, the settings %v", name, got, want)
		}
	}
}

// Whatever the configuration is, it is taken or refused by field; what is taken can be planned and
// declared.
func FuzzSettings(f *testing.F) {
	f.Add(boiler)
	for config := range wrong {
		f.Add(config)
	}
	f.Fuzz(func(t *testing.T, config string) {
		devices, err := readSettings(adapter.Config{JSON: json.RawMessage(config)})
		if fields, ok := err.(adapter.FieldErrors); err != nil && (!ok || len(fields) == 0) {
			t.Fatalf("got %#v, want what is wrong by field", err)
		}
		for _, d := range devices {
			for _, p := range d.points {
				if _, err := json.Marshal(p.entity().Attributes); err != nil {
					t.Errorf("attributes of %s: %v", p.id, err)
				}
			}
			for _, b := range blocks(d.points, d.limits) {
				if most := max(d.limits.registers, d.limits.bits); b.count > most {
					t.Errorf("a block of %d, more than %d", b.count, most)
				}
				for _, p := range b.points {
					p.state(make([]byte, 2*b.count), b.start.address)
				}
			}
		}
	})
}

// fields returns the names that an object may have.
func fields(v any) (names []string) {
	t := reflect.TypeOf(v).Elem()
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("json"))
	}
	return names
}
