//go:build unix

package plugins

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	sdk "carillon/plugins/adapter"
	"carillon/plugins/adapter/wire"
)

// TestMain is an adapter when a host starts it as one: executables of the tests
// are scripts that execute this binary with FAKE set to what it is to do.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv("FAKE") != "":
		runFake(os.Getenv("FAKE"))
		os.Exit(0)
	case os.Getenv("FAKE_SERVER") != "":
		runServer(os.Getenv("FAKE_SERVER"))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A fake is an adapter that does what its words say: "declare", "count=1000"…
type fake struct {
	wire.UnimplementedAdapterServer
	words map[string]string
	began time.Time

	conf   fakeConfig
	stream wire.Adapter_SessionServer
	drain  chan struct{} // closed by Drain
	over   chan struct{} // closed when Session returns

	mu     sync.Mutex // also held to send
	credit int
	batch  uint64
	acked  uint64
	more   chan struct{} // depth 1
}

type fakeConfig struct {
	Name  string `json:"name"`
	Wrong bool   `json:"wrong"`
}

type fakePlugin struct {
	goplugin.NetRPCUnsupportedPlugin
	fake *fake
}

func (p *fakePlugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	wire.RegisterAdapterServer(s, p.fake)
	return nil
}

func (p *fakePlugin) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

func runFake(words string) {
	f := &fake{words: map[string]string{}, began: time.Now(), drain: make(chan struct{}), over: make(chan struct{}), more: make(chan struct{}, 1)}
	for word := range strings.FieldsSeq(words) {
		k, v, _ := strings.Cut(word, "=")
		f.words[k] = v
	}
	if f.beforeHandshake() {
		return
	}
	switch {
	case f.has("listen"):
		sdk.Serve(&listener{words: f.words})
	case f.has("hear"):
		sdk.Serve(&hearer{answers: f.has("answer")})
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: sdk.Handshake,
		Plugins:         goplugin.PluginSet{"adapter": &fakePlugin{fake: f}},
		GRPCServer: func(o []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(o, grpc.MaxSendMsgSize(1<<30))...)
		},
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr}),
	})
}

// beforeHandshake does what some are to do instead of shaking hands.
func (f *fake) beforeHandshake() bool {
	switch {
	case f.has("exit"):
		fmt.Fprintln(os.Stderr, "the sky is falling")
		os.Exit(f.number("exit"))
	case f.has("garbage"):
		fmt.Println("hello, world")
	case f.has("endless-line"):
		chunk := strings.Repeat("x", 64<<10)
		for range 64 {
			fmt.Print(chunk)
		}
	case f.has("elsewhere"):
		fmt.Println("1|1|tcp|192.0.2.1:80|grpc|" + strings.Repeat("A", 100))
	case f.has("no-certificate"):
		fmt.Println("1|1|unix|" + filepath.Join(os.TempDir(), "nobody") + "|grpc|")
	case f.has("netrpc"):
		fmt.Println("1|1|unix|/tmp/x|netrpc|")
	case f.has("mute"):
	default:
		return false
	}
	select {} // until it is killed
}

func (f *fake) has(word string) bool { _, ok := f.words[word]; return ok }

func (f *fake) number(word string) int {
	n, _ := strconv.Atoi(f.words[word])
	return n
}

func (f *fake) Describe(ctx context.Context, _ *wire.DescribeRequest) (*wire.Description, error) {
	if f.has("undescribed") {
		select {} // until the process is killed: the deadline is the host's
	}
	if f.has("huge-description") {
		return &wire.Description{Name: "fake", Schema: strings.Repeat("x", 100<<20)}, nil
	}
	return &wire.Description{Name: "fake", Version: f.words["version"], Exclusive: f.has("exclusive"), Reconfigures: f.has("reconfigures"), Discovers: f.has("discover") || f.has("boasts")}, nil
}

func (f *fake) Configure(ctx context.Context, r *wire.ConfigureRequest) (*wire.ConfigureResponse, error) {
	if f.has("unconfigured") {
		select {}
	}
	var c fakeConfig
	if err := json.Unmarshal([]byte(r.Config), &c); err != nil {
		return nil, err
	}
	if c.Wrong {
		return &wire.ConfigureResponse{Errors: []*wire.FieldError{{Field: "/wrong", Message: "must not be true"}}}, nil
	}
	if c.Name == "late" { // it is taken all the same
		fmt.Fprintln(os.Stderr, "configuring", c.Name)
		<-ctx.Done()
	}
	if !r.ValidateOnly {
		f.mu.Lock()
		f.conf = c
		f.mu.Unlock()
	}
	if f.has("tell-config") {
		fmt.Fprintln(os.Stderr, "configured", c.Name)
	}
	return &wire.ConfigureResponse{}, nil
}

func (f *fake) Health(ctx context.Context, _ *wire.HealthRequest) (*wire.HealthResponse, error) {
	if name := f.words["health"]; name != "" { // a file that says how it is
		text, err := os.ReadFile(name)
		if err == nil && len(text) > 0 {
			return &wire.HealthResponse{Ready: bytes.HasPrefix(text, []byte("ready")), Detail: string(text)}, nil
		}
	}
	if late, _ := time.ParseDuration(f.words["late"]); time.Since(f.began) < late {
		return &wire.HealthResponse{Detail: "the gateway does not answer yet"}, nil
	}
	if f.has("unhealthy") {
		return &wire.HealthResponse{Detail: "the gateway does not answer"}, nil
	}
	return &wire.HealthResponse{Ready: true}, nil
}

func (f *fake) Drain(ctx context.Context, _ *wire.DrainRequest) (*wire.DrainResponse, error) {
	if f.has("undrained") {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if name := f.words["tell-deadline"]; name != "" { // a file: what is printed may be lost at the end
		deadline, _ := ctx.Deadline()
		os.WriteFile(name, []byte(deadline.Format(time.RFC3339)), 0o600)
	}
	close(f.drain)
	<-f.over
	f.mu.Lock()
	defer f.mu.Unlock()
	return &wire.DrainResponse{LastBatch: f.batch}, nil
}

// Session declares light.<name> and does what the words say until Drain.
func (f *fake) Session(stream wire.Adapter_SessionServer) error {
	defer close(f.over)
	f.stream = stream
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	f.credit = int(first.GetWelcome().Credit)
	if !f.has("reads-nothing") {
		go f.listen()
	}
	if f.has("exclusive") { // the hardware
		lock := f.words["lock"]
		h, err := os.OpenFile(lock, os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			os.Exit(7)
		}
		h.Close()
		defer os.Remove(lock)
	}
	f.misbehave()
	f.badFollows()
	f.tellStory()
	f.publish(device("lamp-"+f.id(), f.id()), state(f.id(), "off", ""))
	if f.has("all") {
		f.publishAll()
	}
	if f.has("devices") {
		f.declare()
	}
	if f.has("big") {
		f.big()
	}
	if f.has("crash") {
		f.flush()
		os.Exit(3)
	}
	if f.has("count") {
		f.count()
	}
	<-f.drain
	return f.flush()
}

func (f *fake) id() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return "light." + strings.ReplaceAll(orElse(f.conf.Name, "lamp"), "-", "_")
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func device(id string, entities ...string) *wire.Item {
	d := &wire.Device{Id: id, Name: id}
	for _, e := range entities {
		d.Entities = append(d.Entities, &wire.Entity{EntityId: e, Attributes: `{"friendly_name":"Lamp"}`, Services: []string{"turn_on", "turn_off"}})
	}
	return &wire.Item{Item: &wire.Item_Device{Device: d}}
}

func state(id, value, story string) *wire.Item {
	return &wire.Item{ContextId: story, Item: &wire.Item_State{State: &wire.State{EntityId: id, State: value}}}
}

func event(typ string, data string) *wire.Item {
	return &wire.Item{Item: &wire.Item_Event{Event: &wire.Event{Type: typ, Data: data}}}
}

// listen answers beats and commands.
func (f *fake) listen() {
	for {
		m, err := f.stream.Recv()
		if err != nil {
			select {
			case <-f.over:
			default:
				os.Exit(0)
			}
			return
		}
		switch m := m.Message.(type) {
		case *wire.FromHost_Ack:
			f.mu.Lock()
			f.credit += int(m.Ack.Credit)
			f.acked = m.Ack.Batch
			if f.has("tell-errors") {
				for _, e := range m.Ack.Errors {
					fmt.Fprintln(os.Stderr, "refused:", e.Message)
				}
			}
			f.mu.Unlock()
			signal(f.more)
		case *wire.FromHost_Beat:
			if !f.has("beatless") {
				f.send(&wire.FromAdapter{Message: &wire.FromAdapter_Beat{Beat: m.Beat}})
			}
		case *wire.FromHost_Command:
			go f.obey(m.Command)
		case *wire.FromHost_Happenings:
			if f.has("tell-refusals") && m.Happenings.Error != "" {
				fmt.Fprintln(os.Stderr, m.Happenings.Error)
			}
		}
	}
}

func (f *fake) obey(c *wire.Command) {
	if f.has("deaf") {
		return
	}
	if d := f.words["slow"]; d != "" {
		pause, _ := time.ParseDuration(d)
		<-time.After(pause)
	}
	if f.has("late-error") { // as whoever counts in whole milliseconds
		<-time.After(time.Duration(c.TimeoutMs) * time.Millisecond)
		f.send(&wire.FromAdapter{Message: &wire.FromAdapter_Result{Result: &wire.Result{Id: c.Id, Error: "not done in time"}}})
		return
	}
	r := &wire.Result{Id: c.Id, Response: `{"by":"` + f.words["version"] + `"}`}
	switch c.Service {
	case "turn_on":
		f.publish(state(c.EntityId, "on", c.ContextId))
	default:
		r = &wire.Result{Id: c.Id, Error: "it can't be turned off", Invalid: true}
	}
	f.send(&wire.FromAdapter{Message: &wire.FromAdapter_Result{Result: r}})
}

func (f *fake) send(m *wire.FromAdapter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stream.Send(m)
}

// publish waits for credit and sends a batch.
func (f *fake) publish(items ...*wire.Item) {
	for {
		f.mu.Lock()
		if f.credit >= len(items) {
			f.credit -= len(items)
			f.batch++
			f.stream.Send(&wire.FromAdapter{Message: &wire.FromAdapter_Batch{Batch: &wire.Batch{Id: f.batch, Items: items}}})
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		<-f.more
	}
}

// flush waits until everything is acknowledged.
func (f *fake) flush() error {
	for {
		f.mu.Lock()
		done := f.acked == f.batch
		f.mu.Unlock()
		if done {
			return nil
		}
		<-f.more
	}
}

// count fires numbered events until it is drained or has fired as many as it is
// to; rate is how many a second.
func (f *fake) count() {
	most, rate, per := f.number("count"), f.number("rate"), max(f.number("per"), 1)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	began, n := time.Now(), 0
	for most == 0 || n < most {
		select {
		case <-f.drain:
			return
		default:
		}
		if rate > 0 && float64(n) > time.Since(began).Seconds()*float64(rate) {
			<-tick.C
			continue
		}
		items := make([]*wire.Item, per)
		for i := range items {
			n++
			items[i] = event("tick", fmt.Sprintf(`{"generation":%q,"n":%d}`, f.words["version"], n))
		}
		f.publish(items...)
	}
}

// script is what an executable of a test is to do.
func script(t testing.TB, words string) []byte {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []byte("#!/bin/sh\nFAKE='" + words + " ' exec '" + self + "'\n")
}

// alive reports whether a process is there and no zombie.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		out, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
		return err == nil && !strings.HasPrefix(string(out), "Z")
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(rest, "Z")
}
