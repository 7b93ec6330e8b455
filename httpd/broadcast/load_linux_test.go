package broadcast

import (
	"fmt"
	"net"
	goruntime "runtime"
	"sort"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An epollClient reads many streams with one goroutine and bare system calls,
// so that a benchmark measures the hub rather than its client. All frames have
// one length, so the bytes got tell which events a stream has.
type epollClient struct {
	ep        int
	fds       []int
	got       []int64 // bytes of each stream
	total     atomic.Int64
	frame     int64
	published []atomic.Int64 // Unix nanoseconds by event
	latency   []int64        // microseconds of some deliveries
	quit      chan struct{}
}

func (c *epollClient) run() {
	buf := make([]byte, 256<<10)
	events := make([]unix.EpollEvent, 512)
	for {
		n, _ := unix.EpollWait(c.ep, events, 50)
		select {
		case <-c.quit:
			return
		default:
		}
		now := time.Now().UnixNano()
		for _, ev := range events[:max(n, 0)] {
			n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(ev.Pad), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), unix.MSG_DONTWAIT, 0, 0)
			if errno == 0 {
				c.took(int(ev.Fd), int64(n), now)
			}
		}
	}
}

func (c *epollClient) took(i int, n, now int64) {
	first := c.got[i] / c.frame
	c.got[i] += n
	c.total.Add(n)
	for k := first; k < c.got[i]/c.frame; k += 4 {
		c.latency = append(c.latency, (now-c.published[k%int64(len(c.published))].Load())/1000)
	}
}

func openLoad(b *testing.B, n int) (*manyStreams, *epollClient) {
	m := openMany(b, 0, everything)
	m.seq = 1_000_000
	m.hub.head.Store(m.seq)
	c := &epollClient{got: make([]int64, n), published: make([]atomic.Int64, 1<<16), quit: make(chan struct{})}
	c.frame = int64(len(fmt.Sprintf("id: bench-%d\ndata: \n\n", m.seq)) + len(m.body))
	c.ep, _ = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	for i := range n {
		near, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		far, err := ln.Accept()
		if err != nil {
			b.Fatal(err)
		}
		fd, _, err := duplicate(near, 16<<10)
		if err != nil {
			b.Fatal(err)
		}
		near.Close()
		c.fds = append(c.fds, fd)
		unix.EpollCtl(c.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i), Pad: int32(fd)})
		if _, err := m.hub.Attach(Request{Conn: far, Format: "flat"}); err != nil {
			b.Fatal(err)
		}
	}
	b.Cleanup(func() {
		close(c.quit)
		for _, fd := range c.fds {
			unix.Close(fd)
		}
	})
	go c.run()
	return m, c
}

// load publishes b.N events, at a rate or with so many in flight at most.
func load(b *testing.B, streams, rate, flight int) {
	m, c := openLoad(b, streams)
	events := make([]Event, 1<<16)
	begin := m.seq
	var before, after unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &before)
	b.ResetTimer()
	start := time.Now()
	for i := range b.N {
		if rate > 0 {
			if d := time.Until(start.Add(time.Duration(i) * time.Second / time.Duration(rate))); d > 0 {
				time.Sleep(d)
			}
		} else {
			for c.total.Load() < int64(i-flight)*c.frame*int64(streams) {
				time.Sleep(100 * time.Microsecond)
			}
		}
		m.seq++
		ev := &events[i%len(events)]
		*ev = Event{Seq: m.seq, Type: "state_changed"}
		c.published[i%len(c.published)].Store(time.Now().UnixNano())
		m.hub.Publish([]*Event{ev})
	}
	for c.total.Load() < int64(b.N)*c.frame*int64(streams) {
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	unix.Getrusage(unix.RUSAGE_SELF, &after)
	n := float64(b.N) * float64(streams)
	cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(n/b.Elapsed().Seconds()/1e6, "Mdeliv/s")
	b.ReportMetric(float64(cpu)/1000/n, "cpu-µs/deliv")
	b.ReportMetric(float64(cpu)/1e9/b.Elapsed().Seconds(), "cores")
	sort.Slice(c.latency, func(i, j int) bool { return c.latency[i] < c.latency[j] })
	b.ReportMetric(float64(c.latency[len(c.latency)*99/100])/1000, "p99-ms")
	b.ReportMetric(float64(c.latency[len(c.latency)/2])/1000, "p50-ms")
	if d := m.hub.Stats(); d.Published != m.seq-begin {
		b.Fatalf("got %d published, want %d", d.Published, m.seq-begin)
	}
	goruntime.KeepAlive(events)
}

func BenchmarkCapacity(b *testing.B) {
	for _, streams := range []int{1000, 9000} {
		for _, flight := range []int{64, 512} {
			b.Run(fmt.Sprintf("streams=%d/flight=%d", streams, flight), func(b *testing.B) { load(b, streams, 0, flight) })
		}
	}
}

func BenchmarkRate(b *testing.B) {
	for _, rate := range []int{50, 500} {
		b.Run(fmt.Sprintf("streams=9000/rate=%d", rate), func(b *testing.B) { load(b, 9000, rate, 0) })
	}
}
