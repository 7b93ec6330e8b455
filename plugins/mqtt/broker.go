package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/storage/bolt"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// A broker is the one that the adapter is itself, for homes without one. It keeps
// retained messages and sessions over restarts.
type broker struct {
	// Static after open.
	b      *bridge
	server *mochi.Server
	gate   *gate
	ctx    context.Context
	stop   context.CancelFunc
	jobs   // subscribing, in order
}

const (
	maxClients = 10_000
	// brokerFile is in the adapter's own folder.
	brokerFile = "broker.db"
	// inlineID is the subscription of the bridge.
	inlineID = 1
	// longestSession is how long messages are kept for a device that is away, in seconds.
	longestSession = 7 * 24 * 3600
	// closePatience is how long the end may wait for devices.
	closePatience = 2 * time.Second
	// pending is how many messages may wait for one device.
	pending = 8192
)

// openBroker opens the broker.
func (b *bridge) openBroker(ctx context.Context) (link, error) {
	k := &broker{b: b, jobs: jobs{wake: make(chan struct{}, 1)}}
	k.ctx, k.stop = context.WithCancel(context.WithoutCancel(ctx))
	limits := mochi.NewDefaultServerCapabilities()
	limits.MaximumClients, limits.MaximumPacketSize = maxClients, maxPayload+maxTopic
	limits.MaximumSessionExpiryInterval, limits.MaximumClientWritesPending = longestSession, pending
	limits.MaximumMessageExpiryInterval = 0 // it would end what is retained, too; see also store.OnSessionEstablish
	k.gate = &gate{k: k}
	k.server = mochi.New(&mochi.Options{Capabilities: limits, InlineClient: true, Logger: slog.New(brokerLog{Handler: b.log.Handler()}), SysTopicResendInterval: 30})
	for _, hook := range []mochi.Hook{k.gate, &numbering{asked: map[*mochi.Client]renumbered{}}, &notary{reports: &b.reports}} {
		if err := k.server.AddHook(hook, nil); err != nil {
			return nil, fmt.Errorf("opening the broker: %w", err)
		}
	}
	if err := k.addStore(); err != nil {
		return nil, fmt.Errorf("opening the broker's store: %w", err)
	}
	if err := k.listen(); err != nil {
		k.stop()
		return nil, errors.Join(err, k.server.Close())
	}
	if err := k.server.Serve(); err != nil {
		return nil, fmt.Errorf("opening the broker: %w", err)
	}
	b.log.Info("the broker is open", "address", b.settings.Listen)
	go k.run(k.ctx)
	k.subscribe(b.settings.discoveryFilters())
	k.later(b.bornAgain)
	return k, nil
}

// brokerLog takes of the broker's log what is wrong: the rest is of its inside.
type brokerLog struct {
	slog.Handler
	silent string // what is meant where the server says nothing but an error
}

// Enabled implements slog.Handler.
func (l brokerLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle implements slog.Handler. That a store is new and has nothing, and that the broker itself
// closed a connection, is told as an error, and is none.
func (l brokerLog) Handle(ctx context.Context, r slog.Record) error {
	none := false
	r.Attrs(func(a slog.Attr) bool {
		err, ok := a.Value.Any().(error)
		none = none || ok && (errors.Is(err, bolt.ErrKeyNotFound) || errors.Is(err, net.ErrClosed))
		return !none
	})
	if none {
		return nil
	}
	r.Message = "broker: " + cmp.Or(r.Message, l.silent, "something went wrong")
	return l.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (l brokerLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		switch a.Key {
		case "listener":
			l.silent = "a device's connection ended"
		case "hook":
			l.silent = "keeping messages and sessions"
		}
	}
	return brokerLog{l.Handler.WithAttrs(attrs), l.silent}
}

// WithGroup implements slog.Handler.
func (l brokerLog) WithGroup(name string) slog.Handler {
	return brokerLog{l.Handler.WithGroup(name), l.silent}
}

// addStore keeps retained messages and sessions in a file. One that can't be read is put
// aside: devices announce themselves again.
func (k *broker) addStore() error {
	file := filepath.Join(k.b.stateDir, brokerFile)
	// The system may crash between two writes, and lose the last ones; not syncing each is
	// what a broker of thousands of messages a second can afford.
	options := &bolt.Options{Path: file, Options: &bbolt.Options{Timeout: time.Second, NoSync: true, NoFreelistSync: true}}
	err := k.server.AddHook(&store{k: k}, options)
	if err == nil || errors.Is(err, bbolterrors.ErrTimeout) {
		return err
	}
	k.b.log.Warn("the broker's store can't be read and is put aside", "file", file, "err", err)
	if err := os.Rename(file, file+".bad"); err != nil {
		return err
	}
	return k.server.AddHook(&store{k: k}, options)
}

// listen opens the sockets.
func (k *broker) listen() error {
	s := &k.b.settings
	err := k.server.AddListener(&socketListener{address: s.Listen, tls: s.tls})
	field := "listen"
	if err == nil && s.ListenWS != "" {
		err = k.server.AddListener(&webListener{address: s.ListenWS, tls: s.tls, allows: k.allowsOrigin})
		field = "listen_websocket"
	}
	if err != nil {
		return fmt.Errorf("opening the broker: %w: choose another address for %s, or end what uses this one", err, field)
	}
	return nil
}

// subscribe doesn't use the server's own: that does not tell what was retained from
// what is news.
func (k *broker) subscribe(topics []string) {
	k.later(func() {
		for _, topic := range topics {
			k.server.Topics.InlineSubscribe(mochi.InlineSubscription{
				Subscription: packets.Subscription{Identifier: inlineID, Filter: topic}, Handler: k.received,
			})
			for _, pk := range k.server.Topics.Messages(topic) {
				k.putRetained(pk)
			}
		}
	})
}

// putRetained hands on what was retained, and what took its place before the bridge had it: that
// may have overtaken it.
func (k *broker) putRetained(pk packets.Packet) {
	for range 10 { // more often only somebody who floods the topic changes it
		if !k.put(&message{topic: pk.TopicName, payload: pk.Payload, retained: true}) {
			return
		}
		now, _ := k.server.Topics.Retained.Get(pk.TopicName) // with nothing, if it was taken back
		if bytes.Equal(now.Payload, pk.Payload) {
			return
		}
		pk.Payload = now.Payload
	}
}

func (k *broker) unsubscribe(topics []string) {
	k.later(func() {
		for _, topic := range topics {
			k.server.Topics.InlineUnsubscribe(inlineID, topic)
		}
	})
}

// received hands on what gate has not. It runs on the goroutine of the device that
// publishes, which so waits while the bridge is busy.
func (k *broker) received(_ *mochi.Client, _ packets.Subscription, pk packets.Packet) {
	if pk.Connect.ClientIdentifier != delivered {
		k.put(&message{topic: pk.TopicName, payload: pk.Payload})
	}
}

// put reports whether the bridge took the message.
func (k *broker) put(m *message) bool {
	select {
	case k.b.inbox <- m:
		return true
	case <-k.ctx.Done():
		return false
	}
}

func (k *broker) publish(_ context.Context, out ...outgoing) error {
	for _, o := range out {
		if err := k.server.Publish(o.topic, []byte(o.payload), o.retain, o.qos); err != nil {
			return err
		}
	}
	return nil
}

func (k *broker) health() (bool, string) { return true, "" }

// close waits for devices that are being served, but not for long. What it would still do ends with the
// process.
func (k *broker) close() {
	k.stop()
	closed := make(chan error, 1)
	go func() { closed <- k.server.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			k.b.log.Warn("closing the broker", "err", err)
		}
	case <-time.After(closePatience):
		k.b.log.Warn("closing the broker: some devices are left behind")
	}
}

// A gate says who may use the broker, and keeps devices that publish with quality 1 or 2 waiting
// until the journal holds what they said, and the broker what it is to keep for others.
type gate struct {
	mochi.HookBase
	k       *broker
	proxies sync.Pool // of *mochi.Client, in whose place messages are handed on
}

// delivered marks a message that the bridge has, where only CONNECT has a name: two connections of one client may
// publish at once, while the one takes over from the other.
const delivered = "delivered"

// ID implements mochi.Hook.
func (g *gate) ID() string { return "carillon" }

// Provides implements mochi.Hook.
func (g *gate) Provides(b byte) bool {
	return bytes.Contains([]byte{
		mochi.OnConnect, mochi.OnConnectAuthenticate, mochi.OnPacketRead, mochi.OnACLCheck, mochi.OnPublish, mochi.OnPublishDropped, mochi.OnPacketEncode,
	}, []byte{b})
}

// longestKeepAlive is the longest of which the server can count one and a half times, in seconds.
const longestKeepAlive = 43_690

// OnConnect implements mochi.Hook: a device may be silent for one and a half times its keep-alive (MQTT 3.1.1,
// 3.1.2.10). The server counts that in whole seconds, and cuts off the half one, and what is beyond 65,535.
func (g *gate) OnConnect(cl *mochi.Client, _ packets.Packet) error {
	switch s := &cl.State; {
	case s.Keepalive > longestKeepAlive:
		s.Keepalive = 0 // TCP sees whether it is there
	case s.Keepalive%2 == 1:
		s.Keepalive++
	}
	return nil
}

// OnConnectAuthenticate implements mochi.Hook: it checks name and password.
func (g *gate) OnConnectAuthenticate(cl *mochi.Client, pk packets.Packet) bool {
	s := &g.k.b.settings
	if len(s.users) == 0 {
		return true
	}
	want, known := s.users[string(pk.Connect.Username)]
	ok := subtle.ConstantTimeCompare([]byte(want), pk.Connect.Password) == 1 && known
	if !ok {
		host, _, _ := net.SplitHostPort(cl.Net.Remote)
		g.k.b.reports.about("address", "a device was refused", host, errors.New("its name or password is wrong"), "client", cut(cl.ID, 100))
	}
	return ok
}

// OnPacketEncode implements mochi.Hook. Before MQTT 5 only clients say DISCONNECT (MQTT 3.1.1, 3.14); the
// server closes the connection behind it, and sends no packet of a type that there is not.
func (g *gate) OnPacketEncode(cl *mochi.Client, pk packets.Packet) packets.Packet {
	if pk.FixedHeader.Type == packets.Disconnect && cl.Properties.ProtocolVersion < 5 {
		pk.FixedHeader.Type = packets.Reserved
	}
	return pk
}

// OnPacketRead implements mochi.Hook. What is published to $SYS/… or to a topic with a wildcard the server throws away
// without an answer, and the device waits for that. What OnACLCheck refuses is answered: by a reason code, or before
// MQTT 5, which has none, by the end of the connection.
func (g *gate) OnPacketRead(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	if pk.FixedHeader.Type != packets.Publish || pk.TopicName == "" { // it has an alias
		return pk, nil
	}
	var err error
	switch {
	case pk.TopicName[0] == '$':
		err = errors.New("only the broker publishes to topics that begin with $")
	case strings.ContainsAny(pk.TopicName, "+#"):
		err = errors.New("nobody can publish to a topic with a wildcard")
	default:
		return pk, nil
	}
	g.k.b.reports.about("client", "a message is refused", cl.ID, err, "topic", cut(pk.TopicName, 100))
	pk.TopicName = "$"
	return pk, nil
}

// OnACLCheck implements mochi.Hook: who may connect may use all topics but the broker's
// own.
func (g *gate) OnACLCheck(_ *mochi.Client, topic string, write bool) bool {
	return !write || len(topic) == 0 || topic[0] != '$'
}

// OnPublishDropped implements mochi.Hook.
func (g *gate) OnPublishDropped(cl *mochi.Client, pk packets.Packet) {
	g.k.b.numbers.dropped.Add(1)
	g.k.b.reports.about("client", "the broker dropped messages for a device", cl.ID, fmt.Errorf("%d wait for it already", pending))
}

// OnPublish implements mochi.Hook. The server acknowledges a message behind it, and would keep it and hand
// it to subscribers after that: a process that is killed in between would lose what was acknowledged. So all of
// that is done here.
func (g *gate) OnPublish(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	if pk.FixedHeader.Qos == 0 || cl.Net.Inline {
		return pk, nil
	}
	if len(g.k.server.Topics.Subscribers(pk.TopicName).InlineSubscriptions) > 0 {
		stored := make(chan struct{})
		if !g.k.put(&message{topic: pk.TopicName, payload: pk.Payload, ack: func() { close(stored) }}) {
			return pk, packets.ErrRejectPacket
		}
		select {
		case <-stored:
		case <-g.k.ctx.Done():
			return pk, packets.ErrRejectPacket // it is not acknowledged, so the device sends it again
		}
		pk.Connect.ClientIdentifier = delivered
	}
	others := g.k.server.Topics.Subscribers(pk.TopicName)
	if pk.FixedHeader.Retain || len(others.Subscriptions)+len(others.Shared) > 0 || pk.Connect.ClientIdentifier != delivered && len(others.InlineSubscriptions) > 0 {
		if err := g.handOn(cl, pk); err != nil {
			return pk, err
		}
	}
	pk.Ignore = true // all that is left is to acknowledge it
	return pk, nil
}

// handOn keeps a message that is to be retained, and hands it to subscribers, as the device's.
func (g *gate) handOn(cl *mochi.Client, pk packets.Packet) error {
	as, _ := g.proxies.Get().(*mochi.Client)
	if as == nil {
		as = g.k.server.NewClient(nil, "inline", "", true) // it has a queue that is large, and is not used
	}
	defer g.proxies.Put(as)
	as.ID, as.Properties.ProtocolVersion = cl.ID, cl.Properties.ProtocolVersion
	pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = 0, false // the topic is there, and the alias the device's own
	if err := g.k.server.InjectPacket(as, pk); err != nil {
		return err
	}
	atomic.AddInt64(&g.k.server.Info.MessagesReceived, -1) // it counts it twice
	atomic.AddInt64(&g.k.server.Info.PacketsReceived, -1)
	return nil
}
