package main

import (
	"net"
	"strings"
	"testing"
	"time"

	pahopackets "github.com/eclipse/paho.mqtt.golang/packets"
)

// willing connects a device with a last will, and returns the answer; nil if the broker hangs up.
func willing(t *testing.T, address, id, topic string) (net.Conn, *pahopackets.ConnackPacket) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	connect := pahopackets.NewControlPacket(pahopackets.Connect).(*pahopackets.ConnectPacket)
	connect.ProtocolName, connect.ProtocolVersion, connect.ClientIdentifier, connect.CleanSession = "MQTT", 4, id, true
	connect.Keepalive = 60
	connect.WillFlag, connect.WillRetain, connect.WillTopic, connect.WillMessage = true, true, topic, []byte("gone")
	if err := connect.Write(c); err != nil {
		t.Fatal(err)
	}
	answer, err := pahopackets.ReadPacket(c)
	if err != nil {
		return c, nil
	}
	return c, answer.(*pahopackets.ConnackPacket)
}

func TestOwnBrokerWills(t *testing.T) {
	address := freePort(t)
	h, k := listeningBroker(t, t.TempDir(), address, "")
	for _, topic := range []string{"w/#", "w/+/x", "#", strings.Repeat("/", 200)} {
		if _, answer := willing(t, address, "bad", topic); answer != nil && answer.ReturnCode == 0 {
			t.Errorf("a will to %.20q: the device was let in, want it refused", topic)
		}
	}
	device, answer := willing(t, address, "special", "$SYS/broker/version")
	if answer == nil || answer.ReturnCode != 0 {
		t.Fatalf("a will to the broker's topics: got answer %v, want it left out", answer)
	}
	h.Until("it is told", func() bool { return logged(h, "special") })
	device.Close()
	good, answer := willing(t, address, "good", "w/state")
	if answer == nil || answer.ReturnCode != 0 {
		t.Fatalf("a will to a topic: got answer %v", answer)
	}
	good.Close()
	kept := func(filter string) (n int) {
		for _, pk := range k.server.Topics.Messages(filter) {
			if string(pk.Payload) == "gone" {
				n++
			}
		}
		return n
	}
	h.Until("the last will is told", func() bool { return kept("w/state") == 1 })
	h.Until("the other device has gone", func() bool { cl, there := k.server.Clients.Get("special"); return !there || cl.Closed() })
	if n := kept("$SYS/#") + kept("#"); n != 1 {
		t.Errorf("got %d last wills that are kept, want 1", n)
	}
}
