package httpd

import (
	"maps"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
)

func (s *Server) getPlugins(c *call) error {
	if s.Plugins == nil {
		return writeJSON(c, []any{})
	}
	return writeJSON(c, s.Plugins())
}

// pluginRoute tells an adapter's own path from those that ask something of it.
func (s *Server) pluginRoute(rest string) *route {
	_, action, deeper := strings.Cut(rest, "/")
	switch {
	case !deeper:
		return &route{path: "/api/plugins/*", get: (*Server).getPlugin}
	case s.knowsAction(action):
		return &route{path: "/api/plugins/*", post: (*Server).postPlugin}
	}
	return &route{path: "/api/plugins/*", missing: (*Server).noPluginAction}
}

// getPlugin answers with one of the list.
func (s *Server) getPlugin(c *call) error {
	if s.Plugin != nil {
		if status := s.Plugin(c.rest); status != nil {
			return writeJSON(c, status)
		}
	}
	return refuse(fasthttp.StatusNotFound, "Adapter %.200s: there is no such adapter.", c.rest)
}

func (s *Server) knowsAction(action string) bool {
	return s.PluginActions[action] != nil || action == "discover" && s.DiscoverPlugin != nil
}

func (s *Server) noPluginAction(c *call) error {
	actions := slices.Collect(maps.Keys(s.PluginActions))
	if s.DiscoverPlugin != nil {
		actions = append(actions, "discover")
	}
	slices.Sort(actions)
	return refuse(fasthttp.StatusNotFound, "There is nothing at %.200s; what can be asked of an adapter is %s.", c.Path(), strings.Join(actions, ", "))
}

// postPlugin begins what the path asks of an adapter, /api/plugins/<name>/<action>.
// What becomes of it is at /api/plugins and on the streams; what it discovers is the
// answer.
func (s *Server) postPlugin(c *call) error {
	name, action, _ := strings.Cut(c.rest, "/")
	if !c.admin {
		return refuse(fasthttp.StatusForbidden, "Only the administrator may %s adapters.", action)
	}
	if action == "discover" {
		return s.postDiscover(c, name)
	}
	if err := s.PluginActions[action](name); err != nil {
		return err
	}
	s.log.Info("adapter: "+action+" on request", "adapter", name, "remote", remote(c.RequestCtx))
	c.SetStatusCode(fasthttp.StatusAccepted)
	writeMessage(c.RequestCtx, "Adapter "+name+": "+action+" is under way.")
	return nil
}
