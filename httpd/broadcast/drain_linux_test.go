package broadcast

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A drainProcess holds the clients' ends of many connections in a process of
// its own, so that their cost is not counted with the sender's.
type drainProcess struct {
	conns  []net.Conn // the server's ends
	shared *drainPage
}

// A drainPage is memory that both processes see.
type drainPage struct {
	bytes atomic.Int64 // taken from all sockets together
	quit  atomic.Bool
	count atomic.Int64        // of latencies
	took  [drainSamples]int32 // latencies in microseconds, as they came
}

const (
	drainSamples = 2 << 20
	drainEnv     = "CARILLON_TEST_DRAIN"
	drainTimed   = "timed"
)

// startDrain connects n clients. A timed drain reads with epoll and notes when
// each frame arrives; the other one sweeps all sockets, sleeps between sweeps,
// and so is never woken by a send.
func startDrain(b *testing.B, n int, mode string) *drainProcess {
	path := filepath.Join(b.TempDir(), "page")
	d := &drainProcess{shared: mapDrainPage(b, path)}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		// As the server does: see longestSegment there.
		c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, 8<<10) })
		return err
	}}
	ln, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestDrainProcess$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %s %s", drainEnv, ln.Addr(), n, path, mode))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		d.shared.quit.Store(true)
		cmd.Wait()
	})
	for range n {
		ln.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
		conn, err := ln.Accept()
		if err != nil {
			b.Fatal(err)
		}
		d.conns = append(d.conns, conn)
	}
	return d
}

func mapDrainPage(tb testing.TB, path string) *drainPage {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	size := int(unsafe.Sizeof(drainPage{}))
	if err := f.Truncate(int64(size)); err != nil {
		tb.Fatal(err)
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		tb.Fatal(err)
	}
	return (*drainPage)(unsafe.Pointer(&mem[0]))
}

// wait returns once so many bytes were taken.
func (d *drainProcess) wait(tb testing.TB, bytes int64) {
	tb.Helper()
	for end := time.Now().Add(3 * patience); d.shared.bytes.Load() < bytes; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("got %d bytes, want %d", d.shared.bytes.Load(), bytes)
		}
	}
	if got := d.shared.bytes.Load(); got != bytes {
		tb.Fatalf("got %d bytes, want %d", got, bytes)
	}
}

// TestDrainProcess is the other process of startDrain.
func TestDrainProcess(t *testing.T) {
	var address, path, mode string
	var n int
	if got, _ := fmt.Sscan(os.Getenv(drainEnv), &address, &n, &path, &mode); got < 3 {
		t.Skip("for startDrain only")
	}
	page := mapDrainPage(t, path)
	at, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	to := &unix.SockaddrInet4{Port: at.Port, Addr: [4]byte{127, 0, 0, 1}}
	fds := make([]int, n)
	for i := range fds {
		if fds[i], err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); err == nil {
			err = unix.Connect(fds[i], to)
		}
		if err != nil {
			t.Fatal(strconv.Itoa(i), err)
		}
	}
	if mode == drainTimed {
		drainOnTime(t, page, fds)
	} else {
		drainAll(page, fds)
	}
}

func drainAll(page *drainPage, fds []int) {
	scratch := make([]byte, 1<<20)
	for !page.quit.Load() {
		took := int64(0)
		for _, fd := range fds {
			n, _ := discardBytes(fd, scratch)
			took += int64(n)
		}
		page.bytes.Add(took)
		if took == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// drainOnTime reads frames whose data are the time in nanoseconds at which they
// were due, as 16 hexadecimal digits at the frame's end.
func drainOnTime(t *testing.T, page *drainPage, fds []int) {
	ep, err := unix.EpollCreate1(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 64<<10)
	events := make([]unix.EpollEvent, 256)
	for !page.quit.Load() {
		n, _ := unix.EpollWait(ep, events, 100)
		for _, ev := range events[:max(n, 0)] {
			got, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(ev.Fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), unix.MSG_DONTWAIT, 0, 0)
			if errno != 0 || got == 0 {
				continue
			}
			page.note(buf[:got], time.Now().UnixNano())
			page.bytes.Add(int64(got))
		}
	}
}

// note takes the latency of the last frame that came with one read.
func (p *drainPage) note(b []byte, now int64) {
	const tail = 18 // the digits and the empty line
	if len(b) < tail {
		return
	}
	due, err := strconv.ParseUint(string(b[len(b)-tail:len(b)-2]), 16, 64)
	if err != nil {
		return
	}
	if at := p.count.Add(1) - 1; at < drainSamples {
		p.took[at] = int32((now - int64(due)) / 1000)
	}
}

// hexTime appends 16 digits.
func hexTime(dst []byte, at int64) []byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(at))
	return fmt.Appendf(dst, "%x", b[:])
}
