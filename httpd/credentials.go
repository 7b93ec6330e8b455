package httpd

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// cookieName is the cookie that the page sets for its own origin.
const cookieName = "carillon_token"

// A visitor is who made a request, once its credential is checked.
type visitor struct {
	admin   bool      // came with the administrator's token
	user    string    // a JWT's subject, if it has one; empty for the administrator
	expires time.Time // when the credential ends; zero: never
}

// who names the credential: "administrator", or "jwt:" and the subject.
func (v visitor) who() string {
	if v.admin {
		return "administrator"
	}
	return "jwt:" + v.user
}

// authenticate finds a valid credential in any of the places where clients put
// one. A request without any is refused without counting towards a lockout.
func (s *Server) authenticate(ctx *fasthttp.RequestCtx) (visitor, error) {
	tokens := s.credentials(ctx)
	if len(tokens) == 0 {
		s.refused("no_credential")
		return visitor{}, refuse(fasthttp.StatusUnauthorized, "Unauthorized: no credential. Send Authorization: Bearer <token>, "+
			"X-HA-Access: <token>, or ?token=<token>.")
	}
	now, settings, address := s.now(), s.settings(), remote(ctx)
	if d := s.locks.lockedFor(address, now, settings); d > 0 {
		s.refused("locked_out")
		return visitor{}, lockedError(d)
	}
	reason := errors.New("the token is not valid")
	for _, token := range tokens {
		v, err := s.check(token, now, settings)
		if err == nil {
			return v, nil
		}
		reason = err
	}
	s.locks.fail(address, now, settings)
	s.refused("wrong_credential")
	return visitor{}, refuse(fasthttp.StatusUnauthorized, "Unauthorized: %s.", reason)
}

func lockedError(d time.Duration) *refusal {
	seconds := int((d + time.Second - 1) / time.Second)
	return refuse(fasthttp.StatusTooManyRequests, "Too many wrong credentials from this address; try again in %d s.", seconds).
		with("Retry-After", strconv.Itoa(seconds))
}

// check compares one credential with the administrator's token, in constant
// time and whatever the lengths, and then tries it as a JWT.
func (s *Server) check(token string, now time.Time, settings *Settings) (visitor, error) {
	if s.Token != nil {
		if want := s.Token(); want != "" {
			got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(want))
			if subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
				return visitor{admin: true}, nil
			}
		}
	}
	if !looksLikeJWT(token) {
		return visitor{}, errors.New("the token is not valid")
	}
	user, expires, err := settings.verifyJWT(token, now)
	return visitor{user: user, expires: expires}, err
}

// credentials returns what the request carries, at most one of each kind.
func (s *Server) credentials(ctx *fasthttp.RequestCtx) []string {
	var tokens []string
	add := func(token string) {
		if token != "" && !slices.Contains(tokens, token) {
			tokens = append(tokens, token)
		}
	}
	header := &ctx.Request.Header
	add(authorization(string(header.Peek("Authorization"))))
	add(string(header.Peek("X-HA-Access")))
	add(string(ctx.QueryArgs().Peek("api_password")))
	add(string(ctx.QueryArgs().Peek("token")))
	if cookie := header.Cookie(cookieName); len(cookie) > 0 && s.ownOrigin(ctx) {
		text, err := url.QueryUnescape(string(cookie))
		if err == nil {
			add(text)
		}
	}
	return tokens
}

// authorization returns the token of Bearer, or the password of Basic.
func authorization(header string) string {
	scheme, rest, _ := strings.Cut(header, " ")
	rest = strings.TrimSpace(rest)
	switch strings.ToLower(scheme) {
	case "bearer":
		return rest
	case "basic":
		text, err := base64.StdEncoding.DecodeString(rest)
		if err != nil {
			return ""
		}
		_, password, _ := strings.Cut(string(text), ":")
		return password
	}
	return ""
}

// ownOrigin reports whether the request comes from a page of this server, from
// no page at all, or from a named origin. Browsers send cookies along for
// every page of the same host, whatever its port.
func (s *Server) ownOrigin(ctx *fasthttp.RequestCtx) bool {
	origin := string(ctx.Request.Header.Peek("Origin"))
	if origin == "" {
		site := string(ctx.Request.Header.Peek("Sec-Fetch-Site"))
		return site == "" || site == "none" || site == "same-origin"
	}
	u, err := url.Parse(origin)
	if err == nil && u.Host != "" && strings.EqualFold(u.Host, string(ctx.Host())) {
		return true
	}
	return slices.Contains(s.settings().Origins, origin)
}

// remote returns the client's address, without the port.
func remote(ctx *fasthttp.RequestCtx) netip.Addr {
	address, _ := netip.AddrFromSlice(ctx.RemoteIP())
	return address.Unmap()
}
