package main

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"carillon/runtime/runtimetest"
)

// Adding a job never waits, or who holds what a job wants would wait for ever.
func TestJobsNeverWait(t *testing.T) {
	j := jobs{wake: make(chan struct{}, 1)}
	b := newBridge()
	done := make(chan int, 1)
	b.mu.Lock()
	j.later(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
	})
	go j.run(t.Context())
	sum := 0
	for i := range 20_000 {
		j.later(func() { sum += i })
	}
	j.later(func() { done <- sum })
	b.mu.Unlock()
	if got, want := <-done, 20_000*19_999/2; got != want {
		t.Errorf("got %d, want %d", got, want)
	}
}

// A broker that is slow to answer is asked for all topics all the same.
func TestSlowAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const announced = 250
	asked := make(chan int, 1000)
	go serveSlowly(l, announced, asked)
	b := newBridge()
	b.patience = 50 * time.Millisecond
	h := runtimetest.StartAdapter(t, b, fmt.Sprintf(`{"broker":%q}`, l.Addr()), t.TempDir())
	got := 0
	for got < announced {
		select {
		case n := <-asked:
			got += n
		case <-time.After(time.Minute):
			t.Fatalf("was asked for %d topics, want %d; logs %v", got, announced, h.Logs())
		}
	}
}

// serveSlowly is a broker that takes 150 ms for each answer, and has announcements.
func serveSlowly(l net.Listener, announced int, asked chan<- int) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			for {
				p, err := packets.ReadPacket(c)
				if err != nil {
					return
				}
				switch p := p.(type) {
				case *packets.ConnectPacket:
					packets.NewControlPacket(packets.Connack).Write(c)
				case *packets.SubscribePacket:
					<-time.After(150 * time.Millisecond)
					ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
					ack.MessageID, ack.ReturnCodes = p.MessageID, make([]byte, len(p.Topics))
					ack.Write(c)
					if p.Qoss[0] == 0 { // for announcements
						for i := range announced {
							c.Write(publishPacket(fmt.Sprintf("homeassistant/sensor/s%d/config", i), fmt.Appendf(nil, `{"stat_t":"s/%d","uniq_id":"u%d"}`, i, i), 0))
						}
						continue
					}
					asked <- len(p.Topics)
				}
			}
		}()
	}
}

// A broker that takes a connection and says nothing is not reached, and doesn't keep the
// adapter from its end.
func TestSilentBroker(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := l.Accept()
		accepted <- c
	}()
	h := runtimetest.StartAdapter(t, newBridge(), fmt.Sprintf(`{"broker":%q}`, l.Addr()), t.TempDir())
	if c := <-accepted; c != nil {
		defer c.Close()
	}
	if ready, detail := h.Ready(); ready || !strings.Contains(detail, "can't be reached") {
		t.Errorf("got ready %v, %q, want that it can't be reached", ready, detail)
	}
	began := time.Now()
	if err := h.Drain(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the end took %v", took)
	}
}

// The adapter leaves when the broker has handled all that it said, and not before.
func TestLeavesBehindAnAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	said := make(chan string, 100)
	answer := make(chan struct{})
	go func() {
		defer close(said)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for {
			p, err := packets.ReadPacket(c)
			if err != nil {
				return
			}
			switch p := p.(type) {
			case *packets.ConnectPacket:
				packets.NewControlPacket(packets.Connack).Write(c)
			case *packets.SubscribePacket:
				ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
				ack.MessageID, ack.ReturnCodes = p.MessageID, make([]byte, len(p.Topics))
				ack.Write(c)
			case *packets.UnsubscribePacket:
				said <- "unsubscribe"
				<-answer
				ack := packets.NewControlPacket(packets.Unsuback).(*packets.UnsubackPacket)
				ack.MessageID = p.MessageID
				ack.Write(c)
				said <- "answered"
			case *packets.DisconnectPacket:
				said <- "disconnect"
			}
		}
	}()
	h := runtimetest.StartAdapter(t, newBridge(), fmt.Sprintf(`{"broker":%q}`, l.Addr()), t.TempDir())
	h.Until("it is connected", func() bool { ready, _ := h.Ready(); return ready })
	drained := make(chan error, 1)
	go func() { drained <- h.Drain() }()
	if got := <-said; got != "unsubscribe" {
		t.Errorf("got %s first", got)
	}
	select {
	case got := <-said:
		t.Errorf("got %s before the answer", got)
	case <-time.After(100 * time.Millisecond):
	}
	close(answer)
	var rest []string
	for s := range said {
		rest = append(rest, s)
	}
	if !slices.Equal(rest, []string{"answered", "disconnect"}) {
		t.Errorf("got %v behind the answer", rest)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// A device that announces itself over and over is declared a few times a second, and
// the others are heard meanwhile.
func TestFlappingAnnouncement(t *testing.T) {
	m, h := start(t, `{"confirm":"0s"}`)
	m.say("homeassistant/sensor/calm/config", `{"name":"Calm","uniq_id":"calm","stat_t":"calm","val_tpl":"{{ value|int }}"}`, true)
	m.quiet(h)
	const flaps = 20_000
	for i := range flaps {
		m.say("homeassistant/sensor/flap/config", fmt.Sprintf(`{"name":"Flap","uniq_id":"flap","stat_t":"flap","ic":"%d"}`, i%2), false)
		if i%3 == 0 {
			m.say("homeassistant/sensor/flap/config", "", false)
		}
	}
	m.say("calm", "7", true)
	h.Until("the calm one is heard", shows(h, "sensor.calm", "7"))
	m.quiet(h)
	if got := h.Entities(); !slices.Equal(got, []string{"sensor.calm", "sensor.flap"}) {
		t.Errorf("got %v, want both", got)
	}
	m.b.mu.Lock()
	defer m.b.mu.Unlock()
	if n := len(m.b.ids.next) + len(m.b.announced) + len(m.b.byKey) + len(m.b.routes.exact); n > 8 {
		t.Errorf("%d things are kept of two sensors", n)
	}
}
