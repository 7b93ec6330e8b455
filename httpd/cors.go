package httpd

import (
	"slices"

	"github.com/valyala/fasthttp"
)

const (
	corsMethods = "GET, HEAD, POST, DELETE, OPTIONS"
	corsHeaders = "Accept, Authorization, Cache-Control, Content-Type, Last-Event-ID, X-HA-Access, X-Requested-With"
	corsExposed = "Location, Retry-After, X-Stream-Id"
)

// cors calls set with the response headers by which a browser lets the page
// that asked read the answer. A named origin may send cookies along; "*" may not.
func (s *Server) cors(ctx *fasthttp.RequestCtx, set func(name, value string)) (allowed bool) {
	origins := s.settings().Origins
	if len(origins) == 0 {
		return false
	}
	set("Vary", "Origin")
	origin := string(ctx.Request.Header.Peek("Origin"))
	switch {
	case origin == "":
		return false
	case slices.Contains(origins, origin):
		set("Access-Control-Allow-Origin", origin)
		set("Access-Control-Allow-Credentials", "true")
	case slices.Contains(origins, "*"):
		set("Access-Control-Allow-Origin", "*")
	default:
		return false
	}
	set("Access-Control-Expose-Headers", corsExposed)
	return true
}

// preflight answers OPTIONS: what may be asked of a path, and to a browser that
// asks for a page of another origin, whether that page may.
func (s *Server) preflight(ctx *fasthttp.RequestCtx, allow string) {
	header := &ctx.Response.Header
	header.Set("Allow", allow)
	ctx.SetStatusCode(fasthttp.StatusNoContent)
	if len(ctx.Request.Header.Peek("Access-Control-Request-Method")) == 0 {
		return
	}
	if header.Peek("Access-Control-Allow-Origin") == nil {
		writeError(ctx, refuse(fasthttp.StatusForbidden, "This origin is not among the configured ones."))
		return
	}
	header.Set("Access-Control-Allow-Methods", corsMethods)
	header.Set("Access-Control-Allow-Headers", corsHeaders)
	header.Set("Access-Control-Max-Age", "600")
	if string(ctx.Request.Header.Peek("Access-Control-Request-Private-Network")) == "true" {
		header.Set("Access-Control-Allow-Private-Network", "true")
	}
}
