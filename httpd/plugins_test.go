package httpd

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

// testPlugins is one adapter, mqtt. What is asked of it is appended to asked.
func testPlugins(asked *[]string) (list func() any, actions map[string]func(string) error) {
	ask := func(action string) func(string) error {
		return func(name string) error {
			if name == "off" {
				return &PluginError{PluginBusy, errors.New("adapter off is switched off")}
			}
			if name != "mqtt" {
				return &PluginError{PluginUnknown, errors.New("adapter " + name + ": there is no such adapter")}
			}
			*asked = append(*asked, action)
			return nil
		}
	}
	list = func() any { return []map[string]string{{"name": "mqtt"}} }
	return list, map[string]func(string) error{"restart": ask("restart"), "disable": ask("disable")}
}

func testPlugin(name string) any {
	if name != "mqtt" {
		return nil
	}
	return map[string]string{"name": "mqtt"}
}

// testDiscover finds how long it may look.
func testDiscover(_ context.Context, name string, limit time.Duration) (any, error) {
	kinds := map[string]PluginErrorKind{"busy": PluginBusy, "relay": PluginCannot, "broken": PluginFailed}
	if kind, fails := kinds[name]; fails {
		return nil, &PluginError{kind, errors.New("adapter " + name + " is " + name)}
	}
	if name != "mqtt" {
		return nil, &PluginError{PluginUnknown, errors.New("adapter " + name + ": there is no such adapter")}
	}
	return map[string]float64{"limit": limit.Seconds()}, nil
}

func TestOnlyTheAdministratorControlsAdapters(t *testing.T) {
	var asked []string
	h := startHome(t, Settings{JWTKeys: []JWTKey{mustKey(t, "HS256", testSecret)}}, func(s *Server) {
		s.Plugins, s.PluginActions = testPlugins(&asked)
		s.DiscoverPlugin = func(_ context.Context, name string, _ time.Duration) (any, error) {
			asked = append(asked, "discover")
			return nil, nil
		}
	})
	subject := "Authorization: Bearer " + signed(t, "ann")
	h.askBare("POST", "/api/plugins/mqtt/restart", "").want(t, "nobody", 401, "no credential")
	h.askBare("POST", "/api/plugins/mqtt/restart", "", subject).want(t, "a subject", 403, "Only the administrator may restart adapters.")
	h.askBare("POST", "/api/plugins/mqtt/discover", "", subject).want(t, "a subject", 403, "Only the administrator may discover adapters.")
	h.askBare("GET", "/api/plugins", "", subject).want(t, "a subject reads", 200, "mqtt")
	if len(asked) != 0 {
		t.Errorf("got %v asked for by others than the administrator", asked)
	}
	h.ask("POST", "/api/plugins/mqtt/disable", "").want(t, "administrator", 202, "disable is under way")
	if want := []string{"disable"}; !slices.Equal(asked, want) {
		t.Errorf("got %v, want %v", asked, want)
	}
}

// A discovery that has just begun does not hold up the end of the server.
func TestDiscoveryEndsWithTheServer(t *testing.T) {
	begun := make(chan struct{})
	h := startHome(t, Settings{}, func(s *Server) {
		s.Plugins, s.PluginActions = testPlugins(new([]string))
		s.DiscoverPlugin = func(ctx context.Context, _ string, _ time.Duration) (any, error) {
			close(begun)
			<-ctx.Done()
			return map[string]bool{"complete": false}, nil
		}
	})
	answered := make(chan answer, 1)
	go func() { answered <- h.ask("POST", "/api/plugins/mqtt/discover", `{"timeout":60}`) }()
	<-begun
	h.stop()
	(<-answered).want(t, "at the end of the server", 200, `{"complete":false}`)
}
