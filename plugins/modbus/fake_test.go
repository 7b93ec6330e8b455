package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"carillon/plugins/adapter"
)

// A fake is a device with its own idea of the protocol. Connections are in memory, or over loopback.
type fake struct {
	rtu bool

	mu sync.Mutex
	// Guarded by mu.
	values   map[place]uint16               // that it has, bits too
	code     func(request) byte             // an exception; 0: none
	instead  func(c net.Conn, right []byte) // what it does in place of answering right
	mute     map[byte]bool                  // units that don't answer
	refuses  bool                           // connections
	requests []string
	conns    []net.Conn
	dials    int
}

func newFake(values map[place]uint16) *fake {
	return &fake{values: values, mute: map[byte]bool{}}
}

// dial connects to the fake in memory.
func (f *fake) dial(context.Context, string, string) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dials++
	if f.refuses {
		return nil, errors.New("connection refused")
	}
	near, far := net.Pipe()
	f.conns = append(f.conns, far)
	go f.serve(far)
	return near, nil
}

// listen serves the fake on loopback and returns its address.
func (f *fake) listen(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go f.serve(c)
		}
	}()
	return listener.Addr().String()
}

// refuse takes no connections any more, or does again; those that are open end.
func (f *fake) refuse(yes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuses = yes
	for _, c := range f.conns {
		c.Close()
	}
	f.conns = nil
}

// silence has a unit answer no more, or again.
func (f *fake) silence(unit byte, yes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mute[unit] = yes
}

func (f *fake) set(p place, v uint16) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.values[p] = v
}

// asked returns the requests since the last call.
func (f *fake) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.requests
	f.requests = nil
	return all
}

// ignoreOne leaves the next request without an answer.
func (f *fake) ignoreOne() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.instead = func(net.Conn, []byte) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.instead = nil
	}
}

func (f *fake) serve(c net.Conn) {
	defer c.Close()
	for {
		var header [7]byte
		if _, err := io.ReadFull(c, header[:]); err != nil {
			return
		}
		transaction, unit := header[:2], header[6]
		length := int(binary.BigEndian.Uint16(header[4:])) - 1
		if f.rtu {
			transaction, unit, length = nil, header[0], 1 // all but 15 and 16 have 8 bytes
			switch header[1] {
			case 15, 16:
				length = int(header[6]) + 2
			case 22:
				length = 3
			}
		}
		pdu := make([]byte, length)
		if _, err := io.ReadFull(c, pdu); err != nil {
			return
		}
		if f.rtu {
			all := append(header[:], pdu...)
			pdu = all[1 : len(all)-2]
		}
		if !f.reply(c, transaction, unit, pdu) {
			return
		}
	}
}

// reply answers a request, and reports whether the connection goes on.
func (f *fake) reply(c net.Conn, transaction []byte, unit byte, pdu []byte) bool {
	f.mu.Lock()
	f.requests = append(f.requests, fmt.Sprintf("%d: %d %d %x", unit, pdu[0], binary.BigEndian.Uint16(pdu[1:]), pdu[3:]))
	answer := f.do(request{function: pdu[0], body: pdu[1:]})
	instead, mute := f.instead, f.mute[unit]
	f.mu.Unlock()
	right := f.frame(transaction, unit, answer)
	switch {
	case instead != nil:
		instead(c, right)
		return true
	case mute:
		return true
	}
	_, err := c.Write(right)
	return err == nil
}

// frame puts an answer into a frame.
func (f *fake) frame(transaction []byte, unit byte, pdu []byte) []byte {
	if f.rtu {
		b := append([]byte{unit}, pdu...)
		sum := crc(b)
		return append(b, byte(sum), byte(sum>>8))
	}
	b := append(slices.Clone(transaction), 0, 0, 0, byte(len(pdu)+1), unit)
	return append(b, pdu...)
}

// do does what is asked and returns the answer. Callers hold mu.
func (f *fake) do(r request) []byte {
	if f.code != nil {
		if code := f.code(r); code != 0 {
			return []byte{r.function | 0x80, code}
		}
	}
	start, n := binary.BigEndian.Uint16(r.body), int(binary.BigEndian.Uint16(r.body[2:]))
	name := map[byte]table{1: coil, 2: discrete, 3: holding, 4: input, 5: coil, 6: holding, 15: coil, 16: holding, 22: holding}[r.function]
	var data []byte
	switch r.function {
	case 1, 2, 3, 4:
		if name.bits() {
			data = make([]byte, (n+7)/8)
		}
		for i := range n {
			v, ok := f.values[place{name, start + uint16(i)}]
			switch {
			case !ok:
				return []byte{r.function | 0x80, 2}
			case name.bits():
				data[i/8] |= byte(v) << (i % 8)
			default:
				data = append(data, byte(v>>8), byte(v))
			}
		}
		return append([]byte{r.function, byte(len(data))}, data...)
	case 5:
		f.values[place{name, start}] = uint16(r.body[2] & 1)
	case 6:
		f.values[place{name, start}] = uint16(n)
	case 15:
		f.values[place{name, start}] = uint16(r.body[5])
	case 16:
		for i := range n {
			f.values[place{name, start + uint16(i)}] = binary.BigEndian.Uint16(r.body[5+2*i:])
		}
	case 22:
		and, or := uint16(n), binary.BigEndian.Uint16(r.body[4:])
		f.values[place{name, start}] = f.values[place{name, start}]&and | or&^and
		return append([]byte{22}, r.body[:6]...)
	}
	return append([]byte{r.function}, r.body[:4]...)
}

// A recorder is a host that keeps what it is told, but for states that are as they were: those are no events.
type recorder struct {
	mu sync.Mutex
	// Guarded by mu.
	said    []string
	states  map[string]string
	told    int   // states, also those that are as they were
	err     error // of Set
	logged  []string
	metrics map[string]float64
}

func (r *recorder) Set(ctx context.Context, states ...adapter.State) error {
	r.mu.Lock()
	err := r.err
	r.mu.Unlock()
	if err != nil {
		return err
	}
	for _, s := range states {
		if r.keep(s) {
			r.say("%s=%s", s.EntityID, s.State)
		}
	}
	return nil
}

// keep reports whether a state is another one than before.
func (r *recorder) keep(s adapter.State) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.states == nil {
		r.states = map[string]string{}
	}
	before, known := r.states[s.EntityID]
	r.states[s.EntityID] = s.State
	r.told++
	return !known || before != s.State
}

// toldAll returns how many states were told, also those that were as before.
func (r *recorder) toldAll() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.told
}

func (r *recorder) Available(_ context.Context, id string, yes bool) error {
	if !yes {
		r.mu.Lock()
		delete(r.states, id)
		r.mu.Unlock()
	}
	r.say("%s %s", id, map[bool]string{true: "back", false: "away"}[yes])
	return nil
}

func (r *recorder) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func (r *recorder) Metric(name string, v float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.metrics == nil {
		r.metrics = map[string]float64{}
	}
	r.metrics[name] = v
}

func (r *recorder) Log() *slog.Logger { return slog.New(slog.NewTextHandler(r, nil)) }

// Write takes a line of the log.
func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logged = append(r.logged, strings.TrimSpace(string(b)))
	return len(b), nil
}

// fail has Set return an error.
func (r *recorder) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// news returns what was said since the last call.
func (r *recorder) news() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.said
	r.said = nil
	return all
}

// logLines returns how many lines of the log hold a text.
func (r *recorder) logLines(text string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.logged {
		if strings.Contains(l, text) {
			n++
		}
	}
	return n
}

// A bench is an adapter that runs without a server.
type bench struct {
	*gateway
	*recorder
	t   *testing.T
	end func()
}

// run runs an adapter of a configuration. Call end before the test is over.
func run(t *testing.T, config string, dial func(context.Context, string, string) (net.Conn, error)) *bench {
	t.Helper()
	b := &bench{gateway: newGateway(), recorder: &recorder{}, t: t}
	b.dial = dial
	if err := b.Configure(t.Context(), adapter.Config{JSON: json.RawMessage(config)}); err != nil {
		t.Fatal(err)
	}
	lines := b.connect(b.recorder)
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- runAll(ctx, lines) }()
	b.end = func() {
		cancel()
		if err := <-over; err != nil {
			t.Errorf("running: %v", err)
		}
	}
	return b
}

// do gives a command and returns its error as text.
func (b *bench) do(entity, service, data string) string {
	b.t.Helper()
	domain, _, _ := strings.Cut(entity, ".")
	_, err := b.obey(b.t.Context(), adapter.Command{EntityID: entity, Domain: domain, Service: service, Data: json.RawMessage(data)})
	if err != nil {
		return err.Error()
	}
	return ""
}

func sorted(all []string) []string {
	slices.Sort(all)
	return all
}

// same compares lists.
func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}
