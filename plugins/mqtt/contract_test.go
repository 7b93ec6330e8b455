package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"carillon/plugins/adapter"
	"carillon/runtime/runtimetest"
)

// A bulb and a plug as Zigbee2MQTT announces them, for the test of the contract.
const (
	bulbTopic = "homeassistant/light/0x01/light/config"
	bulb      = `{"schema":"json","name":null,"uniq_id":"0x01_light","cmd_t":"z/bulb/set","stat_t":"z/bulb","brightness":true,"dev":{"ids":["0x01"],"name":"Bulb"}}`
	plugTopic = "homeassistant/switch/0x02/switch/config"
	plug      = `{"name":null,"uniq_id":"0x02_switch","cmd_t":"z/plug/set","dev":{"ids":["0x02"],"name":"Plug"}}`
)

// announced is a bridge to a broker on which two devices have announced themselves.
func announced() adapter.Adapter {
	b := newBridge()
	m := &memory{b: b, filters: map[string]bool{}, retained: map[string]string{
		bulbTopic: bulb, plugTopic: plug, "z/bulb": `{"state":"ON","brightness":7}`,
	}}
	b.open = func(context.Context) (link, error) {
		m.subscribe(b.settings.discoveryFilters())
		return m, nil
	}
	return b
}

func TestContract(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	runtimetest.TestAdapter(t, runtimetest.AdapterTest{
		New:    announced,
		Config: `{"confirm":"10ms"}`,
		Wrong: map[string]string{
			`{"broker":"http://127.0.0.1"}`:                         "/broker",
			`{"broker":"mqtt://"}`:                                  "/broker",
			`{"broker":"mqtt://me:secret@127.0.0.1"}`:               "/broker",
			`{"password_file":"/no/such/file"}`:                     "/password_file",
			`{"password":"a","password_file":"` + file + `"}`:       "/password_file",
			`{"tls":{"cert":"/no/such/file"}}`:                      "/tls",
			`{"broker":"mqtts://b","tls":{"ca":"` + file + `"}}`:    "/tls/ca",
			`{"listen":"127.0.0.1:1883","users":{"a":""}}`:          "/users/a",
			`{"discovery":"home/+"}`:                                "/discovery",
			`{"status_topic":"#"}`:                                  "/status_topic",
			`{"confirm":"soon"}`:                                    "/confirm",
			`{"confirm":"1h"}`:                                      "/confirm",
			`{"listen":"1883"}`:                                     "/listen",
			`{"listen":":1883"}`:                                    "/listen",
			`{"listen":"127.0.0.1:1883","broker":"mqtt://1.2.3.4"}`: "/listen",
			`{"users":{"a":"b"}}`:                                   "/listen",
			`{"publish":{"prefix":"homeassistant/x"}}`:              "/publish/prefix",
			`{"publish":{"prefix":"a/#"}}`:                          "/publish/prefix",
			`{"publish":{"states":"yes"}}`:                          "/publish/states",
			`{"shelly":"yes"}`:                                      "/shelly",
			`{"port":1883}`:                                         "/port",
			`{"broker":"mqtt://127.0.0.1:99999"}`:                   "/broker",
			`{"listen":"127.0.0.1:mqtt"}`:                           "/listen",
			`{"password_file":"password"}`:                          "/password_file",
		},
		Entities: 2,
	})
}

// A password is the first line of its file.
func TestPasswordFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\r\n# of the broker\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]string{"username": "me", "password_file": file})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := readSettings(adapter.Config{JSON: text}); err != nil || s.password != "secret" {
		t.Errorf("got %q, %v, want secret", s.password, err)
	}
}

// The schema and what is read of the configuration must name the same things.
func TestSchema(t *testing.T) {
	type object struct {
		Properties map[string]*object
	}
	var s object
	if err := json.Unmarshal([]byte(schema), &s); err != nil {
		t.Fatal(err)
	}
	check := func(where string, properties map[string]*object, fields reflect.Type) {
		count := 0
		for i := range fields.NumField() {
			name := fields.Field(i).Tag.Get("json")
			if name == "" {
				continue
			}
			count++
			if properties[name] == nil {
				t.Errorf("%s%s is not in the schema", where, name)
			}
		}
		if len(properties) != count {
			t.Errorf("%s: the schema has %d properties, the settings %d", where, len(properties), count)
		}
	}
	check("", s.Properties, reflect.TypeFor[settings]())
	check("tls/", s.Properties["tls"].Properties, reflect.TypeFor[tlsSettings]())
	check("publish/", s.Properties["publish"].Properties, reflect.TypeFor[publishSettings]())
}

// The README shows each option.
func TestReadmeNamesTheOptions(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []reflect.Type{reflect.TypeFor[settings](), reflect.TypeFor[tlsSettings](), reflect.TypeFor[publishSettings]()} {
		for i := range of.NumField() {
			if name := of.Field(i).Tag.Get("json"); name != "" && !strings.Contains(string(text), name+":") {
				t.Errorf("README.md does not show %s", name)
			}
		}
	}
}
