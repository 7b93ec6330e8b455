package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"carillon/internal/sse"
	"carillon/runtime"
	"carillon/runtime/journal"
)

var resumeEvents = flag.Int("resume-events", 200_000, "events in the journal of BenchmarkResume")

// A resumeHome is a server in a process of its own, just started, on a journal
// with many events.
type resumeHome struct {
	b       *testing.B
	cmd     *exec.Cmd
	url     string
	address string // host:port
	epoch   string
	head    uint64
}

const resumeEntities = 1000

// startResumeHome fills a journal with n events of 400 bytes on the wire.
func startResumeHome(b *testing.B, n int) *resumeHome {
	h := &resumeHome{b: b}
	home := filepath.Join(b.TempDir(), "home")
	if err := os.MkdirAll(filepath.Join(home, "scripts"), 0o755); err != nil {
		b.Fatal(err)
	}
	h.fill(filepath.Join(home, "data"), n)
	h.cmd = exec.Command(os.Args[0], "serve", "-home", home, "-listen", "127.0.0.1:0")
	h.cmd.Env = append(os.Environ(), "CARILLON_TOKEN="+testToken)
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		h.cmd.Process.Kill()
		h.cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for h.url == "" && lines.Scan() {
		if m := addressLine.FindStringSubmatch(lines.Text()); m != nil {
			h.url, h.address = m[1], strings.TrimPrefix(m[1], "http://")
		}
	}
	if h.url == "" {
		b.Fatal("the server does not start")
	}
	return h
}

func (h *resumeHome) fill(dir string, n int) {
	j, err := journal.Open(context.Background(), journal.Options{Dir: dir})
	if err != nil {
		h.b.Fatal(err)
	}
	var left sync.WaitGroup
	filler := strings.Repeat("x", 190)
	start := time.Now().Add(-time.Hour)
	for i := 0; i < n; i += 100 {
		events := make([]*runtime.Event, 100)
		for k := range events {
			id := fmt.Sprintf("sensor.n%d", (i+k)%resumeEntities)
			text := fmt.Sprintf(`{"event_type":"measured","data":{"entity_id":%q,"n":%d,"x":%q},"origin":"LOCAL","time_fired":"2026-01-01T00:00:00.000000+00:00","context":{"id":"01H","parent_id":null,"user_id":null}}`, id, i+k, filler)
			events[k] = runtime.ParseEvent(0, "api", "measured", id, "sensor", start.Add(time.Duration(i+k)*time.Microsecond), []byte(text))
		}
		left.Add(1)
		j.Append(events, func(last uint64, err error) {
			if err != nil {
				h.b.Error(err)
			}
			h.head = last
			left.Done()
		})
	}
	left.Wait()
	h.epoch = j.Epoch()
	if err := j.Close(); err != nil {
		h.b.Fatal(err)
	}
}

// A resumer is the client of one stream that resumes. It checks that it gets
// what it should, each once and in order.
type resumer struct {
	reader sse.Reader
	head   int // bytes of the response's head's end seen so far, of 4
	seq    uint64
	step   uint64 // between the events that it asked for
	until  uint64
	events int
	bad    string
	done   bool
}

func (c *resumer) frame(f sse.Frame) {
	_, seq, ok := sse.ParseID(string(f.ID))
	if !ok || c.done {
		return
	}
	if f.Kind == sse.Message && seq <= c.until {
		want := c.seq + 1
		for c.step > 1 && (want-1)%resumeEntities != c.step-2 {
			want++
		}
		if seq != want || len(f.Event) > 0 {
			c.bad = fmt.Sprintf("got event %q %d behind %d, want %d", f.Event, seq, c.seq, want)
		}
		c.events++
	}
	c.seq = max(c.seq, seq)
	c.done = c.seq >= c.until
}

func (c *resumer) take(b []byte) {
	for ; c.head < 4 && len(b) > 0; b = b[1:] {
		switch {
		case b[0] == "\r\n\r\n"[c.head]:
			c.head++
		case b[0] != '\r':
			c.head = 0
		}
	}
	c.reader.Write(b)
}

// A storm is many streams that resume at once.
type storm struct {
	streams, behind int
	own             bool // each stream asks for one entity
}

// run returns how long it took until all had everything, and how much it was.
func (h *resumeHome) run(s storm) (took time.Duration, first []time.Duration, events int) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		h.b.Fatal(err)
	}
	defer unix.Close(ep)
	defer func(server, client float64) {
		h.b.Logf("CPU seconds: server %.1f, client %.1f", h.cpu()-server, ownCPU()-client)
	}(h.cpu(), ownCPU())
	host, port, _ := net.SplitHostPort(h.address)
	number, _ := strconv.Atoi(port)
	to := &unix.SockaddrInet4{Port: number, Addr: [4]byte(net.ParseIP(host).To4())}
	clients := make(map[int32]*resumer, s.streams)
	start := time.Now()
	for i := range s.streams {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err == nil {
			err = unix.Connect(fd, to)
		}
		if err != nil {
			h.b.Fatal(err)
		}
		defer unix.Close(fd)
		c := &resumer{seq: h.head - uint64(s.behind-i*7919%s.behind), until: h.head, step: 1}
		c.reader.On = c.frame
		query := ""
		if s.own {
			c.step = uint64(2 + i%resumeEntities)
			query = fmt.Sprintf("?entity_id=sensor.n%d", i%resumeEntities)
		}
		fmt.Fprintf(fdWriter(fd), "GET /api/stream%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nLast-Event-ID: %s-%d\r\n\r\n", query, testToken, h.epoch, c.seq)
		clients[int32(fd)] = c
		if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			h.b.Fatal(err)
		}
	}
	buf := make([]byte, 256<<10)
	ready := make([]unix.EpollEvent, 512)
	for left := s.streams; left > 0; {
		if time.Since(start) > 2*time.Minute {
			h.b.Fatalf("%d of %d streams still lack something", left, s.streams)
		}
		n, _ := unix.EpollWait(ep, ready, 1000)
		for _, ev := range ready[:max(n, 0)] {
			c := clients[ev.Fd]
			n, err := unix.Read(int(ev.Fd), buf)
			if n <= 0 {
				h.b.Fatalf("a stream ended after %d events: %v", c.events, err)
			}
			before, done := c.events, c.done
			c.take(buf[:n])
			if before == 0 && c.events > 0 {
				first = append(first, time.Since(start))
			}
			if c.bad != "" {
				h.b.Fatal(c.bad)
			}
			if c.done && !done {
				left--
				events += c.events
			}
		}
	}
	return time.Since(start), first, events
}

// cpu returns the CPU seconds that the server has used.
func (h *resumeHome) cpu() float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", h.cmd.Process.Pid))
	if err != nil {
		h.b.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return float64(user+system) / 100
}

func ownCPU() float64 {
	var u unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

type fdWriter int

func (fd fdWriter) Write(b []byte) (int, error) { return unix.Write(int(fd), b) }

// live publishes 50 events a second until stop is closed, and returns how late
// each came to a stream that was there before.
func (h *resumeHome) live(stop <-chan struct{}) []time.Duration {
	request, _ := http.NewRequest("GET", h.url+"/api/stream?type=tick", nil)
	request.Header.Set("Authorization", "Bearer "+testToken)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		h.b.Error(err)
		return nil
	}
	defer response.Body.Close()
	var late []time.Duration
	var last int64
	reader := sse.Reader{On: func(f sse.Frame) {
		if _, rest, ok := strings.Cut(string(f.Data), `"due":`); ok {
			due, _ := strconv.ParseInt(rest[:strings.IndexByte(rest, '}')], 10, 64)
			late = append(late, time.Since(time.Unix(0, due)))
			last = due
		}
	}}
	var end int64
	go func() {
		for start, i := time.Now(), 0; ; i++ {
			due := start.Add(time.Duration(i) * 20 * time.Millisecond)
			time.Sleep(time.Until(due))
			select {
			case <-stop:
				response.Body.Close()
				return
			default:
			}
			post, _ := http.NewRequest("POST", h.url+"/api/events/tick", strings.NewReader(fmt.Sprintf(`{"due":%d}`, due.UnixNano())))
			post.Header.Set("Authorization", "Bearer "+testToken)
			if r, err := http.DefaultClient.Do(post); err == nil {
				r.Body.Close()
			}
		}
	}()
	buf := make([]byte, 16<<10)
	for last == 0 || last != end {
		n, err := response.Body.Read(buf)
		reader.Write(buf[:n])
		if err != nil {
			break
		}
	}
	return late
}

// BenchmarkResume has many streams resume at once on a server that was just
// started, and reports how long it takes until all have everything.
//
//	go test -run '^$' -bench Resume -benchtime 1x -resume-events 1000000 .
func BenchmarkResume(b *testing.B) {
	for _, s := range []storm{
		{streams: 1, behind: *resumeEvents},
		{streams: 1, behind: 100_000},
		{streams: 8, behind: 100_000},
		{streams: 10_000, behind: 1000},
		{streams: 10_000, behind: 100_000, own: true},
		{streams: 100, behind: 100_000},
	} {
		b.Run(fmt.Sprintf("streams=%d/behind=%d/own=%v", s.streams, s.behind, s.own), func(b *testing.B) {
			var took time.Duration
			var events int
			var quiet, during, first []time.Duration
			b.StopTimer()
			for range b.N {
				h := startResumeHome(b, *resumeEvents)
				stop := make(chan struct{})
				time.AfterFunc(time.Second, func() { close(stop) })
				quiet = append(quiet, h.live(stop)...)
				stop = make(chan struct{})
				ended := make(chan []time.Duration)
				go func() { ended <- h.live(stop) }()
				t, f, n := h.run(s)
				close(stop)
				during = append(during, <-ended...)
				first = append(first, f...)
				took += t
				events += n
			}
			b.ReportMetric(took.Seconds()/float64(b.N), "s")
			b.ReportMetric(float64(events)/took.Seconds(), "events/s")
			b.ReportMetric(0, "ns/op")
			for name, list := range map[string][]time.Duration{"live-before": quiet, "live-during": during, "first": first} {
				slices.Sort(list)
				if len(list) > 0 {
					b.ReportMetric(float64(list[len(list)/2].Microseconds())/1000, name+"-p50-ms")
					b.ReportMetric(float64(list[len(list)*99/100].Microseconds())/1000, name+"-p99-ms")
				}
			}
		})
	}
}
