package main

import (
	"bytes"
	"sync"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// A numbering keeps a device's packet ids apart from the broker's. Either side counts for itself
// (MQTT 3.1.1, 2.3.1), and mochi has one list for both: while a message under some id is on its way to a device, it
// refuses the device's subscription under that id, and forgets the message for the device's own. So such packets get
// an id that is free while the server has them; it answers before it reads the next.
type numbering struct {
	mochi.HookBase

	mu    sync.Mutex
	asked map[*mochi.Client]renumbered // what is being served; guarded by mu
}

type renumbered struct{ device, server uint16 }

// ID implements mochi.Hook.
func (n *numbering) ID() string { return "numbering" }

// Provides implements mochi.Hook.
func (n *numbering) Provides(b byte) bool {
	return bytes.Contains([]byte{mochi.OnPacketRead, mochi.OnPacketEncode, mochi.OnDisconnect}, []byte{b})
}

// OnPacketRead implements mochi.Hook. A message of quality 2 keeps its id: it takes more than one
// answer.
func (n *numbering) OnPacketRead(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	switch kind := pk.FixedHeader.Type; {
	case kind == packets.Subscribe, kind == packets.Unsubscribe, kind == packets.Publish && pk.FixedHeader.Qos == 1:
	default:
		return pk, nil
	}
	under, there := cl.State.Inflight.Get(pk.PacketID)
	if !there || under.FixedHeader.Type != packets.Publish && under.FixedHeader.Type != packets.Pubrel {
		return pk, nil
	}
	free, err := cl.NextPacketID()
	if err != nil {
		return pk, nil // all are taken; then the server refuses it
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked[cl] = renumbered{device: pk.PacketID, server: uint16(free)}
	pk.PacketID = uint16(free)
	return pk, nil
}

// OnPacketEncode implements mochi.Hook.
func (n *numbering) OnPacketEncode(cl *mochi.Client, pk packets.Packet) packets.Packet {
	switch pk.FixedHeader.Type {
	case packets.Suback, packets.Unsuback, packets.Puback:
	default:
		return pk
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if asked, ok := n.asked[cl]; ok && asked.server == pk.PacketID {
		pk.PacketID = asked.device
		delete(n.asked, cl)
	}
	return pk
}

// OnDisconnect implements mochi.Hook.
func (n *numbering) OnDisconnect(cl *mochi.Client, _ error, _ bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.asked, cl)
}
