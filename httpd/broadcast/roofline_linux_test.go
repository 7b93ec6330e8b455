package broadcast

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	goruntime "runtime"
	"slices"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A roofline is a hub whose streams end in another process, and the
// descriptors of those streams, so that a bare loop can send on the very
// sockets that the pumps use.
type roofline struct {
	hub   *Hub
	drain *drainProcess
	fds   []int32
	frame []byte // of every event
	seq   uint64 // of the last event
	sent  int64  // bytes sent so far, to all streams together
}

// openRoofline opens n streams on as many pumps as the bare loop has threads:
// one. The other core is left to the drain.
func openRoofline(b *testing.B, n, size int) *roofline {
	r := &roofline{seq: 1_000_000} // ids keep their length
	head := fmt.Sprintf("id: bench-%d\ndata: ", r.seq)
	body := bytes.Repeat([]byte{'x'}, size-len(head)-2)
	r.frame = []byte(head + string(body) + "\n\n")
	r.open(b, n, 1, "", func(dst []byte, _ *Event) []byte { return append(dst, body...) })
	for _, p := range r.hub.pumps {
		r.ask(p, func() { p.each(func(s *Stream) { r.fds = append(r.fds, s.fd) }) })
	}
	if len(r.fds) != n {
		b.Fatalf("got %d streams, want %d", len(r.fds), n)
	}
	return r
}

func (r *roofline) open(b *testing.B, n, pumps int, mode string, data func([]byte, *Event) []byte) {
	hub, err := New(Config{
		Epoch: "bench", Formats: []Format{{Name: "flat", Append: data}}, Head: r.seq, Pumps: pumps,
		Replay: func(context.Context, uint64, func(*Event) bool) error { return errors.New("no journal") },
		First:  func() uint64 { return 1 },
		Log:    slog.New(slog.DiscardHandler), BeatEvery: time.Hour, Filters: newTestFilters(),
	})
	if err != nil {
		b.Fatal(err)
	}
	r.hub = hub
	b.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		hub.Close(ctx)
	})
	r.drain = startDrain(b, n, mode)
	for _, conn := range r.drain.conns {
		if _, err := r.hub.Attach(Request{Conn: conn, Format: "flat"}); err != nil {
			b.Fatal(err)
		}
	}
	r.drain.conns = nil
}

func (r *roofline) ask(p pump, f func()) {
	done := make(chan struct{})
	p.ask(func() { f(); close(done) })
	<-done
}

// next makes the next n events.
func (r *roofline) next(n int) []*Event {
	events := make([]Event, n)
	batch := make([]*Event, n)
	for i := range events {
		r.seq++
		events[i] = Event{Seq: r.seq, Type: "state_changed"}
		batch[i] = &events[i]
	}
	r.sent += int64(n) * int64(len(r.frame)) * int64(len(r.fds))
	return batch
}

// bare sends the same bytes to all sockets, by one send to each: with one
// frame the cheapest that a server without coalescing can do.
func (r *roofline) bare(b *testing.B, data []byte) {
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	r.sent += int64(len(data)) * int64(len(r.fds))
	for _, fd := range r.fds {
		for rest := data; ; {
			n, errno := sendBytes(int(fd), rest)
			if rest = rest[n:]; len(rest) == 0 {
				break
			}
			if errno != 0 && errno != syscall.EAGAIN {
				b.Fatalf("sending: %v", errno)
			}
			time.Sleep(50 * time.Microsecond)
		}
	}
}

// sends returns how many sends the pumps have tried.
func (r *roofline) sends() (n uint) {
	for _, p := range r.hub.pumps {
		if p, ok := p.(*epollPump); ok {
			r.ask(p, func() { n += p.sends })
		}
	}
	return n
}

// single publishes one event and returns when every stream was sent it. A pump
// does what it is asked before it looks at feeds, so what it is asked second
// comes after the pass.
func (r *roofline) single() {
	r.hub.Publish(r.next(1))
	for range 2 {
		for _, p := range r.hub.pumps {
			r.ask(p, func() {})
		}
	}
}

// backlog publishes n events, with at most flight of them unsent.
func (r *roofline) backlog(b *testing.B, n, flight int) {
	const batch = 64
	streams := uint64(len(r.fds))
	base := r.hub.met.deliveries.Get()
	for i := 0; i < n; i += batch {
		for end := time.Now().Add(patience); r.hub.met.deliveries.Get()+uint64(flight)*streams < base+uint64(i+batch)*streams; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				b.Fatal("the pumps stand still")
			}
		}
		r.hub.Publish(r.next(batch))
	}
}

// cpu returns what this process has used, the drain not included.
func cpu() time.Duration {
	var u unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measure returns the CPU time of f until all that it sent has arrived.
func (r *roofline) measure(b *testing.B, f func()) time.Duration {
	goruntime.GC()
	before := cpu()
	f()
	r.drain.wait(b, r.sent)
	return cpu() - before
}

// BenchmarkRoofline compares the CPU that one delivery takes the sender: by a
// bare loop of sends (a), by the pump with one event at a time (b), by the pump
// under backlog (c), and by a bare loop of sends as long as (c)'s are (d). All
// take turns on the same sockets, with one thread or pump.
func BenchmarkRoofline(b *testing.B) {
	for _, streams := range []int{1000, 10_000} {
		for _, size := range []int{64, 200, 2048} {
			b.Run(fmt.Sprintf("streams=%d/bytes=%d", streams, size), func(b *testing.B) { rooflineOf(b, streams, size) })
		}
	}
}

func rooflineOf(b *testing.B, streams, size int) {
	r := openRoofline(b, streams, size)
	flight := 512
	if size > 1000 {
		flight = 128
	}
	singles, many := max(8, 40_000/streams), 8*flight
	var cost [4]time.Duration // of a, b, c, d
	var joined float64        // events in one send of c
	turns := func() {
		cost[0] += r.measure(b, func() { times(singles, func() { r.bare(b, r.frame) }) })
		before := r.sends()
		cost[1] += r.measure(b, func() { times(singles, r.single) })
		if got, want := r.sends()-before, uint(singles*streams); got != want {
			b.Fatalf("got %d sends for single events, want %d", got, want)
		}
		before = r.sends()
		cost[2] += r.measure(b, func() { r.backlog(b, many, flight) })
		joined = float64(many) * float64(streams) / float64(r.sends()-before)
		long := bytes.Repeat(r.frame, int(joined+0.5))
		cost[3] += r.measure(b, func() { times(8, func() { r.bare(b, long) }) })
	}
	turns() // warm
	cost = [4]time.Duration{}
	b.ResetTimer()
	times(b.N, turns)
	b.StopTimer()
	each := func(i, events int) float64 {
		return float64(cost[i].Nanoseconds()) / float64(b.N) / float64(events) / float64(streams)
	}
	long := 8 * int(joined+0.5)
	b.ReportMetric(each(0, singles), "a-ns")
	b.ReportMetric(each(1, singles), "b-ns")
	b.ReportMetric(each(2, many), "c-ns")
	b.ReportMetric(each(3, long), "d-ns")
	b.ReportMetric(joined, "events/send")
	b.ReportMetric(each(1, singles)/each(0, singles), "b/a")
	b.ReportMetric(each(0, singles)/each(2, many), "a/c")
	b.ReportMetric(each(2, many)/each(3, long), "c/d")
	b.ReportMetric(0, "ns/op")
}

// move gives all streams another selection. They have everything.
func (r *roofline) move(sel Selection) {
	h := r.hub
	for _, p := range h.pumps {
		h.mu.Lock()
		f := h.feed(h.channels["flat"], sel, false, time.Now())
		m := f.member(p)
		h.mu.Unlock()
		r.ask(p, func() {
			p.each(func(s *Stream) {
				h.unused(s.member.feed)
				s.member.take(s)
				s.member, s.cursor = m, f.end()
				m.put(s)
				f.streams.Add(1)
			})
			m.done.Store(f.end())
		})
	}
}

// BenchmarkOneFilter compares what one delivery takes the hub when streams have
// one filter that takes everything with what it takes without: one event at a
// time (single), and under backlog (many). Both take turns on the same sockets.
func BenchmarkOneFilter(b *testing.B) {
	for _, streams := range []int{1000, 10_000} {
		for _, size := range []int{64, 200, 2048} {
			b.Run(fmt.Sprintf("streams=%d/bytes=%d", streams, size), func(b *testing.B) { filterOf(b, streams, size) })
		}
	}
}

func filterOf(b *testing.B, streams, size int) {
	r := openRoofline(b, streams, size)
	flight := 512
	if size > 1000 {
		flight = 128
	}
	sels := [2]Selection{{}, {Filter: every(1)}}
	singles, many := max(8, 40_000/streams), 8*flight
	var single, busy [2]time.Duration // without, with
	var joined [2]float64
	turns := func() {
		for i, sel := range sels {
			r.move(sel)
			single[i] += r.measure(b, func() { times(singles, r.single) })
			before := r.sends()
			busy[i] += r.measure(b, func() { r.backlog(b, many, flight) })
			joined[i] = float64(many) * float64(streams) / float64(r.sends()-before)
		}
	}
	turns() // warm
	single, busy = [2]time.Duration{}, [2]time.Duration{}
	b.ResetTimer()
	times(b.N, turns)
	b.StopTimer()
	each := func(d time.Duration, events int) float64 {
		return float64(d.Nanoseconds()) / float64(b.N) / float64(events) / float64(streams)
	}
	b.ReportMetric(each(single[0], singles), "single-ns")
	b.ReportMetric(each(single[1], singles), "single-filtered-ns")
	b.ReportMetric(each(busy[0], many), "many-ns")
	b.ReportMetric(each(busy[1], many), "many-filtered-ns")
	b.ReportMetric(joined[0], "events/send")
	b.ReportMetric(joined[1], "filtered-events/send")
	b.ReportMetric(float64(single[1])/float64(single[0]), "single-ratio")
	b.ReportMetric(float64(busy[1])/float64(busy[0]), "many-ratio")
	b.ReportMetric(0, "ns/op")
}

func times(n int, f func()) {
	for range n {
		f()
	}
}

// BenchmarkLatency compares how long after the time at which it was due an
// event is with a reader, of 1,000 streams at 50 events/s: sent by a bare loop
// (a) and by the pumps (b), which take turns of two seconds.
func BenchmarkLatency(b *testing.B) {
	const streams, rate, size = 1000, 50, 200
	r := &roofline{seq: 1_000_000}
	filler := bytes.Repeat([]byte{'x'}, size-len("id: bench-1000000\ndata: \n\n")-16)
	data := func(dst []byte, ev *Event) []byte { return hexTime(append(dst, filler...), ev.Value.(int64)) }
	r.open(b, streams, 0, drainTimed, data)
	for _, p := range r.hub.pumps {
		r.ask(p, func() { p.each(func(s *Stream) { r.fds = append(r.fds, s.fd) }) })
	}
	r.frame = make([]byte, size)
	var took [2][]int32
	turn := func(kind int, send func(due int64)) {
		begin := r.drain.shared.count.Load()
		start := time.Now()
		for i := range 2 * rate {
			due := start.Add(time.Duration(i+1) * time.Second / rate)
			time.Sleep(time.Until(due))
			send(due.UnixNano())
		}
		r.drain.wait(b, r.sent)
		took[kind] = append(took[kind], r.drain.shared.took[begin:r.drain.shared.count.Load()]...)
	}
	for range b.N {
		turn(0, func(due int64) {
			r.bare(b, fmt.Appendf(nil, "id: bench-%d\ndata: %s\n\n", r.seq, data(nil, &Event{Value: due})))
		})
		turn(1, func(due int64) {
			batch := r.next(1)
			batch[0].Value = due
			r.hub.Publish(batch)
		})
	}
	at := func(kind, percent int) float64 { return float64(took[kind][len(took[kind])*percent/100]) / 1000 }
	for kind, name := range []string{"a", "b"} {
		slices.Sort(took[kind])
		b.ReportMetric(at(kind, 50), name+"-p50-ms")
		b.ReportMetric(at(kind, 99), name+"-p99-ms")
	}
	b.ReportMetric(at(1, 50)/at(0, 50), "p50-b/a")
	b.ReportMetric(at(1, 99)/at(0, 99), "p99-b/a")
	b.ReportMetric(0, "ns/op")
}

// discardBytes takes what waits at a socket without copying it.
func discardBytes(fd int, scratch []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&scratch[0])),
		uintptr(len(scratch)), unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}
