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

// postPlugin begins what the path asks of an adapter, /api/plugins/<name>/<action>.
// What becomes of it is at /api/plugins and on the streams.
func (s *Server) postPlugin(c *call) error {
	name, action, _ := strings.Cut(c.rest, "/")
	begin, known := s.PluginActions[action]
	if !known {
		return refuse(fasthttp.StatusNotFound, "There is nothing at %.200s; what can be asked of an adapter is %s.",
			c.Path(), strings.Join(slices.Sorted(maps.Keys(s.PluginActions)), ", "))
	}
	if !c.admin {
		return refuse(fasthttp.StatusForbidden, "Only the administrator may %s adapters.", action)
	}
	if err := begin(name); err != nil {
		return refuse(fasthttp.StatusNotFound, "Adapter %.200s: %v.", name, err)
	}
	s.log.Info("adapter: "+action+" on request", "adapter", name, "remote", remote(c.RequestCtx))
	c.SetStatusCode(fasthttp.StatusAccepted)
	writeMessage(c.RequestCtx, "Adapter "+name+": "+action+" is under way.")
	return nil
}
