package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A frame is a message of a Shelly's: an answer, or a notification.
type frame struct {
	ID     json.RawMessage `json:"id"`
	Source string          `json:"src"`
	Method string          `json:"method"`
	Result json.RawMessage `json:"result"`
	Params json.RawMessage `json:"params"`
	Error  *struct {
		Code    int64  `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// readFrame reads a message; what is wrong with it is told.
func (b *bridge) readFrame(m *message) (f frame, ok bool) {
	err := json.Unmarshal(m.payload, &f)
	if len(m.payload) > maxFrame {
		err = fmt.Errorf("it has %d bytes, more than %d", len(m.payload), maxFrame)
	}
	if err != nil {
		b.numbers.refused.Add(1)
		b.reports.warn("a message of a Shelly is not understood", m.topic, err)
	}
	return f, err == nil
}

// shellyAnswers takes an answer to a request.
func (b *bridge) shellyAnswers(m *message) {
	f, ok := b.readFrame(m)
	if !ok {
		return
	}
	var id int64
	_ = json.Unmarshal(f.ID, &id) // else it is 0, which none has
	d := b.shellies.asked[id]
	if d == nil {
		if f.Error != nil {
			err := fmt.Errorf("%.200s (%d)", f.Error.Message, f.Error.Code)
			b.reports.warn("a Shelly refuses a command", cut(f.Source, 100), err)
			if r := b.shellies.commands[id]; r != nil {
				r.end(fmt.Errorf("the device refuses it: %w", err))
			}
		}
		return
	}
	var answer map[string]any
	err := errors.New("it answers without a result")
	if f.Error != nil {
		err = fmt.Errorf("it answers %s by %.200q (%d)", shellyQuestions[d.step], f.Error.Message, f.Error.Code)
	} else if f.Result != nil {
		if answer, err = parseObject(f.Result); err != nil {
			err = fmt.Errorf("its answer %w", err)
		}
	}
	if err == nil {
		err = d.checkAnswer(f.Source, answer)
	}
	if err == nil && b.shellies.bytes+len(f.Result) > maxAnswers {
		err = fmt.Errorf("all Shellies say more than %d bytes of themselves", maxAnswers)
	}
	if err != nil {
		b.shellyFails(d, err)
		return
	}
	delete(b.shellies.asked, d.request)
	d.request, d.tries = 0, 0
	d.bytes, b.shellies.bytes = d.bytes+len(f.Result), b.shellies.bytes+len(f.Result)
	d.answers[d.step] = answer
	if d.step++; d.step < len(shellyQuestions) {
		b.askShelly(d)
		return
	}
	b.announceShelly(d)
	b.askShellies()
}

// checkAnswer checks that an answer is one to the question, and of the device.
func (d *shelly) checkAnswer(source string, answer map[string]any) error {
	sys, _ := answer["sys"].(map[string]any)
	device, _ := sys["device"].(map[string]any)
	switch {
	case d.step == 0:
		id, _ := answer["id"].(string)
		if !shellyID.MatchString(id) || id != source {
			return fmt.Errorf("it calls itself %.60q, which is no name of a Shelly's", id)
		}
		d.id = id
	case source != d.id:
		return fmt.Errorf("%.60q answers in its place", source)
	case sys == nil || (d.step == 1) != (device != nil):
		return fmt.Errorf("its answer is none to %s", shellyQuestions[d.step])
	}
	return nil
}

// shellyTells takes a notification: what has changed of a device, or happened to it.
func (b *bridge) shellyTells(m *message, prefix string) {
	d := b.shellies.byPrefix[prefix]
	if m.retained || d == nil && len(m.payload) > maxFrame {
		return // no device has it kept
	}
	f, ok := frame{}, false
	if d == nil { // another's events may be anything
		ok = json.Unmarshal(m.payload, &f) == nil
	} else {
		f, ok = b.readFrame(m)
	}
	if !ok || !shellyID.MatchString(f.Source) || f.Method != "NotifyStatus" && f.Method != "NotifyFullStatus" && f.Method != "NotifyEvent" {
		return
	}
	switch {
	case d == nil:
		b.meetShelly(prefix, f.Source) // it is told what it says when it has answered
		return
	case d.id != f.Source && d.request == 0: // another device in its place
		b.wantShelly(d)
		return
	case d.parts == nil || d.id != f.Source:
		return
	case !d.online && !d.asleep:
		d.online = true
		b.wantShelly(d)
	}
	d.online = true
	params, err := parseObject(f.Params)
	if err != nil {
		b.numbers.refused.Add(1)
		b.reports.warn("a message of a Shelly is not understood", m.topic, fmt.Errorf("what it says %w", err))
		return
	}
	if f.Method == "NotifyEvent" {
		b.shellyEvents(d, params)
		return
	}
	b.shellyStatus(d, params)
}

// shellyStatus tells the entities of a device what it says of its components.
func (b *bridge) shellyStatus(d *shelly, status map[string]any) {
	for _, component := range slices.Sorted(maps.Keys(status)) {
		if object, ok := status[component].(map[string]any); ok {
			b.shellyLook(d, component, object)
		}
	}
}

// shellyLook makes what a device says of a component what it would publish of it by itself, if
// it were set to.
func (b *bridge) shellyLook(d *shelly, component string, object map[string]any) {
	topic := d.prefix + "/status/" + component
	if len(b.routes.exact[topic]) > 0 {
		b.look(&message{topic: topic, read: true, isUTF: true, fields: object})
	}
}

// shellyEvents takes what happened to a device.
func (b *bridge) shellyEvents(d *shelly, params map[string]any) {
	events, _ := params["events"].([]any)
	for _, one := range events[:min(len(events), 100)] {
		object, _ := one.(map[string]any)
		event, _ := object["event"].(string)
		component, _ := object["component"].(string)
		switch {
		case event == "config_changed":
			b.wantShelly(d)
		case strings.HasPrefix(component, "input:"):
			b.shellyLook(d, component, map[string]any{"event": event})
		}
	}
}
