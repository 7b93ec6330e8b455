package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"carillon/plugins/mqtt/template"
)

// A builder makes an entity of a part.
type builder struct {
	*fields
	b         *bridge
	e         *entity
	otherwise *template.Template // of topics that have no template of their own
}

// components are what can be announced.
var components = map[string]func(*builder){
	"alarm_control_panel": buildAlarm,
	"binary_sensor":       buildBinarySensor,
	"button":              buildButton,
	"climate":             buildClimate,
	"cover":               buildCover,
	"device_automation":   buildTrigger,
	"device_tracker":      buildTracker,
	"event":               buildEvent,
	"fan":                 buildFan,
	"humidifier":          buildHumidifier,
	"lawn_mower":          buildMower,
	"light":               buildLight,
	"lock":                buildLock,
	"notify":              buildNotify,
	"number":              buildNumber,
	"scene":               buildScene,
	"select":              buildSelect,
	"sensor":              buildSensor,
	"siren":               buildSiren,
	"switch":              buildSwitch,
	"tag":                 buildTag,
	"text":                buildText,
	"update":              buildUpdate,
	"vacuum":              buildVacuum,
	"valve":               buildValve,
	"water_heater":        buildWaterHeater,
}

// build makes the entity of a part. Reports are what of it is left out.
func (b *bridge) build(p *part) (e *entity, reports []string, err error) {
	make, known := components[p.component]
	switch {
	case p.wrong != nil:
		return nil, nil, p.wrong
	case p.make != nil:
		make = p.make
	case !known:
		return nil, nil, fmt.Errorf("component %.60q is not supported", p.component)
	}
	m := &builder{fields: newFields(p.options), b: b}
	m.e = &entity{
		part: p, domain: p.component, own: map[string]any{}, commands: map[string]command{}, attrs: map[string]any{}, timers: map[string]*timer{},
		reached: true,
	}
	m.common()
	make(m)
	m.otherwise = nil
	m.availability()
	m.jsonAttributes()
	if len(m.errs) > 0 {
		return nil, nil, errors.Join(m.errs...)
	}
	for _, key := range m.left() {
		reports = append(reports, fmt.Sprintf("option %s is not supported for %s", key, p.component))
	}
	return m.e, reports, nil
}

// uniqueKey stands in the key of an entity that has a unique_id, behind its component.
const uniqueKey = "/id/"

// common reads what all components have.
func (m *builder) common() {
	e := m.e
	e.device = readDeviceInfo(m.fields)
	e.qos, e.retain = m.qos("qos"), m.flag("retain", false)
	if encoding := m.str("encoding", "utf-8"); !strings.EqualFold(strings.ReplaceAll(encoding, "-", ""), "utf8") {
		m.fail("encoding", "%.40q is not supported: only utf-8 is", encoding)
	}
	e.name = m.entityName()
	e.wish = m.wish()
	e.key = e.part.component + "/" + e.part.key
	if unique := m.str("unique_id", ""); unique != "" {
		e.key = e.part.component + uniqueKey + cut(unique, 500)
	}
	m.copy("icon", "device_class", "entity_picture")
}

// entityName returns the name behind the device's.
func (m *builder) entityName() string {
	if v, there := m.values["name"]; there {
		if v == nil {
			return ""
		}
		return cut(m.str("name", ""), 200)
	}
	if class := m.str("device_class", ""); class != "" {
		if name, own := classNames[class]; own {
			return name
		}
		text := strings.ReplaceAll(class, "_", " ")
		return strings.ToUpper(text[:1]) + text[1:]
	}
	words := strings.ReplaceAll(m.e.part.component, "_", " ")
	return "MQTT " + words
}

// classNames are the names of device classes that are not their words.
var classNames = map[string]string{
	"aqi": "Air quality index", "ph": "pH", "pm1": "PM1", "pm10": "PM10", "pm25": "PM2.5", "pm4": "PM4", "co2": "Carbon dioxide",
	"uv_index": "UV index", "tv": "TV",
}

// wish returns the id that the announcement asks for.
func (m *builder) wish() string {
	if id := m.str("default_entity_id", ""); id != "" {
		_, object, found := strings.Cut(id, ".")
		if !found {
			object = id
		}
		return slug(object)
	}
	return slug(m.str("object_id", ""))
}

// copy makes options attributes of every state.
func (m *builder) copy(keys ...string) {
	for _, key := range keys {
		if s := m.str(key, ""); s != "" {
			m.e.own[key] = s
		}
	}
}

// read makes a topic tell something. It reports whether there is such a topic.
func (m *builder) read(topicKey, templateKey string, apply func(m *message, value string) error) bool {
	topic := m.in(topicKey)
	var t *template.Template
	if templateKey != "" {
		t = cmp.Or(m.template(templateKey), m.otherwise)
	}
	if topic == "" {
		return false
	}
	m.e.inputs = append(m.e.inputs, &input{e: m.e, topic: topic, template: t, apply: apply})
	return true
}

// know gives the entity's templates numbers of its announcement.
func (m *builder) know(numbers map[string]float64) {
	m.e.numbers = make(map[string]template.Value, len(numbers))
	for name, x := range numbers {
		m.e.numbers[name] = numeric(x)
	}
}

// need reports whether a topic is there that the component can't do without.
func (m *builder) need(key string) bool {
	if !m.has(key) {
		m.fail(key, "is missing: %s can't do without it", m.e.part.component)
		return false
	}
	return true
}

// A writer makes outgoing messages of one kind.
type writer struct {
	e        *entity
	topic    string
	template *template.Template
}

// write returns the writer for a topic; nil if there is none.
func (m *builder) write(topicKey, templateKey string) *writer {
	topic := m.out(topicKey)
	var t *template.Template
	if templateKey != "" {
		t = m.template(templateKey)
	}
	if topic == "" {
		return nil
	}
	return &writer{m.e, topic, t}
}

// message makes the outgoing message of a value; more are variables of the template
// besides value.
func (w *writer) message(value template.Value, more map[string]template.Value) (outgoing, error) {
	out := outgoing{topic: w.topic, qos: w.e.qos, retain: w.e.retain}
	if w.template == nil {
		out.payload = plain(value)
		return out, nil
	}
	vars := map[string]template.Value{"value": value, "entity_id": w.e.id, "name": w.e.name}
	for k, v := range more {
		vars[k] = v
	}
	text, err := w.template.Render(vars)
	if err != nil {
		return out, fmt.Errorf("the template of %s: %w", w.topic, err)
	}
	out.payload = text
	return out, nil
}

// messages is message for commands that are one message.
func (w *writer) messages(value template.Value, more map[string]template.Value) ([]outgoing, error) {
	out, err := w.message(value, more)
	if err != nil {
		return nil, err
	}
	return []outgoing{out}, nil
}

// plain writes a value as a payload without a template.
func plain(v template.Value) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return fmt.Sprint(v)
	case float64:
		return pythonNumber(".", v)
	case bool:
		return map[bool]string{false: "False", true: "True"}[v]
	}
	return fmt.Sprint(v)
}

// numeric is a number as templates have it: whole ones are ints.
func numeric(x float64) template.Value {
	if x == math.Trunc(x) && math.Abs(x) < 1<<53 {
		return int64(x)
	}
	return x
}

// availability reads what tells whether the entity can be reached.
func (m *builder) availability() {
	a := &m.e.reach
	a.mode = m.oneOf("availability_mode", "latest", "all", "any", "latest")
	type source struct{ f *fields }
	var sources []source
	if m.has("availability_topic") {
		values := map[string]any{"topic": m.values["availability_topic"], "value_template": m.take("availability_template")}
		for _, key := range []string{"payload_available", "payload_not_available"} {
			values[key] = m.take(key)
		}
		sources = append(sources, source{newFields(values)})
	} else {
		m.used["availability_template"], m.used["payload_available"], m.used["payload_not_available"] = true, true, true
	}
	list, _ := m.take("availability").([]any)
	for _, v := range list {
		one, ok := v.(map[string]any)
		if !ok {
			m.fail("availability", "must be a list of objects")
			return
		}
		sources = append(sources, source{newFields(one)})
	}
	for i, s := range sources {
		m.availabilitySource(i, s.f)
		for _, err := range s.f.errs {
			m.fail("availability", "%v", err)
		}
	}
	a.said = make([]bool, len(sources))
}

func (m *builder) availabilitySource(i int, f *fields) {
	e := m.e
	yes, no := f.str("payload_available", "online"), f.str("payload_not_available", "offline")
	topic, t := f.in("topic"), f.template("value_template")
	if topic == "" {
		f.fail("topic", "is missing")
		return
	}
	e.inputs = append(e.inputs, &input{e: e, topic: topic, template: t, quiet: true, apply: func(_ *message, value string) error {
		if value == yes || value == no {
			e.reach.say(i, value == yes)
		}
		return nil // anything else is not about this
	}})
}

// jsonAttributes reads the attributes that come as a JSON object.
func (m *builder) jsonAttributes() {
	e := m.e
	m.read("json_attributes_topic", "json_attributes_template", func(_ *message, value string) error {
		v, ok := template.Decode([]byte(value))
		d, isDict := v.(*template.Dict)
		if !ok || !isDict {
			return errors.New("its attributes are no JSON object")
		}
		text, err := template.ToJSON(d)
		if err != nil {
			return err
		}
		attrs, err := parseObject(text)
		if err != nil {
			return err
		}
		maps.DeleteFunc(attrs, func(key string, _ any) bool {
			_, own := e.own[key]
			return own || slices.Contains(reserved, key) || e.domain == "light" && slices.Contains(lightAttributes, key)
		})
		e.json, e.news = attrs, true
		return nil
	})
}

// reserved are attributes that Home Assistant doesn't take from a device, as it
// computes them itself; so it is with what the entity has of its announcement
// (homeassistant/components/mqtt, MQTT_ATTRIBUTES_BLOCKED, and what components add to it).
var reserved = []string{
	"assumed_state", "attribution", "available", "device_class", "device_info", "entity_category", "entity_picture",
	"entity_registry_enabled_default", "event_type", "extra_state_attributes", "force_update", "friendly_name", "icon", "should_poll", "state",
	"state_class", "supported_features", "unique_id", "unit_of_measurement",
}

// expires reads after how long without news the entity is unavailable.
func (m *builder) expires() {
	m.e.patience = m.seconds("expire_after")
	m.e.stale = m.e.patience > 0
}

// seconds reads a time of up to a year.
func (m *builder) seconds(key string) time.Duration {
	x := m.num(key, 0)
	if x < 0 || x > 365*24*3600 {
		m.fail(key, "must be a number of seconds from 0 to a year")
		return 0
	}
	return time.Duration(x * float64(time.Second))
}
