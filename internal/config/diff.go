package config

import (
	"maps"
	"slices"
	"strings"
)

// Diff returns the dotted keys whose values differ from old's, sorted. What
// scripts may do is one key, scripts.permissions.
func (c *Config) Diff(old *Config) []string {
	var keys []string
	for _, k := range schema {
		if k.text(c) != k.text(old) {
			keys = append(keys, k.path)
		}
	}
	slices.Sort(keys)
	return keys
}

// NeedsRestart returns those of the keys, as Diff returns them, that only take effect
// at the next start.
func NeedsRestart(keys []string) []string {
	var waiting []string
	for _, path := range keys {
		if k := lookup(path); k != nil && k.restart {
			waiting = append(waiting, path)
		}
	}
	return waiting
}

// formatPermissions writes scripts.permissions on one line.
func formatPermissions(c *Config) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(c.Scripts.Permissions)) {
		read := flow(readable, c.Scripts.Permissions[name].Read)
		parts = append(parts, yamlText(name)+": {read: "+read+"}")
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
