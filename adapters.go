package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"carillon/httpd"
	"carillon/internal/config"
	"carillon/plugins"
)

// makePlugins makes the host of the adapters. Its paths don't depend on where the
// server was started: the adapters run elsewhere.
func (h *served) makePlugins() error {
	home, err := filepath.Abs(h.dir)
	if err != nil {
		return fmt.Errorf("finding the home: %w", err)
	}
	h.plugins = &plugins.Host{
		Dir: filepath.Join(home, "plugins"), DataDir: filepath.Join(home, "data", "plugins"), Runtime: h.runtime, Log: h.log.Logger,
		Place: h.placeOf,
		Epoch: h.journal.Epoch(), Replay: h.journal.Read, First: func() uint64 { first, _ := h.journal.Bounds(); return first },
	}
	return nil
}

// placeOf says where the home's configuration has a field of an adapter's own.
func (h *served) placeOf(adapter, field string) string {
	text, err := os.ReadFile(filepath.Join(h.dir, configFile))
	if err != nil {
		return ""
	}
	path := []string{"plugins", adapter, "config"}
	for step := range strings.SplitSeq(strings.TrimPrefix(field, "/"), "/") {
		path = append(path, strings.NewReplacer("~1", "/", "~0", "~").Replace(step))
	}
	line := config.Line(text, path)
	if line == 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d", configFile, line)
}

// adapterConfigs returns the configuration as the host of the adapters has it.
func (h *served) adapterConfigs(all map[string]config.Plugin) map[string]plugins.AdapterConfig {
	configs := make(map[string]plugins.AdapterConfig, len(all))
	for name, p := range all {
		path := p.Path
		if path != "" && !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(h.plugins.Dir), path) // relative to the home, as every path of the configuration
		}
		configs[name] = plugins.AdapterConfig{
			Path: path, Args: p.Args, Config: p.Config, SHA256: p.SHA256, User: p.User, Memory: p.Memory, Disabled: p.Disabled, Env: p.Env, Deaf: deaf(p),
		}
	}
	return configs
}

// deaf reports whether an adapter may not hear events: one that runs as the server does
// could as well read the journal's files.
func deaf(p config.Plugin) bool {
	if p.Events != nil {
		return !*p.Events
	}
	return p.User != ""
}

// pluginStatus returns how one adapter is; nil if there is none of that name.
func (h *served) pluginStatus(name string) any {
	if status, known := h.plugins.Status(name); known {
		return status
	}
	return nil
}

// pluginActions are what can be asked of an adapter.
func (h *served) pluginActions() map[string]func(name string) error {
	actions := map[string]func(name string) error{
		"restart": h.plugins.Restart, "drain": h.plugins.Drain, "disable": h.plugins.Disable, "enable": h.plugins.Enable,
	}
	for action, do := range actions {
		actions[action] = func(name string) error { return pluginError(name, do(name)) }
	}
	return actions
}

// discoverPlugin lets an adapter look for devices.
func (h *served) discoverPlugin(ctx context.Context, name string, limit time.Duration) (any, error) {
	found, err := h.plugins.Discover(ctx, name, limit)
	if err != nil {
		return nil, pluginError(name, err)
	}
	return found, nil
}

// pluginError says of what kind an error about an adapter is; nil stays nil.
func pluginError(name string, err error) error {
	if err == nil {
		return nil
	}
	kind := httpd.PluginFailed
	switch {
	case errors.Is(err, plugins.ErrUnknown):
		kind = httpd.PluginUnknown
	case errors.Is(err, plugins.ErrDiscovers):
		kind = httpd.PluginCannot
	case errors.Is(err, plugins.ErrNotInService), errors.Is(err, plugins.ErrDiscovering), errors.Is(err, plugins.ErrSwitchedOff):
		kind = httpd.PluginBusy
	}
	return &httpd.PluginError{Kind: kind, Err: fmt.Errorf("adapter %.200s: %w", name, err)}
}
