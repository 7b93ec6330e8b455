package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/mochi-mqtt/server/v2/listeners"
)

// A webListener takes MQTT over WebSocket (MQTT 3.1.1, 6). It stands in for mochi's, which tells nobody
// that its address is taken, and takes any web page for a device.
type webListener struct {
	// Static after construction.
	address string
	tls     *tls.Config // nil: none
	allows  func(r *http.Request) bool

	// Static after Init.
	socket net.Listener
	server *http.Server
	log    *slog.Logger

	establish listeners.EstablishFn // static after Serve began

	callers
}

// headerPatience is how long a handshake may take.
const headerPatience = 10 * time.Second

// ID implements listeners.Listener.
func (l *webListener) ID() string { return "websocket" }

// Address implements listeners.Listener.
func (l *webListener) Address() string { return l.address }

// Protocol implements listeners.Listener.
func (l *webListener) Protocol() string { return "ws" }

// Init implements listeners.Listener: it opens the socket.
func (l *webListener) Init(log *slog.Logger) (err error) {
	if l.socket, err = net.Listen("tcp", l.address); err != nil {
		return err
	}
	if l.tls != nil {
		l.socket = tls.NewListener(l.socket, l.tls)
	}
	l.log = log
	l.server = &http.Server{
		Handler: http.HandlerFunc(l.handle), ReadHeaderTimeout: headerPatience,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	return nil
}

// Serve implements listeners.Listener.
func (l *webListener) Serve(establish listeners.EstablishFn) {
	l.establish = establish
	if err := l.server.Serve(l.socket); !errors.Is(err, http.ErrServerClosed) {
		l.log.Error("no more WebSocket clients are taken", "error", err)
	}
}

// Close implements listeners.Listener.
func (l *webListener) Close(closeClients listeners.CloseFn) {
	l.server.Close()
	l.socket.Close() // also if Serve was never called
	closeClients(l.ID())
	l.end()
}

// handle serves one client.
func (l *webListener) handle(w http.ResponseWriter, r *http.Request) {
	upgrader := websocket.Upgrader{Subprotocols: []string{"mqtt"}, CheckOrigin: l.allows}
	c, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the client was told
	}
	conn := c.NetConn()
	l.serve(conn, func() { hear(l.ID(), &webConn{Conn: conn, c: c}, l.establish, l.log) })
}

// A webConn is the stream that a WebSocket's messages make together.
type webConn struct {
	net.Conn
	c *websocket.Conn
	r io.Reader // of the present message; nil: there is none
}

// Read implements net.Conn.
func (c *webConn) Read(p []byte) (int, error) {
	for {
		if c.r == nil {
			kind, r, err := c.c.NextReader()
			if err != nil {
				return 0, err
			}
			if kind != websocket.BinaryMessage {
				return 0, errors.New("a WebSocket client sends text, where MQTT is binary")
			}
			c.r = r
		}
		n, err := c.r.Read(p)
		if errors.Is(err, io.EOF) {
			c.r, err = nil, nil
		}
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
}

// Write implements net.Conn.
func (c *webConn) Write(p []byte) (int, error) {
	if err := c.c.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// allowsOrigin reports whether who asks is no browser, or shows a page of this host or of an
// origin that the configuration allows. A browser connects for any page that asks it to, also to loopback, where
// a broker without users takes whoever comes. There a public name is no proof of being this host: its owner can
// have it point here (DNS rebinding).
func (k *broker) allowsOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.ContainsFunc(k.b.settings.Origins, func(o string) bool { return o == "*" || strings.EqualFold(o, origin) }) {
		return true
	}
	u, err := url.Parse(origin)
	if err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host) && (len(k.b.settings.users) > 0 || ofHome(u.Hostname())) {
		return true
	}
	k.b.reports.about("origin", "a web page was refused", origin, fmt.Errorf("to let it in, name its origin at websocket_origins"))
	return false
}

// homeDomains are those that nobody outside can have a name in (RFC 6761, RFC 6762, RFC 8375), or that homes use as
// if that were so.
var homeDomains = []string{".localhost", ".local", ".home.arpa", ".internal", ".lan", ".home", ".fritz.box"}

// ofHome reports whether a host is an address, or a name that only the home's own network has.
func ofHome(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(host, ".") {
		return true
	}
	host = strings.ToLower(host)
	return slices.ContainsFunc(homeDomains, func(domain string) bool { return strings.HasSuffix(host, domain) })
}

// checkOrigins checks websocket_origins.
func (r *reader) checkOrigins() {
	if len(r.Origins) > 0 && r.ListenWS == "" {
		r.complain("/websocket_origins", "must not be there without listen_websocket")
	}
	for i, origin := range r.Origins {
		u, err := url.Parse(origin)
		if origin != "*" && (err != nil || u.Host == "" || origin != u.Scheme+"://"+u.Host) {
			r.complain(fmt.Sprintf("/websocket_origins/%d", i), "must be scheme://host[:port] as browsers write it, such as https://dash.lan, or * for all, and is %.100q", origin)
		}
	}
}
