package main

import (
	"maps"
	"unicode/utf8"

	"carillon/plugins/mqtt/template"
)

// A message came from the broker.
type message struct {
	topic    string
	payload  []byte
	retained bool   // the broker had kept it; it is not news
	ack      func() // says that it needs not to be sent again; nil: the broker doesn't wait

	read  bool // text and json are valid
	isUTF bool
	text  string
	json  template.Value
	isDoc bool
	vars  map[string]template.Value // of templates; nil: not made

	kept   bool           // it waits for its device to be announced
	waited bool           // it was kept
	fields map[string]any // as object has it; nil: not read
}

// An outgoing message is for the broker.
type outgoing struct {
	topic   string
	payload string
	qos     byte
	retain  bool
	request int64 // 0: it is none that a Shelly answers
}

// decode reads the payload once for all that it concerns.
func (m *message) decode() {
	if m.read {
		return
	}
	m.read = true
	if m.isUTF = utf8.Valid(m.payload); m.isUTF {
		m.text = string(m.payload)
		m.json, m.isDoc = template.Decode(m.payload)
	}
}

// render returns what a template makes of the message, or its text without one.
func (m *message) render(t *template.Template, e *entity) (string, error) {
	m.decode()
	if t == nil {
		return m.text, nil
	}
	if m.vars == nil {
		m.vars = map[string]template.Value{"value": m.text}
		if m.isDoc {
			m.vars["value_json"] = m.json
		}
	}
	if e != nil && (t.Uses("entity_id") || t.Uses("name")) {
		m.vars["entity_id"], m.vars["name"] = e.id, e.name
	}
	vars := m.vars
	if e != nil && len(e.numbers) > 0 {
		vars = maps.Clone(vars) // others of the message have others
		maps.Copy(vars, e.numbers)
	}
	return t.Render(vars)
}
