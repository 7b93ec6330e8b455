package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
)

// What is multiplied in an announcement is bounded before it is.
func TestAnnouncementsDoNotMultiply(t *testing.T) {
	repeat := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	component := `,"c%d":{"p":"tag","t":"x"}`
	for what, payload := range map[string]string{
		"options of many components": `{"dev":{"ids":"d"}` + repeat(30_000, `,"o%d":0`) + `,"cmps":{` + repeat(20_000, component)[1:] + `}}`,
		"availability of many":       `{"dev":{"ids":"d"},"avty":[` + repeat(30_000, `,{"t":"a%d"}`)[1:] + `],"cmps":{` + repeat(20_000, component)[1:] + `}}`,
		"a long base of many":        `{"dev":{"ids":"d"},"~":"` + strings.Repeat("x", 200_000) + `","cmps":{` + repeat(20_000, component)[1:] + `}}`,
		"a long base in many":        `{"~":"` + strings.Repeat("x", 500_000) + `"` + repeat(20_000, `,"a%dtopic":"~"`) + `}`,
	} {
		b := newBridge()
		b.log, b.reports.log, b.ctx, b.settings.prefix = discard, discard, t.Context(), "homeassistant"
		rest := "sensor/x/config"
		if strings.Contains(payload, "cmps") {
			rest = "device/x/config"
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := readAnnouncement("homeassistant/"+rest, rest, []byte(payload))
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("%s: got %v, want that it is more than is taken", what, err)
		}
		if got := (after.TotalAlloc - before.TotalAlloc) >> 20; got > 100 {
			t.Errorf("%s: %d MiB were taken for %d bytes, want 100 at most", what, got, len(payload))
		}
	}
}

// Nor does Tasmota's.
func TestTasmotaIsBounded(t *testing.T) {
	for what, payload := range map[string]string{
		"relays": strings.Replace(tasmotaRelay, `"rl":[1]`, `"rl":[1`+strings.Repeat(",1", 200_000)+`]`, 1),
		"topics": strings.Replace(tasmotaRelay, `"t":"relay"`, `"t":"`+strings.Repeat("x", 50_000)+`"`, 1),
	} {
		if _, err := new(tasmota).readConfig("000000000001", &message{payload: []byte(payload)}); err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("%s: got %v, want that they are more than are taken", what, err)
		}
	}
	b := newBridge()
	b.log, b.reports.log, b.ctx = discard, discard, t.Context()
	for _, topic := range []string{"tasmota/discovery/junk/config", "tasmota/discovery/junk/sensors", "tasmota/discovery/junk/more"} {
		b.look(&message{topic: topic, payload: []byte("{}")})
	}
	if len(b.tasmotas) > 0 {
		t.Errorf("%d devices are kept that said nothing, want none", len(b.tasmotas))
	}
}

// A device with a new mistake in every message is told of a few times.
func TestReportsOfOneTopicAreFew(t *testing.T) {
	var log bytes.Buffer
	r := reports{log: slog.New(slog.NewTextHandler(&log, nil))}
	for i := range 1000 {
		r.warn("wrong", "a", fmt.Errorf("%d is no number", i))
		r.warn("wrong", "b", errors.New("always the same"))
	}
	r.warn("wrong", strings.Repeat("c", 60_000), errors.New("of a long topic"))
	if got := strings.Count(log.String(), "\n"); got != maxOfTopic+1+1+1 {
		t.Errorf("got %d lines, want %d", got, maxOfTopic+1+1+1)
	}
	for key := range r.told {
		if len(key) > 1000 {
			t.Errorf("a key of %d bytes is kept", len(key))
		}
	}
}

// Names that come and go leave nothing behind.
func TestIDsThatGoAreForgotten(t *testing.T) {
	var ids ids
	if err := ids.load(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		key := fmt.Sprint("k", i)
		ids.assign(&entity{key: key, domain: "light", name: key, part: &part{}})
		ids.assign(&entity{key: key + "b", domain: "light", name: key, part: &part{}})
		ids.release(key + "b")
		ids.release(key)
	}
	if len(ids.byKey)+len(ids.taken)+len(ids.next) > 0 {
		t.Errorf("%v, %v and %v are kept, want nothing", ids.byKey, ids.taken, ids.next)
	}
}
