package adapter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

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
		log.Print("as of old")
		slog.Info("with slog")
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

// A started adapter is this binary as a process, started as the host does.
type started struct {
	wire.AdapterClient
	t      testing.TB
	plugin *plugin.Client
	conn   *grpc.ClientConn
	cmd    *exec.Cmd
}

func start(t testing.TB, which string) *started {
	t.Helper()
	s := &started{t: t, cmd: exec.Command(os.Args[0])}
	s.cmd.Env = []string{"ADAPTER_TEST=" + which}
	s.plugin = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: Handshake, Plugins: plugin.PluginSet{PluginName: &Plugin{}},
		Cmd: s.cmd, SkipHostEnv: true, AutoMTLS: true, AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger: hclog.NewNullLogger(), StartTimeout: 20 * time.Second,
	})
	t.Cleanup(s.plugin.Kill)
	protocol, err := s.plugin.Client()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := protocol.Dispense(PluginName)
	if err != nil {
		t.Fatal(err)
	}
	s.AdapterClient, s.conn = raw.(wire.AdapterClient), protocol.(*plugin.GRPCClient).Conn
	return s
}

// open configures the adapter and opens its session.
func (s *started) open(config string, w *wire.Welcome) wire.Adapter_SessionClient {
	s.t.Helper()
	if r, err := s.Configure(s.t.Context(), &wire.ConfigureRequest{Config: config}); err != nil || len(r.Errors) > 0 {
		s.t.Fatal(r, err)
	}
	session, err := s.Session(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	if err := session.Send(&wire.FromHost{Message: &wire.FromHost_Welcome{Welcome: w}}); err != nil {
		s.t.Fatal(err)
	}
	return session
}

// exited waits until the process has, and returns its status.
func (s *started) exited(within time.Duration) int {
	s.t.Helper()
	for end := time.Now().Add(within); !s.plugin.Exited(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("the process lives after %v", within)
		}
	}
	return s.cmd.ProcessState.ExitCode()
}

func ack(session wire.Adapter_SessionClient, b *wire.Batch) {
	session.Send(&wire.FromHost{Message: &wire.FromHost_Ack{Ack: &wire.Ack{Batch: b.Id, Credit: uint32(len(b.Items))}}})
}

func TestServeAProcess(t *testing.T) {
	t.Parallel()
	a := start(t, "lamp")
	d, err := a.Describe(t.Context(), &wire.DescribeRequest{})
	if err != nil || d.Name != "lamp" || d.Version != "1.0" {
		t.Fatalf("describe: got %v and %v", d, err)
	}
	session := a.open(`{"last":3}`, &wire.Welcome{Credit: 2})
	drained := make(chan *wire.DrainResponse, 1)
	items, last := 0, uint64(0)
	for m, err := session.Recv(); err != io.EOF; m, err = session.Recv() {
		if err != nil {
			t.Fatalf("session: %v", err)
		}
		if m.GetLog() != nil {
			continue
		}
		b := m.GetBatch()
		if b == nil {
			t.Fatalf("got %v, want a batch", m)
		}
		if items == 0 {
			go func() {
				r, err := a.Drain(t.Context(), &wire.DrainRequest{})
				if err != nil {
					t.Errorf("drain: %v", err)
				}
				drained <- r
			}()
		}
		items += len(b.Items)
		last = b.Id
		ack(session, b)
	}
	if items != 4 {
		t.Errorf("got %d items, want 4", items)
	}
	if r := <-drained; r.GetLastBatch() != last {
		t.Errorf("drain: got last batch %d, want %d", r.GetLastBatch(), last)
	}
	if code := a.exited(maxLinger + 20*time.Second); code != 0 {
		t.Errorf("exit status: got %d, want 0", code)
	}
}

// TestServeFails sees the error of Run at the host, behind all that was published, and
// the end of the process. Lines of package log are there too.
func TestServeFails(t *testing.T) {
	t.Parallel()
	a := start(t, "lamp")
	session := a.open(`{"fail":"the bus is gone"}`, &wire.Welcome{Credit: 10})
	var said []string
	items := 0
	for {
		m, err := session.Recv()
		if err != nil {
			if got := status.Convert(err); got.Code() != codes.Aborted || got.Message() != "the bus is gone" {
				t.Errorf("session: got %v, want the error of Run", err)
			}
			break
		}
		if l := m.GetLog(); l != nil {
			said = append(said, l.Message)
		}
		if b := m.GetBatch(); b != nil {
			items += len(b.Items)
			ack(session, b)
		}
	}
	if items != 1 || fmt.Sprint(said) != "[as of old with slog]" {
		t.Errorf("got %d items and the lines %q", items, said)
	}
	if code := a.exited(maxLinger + 20*time.Second); code != 1 {
		t.Errorf("exit status: got %d, want 1", code)
	}
}

// TestServeEndsWithItsHost ends the connection: the process ends, without a signal.
func TestServeEndsWithItsHost(t *testing.T) {
	t.Parallel()
	for _, inSession := range []bool{false, true} {
		a := start(t, "lamp")
		if inSession {
			session := a.open("{}", &wire.Welcome{Credit: 10})
			if _, err := session.Recv(); err != nil {
				t.Fatal(err)
			}
		} else if _, err := a.Describe(t.Context(), &wire.DescribeRequest{}); err != nil {
			t.Fatal(err)
		}
		a.conn.Close()
		a.exited(20 * time.Second)
	}
}

// TestServeByHand starts the binary as a person would.
func TestServeByHand(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{"ADAPTER_TEST=lamp"}
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState.ExitCode() != 1 || stdout.Len() > 0 {
		t.Errorf("got %v and %q on stdout", err, &stdout)
	}
	for _, want := range []string{"lamp 1.0: A lamp.", "an adapter for Carillon", "plugins/", `{"type":"object"}`} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("got %q, want it to say %q", &stderr, want)
		}
	}
}
