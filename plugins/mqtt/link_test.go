package main

import (
	"fmt"
	"net"
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
		case <-time.After(10 * time.Second):
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
