package httpd

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestCredentialForms(t *testing.T) {
	h := startHome(t, Settings{LockoutAfter: -1}, nil)
	basic := func(user, password string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	for _, c := range []struct {
		query, header string
		status        int
	}{
		{"", "", 401},
		{"", "Authorization: Bearer " + testToken, 200},
		{"", "authorization: bearer " + testToken, 200},
		{"", "X-HA-Access: " + testToken, 200},
		{"", "x-ha-access: " + testToken, 200},
		{"?api_password=" + testToken, "", 200},
		{"?token=" + testToken, "", 200},
		{"", "Cookie: a=b; " + cookieName + "=" + testToken, 200},
		{"", basic("anyone", testToken), 200},
		{"", basic(testToken, ""), 401},
		{"", "Authorization: Basic %%%", 401},
		{"", "Authorization: Digest " + testToken, 401},
		{"", "Authorization: Bearer ", 401},
		{"?token=", "", 401},
		{"?token=" + testToken[1:], "", 401},
		{"?token=" + testToken + "x", "", 401},
		{"?token=wrong", "X-HA-Access: " + testToken, 200},
	} {
		got := h.askBare("GET", "/api/"+c.query, "", c.header)
		got.want(t, c.query+" "+c.header, c.status, "message")
	}
}

func TestEveryRouteWantsACredential(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	for _, r := range newRoutes() {
		path := strings.Replace(r.path, "*", "x/y", 1)
		for _, method := range []string{"GET", "POST", "DELETE"} {
			got := h.askBare(method, path, "")
			if r.open && got.status == 401 || !r.open && got.status != 401 && got.status != 405 {
				t.Errorf("%s %s without a credential: got %d %s", method, path, got.status, got.body)
			}
		}
		if r.narrow != nil {
			r = *r.narrow(h.server, "x/y")
		}
		if got := h.askBare("OPTIONS", path, ""); got.status != 204 || got.header.Get("Allow") != r.allow() {
			t.Errorf("OPTIONS %s: got %d, Allow %q, want 204, %q", path, got.status, got.header.Get("Allow"), r.allow())
		}
	}
	got := h.askBare("GET", "/subscribe_events?token=wrong", "")
	got.want(t, "flat 401", 401, `{"success":false,"message":"Unauthorized","error":"Unauthorized: the token is not valid.","timestamp":"`)
}

// A server without a token must not take an empty one.
func TestNoTokenIsNoCredential(t *testing.T) {
	h := startHome(t, Settings{}, func(s *Server) { s.Token = func() string { return "" } })
	for _, header := range []string{"Authorization: Bearer ", "X-HA-Access: ", "Authorization: Basic Og==", "X-HA-Access: x"} {
		if got := h.askBare("GET", "/api/", "", header); got.status != 401 {
			t.Errorf("%q: got %d, want 401", header, got.status)
		}
	}
}

func TestCookieIsForOwnPagesOnly(t *testing.T) {
	h := startHome(t, Settings{Origins: []string{"https://panel.example"}}, nil)
	cookie := "Cookie: " + cookieName + "=" + testToken
	for _, c := range []struct {
		header string
		status int
	}{
		{"Accept: */*", 200},
		{"Origin: http://" + h.address, 200},
		{"Origin: https://panel.example", 200},
		{"Origin: http://127.0.0.1:1", 401},
		{"Origin: null", 401},
		{"Sec-Fetch-Site: same-origin", 200},
		{"Sec-Fetch-Site: none", 200},
		{"Sec-Fetch-Site: same-site", 401},
		{"Sec-Fetch-Site: cross-site", 401},
	} {
		if got := h.askBare("GET", "/api/", "", cookie, c.header); got.status != c.status {
			t.Errorf("%s: got %d, want %d", c.header, got.status, c.status)
		}
	}
}

func TestPageSetsCookie(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	got := h.askBare("GET", "/?token="+testToken, "")
	if got.status != 303 || got.header.Get("Location") != "/" {
		t.Fatalf("got %d to %q, want 303 to /", got.status, got.header.Get("Location"))
	}
	cookie := got.header.Get("Set-Cookie")
	for _, part := range []string{cookieName + "=", "HttpOnly", "SameSite=Strict", "path=/"} {
		if !strings.Contains(cookie, part) {
			t.Errorf("got cookie %q, want %s in it", cookie, part)
		}
	}
	value, _, _ := strings.Cut(cookie, ";")
	h.askBare("GET", "/api/", "", "Cookie: "+value).want(t, "with the cookie", 200, "running")
	h.askBare("GET", "/?token=wrong", "").want(t, "wrong token", 401, "not valid")
}

// testClock is a clock that tests move.
type testClock struct{ offset atomic.Int64 }

func (c *testClock) now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *testClock) advance(d time.Duration) { c.offset.Add(int64(d)) }

func TestLockout(t *testing.T) {
	clock := &testClock{}
	h := startHome(t, Settings{LockoutAfter: 3, LockoutWindow: time.Minute, LockoutTime: time.Minute}, func(s *Server) { s.Now = clock.now })
	for range 5 {
		h.askBare("GET", "/api/", "").want(t, "no credential", 401, "no credential")
	}
	h.ask("GET", "/api/", "").want(t, "missing credentials lock nobody out", 200, "running")
	for range 3 {
		h.askBare("GET", "/api/?token=guess", "").want(t, "wrong credential", 401, "not valid")
	}
	locked := h.ask("GET", "/api/", "")
	locked.want(t, "locked out", 429, "Too many wrong credentials")
	if got := locked.header.Get("Retry-After"); got != "60" {
		t.Errorf("got Retry-After %q, want 60", got)
	}
	h.ask("GET", "/?token="+testToken, "").want(t, "page, locked out", 429, "Too many")
	h.askBare("GET", "/healthz", "").want(t, "health, locked out", 200, "ok")

	stream := h.open("/api/stream")
	if !strings.HasPrefix(stream.head, "HTTP/1.1 200 OK\r\n") {
		t.Errorf("stream, locked out: got head %q, want 200", stream.head)
	}
	frames := stream.ends()
	if len(frames) != 2 || frames[0].retry < time.Minute || !strings.Contains(frames[1].data, "Too many") {
		t.Errorf("stream, locked out: got %v, want retry of a minute and a comment", frames)
	}
	clock.advance(time.Minute)
	h.ask("GET", "/api/", "").want(t, "after the window", 200, "running")
	h.askBare("GET", "/api/?token=guess", "").want(t, "wrong again", 401, "not valid")
	h.ask("GET", "/api/", "").want(t, "failures are forgotten", 200, "running")
	if strings.Contains(h.log.String(), testToken) || strings.Contains(h.log.String(), "guess") {
		t.Error("a credential is in the log")
	}
	h.ask("GET", "/metrics", "").want(t, "counted", 200, `carillon_http_refused_total{reason="wrong_credential"} 4`)
}

func TestLockoutTableIsBounded(t *testing.T) {
	var l lockouts
	s := Settings{LockoutAfter: 2}.withDefaults()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	address := func(i int) netip.Addr {
		return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
	}
	for i := range maxLocks + 100 {
		now = now.Add(time.Millisecond)
		l.fail(address(i), now, s)
		l.fail(address(i), now, s)
	}
	if n := len(l.byAddress); n > maxLocks {
		t.Errorf("got %d addresses, want at most %d", n, maxLocks)
	}
	if l.lockedFor(address(maxLocks+99), now, s) == 0 {
		t.Error("the newest address is not locked out")
	}
	if l.lockedFor(address(0), now, s) != 0 {
		t.Error("the oldest address still has its place")
	}
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::ffff:1")
	l.fail(a, now, s)
	l.fail(b, now, s)
	if l.lockedFor(netip.MustParseAddr("2001:db8::2"), now, s) == 0 {
		t.Error("addresses of one /64 network do not count together")
	}
}

type jwtKeys struct {
	secret []byte
	rsa    *rsa.PrivateKey
	ec     *ecdsa.PrivateKey
	ed     ed25519.PrivateKey
	rsaPEM string
	parsed []JWTKey
}

func makeJWTKeys(t *testing.T) (k jwtKeys) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	toPEM := func(public any) string {
		der, err := x509.MarshalPKIXPublicKey(public)
		must(err)
		return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	}
	var err error
	k.secret = []byte(strings.Repeat("s3cr", 8))
	k.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	_, k.ed, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	k.rsaPEM = toPEM(k.rsa.Public())
	for _, c := range []struct{ algorithm, text string }{
		{"HS256", string(k.secret)}, {"RS256", k.rsaPEM}, {"ES256", toPEM(k.ec.Public())}, {"EdDSA", toPEM(k.ed.Public())},
	} {
		key, err := ParseJWTKey(c.algorithm, "", c.text)
		must(err)
		k.parsed = append(k.parsed, key)
	}
	return k
}

func TestJWT(t *testing.T) {
	k := makeJWTKeys(t)
	h := startHome(t, Settings{JWTKeys: k.parsed, JWTIssuer: "home", LockoutAfter: -1}, nil)
	soon := jwt.NewNumericDate(time.Now().Add(time.Hour))
	claims := jwt.MapClaims{"sub": "anna", "iss": "home", "exp": soon}
	sign := func(method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
		t.Helper()
		text, err := jwt.NewWithClaims(method, claims).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	good := sign(jwt.SigningMethodHS256, k.secret, claims)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	for _, c := range []struct {
		what, token string
		status      int
		part        string
	}{
		{"HS256", good, 200, "running"},
		{"RS256", sign(jwt.SigningMethodRS256, k.rsa, claims), 200, "running"},
		{"ES256", sign(jwt.SigningMethodES256, k.ec, claims), 200, "running"},
		{"EdDSA", sign(jwt.SigningMethodEdDSA, k.ed, claims), 200, "running"},
		{"none", sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims), 401, "signature"},
		{"none without a signature", parts[0] + "." + parts[1] + ".", 401, "token"},
		{"public RSA key as secret", sign(jwt.SigningMethodHS256, []byte(k.rsaPEM), claims), 401, "signature"},
		{"HS512", sign(jwt.SigningMethodHS512, k.secret, claims), 401, "signature"},
		{"another RSA key", sign(jwt.SigningMethodRS256, other, claims), 401, "signature"},
		{"expired", sign(jwt.SigningMethodHS256, k.secret, jwt.MapClaims{"iss": "home", "exp": time.Now().Add(-time.Minute).Unix()}), 401, "expired"},
		{"without exp", sign(jwt.SigningMethodHS256, k.secret, jwt.MapClaims{"iss": "home"}), 401, "exp is always required"},
		{"not yet", sign(jwt.SigningMethodHS256, k.secret, jwt.MapClaims{"iss": "home", "exp": soon, "nbf": time.Now().Add(time.Minute).Unix()}), 401, "not valid yet"},
		{"another issuer", sign(jwt.SigningMethodHS256, k.secret, jwt.MapClaims{"iss": "shed", "exp": soon}), 401, "issuer"},
		{"changed claims", parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"home","exp":99999999999}`)) + "." + parts[2], 401, "signature"},
		{"no base64", "ey!.!.!", 401, "malformed"},
		{"dots", "ey..", 401, "malformed"},
	} {
		h.askBare("GET", "/api/?token="+c.token, "").want(t, c.what, c.status, c.part)
		h.askBare("GET", "/api/", "", "Authorization: Bearer "+c.token).want(t, c.what+" as bearer", c.status, c.part)
	}
	h.askBare("POST", "/api/states/light.x", `{"state":"on"}`, "X-HA-Access: "+good).want(t, "the subject is the user", 201, `"user_id":"anna"`)
	if strings.Contains(h.log.String(), good) {
		t.Error("a JWT is in the log")
	}
}

func TestJWTKeyOfAnotherKindIsNeverUsed(t *testing.T) {
	k := makeJWTKeys(t)
	s := Settings{JWTKeys: []JWTKey{{Algorithm: "HS256", Key: &k.rsa.PublicKey}, {Algorithm: "RS256", Key: []byte("x")}}}.withDefaults()
	token, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix()}).SignedString(k.rsa)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.verifyJWT(token, time.Now()); err == nil {
		t.Error("a token was verified by a key that is not its algorithm's")
	}
}

func TestParseJWTKeyRefuses(t *testing.T) {
	k := makeJWTKeys(t)
	for _, c := range []struct{ algorithm, text, part string }{
		{"HS256", "short", "at least 32"},
		{"HS256", k.rsaPEM, "PEM key is no secret"},
		{"RS256", "rubbish", "reading RS256 key"},
		{"ES256", k.rsaPEM, "reading ES256 key"},
		{"none", "", "must be HS256"},
	} {
		if _, err := ParseJWTKey(c.algorithm, "", c.text); err == nil || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%s %.20q: got %v, want an error with %q", c.algorithm, c.text, err, c.part)
		}
	}
}

// A stream ends when the credential that opened it does.
func TestStreamEndsWithItsToken(t *testing.T) {
	k := makeJWTKeys(t)
	h := startHome(t, Settings{JWTKeys: k.parsed}, nil)
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"exp": time.Now().Add(2 * time.Second).Unix()}).SignedString(k.secret)
	if err != nil {
		t.Fatal(err)
	}
	h.openRequest("GET", "/api/stream", "", "Authorization: Bearer "+token).ends()
}
