package main

import (
	"bytes"
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
		{Name: "mqtt", Generation: 3, State: plugins.Ready, Since: now.Add(-90 * time.Second), Version: "1.2.0", PID: 42, Entities: 500, Restarts: 2, Queue: 7},
		{Name: "zigbee", Generation: 5, State: plugins.BackingOff, Since: now, Reason: plugins.ReasonExit, Error: "exit status 3\nno stick", RetryAt: now.Add(2 * time.Second)},
	}, now)
	want := `ADAPTER   STATE        SINCE  VERSION  PID  ENTITIES  ITEMS  QUEUE  RESTARTS
mqtt@3    ready        1m30s  1.2.0    42   500       0      7      2
zigbee@5  backing_off  0s     -        -    0         0      0      0
zigbee: exit status 3 no stick (tried again in 2s)
`
	if err != nil || out.String() != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, &out, want)
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
