package loadtest

import (
	"os"
	"strings"
	"testing"
)

func TestStalledClients(t *testing.T) {
	f := startFake(t, &fake{})
	o := f.options(t)
	o.Streams, o.Stalled, o.Rate, o.PID = 25, 5, 500, os.Getpid()
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() || r.Published != 250 || r.Delivered != 250*20 || r.Opened != 20 {
		t.Errorf("got %d published, %d delivered to %d streams, %+v, want 250 to each of 20", r.Published, r.Delivered, r.Opened, r.faults)
	}
	s := r.Stalled
	if s == nil || s.Clients != 5 || s.Connected != 5 || s.Without == nil || s.With == nil {
		t.Fatalf("got %+v, want the latencies without and with 5 connected clients", s)
	}
	if s.Without.Count != 2000 || s.With.Count != 2000 || s.P99Ratio != s.With.P99/s.Without.P99 || s.P50Ratio <= 0 {
		t.Errorf("got %d and %d latencies, ratios %v and %v, want two rounds of 50 events on 20 streams each", s.Without.Count, s.With.Count, s.P50Ratio, s.P99Ratio)
	}
	var b strings.Builder
	r.WriteText(&b)
	if want := "stalled    5 clients that never read (5 connected at the end); the others' p50 "; !strings.Contains(b.String(), want) {
		t.Errorf("got %s, want %q in it", &b, want)
	}
	for _, change := range []func(*Options){
		func(o *Options) { o.Stalled = 25 },
		func(o *Options) { o.Stalled = -1 },
		func(o *Options) { o.Rate = 0 },
		func(o *Options) { o.Chaos = &Chaos{} },
	} {
		bad := o
		change(&bad)
		if _, err := Run(t.Context(), bad); err == nil {
			t.Errorf("got no error for %+v", bad)
		}
	}
}

// Clients that the server has closed are not counted as connected.
func TestStalledClientsThatAreDropped(t *testing.T) {
	if !fast {
		t.Skip("there is no way to ask on this system")
	}
	f := startFake(t, &fake{})
	run := newTest(t.Context(), f.options(t))
	defer run.cancel(nil)
	s, err := run.openStalled(t.Context(), 4)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if got := connected(s.conns); got != 4 {
		t.Errorf("got %d connected, want 4", got)
	}
	if bytes, known := kernelTCP(); !known || bytes < 0 {
		t.Errorf("got %d bytes of the system for TCP, known %v", bytes, known)
	}
	for ownKernel(s.conns) == 0 { // until what follows the head has come
		if t.Context().Err() != nil {
			t.Fatal("unread bytes take no memory")
		}
	}
	f.server.CloseClientConnections()
	for connected(s.conns) > 0 {
		if t.Context().Err() != nil {
			t.Fatal("the clients still count as connected")
		}
	}
	run.target.Path = "/nowhere"
	if _, err := run.openStalled(t.Context(), 2); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("got %v, want the server's answer", err)
	}
}
