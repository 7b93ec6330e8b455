package httpd

import (
	"cmp"
	"slices"
	"time"

	"github.com/valyala/fasthttp"

	"carillon/httpd/broadcast"
	"carillon/runtime"
)

type listener struct {
	Event string `json:"event"`
	Count int    `json:"listener_count"`
}

// getEvents lists how many streams listen to which event types. As in Home
// Assistant, those that take every type stand under "*".
func (s *Server) getEvents(c *call) error {
	counts := map[string]int{}
	s.hub.Streams(func(info broadcast.StreamInfo) {
		if len(info.Selection.Types) == 0 {
			counts["*"]++
		}
		for _, name := range info.Selection.Types {
			counts[name]++
		}
	})
	list := make([]listener, 0, len(counts))
	for name, n := range counts {
		list = append(list, listener{name, n})
	}
	slices.SortFunc(list, func(a, b listener) int { return cmp.Compare(a.Event, b.Event) })
	return writeJSON(c, list)
}

// clientStats is one stream as /get_sse_stats tells of it.
type clientStats struct {
	ID                 string  `json:"id"`
	IP                 string  `json:"ip"`
	User               string  `json:"user,omitempty"`
	Format             string  `json:"format"`
	ConnectedAt        string  `json:"connectedAt"`
	LastPingAt         *string `json:"lastPingAt"`
	SubscriptionCount  int     `json:"subscriptionCount"`
	ConnectionDuration int64   `json:"connectionDuration"` // ms
	MessagesSent       uint64  `json:"messagesSent"`
	BytesSent          uint64  `json:"bytesSent"`
	LastActivity       string  `json:"lastActivity"`
	Position           uint64  `json:"position"`
	Lag                uint64  `json:"lag"` // events
}

// getStats tells of the open streams. SubscriptionStats counts them by what
// they select: "event:state_changed", "domain:light", "entity:light.hall".
func (s *Server) getStats(c *call) error {
	clients := []clientStats{}
	subscriptions := map[string]int{}
	now := s.now()
	s.hub.Streams(func(info broadcast.StreamInfo) {
		client := clientStats{
			ID: info.ID, IP: info.Remote, User: info.Label, Format: info.Format,
			ConnectedAt: stamp(info.ConnectedAt), LastActivity: stamp(info.LastSent),
			ConnectionDuration: now.Sub(info.ConnectedAt).Milliseconds(),
			MessagesSent:       info.Events, BytesSent: info.Bytes, Position: info.Position, Lag: info.LagEvents,
		}
		if !info.LastPing.IsZero() {
			at := stamp(info.LastPing)
			client.LastPingAt = &at
		}
		client.SubscriptionCount = subscribe(subscriptions, info.Selection)
		clients = append(clients, client)
	})
	return writeJSON(c, map[string]any{
		"success":   true,
		"timestamp": stamp(now),
		"statistics": map[string]any{
			// No stream opens without a credential.
			"totalClients": len(clients), "authenticatedClients": len(clients),
			"clientStats": clients, "subscriptionStats": subscriptions,
		},
	})
}

// subscribe counts what a selection names and returns how many names it has.
func subscribe(counts map[string]int, sel broadcast.Selection) (n int) {
	for prefix, names := range map[string][]string{"event:": sel.Types, "domain:": sel.Domains, "entity:": sel.Entities} {
		for _, name := range names {
			counts[prefix+name]++
			n++
		}
	}
	return n
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// writeFlatUnauthorized replaces the body by the one that readers of
// /subscribe_events know.
func (s *Server) writeFlatUnauthorized(ctx *fasthttp.RequestCtx, why string) {
	b := append([]byte(nil), `{"success":false,"message":"Unauthorized","error":`...)
	b = runtime.AppendString(b, why)
	b = appendTimestamp(append(b, ','), s.now())
	ctx.SetBody(append(b, '}'))
}
