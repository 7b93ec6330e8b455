package httpd

import (
	"net/url"

	"github.com/valyala/fasthttp"

	"carillon/httpd/ui"
)

// getPage answers at "/". With a token in the address it hands the token to the
// browser as a cookie that scripts can't read and other sites can't use, and
// sends it to the same address without the token.
func (s *Server) getPage(c *call) error {
	if c.QueryArgs().Has("token") {
		if _, err := s.authenticate(c.RequestCtx); err != nil {
			return err
		}
		var cookie fasthttp.Cookie
		cookie.SetKey(cookieName)
		cookie.SetValue(url.QueryEscape(string(c.QueryArgs().Peek("token"))))
		cookie.SetPath("/")
		cookie.SetHTTPOnly(true)
		cookie.SetSecure(c.IsTLS())
		cookie.SetSameSite(fasthttp.CookieSameSiteStrictMode)
		cookie.SetMaxAge(365 * 24 * 3600)
		c.Response.Header.SetCookie(&cookie)
		c.Response.Header.Set("Referrer-Policy", "no-referrer")
		c.Response.Header.Set("Location", "/")
		c.SetStatusCode(fasthttp.StatusSeeOther)
		return nil
	}
	if file, err := wwwFolder(s.WWW).Open("index.html"); err == nil {
		file.Close()
		c.Response.Header.Set("Location", "/local/")
		c.SetStatusCode(fasthttp.StatusFound)
		return nil
	}
	c.SetContentType("text/html; charset=utf-8")
	c.Response.Header.Set("Cache-Control", "no-cache")
	c.Response.Header.Set("Referrer-Policy", "no-referrer")
	c.Response.Header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'")
	c.SetBody(ui.Page)
	return nil
}
