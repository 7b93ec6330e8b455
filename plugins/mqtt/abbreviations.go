package main

import (
	_ "embed"
	"fmt"
	"strings"
)

// abbreviationsText has a line for each short name of an option in discovery
// messages. They are those of Home Assistant,
// homeassistant/components/mqtt/abbreviations.py.
//
//go:embed abbreviations.txt
var abbreviationsText string

// abbreviations are full names by short ones: of components, of their device and of
// their origin.
type abbreviations struct{ component, device, origin map[string]string }

// short are the abbreviations of discovery messages.
var short = func() abbreviations {
	a := abbreviations{map[string]string{}, map[string]string{}, map[string]string{}}
	for line := range strings.Lines(abbreviationsText) {
		name, full, found := strings.Cut(strings.TrimSpace(line), " ")
		if !found || strings.HasPrefix(name, "#") {
			continue
		}
		into := a.component
		if rest, of := strings.CutPrefix(name, "device."); of {
			name, into = rest, a.device
		} else if rest, of := strings.CutPrefix(name, "origin."); of {
			name, into = rest, a.origin
		}
		into[name] = full
	}
	return a
}()

// knownOptions are the options that Home Assistant knows: one of them that nobody
// here takes is missed, others are not.
var knownOptions = func() map[string]bool {
	known := map[string]bool{"schema": true}
	for _, full := range short.component {
		known[full] = true
	}
	return known
}()

// expand gives options their full names.
func expand(m map[string]any, names map[string]string) map[string]any {
	full := make(map[string]any, len(m))
	for key, v := range m {
		if name, ok := names[key]; ok && name != key {
			if _, both := m[name]; both {
				continue // the full name says it, too
			}
			key = name
		}
		full[key] = v
	}
	return full
}

// expandConfig gives the options of one component their full names, also within its
// device, origin and availability.
func expandConfig(m map[string]any) map[string]any {
	m = expand(m, short.component)
	if d, ok := m["device"].(map[string]any); ok {
		m["device"] = expand(d, short.device)
	}
	if o, ok := m["origin"].(map[string]any); ok {
		m["origin"] = expand(o, short.origin)
	}
	switch a := m["availability"].(type) {
	case []any:
		list := make([]any, len(a))
		for i, v := range a {
			list[i] = v
			if one, ok := v.(map[string]any); ok {
				list[i] = expand(one, short.component)
			}
		}
		m["availability"] = list
	case map[string]any: // Home Assistant takes a lone one as a list of one
		m["availability"] = []any{expand(a, short.component)}
	}
	return m
}

// insertBase puts the base topic, ~, into the topics that begin or end with it.
func insertBase(m map[string]any) error {
	base, ok := m["~"].(string)
	switch {
	case len(m) > maxOptions:
		return fmt.Errorf("it has %d options, more than %d", len(m), maxOptions)
	case !ok:
		return nil
	case len(base) > maxBase:
		return fmt.Errorf("~ has %d bytes, more than %d", len(base), maxBase)
	}
	insert := func(m map[string]any) {
		for key, v := range m {
			topic, ok := v.(string)
			if !ok || topic == "" || !strings.HasSuffix(key, "topic") {
				continue
			}
			if rest, begins := strings.CutPrefix(topic, "~"); begins {
				m[key] = base + rest
			} else if rest, ends := strings.CutSuffix(topic, "~"); ends {
				m[key] = rest + base
			}
		}
	}
	insert(m)
	list, _ := m["availability"].([]any)
	for _, v := range list {
		if one, ok := v.(map[string]any); ok {
			insert(one)
		}
	}
	return nil
}
