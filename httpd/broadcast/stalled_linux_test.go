package broadcast

import (
	"net"
	goruntime "runtime"
	"runtime/debug"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memory returns what a socket holds of the kernel's memory: what is received
// and not read, queued to be sent, and reserved (SO_MEMINFO, sock_diag(7)).
func memory(t *testing.T, conn syscall.RawConn) (n uint32) {
	t.Helper()
	const rmem, forward, queued, options, backlog = 0, 4, 5, 6, 7
	var info [9]uint32
	size := uint32(unsafe.Sizeof(info))
	conn.Control(func(fd uintptr) {
		_, _, errno := syscall.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info[0])), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			t.Fatalf("reading SO_MEMINFO: %v", errno)
		}
	})
	return info[rmem] + info[forward] + info[queued] + info[options] + info[backlog]
}

// streamMemory returns what the hub's own socket of a stream holds.
func streamMemory(t *testing.T, fd int32) uint32 {
	t.Helper()
	return memory(t, descriptor(fd))
}

type descriptor uintptr

func (d descriptor) Control(f func(fd uintptr)) error  { f(uintptr(d)); return nil }
func (d descriptor) Read(func(fd uintptr) bool) error  { return nil }
func (d descriptor) Write(func(fd uintptr) bool) error { return nil }

// A client that never reads costs at most 256 KB of kernel memory, its own
// end's included, and 2 KB of the process's.
func TestStalledClientsAreCheap(t *testing.T) {
	t.Run("live", func(t *testing.T) { stalledMemory(t, func(int) Request { return Request{} }) })
	t.Run("resuming", func(t *testing.T) {
		stalledMemory(t, func(i int) Request { return Request{After: uint64(i) * 50, Resume: true} })
	})
	t.Run("conflating", func(t *testing.T) {
		stalledMemory(t, func(i int) Request { return Request{After: uint64(i) * 50, Resume: true, Slow: Conflate} })
	})
}

func stalledMemory(t *testing.T, request func(i int) Request) {
	const n = 200
	w := newWorld(t, func(c *Config) { c.TapeBytes = 1 << 20 })
	keyed := func(seq uint64) Event {
		ev := plain(seq)
		ev.Key, ev.Value = string(rune('a'+seq%5000)), 300
		return ev
	}
	w.publish(20_000, keyed)
	more := w.store(20_000, keyed) // 8 MB
	w.open(Request{ID: "first"})   // tape and pumps are there
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	nears := make([]net.Conn, n)
	before := int64(0)
	fars := make([]net.Conn, n)
	for i := range n {
		if nears[i], err = net.Dial("tcp", ln.Addr().String()); err != nil {
			t.Fatal(err)
		}
		defer nears[i].Close()
		if fars[i], err = ln.Accept(); err != nil {
			t.Fatal(err)
		}
	}
	before = inHeap()
	for i := range n {
		r := request(i)
		r.Conn, r.Format, fars[i] = fars[i], "flat", nil
		if _, err := w.hub.Attach(r); err != nil {
			t.Fatal(err)
		}
	}
	w.hub.Publish(more)
	sent, same := int64(0), 0
	stalled := func() bool {
		count := 0
		w.hub.Streams(func(info StreamInfo) {
			if info.Blocked && info.ID == "" {
				count++
			}
		})
		return count == n
	}
	until(t, "all to be blocked for good", func() bool {
		now := int64(w.hub.met.bytes.Get())
		if same++; now != sent || !stalled() {
			sent, same = now, 0
		}
		return same == 50 // some milliseconds
	})
	w.pass(trimAfter * time.Second) // what the readers left goes
	w.pass(10 * time.Second)
	until(t, "all to hold one frame's rest at most", func() bool {
		most := 0
		for _, p := range w.hub.pumps {
			w.hub.inspect(p, func(s *Stream) { most = max(most, cap(s.own)) })
		}
		return most < 1024 && stalled()
	})
	checkKernel(t, w, nears)
	used := int64(0)
	for range 10 { // a kernel that takes a little more after a while lets one get a passage again
		w.hub.readers.shelf.forget(^uint32(0)) // which has a bound of its own
		if used = (inHeap() - before) / n; used <= 2048 {
			break
		}
		w.pass(trimAfter * time.Second)
	}
	t.Logf("%d bytes of the process per stalled client", used)
	if used > 2048 {
		t.Errorf("got %d bytes per stalled client, want at most 2048", used)
	}
}

// inHeap returns what is reachable.
func inHeap() int64 {
	debug.FreeOSMemory()
	debug.FreeOSMemory() // what the first one finalized
	var ms goruntime.MemStats
	goruntime.ReadMemStats(&ms)
	return int64(ms.HeapAlloc)
}

func checkKernel(t *testing.T, w *world, nears []net.Conn) {
	t.Helper()
	var theirs uint32
	for _, c := range nears {
		raw, err := c.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		theirs = max(theirs, memory(t, raw))
	}
	var ours uint32
	told := 0
	for _, p := range w.hub.pumps {
		w.hub.inspect(p, func(s *Stream) {
			if s.id == "" {
				ours = max(ours, streamMemory(t, s.fd))
				told = max(told, s.kernelBytes())
			}
		})
	}
	t.Logf("at most %d bytes of kernel memory at the server's end, %d told, %d at the client's", ours, told, theirs)
	if ours+theirs > 256<<10 || ours > 96<<10 {
		t.Errorf("got %d and %d bytes of kernel memory, want at most 96 KB and 256 KB in all", ours, theirs)
	}
	if told == 0 || told > int(ours) {
		t.Errorf("got %d bytes told of %d", told, ours)
	}
}
