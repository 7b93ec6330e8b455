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
// What becomes of it is at /api/plugins and on the streams; what it discovers is the
// answer.
func (s *Server) postPlugin(c *call) error {
	name, action, _ := strings.Cut(c.rest, "/")
	begin, known := s.PluginActions[action]
	discover := action == "discover" && s.DiscoverPlugin != nil
	if !known && !discover {
		actions := slices.Collect(maps.Keys(s.PluginActions))
		if s.DiscoverPlugin != nil {
			actions = append(actions, "discover")
		}
		slices.Sort(actions)
		return refuse(fasthttp.StatusNotFound, "There is nothing at %.200s; what can be asked of an adapter is %s.", c.Path(), strings.Join(actions, ", "))
	}
	if !c.admin {
		return refuse(fasthttp.StatusForbidden, "Only the administrator may %s adapters.", action)
	}
	if discover {
		return s.postDiscover(c, name)
	}
	if err := begin(name); err != nil {
		return refuse(fasthttp.StatusNotFound, "Adapter %.200s: %v.", name, err)
	}
	s.log.Info("adapter: "+action+" on request", "adapter", name, "remote", remote(c.RequestCtx))
	c.SetStatusCode(fasthttp.StatusAccepted)
	writeMessage(c.RequestCtx, "Adapter "+name+": "+action+" is under way.")
	return nil
}
