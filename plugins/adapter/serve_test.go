package adapter

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	"carillon/plugins/adapter/wire"
)

// TestMain makes the test binary an adapter when a host started it.
func TestMain(m *testing.M) {
	switch os.Getenv("ADAPTER_TEST") {
	case "lamp":
		Serve(&lamp{})
	case "flood":
		Serve(&flood{})
	}
	os.Exit(m.Run())
}

// lamp is an adapter with one lamp, which takes commands.
type lamp struct {
	config struct {
		Fail string `json:"fail"`
		Last int    `json:"last"`
	}
}

func (l *lamp) Describe() Description {
	return Description{Name: "lamp", Version: "1.0", Summary: "A lamp.", Schema: []byte(`{"type":"object"}`)}
}

func (l *lamp) Configure(_ context.Context, c Config) error {
	next := l.config
	if err := c.Decode(&next); err != nil {
		return err
	}
	if !c.ValidateOnly {
		l.config = next
	}
	return nil
}

func (l *lamp) Run(ctx context.Context, h *Host) error {
	h.OnCommand(func(ctx context.Context, c Command) (any, error) {
		state := strings.TrimPrefix(c.Service, "turn_")
		return map[string]any{"was": "off"}, h.Set(ctx, State{EntityID: c.EntityID, State: state})
	})
	if err := h.Declare(ctx, Device{ID: "l", Entities: []Entity{{ID: "light.l", Services: []string{"turn_on"}}}}); err != nil {
		return err
	}
	if l.config.Fail != "" {
		return errors.New(l.config.Fail)
	}
	<-ctx.Done()
	for range l.config.Last {
		if err := h.Fire(ctx, "last", nil); err != nil {
			return err
		}
	}
	return nil
}

// start starts this binary as an adapter, as the host does.
func start(t testing.TB, which string) (*plugin.Client, wire.AdapterClient) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{"ADAPTER_TEST=" + which}
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: Handshake, Plugins: plugin.PluginSet{PluginName: &Plugin{}},
		Cmd: cmd, SkipHostEnv: true, AutoMTLS: true, AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger: hclog.NewNullLogger(), StartTimeout: 20 * time.Second, UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: t.TempDir()},
	})
	t.Cleanup(client.Kill)
	protocol, err := client.Client()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := protocol.Dispense(PluginName)
	if err != nil {
		t.Fatal(err)
	}
	return client, raw.(wire.AdapterClient)
}

func exited(t *testing.T, client *plugin.Client, within time.Duration) {
	t.Helper()
	for end := time.Now().Add(within); !client.Exited(); {
		if time.Now().After(end) {
			t.Fatalf("the process lives after %v", within)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func TestServeAProcess(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	client, a := start(t, "lamp")
	d, err := a.Describe(ctx, &wire.DescribeRequest{})
	if err != nil || d.Name != "lamp" || d.Version != "1.0" {
		t.Fatalf("describe: got %v and %v", d, err)
	}
	if _, err := a.Configure(ctx, &wire.ConfigureRequest{Config: `{"last":3}`}); err != nil {
		t.Fatal(err)
	}
	session, err := a.Session(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Send(&wire.FromHost{Message: &wire.FromHost_Welcome{Welcome: &wire.Welcome{Credit: 2, Generation: "lamp@1"}}}); err != nil {
		t.Fatal(err)
	}
	drained := make(chan *wire.DrainResponse, 1)
	items, last := 0, uint64(0)
	for {
		m, err := session.Recv()
		if err != nil {
			if err.Error() != "EOF" {
				t.Errorf("session: %v", err)
			}
			break
		}
		b := m.GetBatch()
		if b == nil {
			t.Fatalf("got %v, want a batch", m)
		}
		if items == 0 {
			go func() {
				r, err := a.Drain(ctx, &wire.DrainRequest{})
				if err != nil {
					t.Errorf("drain: %v", err)
				}
				drained <- r
			}()
		}
		items += len(b.Items)
		last = b.Id
		if err := session.Send(&wire.FromHost{Message: &wire.FromHost_Ack{Ack: &wire.Ack{Batch: b.Id, Credit: uint32(len(b.Items))}}}); err != nil {
			t.Fatal(err)
		}
	}
	if items != 4 {
		t.Errorf("got %d items, want 4", items)
	}
	if r := <-drained; r.GetLastBatch() != last {
		t.Errorf("drain: got last batch %d, want %d", r.GetLastBatch(), last)
	}
	exited(t, client, maxLinger+5*time.Second)
}
