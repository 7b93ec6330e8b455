package httpd

import (
	"bytes"
	"context"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"carillon/runtime"
)

// A call is one request on its way through its handler.
type call struct {
	*fasthttp.RequestCtx
	visitor
	rest string // what follows the route's path: an entity id, an event type, …
}

// A handler answers a call, or returns why not; see errorStatus.
type handler func(s *Server, c *call) error

// A route is one row of the table of paths. A path that ends in '*' takes
// everything that begins with it and goes on.
type route struct {
	path           string
	get, post, del handler
	missing        handler // says that there is nothing, whatever the method; then there is nothing else
	open           bool    // no credential needed
	stream         string  // the format, for a route that opens a stream
	lasting        bool    // a request may take long, as a stream does

	narrow func(s *Server, rest string) *route // the route of one of the paths, where they differ in what they take
}

// A routeTable is searched from its top.
type routeTable []route

// newRoutes has no trailing slashes but where Home Assistant has one.
func newRoutes() routeTable {
	return routeTable{
		{path: "/api/stream", stream: formatHA},
		{path: "/api/stream/*", get: (*Server).getStream, post: (*Server).postStream, del: (*Server).deleteStream},
		{path: "/api/streams", get: (*Server).getStreams},
		{path: "/api/streams/*", get: (*Server).getStream, post: (*Server).postStream, del: (*Server).deleteStream},
		{path: "/subscribe_events", stream: formatFlat},
		{path: "/api/", get: (*Server).getStatus},
		{path: "/api/config", get: (*Server).getConfig},
		{path: "/api/components", get: (*Server).getComponents},
		{path: "/api/states", get: (*Server).getStates},
		{path: "/api/states/*", get: (*Server).getState, post: (*Server).postState, del: (*Server).deleteState},
		{path: "/api/events", get: (*Server).getEvents, post: (*Server).postEvents},
		{path: "/api/events/poll", get: (*Server).getPoll, post: (*Server).getPoll, lasting: true},
		{path: "/api/events/*", post: (*Server).postEvent},
		{path: "/api/services", get: (*Server).getServices},
		{path: "/api/services/*", narrow: (*Server).serviceRoute},
		{path: "/api/scripts", get: (*Server).getScripts},
		{path: "/api/plugins", get: (*Server).getPlugins},
		{path: "/api/plugins/*", narrow: (*Server).pluginRoute},
		{path: "/api/filters", get: (*Server).getFilters},
		{path: "/api/filters/explain", post: (*Server).postExplain},
		{path: "/api/error_log", get: (*Server).getErrorLog},
		{path: "/api/config/core/check_config", post: (*Server).postCheckConfig},
		{path: "/get_sse_stats", get: (*Server).getStats},
		{path: "/metrics", get: (*Server).getMetrics},
		{path: "/healthz", get: (*Server).getHealth, open: true},
		{path: "/readyz", get: (*Server).getReady, open: true},
		{path: "/local/*", get: (*Server).getLocal, open: true},
		{path: "/", get: (*Server).getPage, open: true},
	}
}

// find returns the route of a path and what follows it.
func (t routeTable) find(path string) (*route, string) {
	for i := range t {
		r := &t[i]
		if prefix, ok := strings.CutSuffix(r.path, "*"); ok {
			if rest, ok := strings.CutPrefix(path, prefix); ok && (rest != "" || r.open) {
				return r, rest
			}
		} else if path == r.path {
			return r, ""
		}
	}
	return nil, ""
}

// allow lists the route's methods, as the Allow header does.
func (r *route) allow() string {
	methods := "OPTIONS"
	if r.del != nil {
		methods = "DELETE, " + methods
	}
	if r.post != nil || r.stream != "" {
		methods = "POST, " + methods
	}
	if r.get != nil || r.stream != "" {
		methods = "GET, HEAD, " + methods
	}
	return methods
}

// handler returns what answers the method; nil when nothing does.
func (r *route) handler(ctx *fasthttp.RequestCtx) handler {
	switch {
	case r.missing != nil:
		return r.missing
	case r.stream != "" && (ctx.IsGet() || ctx.IsHead() || ctx.IsPost()):
		return func(s *Server, c *call) error { return s.openStream(c, r.stream) }
	case ctx.IsGet(), ctx.IsHead():
		return r.get
	case ctx.IsPost():
		return r.post
	case ctx.IsDelete():
		return r.del
	}
	return nil
}

// handle answers every request that fasthttp could read.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	began := time.Now()
	ctx.Response.Header.Set("X-Content-Type-Options", "nosniff")
	defer s.finish(ctx, began)
	s.cors(ctx, ctx.Response.Header.Set)
	r, rest := s.routes.find(string(ctx.Path()))
	if r == nil {
		writeError(ctx, s.routes.notFound(string(ctx.Path())))
		return
	}
	if r.narrow != nil {
		r = r.narrow(s, rest)
	}
	if ctx.IsOptions() {
		s.preflight(ctx, r.allow())
		return
	}
	if err := s.dispatch(&call{RequestCtx: ctx, rest: rest}, r); err != nil {
		refused := errorStatus(err)
		if refused.status == fasthttp.StatusInternalServerError {
			s.log.Warn("answering a request", "method", string(ctx.Method()), "path", loggable(ctx.Path()), "err", err)
		}
		s.writeRefusal(ctx, r, refused)
	}
}

func (s *Server) dispatch(c *call, r *route) error {
	handle := r.handler(c.RequestCtx)
	if handle == nil {
		return refuse(fasthttp.StatusMethodNotAllowed, "%s takes %s.", c.Path(), r.allow()).with("Allow", r.allow())
	}
	if s.stopping.Load() && r.path != "/healthz" {
		s.refused("stopping")
		return refuse(fasthttp.StatusServiceUnavailable, "Carillon is stopping.").with("Retry-After", "5")
	}
	if err := s.refuseAtDoor(c.RequestCtx, r); err != nil {
		return err
	}
	if !r.open {
		v, err := s.authenticate(c.RequestCtx)
		if err != nil {
			return err
		}
		c.visitor = v
	}
	if encoding := c.Request.Header.ContentEncoding(); len(encoding) > 0 && !strings.EqualFold(string(encoding), "identity") {
		return refuse(fasthttp.StatusUnsupportedMediaType, "A body with Content-Encoding is not supported; send it plain.")
	}
	return handle(s, c)
}

// refuseAtDoor refuses the first request of a connection that came too soon
// behind others. One that came while descriptors are short is answered, unless
// it wants to stay.
func (s *Server) refuseAtDoor(ctx *fasthttp.RequestCtx, r *route) error {
	conn, refused := ctx.Conn().(*refusedConn)
	if !refused {
		return nil
	}
	ctx.SetConnectionClose()
	if conn.reason == noDescriptors && r.stream == "" && !r.lasting {
		return nil
	}
	return s.later(conn.reason)
}

// writeRefusal answers with an error in the form of the route. A stream that is
// refused only for now gets 200 and a time to come back: any other status ends
// a browser's EventSource for good.
func (s *Server) writeRefusal(ctx *fasthttp.RequestCtx, r *route, refused *refusal) {
	passing := refused.status == fasthttp.StatusServiceUnavailable || refused.status == fasthttp.StatusTooManyRequests
	switch {
	case r.stream != "" && passing && !ctx.IsHead():
		s.refuseStream(ctx, r.stream, refused)
	case r.stream == formatFlat && refused.status == fasthttp.StatusUnauthorized:
		writeError(ctx, refused)
		s.writeFlatUnauthorized(ctx, refused.msg)
	default:
		writeError(ctx, refused)
	}
}

// finish recovers from a handler's panic, counts the request, and tells the
// debug log of it: the path without the query, which may hold a credential.
func (s *Server) finish(ctx *fasthttp.RequestCtx, began time.Time) {
	if p := recover(); p != nil {
		s.metrics.GetOrCreateCounter("carillon_http_panics_total").Inc()
		s.log.Error("a request's handler panicked", "path", loggable(ctx.Path()), "panic", p, "stack", string(debug.Stack()))
		writeError(ctx, refuse(fasthttp.StatusInternalServerError, "Internal error; the log has more."))
	}
	s.countRequest(ctx, time.Since(began))
	if s.log.Enabled(context.Background(), slog.LevelDebug) {
		s.log.Debug("request", "method", string(ctx.Method()), "path", loggable(ctx.Path()),
			"status", ctx.Response.StatusCode(), "remote", remote(ctx), "took", time.Since(began))
	}
}

// loggable returns a path up to anything that looks like a parameter: a client
// that escapes the '?' would have its credential in the path.
func loggable(path []byte) string {
	if i := bytes.IndexAny(path, "?&=;"); i >= 0 {
		path = path[:i]
	}
	return string(path)
}

func (t routeTable) notFound(path string) *refusal {
	other := strings.TrimSuffix(path, "/")
	if other == path {
		other = path + "/"
	}
	if r, _ := t.find(other); r != nil {
		return refuse(fasthttp.StatusNotFound, "There is nothing at %.200s; did you mean %.200s?", path, other)
	}
	return refuse(fasthttp.StatusNotFound, "There is nothing at %.200s.", path)
}

// story returns the context of what the call brings about.
func (c *call) story() runtime.Context { return runtime.NewContext("", c.user) }

// patience bounds what the call waits for.
func (c *call) patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), requestTime)
}
