package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"carillon/httpd"
	"carillon/internal/config"
	"carillon/internal/watch"
	"carillon/runtime"
	"carillon/scripts"
)

// A reloader holds the configuration in force and the folder it is watched in.
type reloader struct {
	current atomic.Pointer[config.Config]
	folder  watch.Folder
}

// watchConfig applies the configuration whenever its file changes, until ctx
// ends.
func (h *served) watchConfig(ctx context.Context) error {
	f := &h.config.folder // never replaced: a SIGHUP may ask it to look already
	f.Dir, f.Flat, f.Log = h.dir, true, h.log.Logger
	f.Match = func(rel string) bool { return rel == configFile }
	f.OnChange = func(changes []watch.Change) {
		for _, change := range changes {
			h.reload(ctx, change)
		}
	}
	return f.Run(ctx)
}

// checkConfig says what is wrong with the file as it is now, as a reload would.
func (h *served) checkConfig() error {
	c, err := readConfig(h.dir)
	if err == nil {
		_, err = h.jwtKeys(c.Auth.JWT)
	}
	return err
}

// reload takes a changed configuration whole, or rejects it whole and tells
// why; the one in force stays then.
func (h *served) reload(ctx context.Context, change watch.Change) {
	next, err := parseChange(change)
	if err != nil {
		h.rejected(ctx, err)
		return
	}
	changed := next.Diff(h.config.current.Load())
	if len(changed) == 0 {
		return
	}
	if err := h.apply(next); err != nil {
		h.rejected(ctx, err)
		return
	}
	h.config.current.Store(next)
	restart := config.NeedsRestart(changed)
	h.log.Info("the configuration is reloaded", "changed", changed, "at the next start", restart)
	h.tell(ctx, runtime.ConfigReloaded, map[string]any{"file": configFile, "changed": changed, "needs_restart": restart})
}

func parseChange(change watch.Change) (*config.Config, error) {
	switch {
	case change.Err != nil:
		return nil, change.Err
	case change.Gone:
		return config.Default(), nil
	}
	return config.Parse(configFile, change.Content)
}

// rejected tells of a configuration that is not taken.
func (h *served) rejected(ctx context.Context, err error) {
	h.log.Error("the configuration is rejected, the one before it stays in force", "err", err)
	data := map[string]any{"file": configFile, "message": err.Error()}
	var place *config.Error
	if errors.As(err, &place) {
		data["line"], data["column"], data["key"] = place.Line, place.Column, place.Key
	}
	h.tell(ctx, runtime.ConfigRejected, data)
}

func (h *served) tell(ctx context.Context, typ string, data map[string]any) {
	text, err := json.Marshal(data)
	if err != nil {
		h.log.Error("telling of a change", "err", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := h.runtime.Fire(ctx, runtime.NewEvent{Type: typ, Data: text, Source: "core"}); err != nil {
		h.log.Error("telling of a change", "event", typ, "err", err)
	}
}

// apply puts a configuration in force. What can fail comes first, so that
// either all of it is in force or nothing.
func (h *served) apply(c *config.Config) error {
	keys, err := h.jwtKeys(c.Auth.JWT)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := h.journal.SetRetention(ctx, c.Journal.MaxAge, c.Journal.MaxBytes); err != nil {
		return err
	}
	h.http.SetSettings(httpSettings(c, keys))
	h.scripts.SetLimits(scripts.Limits{Handler: c.Scripts.Timeout})
	h.scripts.SetPermissions(permissions(c.Scripts))
	h.plugins.SetConfig(h.adapterConfigs(c.Plugins))
	h.runtime.SetGrace(c.Scripts.Grace)
	h.log.level.Set(c.Log.Level)
	return nil
}

func permissions(c config.Scripts) scripts.Permissions {
	granted := scripts.Permissions{}
	for script, p := range c.Permissions {
		granted[script] = p.Read
	}
	return granted
}

func httpSettings(c *config.Config, keys []httpd.JWTKey) httpd.Settings {
	s := httpd.Settings{
		MaxBody:              int(c.Limits.Body),
		MaxStreams:           c.Limits.Streams,
		MaxStreamsPerAddress: c.Limits.StreamsPerAddress,
		MaxPolls:             c.Limits.Polls,
		MaxConnections:       connectionsForDescriptors(),
		ConnectionsPerSecond: c.Limits.ConnectionsPerSecond,
		MaxAge:               c.Stream.MaxAge,
		Slow:                 c.Stream.Slow,
		Drain:                c.Server.Drain,
		Retry:                c.Stream.Retry,
		Origins:              c.Server.CORS.Origins,
		LockoutAfter:         c.Auth.Lockout.Failures,
		LockoutWindow:        c.Auth.Lockout.Window,
		LockoutTime:          c.Auth.Lockout.Duration,
		MaxNames:             c.Limits.SelectionItems,
		JWTKeys:              keys,
		JWTIssuer:            c.Auth.JWT.Issuer,
		JWTAudience:          c.Auth.JWT.Audience,
	}
	if s.LockoutAfter == 0 {
		s.LockoutAfter = -1 // never, on both sides
	}
	if s.MaxStreams == 0 {
		s.MaxStreams = s.MaxConnections
	}
	s.MaxFilter = int(c.Limits.FilterBytes)
	s.MaxFiltersPerCredential = c.Limits.FiltersPerCredential
	s.FullJavaScript = c.Filters.FullJavaScript
	s.MaxStreamsPerCredential = c.Limits.StreamsPerCredential
	return s
}

// jwtKeys reads the keys that the configuration names. A public key's kind
// decides the algorithm that it verifies.
func (h *served) jwtKeys(c config.JWT) (keys []httpd.JWTKey, err error) {
	read := func(setting, file string, algorithms ...string) error {
		text, err := os.ReadFile(h.path(file))
		if err != nil {
			return fmt.Errorf("%s: %s: %w", configFile, setting, err)
		}
		var errs []error
		for _, algorithm := range algorithms {
			key, err := httpd.ParseJWTKey(algorithm, "", string(text))
			if err == nil {
				keys = append(keys, key)
				return nil
			}
			errs = append(errs, err)
		}
		return fmt.Errorf("%s: %s: %s: %w", configFile, setting, file, errors.Join(errs...))
	}
	if c.HS256SecretFile != "" {
		if err := read("auth.jwt.hs256_secret_file", c.HS256SecretFile, "HS256"); err != nil {
			return nil, err
		}
	}
	for _, file := range c.PublicKeyFiles {
		if err := read("auth.jwt.public_key_files", file, "RS256", "ES256", "EdDSA"); err != nil {
			return nil, err
		}
	}
	return keys, nil
}
