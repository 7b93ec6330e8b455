// Package template renders the part of Jinja2 that real firmware uses in Home
// Assistant's MQTT discovery messages.
package template
