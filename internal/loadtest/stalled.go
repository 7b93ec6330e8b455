package loadtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// StalledReport is what clients that never read cost the others and the
// server. Events were published in rounds, by turns without and with them.
type StalledReport struct {
	Clients   int `json:"clients"`
	Connected int `json:"connected"` // of them, at the end of the last round
	// Without and With are the other streams' latencies.
	Without *Latency `json:"without"`
	With    *Latency `json:"with"`
	// P50Ratio and P99Ratio are With by Without.
	P50Ratio float64 `json:"p50_ratio"`
	P99Ratio float64 `json:"p99_ratio"`
	// RSSPerClient and HeapPerClient are by how much more the server's memory
	// grew in a round with them, in bytes each; 0 if it is not known.
	RSSPerClient  float64 `json:"rss_per_client"`
	HeapPerClient float64 `json:"heap_stacks_per_client"`
	// KernelPerClient is the system's memory for TCP, both ends of each
	// connection, if both are on this machine; KernelServer is what of it is
	// not the client's own. 0 if the system does not tell.
	KernelPerClient float64 `json:"kernel_per_client"`
	KernelServer    float64 `json:"kernel_server_per_client"`
}

// stalledRounds is how many rounds there are. The first one warms up, and
// counts for nothing but faults; of the others, each second one has the clients.
const stalledRounds = 5

// The conditions of rounds.
const (
	readAll = iota
	someStalled
	warmUp
)

// stalledBuffer is the receive buffer of a client that never reads, in bytes:
// small, so that it is the server that has to keep what is not read.
const stalledBuffer = 4 << 10

// stalled are the connections of a round.
type stalled struct {
	conns []net.Conn
}

// openStalled opens n streams and reads no more than their heads.
func (t *test) openStalled(ctx context.Context, n int) (*stalled, error) {
	addr, err := resolve(ctx, t.target)
	if err != nil {
		return nil, err
	}
	s := &stalled{conns: make([]net.Conn, n)}
	errs := make([]error, 16)
	var all sync.WaitGroup
	for w := range errs {
		all.Go(func() {
			for i := w; i < n && errs[w] == nil; i += len(errs) {
				s.conns[i], errs[w] = t.stall(ctx, addr)
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		s.close()
		return nil, fmt.Errorf("opening a stream that does not read: %w", err)
	}
	return s, nil
}

// stall opens one stream.
func (t *test) stall(ctx context.Context, addr *net.TCPAddr) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: 15 * time.Second, Control: smallReceiveBuffer}).DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(15 * time.Second))
	_, err = conn.Write(appendRequest(nil, requestHead(t.target, t.o.Token, t.o.Header), ""))
	var head []byte
	for buf := make([]byte, 64); err == nil && !bytes.Contains(head, []byte("\r\n\r\n")); {
		var n int
		n, err = conn.Read(buf)
		head = append(head, buf[:n]...)
	}
	if err == nil {
		_, _, err = cutHead(head)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	conn.SetDeadline(time.Time{})
	return conn, nil
}

func (s *stalled) close() {
	for _, c := range s.conns {
		if c != nil {
			c.Close()
		}
	}
}

// memory is what a round took.
type memory struct {
	rss, heap           int64 // the server's growth
	kernel, ownKernel   int64 // of all TCP, and of the clients' ends
	known, kernelKnown  bool
	connected, attached int
}

// rounds publishes in rounds, by turns without and with n clients that never read.
func (t *test) rounds(p *reporter, r *Report) error {
	var took [3]memory
	whole := t.o.Duration
	t.o.Duration = whole / stalledRounds
	defer func() { t.o.Duration = whole }()
	for i := range stalledRounds {
		condition := int32(readAll)
		switch {
		case i == 0:
			condition = warmUp
		case i%2 == 0:
			condition = someStalled
		}
		p.phase("settling", t.o.Settle)
		if err := t.round(p, r, &took[condition], condition); err != nil || t.ctx.Err() != nil {
			return err
		}
	}
	without, with := &took[readAll], &took[someStalled]
	n := float64(t.o.Stalled)
	s := &StalledReport{Clients: t.o.Stalled, Connected: with.connected}
	if with.known && without.known {
		s.RSSPerClient = float64(with.rss-without.rss) / n
		s.HeapPerClient = float64(with.heap-without.heap) / n
	}
	if with.kernelKnown && without.kernelKnown {
		s.KernelPerClient = float64(with.kernel-without.kernel) / n
		s.KernelServer = s.KernelPerClient - float64(with.ownKernel)/n
	}
	r.Stalled = s
	return nil
}

// round publishes once and writes what it took into m, the first time.
func (t *test) round(p *reporter, r *Report, m *memory, condition int32) error {
	before := t.measure(r)
	var s *stalled
	if condition == someStalled {
		var err error
		if s, err = t.openStalled(t.ctx, t.o.Stalled); err != nil {
			return err
		}
		defer s.close()
	}
	t.condition.Store(condition)
	t.wait(p, t.o.Settle, never)
	t.wait(p, 10*time.Second, t.conditionKnown)
	p.phase("running", t.o.Duration)
	if err := t.publish(p, r, t.now()); err != nil {
		return err
	}
	t.wait(p, 100*time.Millisecond, never) // until the workers have told
	if s != nil {
		m.connected = connected(s.conns)
	}
	if m.attached++; m.attached > 1 {
		return nil
	}
	after := t.measure(r)
	m.rss, m.heap, m.known = after.rss-before.rss, after.heapStacks-before.heapStacks, before.known && after.known
	m.kernel, m.kernelKnown = kernelTCP()
	if s != nil {
		m.ownKernel = ownKernel(s.conns)
	}
	return nil
}

// conditionKnown reports whether every worker counts for the present condition.
func (t *test) conditionKnown() bool {
	for _, w := range t.workers {
		if w.live.condition.Load() != t.condition.Load() {
			return false
		}
	}
	return true
}

// addLatency completes the report from the latencies without and with.
func (s *StalledReport) addLatency(by [3]*hdrhistogram.Histogram) {
	s.Without, s.With = latency(by[readAll]), latency(by[someStalled])
	if s.Without != nil && s.With != nil {
		s.P50Ratio = per(s.With.P50, s.Without.P50)
		s.P99Ratio = per(s.With.P99, s.Without.P99)
	}
}

// text tells it in a line.
func (s *StalledReport) text() string {
	text := fmt.Sprintf("%s that never read (%s connected at the end)", plural(int64(s.Clients), "client"), count(int64(s.Connected)))
	if s.With != nil && s.Without != nil {
		text += fmt.Sprintf("; the others' p50 %.2f times (%s, %s without), p99 %.2f times (%s, %s without)", s.P50Ratio, millis(s.With.P50),
			millis(s.Without.P50), s.P99Ratio, millis(s.With.P99), millis(s.Without.P99))
	}
	if s.RSSPerClient != 0 {
		text += fmt.Sprintf("; each takes %s RSS", bytesText(s.RSSPerClient))
	}
	if s.KernelPerClient != 0 {
		text += fmt.Sprintf(" and %s of kernel memory (%s with the client's end)", bytesText(s.KernelServer), bytesText(s.KernelPerClient))
	}
	return text
}
