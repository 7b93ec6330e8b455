package main

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// A notary holds last wills to what their devices might publish themselves; mochi looks at nothing but their
// presence. One with a wildcard in its topic would be kept under a topic that nobody can publish to, so nobody
// could take it back, and sent to clients that hang up over it.
type notary struct {
	mochi.HookBase
	reports *reports
}

// ID implements mochi.Hook.
func (n *notary) ID() string { return "wills" }

// Provides implements mochi.Hook.
func (n *notary) Provides(b byte) bool {
	return bytes.Contains([]byte{mochi.OnConnect, mochi.OnSessionEstablish}, []byte{b})
}

// OnConnect implements mochi.Hook: a will's topic must be one (MQTT 3.1.1, 3.1.3.2), or the connection ends.
func (n *notary) OnConnect(_ *mochi.Client, pk packets.Packet) error {
	if !pk.Connect.WillFlag {
		return nil
	}
	if err := validTopic(pk.Connect.WillTopic); err != nil {
		return fmt.Errorf("the topic of its last will %w", err)
	}
	return nil
}

// OnSessionEstablish implements mochi.Hook. The device is known by then.
func (n *notary) OnSessionEstablish(cl *mochi.Client, pk packets.Packet) {
	if topic := pk.Connect.WillTopic; pk.Connect.WillFlag && topic[0] == '$' {
		atomic.StoreUint32(&cl.Properties.Will.Flag, 0)
		n.reports.about("client", "a last will is left out", cl.ID, errors.New("only the broker publishes to topics that begin with $"))
	}
}
