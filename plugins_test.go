package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"carillon/internal/config"
	"carillon/plugins"
)

func TestWritePlugins(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var out bytes.Buffer
	err := writePlugins(&out, []plugins.Status{
		{Name: "mqtt", Generation: 3, State: plugins.Ready, Since: now.Add(-90 * time.Second), Version: "1.2.0", PID: 42, Entities: 500, Restarts: 2, Queue: 7, Refused: 3, Refusal: "light.a is\nanother's", Counters: plugins.Counters{Refused: 5}},
		{Name: "zigbee", Generation: 5, State: plugins.BackingOff, Since: now, Reason: plugins.ReasonExit, Error: "exit status 3\nno stick", RetryAt: now.Add(2 * time.Second)},
	}, now)
	want := `ADAPTER   STATE        SINCE  VERSION  PID  ENTITIES  ITEMS  QUEUE  RESTARTS
mqtt@3    ready        1m30s  1.2.0    42   500       0      7      2
zigbee@5  backing_off  0s     -        -    0         0      0      0
mqtt: what it said was refused (3), first: light.a is another's
zigbee: exit status 3
zigbee: no stick (tried again in 2s)
`
	if err != nil || out.String() != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, &out, want)
	}
}

func TestWriteDiscovery(t *testing.T) {
	for _, test := range []struct {
		found plugins.Discovery
		want  string
	}{
		{plugins.Discovery{Complete: true}, "The adapter has looked everywhere, and found nothing.\n"},
		{plugins.Discovery{}, "\nThe adapter was still looking when its 10s were over: -timeout gives it more.\n"},
		{plugins.Discovery{LeftOut: 3}, "\n3 more were left out: the adapter tells too much, or what is no device.\n"},
		{plugins.Discovery{Complete: true, Devices: []plugins.Discovered{
			{ID: "17", Title: "Hall \x1b[31mlamp\n", Config: []byte(`{"unit":17,"name":"Flur \u0085ä😀"}`)},
			{ID: "4711", Config: []byte(`{}`)},
		}}, `DEVICE  TITLE
17      Hall �[31mlamp
4711    -

For carillon.yaml, all in one piece, as the adapter's documentation says:

# 17 Hall �[31mlamp
# 4711
plugins:
  "modbus":
    config:
      "name": "Flur \U00000085ä😀"
      "unit": 17

Where it has plugins: or plugins.modbus already, what stands below that here goes below that there.
`},
	} {
		var out bytes.Buffer
		if err := writeDiscovery(&out, "modbus", &test.found, 10*time.Second); err != nil || out.String() != test.want {
			t.Errorf("got %v\n%s\nwant\n%s", err, &out, test.want)
		}
	}
}

// discovered returns devices with configurations.
func discovered(configs ...string) *plugins.Discovery {
	d := &plugins.Discovery{Complete: true}
	for i, text := range configs {
		d.Devices = append(d.Devices, plugins.Discovered{ID: fmt.Sprint(i + 1), Config: []byte(text)})
	}
	return d
}

// What is printed for devices can be put into the configuration as it is: for all of them at once, if what
// is suggested goes together, else for one.
func TestDiscoveredConfigurationIsYAML(t *testing.T) {
	name := "a \u0085\u2028\u200d\U000e0001\x7f: #'\"\\ 😀<&>\t\n"
	text, err := json.Marshal(map[string]any{name: name, "list": []any{1.5, true, nil}})
	if err != nil {
		t.Fatal(err)
	}
	quoted, err := json.Marshal(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		found *plugins.Discovery
		want  []string // one for each piece
	}{
		{discovered(string(text)), []string{`{` + string(quoted) + `:` + string(quoted) + `,"list":[1.5,true,null]}`}},
		{discovered(`{"interval":"5s","devices":[{"id":"a","n":12345678901234567890}]}`, `{"devices":[{"id":"b"},[]],"interval":"5s"}`),
			[]string{`{"devices":[{"id":"a","n":12345678901234567890},{"id":"b"},[]],"interval":"5s"}`}},
		{discovered(`{"lamps":{"a":{"pin":1}}}`, `{"lamps":{"b":{"pin":2}},"more":[]}`), []string{`{"lamps":{"a":{"pin":1},"b":{"pin":2}},"more":[]}`}},
		{discovered(`{}`, `{}`), []string{`{}`}},
		{discovered(`{"host":"a"}`, `{"host":"b"}`), []string{`{"host":"a"}`, `{"host":"b"}`}},
		{discovered(`{"host":{"a":[1]}}`, `{"host":[]}`), []string{`{"host":{"a":[1]}}`, `{"host":[]}`}},
	} {
		var out bytes.Buffer
		if err := writeDiscovery(&out, "modbus", test.found, time.Second); err != nil {
			t.Fatal(err)
		}
		pieces := strings.Split(out.String(), "\nplugins:\n")[1:]
		if len(pieces) != len(test.want) {
			t.Errorf("got %d pieces, want %d\n%s", len(pieces), len(test.want), &out)
			continue
		}
		for i, piece := range pieces {
			piece, _, _ = strings.Cut(piece, "\n\n")
			c, err := config.Parse("carillon.yaml", []byte("plugins:\n"+piece))
			if err != nil {
				t.Fatalf("%v\n%s", err, piece)
			}
			if got, want := canonicalJSON(t, c.Plugins["modbus"].Config), canonicalJSON(t, []byte(test.want[i])); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	}
}

// canonicalJSON returns JSON with its keys sorted.
func canonicalJSON(t *testing.T, text []byte) string {
	t.Helper()
	var v any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		t.Fatal(err)
	}
	sorted, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(sorted)
}

// The help says that a restart need not be a crash.
func TestPluginsHelp(t *testing.T) {
	var out, wrong bytes.Buffer
	if status := runPlugins([]string{"-h"}, &out, &wrong); status != 0 || !strings.Contains(out.String(), "also for a new executable, a changed configuration") {
		t.Errorf("got %d, %s%s, want what RESTARTS counts", status, &out, &wrong)
	}
}

func TestPluginsMistakes(t *testing.T) {
	for _, test := range []struct {
		args   []string
		status int
		part   string
	}{
		{[]string{"restart"}, 2, "needs the name of an adapter"},
		{[]string{"-server", "::"}, 2, "is not an address"},
		{[]string{"-server", "http://127.0.0.1:1"}, 1, "is it running?"},
		{[]string{"restart", "lamps", "-server", "http://127.0.0.1:1"}, 1, "is it running?"},
		{[]string{"restart", "-h"}, 0, "carillon plugins restart hostsensors"},
		{[]string{"hostsensors"}, 2, "what can is restart, drain, disable, enable, discover"},
		{[]string{"--", "restart", "-Xx"}, 2, `"-Xx" is no name of an adapter`},
		{[]string{"restart", "../x"}, 2, `"../x" is no name of an adapter`},
		{[]string{"restart", ""}, 2, "is no name of an adapter"},
		{[]string{"restart", "lamps", "-timeout", "5s"}, 2, "-timeout is for discover only"},
		{[]string{"-timeout", "5"}, 2, "`carillon plugins -h` shows the flags"},
		{[]string{"-h"}, 0, "carillon plugins restart hostsensors"},
	} {
		var out bytes.Buffer
		if status := run(append([]string{"plugins"}, test.args...), &out, &out); status != test.status || !strings.Contains(out.String(), test.part) {
			t.Errorf("%v: got %d, %s, want %d and %q", test.args, status, &out, test.status, test.part)
		}
	}
}

func TestWhichAdaptersHearEvents(t *testing.T) {
	for _, test := range []struct {
		plugin config.Plugin
		deaf   bool
	}{
		{config.Plugin{}, false},
		{config.Plugin{Events: new(false)}, true},
		{config.Plugin{User: "nobody"}, true},
		{config.Plugin{User: "nobody", Events: new(true)}, false},
	} {
		if got := deaf(test.plugin); got != test.deaf {
			t.Errorf("%+v: got deaf %v, want %v", test.plugin, got, test.deaf)
		}
	}
}
