package httpd

import (
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"carillon/runtime"
)

func (s *Server) getStatus(c *call) error {
	writeMessage(c.RequestCtx, "API running.")
	return nil
}

// getConfig answers with those fields of Home Assistant's configuration that
// clients read. The home's place is not known, so it is null.
func (s *Server) getConfig(c *call) error {
	state := "RUNNING"
	if s.Ready != nil && s.Ready() != nil {
		state = "STARTING"
	}
	name := s.Name
	if name == "" {
		name = "Home"
	}
	return writeJSON(c, map[string]any{
		"location_name": name, "version": s.Version, "state": state, "components": s.components(),
		"time_zone": zoneName(time.Local), "latitude": nil, "longitude": nil, "elevation": 0, "country": nil, "currency": "EUR", "language": "en",
		"unit_system": map[string]string{
			"length": "km", "mass": "g", "temperature": "°C", "volume": "L", "pressure": "Pa",
			"wind_speed": "m/s", "accumulated_precipitation": "mm", "area": "m²",
		},
		"config_source": "yaml", "safe_mode": false, "recovery_mode": false, "debug": false,
		"internal_url": nil, "external_url": nil, "whitelist_external_dirs": []string{}, "allowlist_external_dirs": []string{},
		"allowlist_external_urls": []string{},
	})
}

// zoneName is the IANA name of a zone, or UTC when only its offset is known.
func zoneName(zone *time.Location) string {
	if name := zone.String(); strings.Contains(name, "/") {
		return name
	}
	return "UTC"
}

func (s *Server) getComponents(c *call) error { return writeJSON(c, s.components()) }

// components lists what Home Assistant would call loaded integrations: the
// interface itself and the domains that have entities or services.
func (s *Server) components() []string {
	list := []string{"api", "http"}
	for _, state := range s.Runtime.States() {
		list = append(list, runtime.Domain(state.EntityID))
	}
	for _, service := range s.Runtime.Services() {
		list = append(list, service.Domain)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (s *Server) getScripts(c *call) error {
	if s.Scripts == nil {
		return writeJSON(c, []any{})
	}
	return writeJSON(c, s.Scripts())
}

func (s *Server) getErrorLog(c *call) error {
	c.SetContentType("text/plain; charset=utf-8")
	if s.ErrorLog != nil {
		c.SetBody(s.ErrorLog())
	}
	return nil
}

func (s *Server) postCheckConfig(c *call) error {
	if s.CheckConfig != nil {
		if err := s.CheckConfig(); err != nil {
			return writeJSON(c, map[string]any{"errors": err.Error(), "result": "invalid"})
		}
	}
	return writeJSON(c, map[string]any{"errors": nil, "result": "valid"})
}

// getHealth says that the process answers, also while it is stopping.
func (s *Server) getHealth(c *call) error { return writeJSON(c, map[string]string{"status": "ok"}) }

// getReady says whether the journal and the scripts are up.
func (s *Server) getReady(c *call) error {
	if s.Ready == nil {
		return writeJSON(c, map[string]string{"status": "ready"})
	}
	if err := s.Ready(); err != nil {
		return refuse(fasthttp.StatusServiceUnavailable, "%s", sentence(err)).with("Retry-After", "1")
	}
	return writeJSON(c, map[string]string{"status": "ready"})
}
