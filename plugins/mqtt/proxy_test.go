package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carillon/runtime/runtimetest"
)

// A proxy stands between the adapter and a broker, and can lose what the adapter sends.
type proxy struct {
	address string
	deaf    atomic.Bool // what the adapter sends is lost

	mu    sync.Mutex
	conns []net.Conn // guarded by mu
}

func newProxy(t *testing.T, broker string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{address: l.Addr().String()}
	t.Cleanup(func() {
		l.Close()
		p.cut()
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", broker)
			if err != nil {
				c.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, c, up)
			p.mu.Unlock()
			go p.pass(up, c, &p.deaf)
			go p.pass(c, up, &atomic.Bool{})
		}
	}()
	return p
}

func (p *proxy) pass(to, from net.Conn, lose *atomic.Bool) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !lose.Load() {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if err != io.EOF {
				from.Close()
			}
			return
		}
	}
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

// A command that failed is not done later, when the connection is made anew.
func TestFailedCommandIsNotSentLater(t *testing.T) {
	m := startMosquitto(t)
	p := newProxy(t, m.address)
	d := lampDevice(t, m.address, nil)
	b := newBridge()
	h := runtimetest.StartAdapter(t, b, fmt.Sprintf(`{"broker":"mqtt://%s","confirm":"5s"}`, p.address), t.TempDir())
	h.Until("the lamp is off", shows(h, "light.lamp", "off"))
	p.deaf.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := h.Call(ctx, "light.turn_on", "light.lamp", `{"brightness":11}`); err == nil {
		t.Error("the command was done, want an error")
	}
	h.Until("it is given up", func() bool { return len((*b.linked.Load()).(*client).kept.All()) == 0 })
	p.cut()
	p.deaf.Store(false)
	h.Until("it is connected again and does what it is told", func() bool {
		_, err := h.Call(t.Context(), "light.turn_on", "light.lamp", `{"brightness":22}`)
		return err == nil
	})
	h.Until("the lamp has heard", func() bool { return d.has(`z/lamp/set {"brightness":22,"state":"ON"}`) })
	if d.has(`z/lamp/set {"brightness":11,"state":"ON"}`) {
		t.Error("the lamp was told what had failed")
	}
}

// A message that was not acknowledged when the connection broke comes again from the
// broker, and from nowhere else.
func TestUnacknowledgedMessageComesOnceMore(t *testing.T) {
	m := startMosquitto(t)
	p := newProxy(t, m.address)
	d := newThing(t, m.address, nil)
	d.say("homeassistant/device_automation/b/config", `{"automation_type":"trigger","topic":"button","type":"press","subtype":"one","dev":{"ids":["b"],"name":"B"}}`, 1, true)
	d.say("homeassistant/sensor/s/config", `{"name":"S","uniq_id":"s","stat_t":"s"}`, 1, true)
	d.say("s", "1", 1, true)
	h := runtimetest.StartAdapter(t, newBridge(), fmt.Sprintf(`{"broker":"mqtt://%s"}`, p.address), t.TempDir())
	h.Until("it listens", shows(h, "sensor.s", "1"))
	h.Hold(true)
	d.say("button", "pressed", 1, false)
	h.Until("the button was pressed", func() bool { return len(h.Events()) == 1 })
	p.cut() // the acknowledgement can't get through any more
	h.Hold(false)
	h.Until("it has come again", func() bool { return len(h.Events()) >= 2 })
	d.say("s", "2", 1, true)
	h.Until("what comes behind is there", shows(h, "sensor.s", "2"))
	if got := len(h.Events()); got != 2 {
		t.Errorf("the button was pressed %d times, want once and once again", got)
	}
}

// A message for a device that is not announced yet is not acknowledged before it is.
func TestEarlyMessageIsNotAcknowledged(t *testing.T) {
	m, h := start(t, `{}`)
	h.Until("it runs", func() bool { return m.b.linked.Load() != nil })
	acked := make(chan struct{})
	m.b.inbox <- &message{topic: "late", payload: []byte("7"), ack: func() { close(acked) }}
	m.quiet(h)
	select {
	case <-acked:
		t.Error("it was acknowledged before its device was announced")
	default:
	}
	m.say("homeassistant/sensor/late/config", `{"name":"Late","uniq_id":"late","stat_t":"late"}`, true)
	h.Until("it is shown", shows(h, "sensor.late", "7"))
	<-acked
	if strings.Contains(strings.Join(h.Logs(), "\n"), "dropped") {
		t.Error("it was dropped")
	}
}
