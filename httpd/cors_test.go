package httpd

import (
	"strings"
	"testing"
)

func TestCORS(t *testing.T) {
	h := startHome(t, Settings{Origins: []string{"https://panel.example"}}, nil)
	const named, foreign = "Origin: https://panel.example", "Origin: https://evil.example"
	preflight := h.askBare("OPTIONS", "/api/stream", "", named, "Access-Control-Request-Method: GET",
		"Access-Control-Request-Headers: last-event-id")
	if preflight.status != 204 {
		t.Errorf("preflight: got %d, want 204", preflight.status)
	}
	for _, name := range []string{"Last-Event-ID", "Authorization", "X-HA-Access", "Content-Type"} {
		if got := preflight.header.Get("Access-Control-Allow-Headers"); !strings.Contains(got, name) {
			t.Errorf("preflight: got allowed headers %q, want %s among them", got, name)
		}
	}
	h.askBare("OPTIONS", "/api/stream", "", foreign, "Access-Control-Request-Method: GET").
		want(t, "preflight of another origin", 403, "not among")
	for _, c := range []struct{ header, origin, credentials string }{
		{named, "https://panel.example", "true"},
		{foreign, "", ""},
		{"", "", ""},
	} {
		got := h.ask("GET", "/api/", "", c.header)
		if got.header.Get("Access-Control-Allow-Origin") != c.origin || got.header.Get("Access-Control-Allow-Credentials") != c.credentials {
			t.Errorf("%q: got %v, want origin %q, credentials %q", c.header, got.header, c.origin, c.credentials)
		}
		if got.header.Get("Vary") != "Origin" {
			t.Errorf("%q: got Vary %q, want Origin", c.header, got.header.Get("Vary"))
		}
	}
	h.askBare("GET", "/api/", "", named).want(t, "401", 401, "no credential")
	stream := h.open("/api/stream", named)
	for _, line := range []string{"Access-Control-Allow-Origin: https://panel.example\r\n", "Access-Control-Allow-Credentials: true\r\n", "Vary: Origin\r\n"} {
		if !strings.Contains(stream.head, line) {
			t.Errorf("stream: got head %q, want %q in it", stream.head, line)
		}
	}
	h.server.SetSettings(Settings{Origins: []string{"*"}})
	got := h.ask("GET", "/api/", "", foreign)
	if got.header.Get("Access-Control-Allow-Origin") != "*" || got.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("every origin: got %v, want * without credentials", got.header)
	}
	h.server.SetSettings(Settings{})
	if got := h.ask("GET", "/api/", "", named); got.header.Get("Access-Control-Allow-Origin") != "" || got.header.Get("Vary") != "" {
		t.Errorf("no origins: got %v, want no CORS headers", got.header)
	}
}
