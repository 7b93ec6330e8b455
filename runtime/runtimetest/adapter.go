package runtimetest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"carillon/plugins/adapter"
	"carillon/plugins/adapter/wire"
)

// An AdapterTest is what TestAdapter must know of an adapter.
type AdapterTest struct {
	// New returns the adapter: a new one for each part of the test, as each process
	// has one.
	New func() adapter.Adapter
	// Command starts the adapter, in place of New: a program in any language and its
	// arguments.
	Command []string

	Config string            // a configuration that works; default "{}"
	Wrong  map[string]string // configurations that don't, with the field (a JSON pointer) that the error must name

	Entities int           // how many entities it declares with Config, at least; default 1, negative: none
	Within   time.Duration // how long a step may take; default 10 s

	serve func() wire.AdapterServer // in place of New, in the test's own tests
}

// TestAdapter checks that an adapter keeps the contract, as far as a host can see
// it: ids, credit and sizes of batches; that only what was declared is published, and
// well formed; beats and health while the journal stands still; that each command
// is answered once and in time; that credit for events that it follows is given back as
// they are taken; that a drain publishes everything; that it ends with its host; and
// the errors of its configuration. Commands are really given: an
// adapter with hardware moves it.
func TestAdapter(t *testing.T, a AdapterTest) {
	for _, c := range adapterChecks {
		t.Run(c.name, func(t *testing.T) {
			tr := newTrial(t.Context(), a, t.Cleanup, t.Errorf)
			c.check(tr)
			if said := tr.stderr.String(); t.Failed() && said != "" {
				t.Logf("it said on its standard error: %.4000s", said)
			}
		})
	}
}

// adapterChecks are the parts of the test. Each has an adapter of its own.
var adapterChecks = []struct {
	name  string
	check func(*trial)
}{
	{"describe", (*trial).checkDescription},
	{"configure", (*trial).checkConfiguration},
	{"discover", (*trial).checkDiscovery},
	{"credit", (*trial).checkCredit},
	{"beats", (*trial).checkBeats},
	{"commands", (*trial).checkCommands},
	{"follows", (*trial).checkFollows},
	{"drain", (*trial).checkDrain},
	{"lost host", (*trial).checkLostHost},
}

// A trial is one part of the test of an adapter.
type trial struct {
	AdapterTest
	ctx    context.Context
	fail   func(format string, args ...any)
	client wire.AdapterClient
	hangUp func()      // ends the connection
	ended  func() bool // reports whether the adapter has ended, after hangUp
	state  string      // its StateDir
	stderr output      // what its process says
}

func newTrial(ctx context.Context, a AdapterTest, cleanup func(func()), fail func(string, ...any)) *trial {
	if a.Config == "" {
		a.Config = "{}"
	}
	if a.Within == 0 {
		a.Within = 10 * time.Second
	}
	if a.Entities == 0 {
		a.Entities = 1
	}
	ctx, cancel := context.WithTimeout(ctx, 10*a.Within)
	cleanup(cancel)
	tr := &trial{AdapterTest: a, ctx: ctx, fail: fail}
	switch {
	case a.Command != nil:
		tr.startProcess(cleanup)
	case a.serve != nil:
		tr.startHere(a.serve(), cleanup)
	default:
		tr.startHere(adapter.NewServer(a.New()), cleanup)
	}
	folder, err := os.MkdirTemp("", "adapter")
	if err != nil {
		fail("%v", err)
	}
	cleanup(func() { os.RemoveAll(folder) })
	tr.state = folder
	return tr
}

// startHere serves an adapter over a connection in memory.
func (tr *trial) startHere(service wire.AdapterServer, cleanup func(func())) {
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	wire.RegisterAdapterServer(server, service)
	go server.Serve(listener)
	cleanup(server.Stop)
	c, err := grpc.NewClient("passthrough:adapter",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return listener.Dial() }))
	if err != nil {
		tr.fail("connecting: %v", err)
		return
	}
	cleanup(func() { c.Close() })
	tr.client = wire.NewAdapterClient(c)
	tr.hangUp = func() { c.Close() }
	tr.ended = whetherEnded(server.GracefulStop) // which waits for Run
}

// whetherEnded calls f when it is first asked, and reports whether that has returned.
func whetherEnded(f func()) func() bool {
	var done chan struct{}
	return func() bool {
		if done == nil {
			done = make(chan struct{})
			go func() {
				defer close(done)
				f()
			}()
		}
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
}

// output is what a process wrote, so far.
type output struct {
	mu   sync.Mutex
	text []byte // guarded by mu
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, b...)
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

// startProcess starts the adapter as the host does.
func (tr *trial) startProcess(cleanup func(func())) {
	cmd := exec.Command(tr.Command[0], tr.Command[1:]...)
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: adapter.Handshake, Plugins: plugin.PluginSet{adapter.PluginName: &adapter.Plugin{}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, AutoMTLS: true, SkipHostEnv: true,
		Cmd: cmd, StartTimeout: tr.Within, Logger: hclog.NewNullLogger(), Stderr: &tr.stderr, SyncStderr: &tr.stderr, SyncStdout: &tr.stderr,
	})
	cleanup(client.Kill)
	protocol, err := client.Client()
	if err != nil {
		tr.fail("starting %v: %v", tr.Command, err)
		return
	}
	raw, err := protocol.Dispense(adapter.PluginName)
	if err != nil {
		tr.fail("starting %v: %v", tr.Command, err)
		return
	}
	tr.client = raw.(wire.AdapterClient)
	tr.hangUp = func() { protocol.(*plugin.GRPCClient).Conn.Close() }
	tr.ended = client.Exited
}

// until waits until ok, Within at most.
func (tr *trial) until(what string, ok func() bool) bool {
	deadline := time.NewTimer(tr.Within)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			tr.fail("%s: not within %v", what, tr.Within)
			return false
		case <-tr.ctx.Done():
			tr.fail("%s: %v", what, tr.ctx.Err())
			return false
		case <-tick.C:
		}
	}
	return true
}
