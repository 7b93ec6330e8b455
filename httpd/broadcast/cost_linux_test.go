package broadcast

import (
	"net"
	goruntime "runtime"
	"runtime/debug"
	"syscall"
	"testing"
	"time"
)

// An idle stream costs at most 400 bytes of heap and stacks, and 1.0 KB with a
// selection that no other stream has, with an id and beats under way; with a
// filter of its own 100 bytes more, some of them those of the test's filter.
func TestIdleStreamMemory(t *testing.T) {
	t.Run("unfiltered", func(t *testing.T) { idleMemory(t, 400, func(string) Selection { return Selection{} }) })
	t.Run("own selection", func(t *testing.T) {
		idleMemory(t, 1024, func(name string) Selection { return Selection{Entities: []string{name}} })
	})
	t.Run("own filter", func(t *testing.T) {
		idleMemory(t, 1152, func(string) Selection { return Selection{Filter: every(1)} })
	})
}

func idleMemory(t *testing.T, most float64, sel func(name string) Selection) {
	n := 2000
	if testing.Short() {
		n = 1000
	}
	m := openMany(t, 1, everything) // tape and pumps are there
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	clients := make([]int, 0, n) // bare descriptors, so that only the server's side counts
	defer func() {
		for _, fd := range clients {
			syscall.Close(fd)
		}
	}()
	before := inUse()
	for range n {
		near, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		far, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		fd, _, err := duplicate(near, 16<<10)
		if err != nil {
			t.Fatal(err)
		}
		near.Close()
		clients = append(clients, fd)
		remote := far.RemoteAddr().String()
		r := Request{Conn: far, Format: "flat", Remote: remote, Label: "wall", Credential: "wall", ID: "stream of " + remote, MaxAge: time.Hour, Selection: sel("light." + remote)}
		if _, err := m.hub.Attach(r); err != nil {
			t.Fatal(err)
		}
	}
	m.hub.tick(2 * time.Hour)          // a beat
	m.hub.Streams(func(StreamInfo) {}) // they are begun
	got := most + 1
	for range 20 { // on a busy machine what was let go is still there for a while
		if got = float64(inUse()-before) / float64(n); got <= most {
			break
		}
		goruntime.Gosched()
	}
	t.Logf("%.0f bytes of heap and stacks per idle stream", got)
	if got > most || got < 100 {
		t.Errorf("got %.0f bytes of heap and stacks per idle stream, want 100 to %.0f", got, most)
	}
}

// inUse returns what is reachable, and stacks.
func inUse() int64 {
	debug.FreeOSMemory()
	debug.FreeOSMemory() // what the first one finalized
	var ms goruntime.MemStats
	goruntime.ReadMemStats(&ms)
	return int64(ms.HeapAlloc + ms.StackInuse)
}
