package main

import (
	"fmt"
	"slices"
	"testing"
)

// deviceOf is a device's announcement with components.
func deviceOf(device, components string) string {
	return fmt.Sprintf(`{"dev":{"ids":%q,"name":%q},"o":{"name":"x"},"cmps":{%s}}`, device, device, components)
}

// Components may change the names that the announcement has for them: what they are
// stays with their unique_id.
func TestComponentsChangeNames(t *testing.T) {
	m, h := start(t, `{"confirm":"0s"}`)
	a := `{"p":"sensor","name":"A","stat_t":"a","uniq_id":"ua"}`
	b := `{"p":"sensor","name":"B","stat_t":"b","uniq_id":"ub"}`
	for _, components := range []string{`"1":` + a + `,"2":` + b, `"1":` + b + `,"2":` + a, `"3":` + b + `,"1":` + a} {
		m.say("homeassistant/device/d/config", deviceOf("d", components), true)
		m.quiet(h)
	}
	m.say("a", "1", false)
	m.say("b", "2", false)
	m.quiet(h)
	for id, want := range map[string]string{"sensor.d_a": "1", "sensor.d_b": "2"} {
		if e, _ := h.Entity(id); e.State != want {
			t.Errorf("%s is %q, want %q", id, e.State, want)
		}
	}
	m.say("homeassistant/sensor/other/config", `{"name":"d A","stat_t":"x","uniq_id":"ux"}`, true)
	m.say("homeassistant/sensor/twin/config", `{"name":"Twin","stat_t":"x","uniq_id":"ua"}`, true)
	m.quiet(h)
	if got, want := h.Entities(), []string{"sensor.d_a", "sensor.d_a_2", "sensor.d_b"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	h.Until("the twin is reported", func() bool { return logged(h, "its unique_id is that of homeassistant/device/d/config#1") })
}

// A device may announce itself by another topic before it takes the old one back, and
// be another device then. Its entities have the ids that they had.
func TestAnnouncedByAnotherTopic(t *testing.T) {
	m, h := start(t, `{"confirm":"0s"}`)
	m.say("homeassistant/sensor/t/config", `{"name":"T","stat_t":"s","uniq_id":"ut","dev":{"ids":"zz","name":"D"}}`, true)
	m.say("homeassistant/switch/r/config", `{"name":"R","cmd_t":"c","uniq_id":"ur","dev":{"ids":"zz","name":"D"}}`, true)
	m.say("s", "5", true)
	m.quiet(h)
	m.say("homeassistant/device/d/config", deviceOf("aa", `"t":{"p":"sensor","name":"T","stat_t":"s","uniq_id":"ut"},"r":{"p":"switch","name":"R","cmd_t":"c","uniq_id":"ur"}`), true)
	m.quiet(h)
	m.say("homeassistant/sensor/t/config", "", true)
	m.say("homeassistant/switch/r/config", "", true)
	m.quiet(h)
	h.Until("the sensor is there", shows(h, "sensor.d_t", "5"))
	if got, want := h.Entities(), []string{"sensor.d_t", "switch.d_r"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// What is left out for another's sake is looked at again for that one's sake only.
func TestLeftOutIsNotLookedAtInVain(t *testing.T) {
	m, h := start(t, `{"confirm":"0s"}`)
	m.say("homeassistant/sensor/one/config", `{"name":"One","stat_t":"1","uniq_id":"u"}`, true)
	m.say("homeassistant/sensor/two/config", `{"name":"Two","stat_t":"2","uniq_id":"u"}`, true)
	m.quiet(h)
	before := m.b.numbers.announcements.Load()
	for range 3 {
		m.say("homeassistant/sensor/other/config", `{"name":"Other","stat_t":"3","uniq_id":"o"}`, true)
		m.quiet(h)
		m.say("homeassistant/sensor/other/config", "", true)
		m.quiet(h)
	}
	if got := m.b.numbers.announcements.Load() - before; got != 3 {
		t.Errorf("%d announcements were looked at, want 3", got)
	}
	m.say("homeassistant/sensor/one/config", "", true)
	h.Until("the other is there", func() bool { e, _ := h.Entity("sensor.one"); return e.Attributes["friendly_name"] == "Two" })
}

// An id stays with its unique_id, also when a device announces it by another topic later, and
// when the process ended meanwhile; another device may have it once it is free.
func TestIDsStayWithTheirUniqueID(t *testing.T) {
	m, h := start(t, `{"confirm":"0s"}`)
	announce := func(topic, name, unique string) {
		m.say("homeassistant/switch/"+topic+"/config", fmt.Sprintf(`{"name":%q,"cmd_t":"c","uniq_id":%q}`, name, unique), true)
		m.quiet(h)
	}
	withdraw := func(topic string) {
		m.say("homeassistant/switch/"+topic+"/config", "", true)
		m.quiet(h)
	}
	announce("ren", "Ren Old", "u1")
	announce("fan", "Fan", "u2")
	withdraw("ren")
	withdraw("fan")
	announce("other", "Fan", "u3")
	announce("ren2", "Renamed New", "u1")
	announce("fan2", "Fan", "u2")
	if got, want := h.Entities(), []string{"switch.fan", "switch.fan_2", "switch.ren_old"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}

	dir := t.TempDir()
	var before, after ids
	if err := before.load(dir); err != nil {
		t.Fatal(err)
	}
	for i := range maxGone + 5 {
		before.assign(&entity{key: fmt.Sprint("light/id/", i), domain: "light", name: fmt.Sprint("k", i), part: &part{}})
	}
	for i := range maxGone + 5 {
		before.release(fmt.Sprint("light/id/", i))
	}
	if err := before.save(); err != nil {
		t.Fatal(err)
	}
	if err := after.load(dir); err != nil {
		t.Fatal(err)
	}
	if got := len(after.gone); got != maxGone {
		t.Errorf("%d ids are remembered, want %d", got, maxGone)
	}
	if got := after.assign(&entity{key: "light/id/5", domain: "light", name: "new", part: &part{}}); got != "light.k5" {
		t.Errorf("got %s, want light.k5", got)
	}
	if got := after.assign(&entity{key: "light/id/4", domain: "light", name: "new", part: &part{}}); got != "light.new" {
		t.Errorf("got %s for one that is forgotten, want light.new", got)
	}
}

// What is taken back and announced at once for another device is that one's, whatever
// their order.
func TestTakenBackForAnotherDevice(t *testing.T) {
	for _, ids := range [][2]string{{"aa", "zz"}, {"zz", "aa"}} {
		m, h := start(t, `{"confirm":"0s"}`)
		announcement := `{"name":"T","def_ent_id":"sensor.t","stat_t":"s","uniq_id":"ut","dev":{"ids":%q,"name":"D"}}`
		m.say("homeassistant/sensor/t/config", fmt.Sprintf(announcement, ids[0]), true)
		m.say("homeassistant/sensor/stays/config", fmt.Sprintf(`{"name":"Stays","stat_t":"s","uniq_id":"us","dev":{"ids":%q,"name":"D"}}`, ids[1]), true)
		m.say("s", "5", true)
		m.quiet(h)
		m.say("homeassistant/sensor/t/config", "", true)
		m.say("homeassistant/sensor/new/config", fmt.Sprintf(announcement, ids[1]), true)
		m.quiet(h)
		m.say("s", "6", true)
		h.Until("it tells", shows(h, "sensor.t", "6"))
		if logged(h, "can't be declared") {
			t.Errorf("from %s to %s: a device could not be declared", ids[0], ids[1])
		}
	}
}

// A home that is full takes changes of what is there.
func TestChangesWhenFull(t *testing.T) {
	b := newBridge()
	b.log, b.reports.log, b.ctx = discard, discard, t.Context()
	b.settings.prefix = "homeassistant"
	if err := b.ids.load(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		for i := range maxEntities {
			topic := fmt.Sprintf("homeassistant/sensor/s%d/config", i)
			b.look(&message{topic: topic, payload: fmt.Appendf(nil, `{"name":"S","stat_t":"s%d/%d","uniq_id":"u%d"}`, round, i, i)})
		}
	}
	if got := len(b.byKey); got != maxEntities {
		t.Errorf("got %d entities, want %d", got, maxEntities)
	}
	if got := b.numbers.rejected.Load(); got != 0 {
		t.Errorf("%d were rejected, want none", got)
	}
	for i := range maxEntities {
		b.look(&message{topic: fmt.Sprintf("homeassistant/sensor/s%d/config", i)})
	}
	if b.announcedBytes != 0 || len(b.announced) != 0 || len(b.byKey) != 0 {
		t.Errorf("after all went: %d announcements of %d bytes, want none", len(b.announced), b.announcedBytes)
	}
}

// All announcements together have a bound in bytes.
func TestAnnouncementsAreBounded(t *testing.T) {
	b := newBridge()
	b.log, b.reports.log, b.ctx = discard, discard, t.Context()
	b.settings.prefix = "homeassistant"
	if err := b.ids.load(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	b.announcedBytes = maxAnnounced - 400 // as others may have
	for i := range 3 {
		b.look(&message{topic: fmt.Sprintf("homeassistant/sensor/s%d/config", i), payload: fmt.Appendf(nil, `{"stat_t":"s","uniq_id":"u%d"}`, i)})
	}
	if got := len(b.announced); got != 2 || b.numbers.rejected.Load() != 1 {
		t.Errorf("got %d announcements and %d rejected, want 2 and 1", got, b.numbers.rejected.Load())
	}
}

// Motion that was told before its announcement changed is over in time.
func TestOffDelayOutlivesAChange(t *testing.T) {
	m, h := start(t, `{"confirm":"0s"}`)
	announcement := `{"name":"Pir","stat_t":"pir","off_delay":0.3,"uniq_id":"pir","ic":%q}`
	m.say("homeassistant/binary_sensor/pir/config", fmt.Sprintf(announcement, "a"), true)
	m.quiet(h)
	m.say("pir", "ON", false)
	m.say("homeassistant/binary_sensor/pir/config", fmt.Sprintf(announcement, "b"), true)
	h.Until("the motion is over", shows(h, "binary_sensor.pir", "off"))
}
