package main

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// A device that waits for an answer gets one also for what it may not publish: by a reason code, or, where there is
// none, by the end of the connection.
func TestOwnBrokerRefusesTopics(t *testing.T) {
	address := freePort(t)
	h := listening(t, t.TempDir(), address, "")
	for version, answers := range map[byte][2][]byte{4: {nil, nil}, 5: {{0x40, 0, 7, 0x87}, {0x50, 0, 7, 0x87}}} {
		for _, topic := range []string{"$SYS/broker/version", "$sys/x", "$own", "a/#", "a/+/b"} {
			for i, want := range answers {
				t.Run(fmt.Sprintf("version %d, %s, quality %d", version, topic, i+1), func(t *testing.T) {
					c := connected(t, address, version)
					body := append([]byte{0, byte(len(topic))}, topic...)
					body = append(body, 0, 7) // its id
					if version == 5 {
						body = append(body, 0) // no properties
					}
					body = append(body, "x"...)
					if _, err := c.Write(append([]byte{0x30 | byte(i+1)<<1, byte(len(body))}, body...)); err != nil {
						t.Fatal(err)
					}
					if version == 4 {
						if got, err := io.ReadAll(c); err != nil || len(got) > 0 {
							t.Errorf("got % x and %v, want the end of the connection", got, err)
						}
						return
					}
					got := make([]byte, 2)
					if _, err := io.ReadFull(c, got); err != nil {
						t.Fatal(err)
					}
					rest := make([]byte, got[1])
					if _, err := io.ReadFull(c, rest); err != nil || !bytes.HasPrefix(append(got[:1], rest...), want) {
						t.Errorf("got % x % x and %v, want an answer of % x", got[:1], rest, err, want)
					}
				})
			}
		}
	}
	h.Until("it is told", func() bool {
		return logged(h, "only the broker publishes to topics that begin with $") && logged(h, "a topic with a wildcard")
	})
}

// A device may be silent for one and a half times its keep-alive.
func TestOwnBrokerKeepAlive(t *testing.T) {
	g := &gate{}
	for _, keepAlive := range []uint16{0, 1, 2, 3, 5, 59, 60, 43_689, 43_690, 43_691, 65_535} {
		cl := &mochi.Client{}
		cl.State.Keepalive = keepAlive
		if err := g.OnConnect(cl, packets.Packet{}); err != nil {
			t.Fatal(err)
		}
		now := cl.State.Keepalive
		patience := float64(now + now/2) // as the server counts it
		if want := 1.5 * float64(keepAlive); now != 0 && (patience < want || patience > want+1.5) || now == 0 && keepAlive > 0 && keepAlive <= longestKeepAlive {
			t.Errorf("keep-alive %d: got %v s, want %v or a little more", keepAlive, patience, want)
		}
	}
	k := ownBroker(t)
	began := time.Now()
	c := connectedFor(t, k.b.settings.Listen, 4, 2, 1)
	if got, err := io.ReadAll(c); err != nil || len(got) > 0 {
		t.Errorf("got % x and %v, want the end of the connection", got, err)
	}
	if took := time.Since(began); took < 1500*time.Millisecond {
		t.Errorf("a device with a keep-alive of 1 s was cut off after %v, want 1.5 s or more", took)
	}
}
