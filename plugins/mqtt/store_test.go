package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	pahopackets "github.com/eclipse/paho.mqtt.golang/packets"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/storage"
	"github.com/mochi-mqtt/server/v2/hooks/storage/bolt"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.etcd.io/bbolt"
)

// keeping connects with a session that the broker keeps.
func keeping(id string) func(*paho.ClientOptions) {
	return func(o *paho.ClientOptions) { o.SetClientID(id).SetCleanSession(false).SetAutoReconnect(false) }
}

// leave subscribes to m/# and leaves; then messages come.
func leave(t *testing.T, address, id string, messages int) {
	t.Helper()
	d := newThing(t, address, keeping(id))
	d.listen("m/#")
	d.c.Disconnect(100)
	say(t, address, 1, messages)
}

// say publishes messages with the payloads from first on.
func say(t *testing.T, address string, first, messages int) {
	t.Helper()
	d := newThing(t, address, nil)
	for i := range messages {
		d.say("m/x", fmt.Sprint(first+i), 1, false)
	}
}

// all returns what it heard.
func (d *thing) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.heard)
}

// waited fails the test unless the messages that waited come, in their order, and no more.
func waited(t *testing.T, k *broker, id string, messages int) {
	t.Helper()
	d := newThing(t, k.b.settings.Listen, keeping(id))
	var want []string
	for i := range messages {
		want = append(want, fmt.Sprintf("m/x %d", i+1))
	}
	acknowledged := func() bool {
		cl, ok := k.server.Clients.Get(id)
		return ok && cl.State.Inflight.Len() == 0
	}
	for deadline := time.Now().Add(time.Minute); (len(d.all()) < messages || !acknowledged()) && time.Now().Before(deadline); {
		<-time.After(time.Millisecond)
	}
	if got := d.all(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	d.c.Disconnect(100)
}

// copyStore copies the store of a broker that runs: what a killed one leaves behind.
func copyStore(t *testing.T, from string) (to string) {
	t.Helper()
	to = t.TempDir()
	data, err := os.ReadFile(filepath.Join(from, brokerFile))
	if err == nil {
		err = os.WriteFile(filepath.Join(to, brokerFile), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// What waits for a device outlives the broker, also one that was killed, and comes in order.
func TestOwnBrokerKeepsWhatWaits(t *testing.T) {
	const messages = 30
	address, folder := freePort(t), t.TempDir()
	h := listening(t, folder, address, "")
	leave(t, address, "s1:2", messages)
	killed := copyStore(t, folder)
	if err := h.Drain(); err != nil {
		t.Fatal(err)
	}
	for what, folder := range map[string]string{"stopped": folder, "killed": killed} {
		t.Run(what, func(t *testing.T) {
			address := freePort(t)
			again, k := listeningBroker(t, folder, address, "")
			say(t, address, messages+1, 5)
			waited(t, k, "s1:2", messages+5)
			if err := again.Drain(); err != nil {
				t.Fatal(err)
			}
			_, k = listeningBroker(t, folder, freePort(t), "")
			waited(t, k, "s1:2", 0) // it is not sent twice
		})
	}
}

// A device that hangs up while it is sent what waits for it loses nothing of that in the store.
func TestOwnBrokerTakeoverKeepsWhatWaits(t *testing.T) {
	k := ownBroker(t)
	leave(t, k.b.settings.Listen, "s1", 3)
	here, there := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- k.server.EstablishConnection("mqtt", there) }()
	connect := pahopackets.NewControlPacket(pahopackets.Connect).(*pahopackets.ConnectPacket)
	connect.ProtocolName, connect.ProtocolVersion, connect.ClientIdentifier, connect.Keepalive = "MQTT", 4, "s1", 30
	if err := connect.Write(here); err != nil {
		t.Fatal(err)
	}
	if p, err := pahopackets.ReadPacket(here); err != nil || !p.(*pahopackets.ConnackPacket).SessionPresent {
		t.Fatalf("got %v and %v, want the session", p, err)
	}
	here.Close()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "resend") {
		t.Errorf("the connection ended with %v", err)
	}
	keys := slices.DeleteFunc(storedKeys(t, copyStore(t, k.b.stateDir)), func(k string) bool { return !strings.HasPrefix(k, "IFM_s1:") })
	if len(keys) != 3 {
		t.Errorf("the store has %q, want three messages", keys)
	}
}

// A store that an earlier version left behind, with a message under no id, locks nobody out.
func TestOwnBrokerHealsItsStore(t *testing.T) {
	folder := t.TempDir()
	db, err := bbolt.Open(filepath.Join(folder, brokerFile), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	message := storage.Message{T: storage.InflightKey, Client: "s1", TopicName: "m/x", FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, Created: 7}
	err = db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucket([]byte("mochi"))
		if err != nil {
			return err
		}
		put := func(key string, v any) {
			text, err := json.Marshal(v)
			if err == nil {
				err = bucket.Put([]byte(key), text)
			}
			if err != nil {
				t.Error(err)
			}
		}
		put("CL_s1", storage.Client{ID: "s1", T: storage.ClientKey, ProtocolVersion: 4})
		put("CL_clean", storage.Client{ID: "clean", T: storage.ClientKey, ProtocolVersion: 4, Clean: true})
		put("SUB_clean:m/#", storage.Subscription{ID: "SUB_clean:m/#", T: storage.SubscriptionKey, Client: "clean", Filter: "m/#", Qos: 1})
		for id, payload := range map[string]string{"IFM_s1:0": "0", "IFM_s1:9": "1", "IFM_s1:10": "2"} {
			message.ID, message.Payload = id, []byte(payload)
			put(id, message)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	address := freePort(t)
	h, k := listeningBroker(t, folder, address, "")
	waited(t, k, "s1", 2)
	d := newThing(t, address, func(o *paho.ClientOptions) { o.SetClientID("clean") })
	say(t, address, 1, 1)
	d.listen("elsewhere") // its answer stands behind
	if got := d.all(); len(got) != 0 {
		t.Errorf("a clean session heard %q by a subscription of the one before", got)
	}
	if err := h.Drain(); err != nil {
		t.Fatal(err)
	}
	if keys := storedKeys(t, folder); slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(k, "IFM") || strings.HasPrefix(k, "SUB") }) {
		t.Errorf("the store still has %q", keys)
	}
}

// storedKeys returns the keys of a store that nobody has open.
func storedKeys(t *testing.T, folder string) (keys []string) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(folder, brokerFile), 0o600, &bbolt.Options{Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("mochi")).ForEach(func(k, _ []byte) error {
			keys = append(keys, string(k))
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// ownBroker opens a broker without a home.
func ownBroker(t *testing.T) *broker {
	t.Helper()
	b := newBridge()
	b.settings.Listen, b.stateDir, b.log, b.reports.log = freePort(t), t.TempDir(), discard, discard
	link, err := b.openBroker(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	k := link.(*broker)
	t.Cleanup(func() {
		if k.ctx.Err() == nil { // the test has not closed it
			k.close()
		}
	})
	return k
}

// What is retained stays until somebody takes it back, unless it asks for less.
func TestOwnBrokerRetainsForEver(t *testing.T) {
	k := ownBroker(t)
	now := time.Now().Unix()
	k.server.Topics.Retained.Add("old", packets.Packet{TopicName: "old", Payload: []byte("x"), Created: now - 30*24*3600})
	k.server.Topics.Retained.Add("short", packets.Packet{TopicName: "short", Payload: []byte("x"), ProtocolVersion: 5, Created: now - 10, Expiry: now - 5})
	for deadline := time.Now().Add(time.Minute); ; <-time.After(time.Millisecond) {
		if _, there := k.server.Topics.Retained.Get("short"); !there {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("what expired is still there")
		}
	}
	if _, there := k.server.Topics.Retained.Get("old"); !there {
		t.Error("a message of a month ago is gone")
	}
}

// What a device's session had goes with it.
func TestOwnBrokerForgetsSessions(t *testing.T) {
	k := ownBroker(t)
	address := k.b.settings.Listen
	leave(t, address, "s1", 3)
	cl, ok := k.server.Clients.Get("s1")
	if !ok || cl.State.Inflight.Len() != 3 {
		t.Fatalf("nothing waits for it: %v", ok)
	}
	(&store{k: k}).forget(cl)
	if n := len(k.server.Topics.Subscribers("m/x").Subscriptions); n != 0 || cl.State.Inflight.Len() != 0 {
		t.Errorf("%d subscriptions and %d messages are left", n, cl.State.Inflight.Len())
	}
}

// A retained message that was to expire while nobody was there is gone.
func TestStoreDropsWhatExpired(t *testing.T) {
	s := &store{}
	if err := s.Init(&bolt.Options{Path: filepath.Join(t.TempDir(), brokerFile)}); err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	now := time.Now().Unix()
	cl := &mochi.Client{ID: "d"}
	for topic, age := range map[string]int64{"fresh": 1, "late": 100} {
		pk := packets.Packet{TopicName: topic, Created: now - age, Properties: packets.Properties{MessageExpiryInterval: 50}}
		s.OnRetainMessage(cl, pk, 1)
	}
	got, err := s.StoredRetainedMessages()
	if err != nil || len(got) != 1 || got[0].TopicName != "fresh" {
		t.Errorf("got %v and %v, want the fresh one", got, err)
	}
	if got, _ := s.Hook.StoredRetainedMessages(); len(got) != 1 {
		t.Errorf("the file still has %d", len(got))
	}
}

// The ids of a device's packets and of those that are on their way to it have nothing to do with each
// other.
func TestOwnBrokerKeepsIDsApart(t *testing.T) {
	k := ownBroker(t)
	address := k.b.settings.Listen
	leave(t, address, "s1", 3) // under ids 1 to 3
	c := connectedAs(t, address, 4, 0)
	for id := range byte(3) { // not acknowledged
		got := make([]byte, 10)
		if _, err := io.ReadFull(c, got); err != nil || got[8] != id+1 {
			t.Fatalf("got % x and %v, want the message under id %d", got, err, id+1)
		}
	}
	for _, test := range []struct{ say, want []byte }{
		{[]byte{0x82, 6, 0, 1, 0, 1, 'o', 1}, []byte{0x90, 3, 0, 1, 1}},
		{[]byte{0x32, 5, 0, 1, 'p', 0, 2}, []byte{0x40, 2, 0, 2}},
		{[]byte{0xa2, 5, 0, 3, 0, 1, 'o'}, []byte{0xb0, 2, 0, 3}},
		{[]byte{0x82, 6, 0, 77, 0, 1, 'o', 1}, []byte{0x90, 3, 0, 77, 1}},
	} {
		got := make([]byte, len(test.want))
		if _, err := c.Write(test.say); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, test.want) {
			t.Errorf("% x: got % x and %v, want % x", test.say, got, err, test.want)
		}
	}
	if cl, _ := k.server.Clients.Get("s1"); cl.State.Inflight.Len() != 3 {
		t.Errorf("%d messages are on their way, want all 3", cl.State.Inflight.Len())
	}
}

// slowStore is one that takes its time for what is to wait for s2.
type slowStore struct {
	mochi.HookBase
	begun, release, over chan struct{}
}

func (s *slowStore) Provides(b byte) bool { return b == mochi.OnQosPublish }

func (s *slowStore) OnQosPublish(cl *mochi.Client, _ packets.Packet, _ int64, _ int) {
	if cl.ID != "s2" {
		return
	}
	select {
	case s.begun <- struct{}{}:
		<-s.release
	case <-s.over:
	}
}

// What is acknowledged is kept for those who are away: whoever kills the broker then loses nothing.
func TestOwnBrokerKeepsBeforeItAcknowledges(t *testing.T) {
	k := ownBroker(t)
	address := k.b.settings.Listen
	leave(t, address, "s2", 0)
	away, _ := k.server.Clients.Get("s2")
	for deadline := time.Now().Add(time.Minute); !away.Closed() && time.Now().Before(deadline); {
		<-time.After(time.Millisecond) // what is retained is sent behind SUBACK
	}
	slow := &slowStore{begun: make(chan struct{}), release: make(chan struct{}), over: make(chan struct{})}
	if err := k.server.AddHook(slow, nil); err != nil {
		t.Fatal(err)
	}
	c := connected(t, address, 4)
	for quality, acknowledged := range map[byte][]byte{1: {0x40, 2, 0, 1}, 2: {0x50, 2, 0, 2}} {
		payload := '0' + quality
		if _, err := c.Write([]byte{0x31 | quality<<1, 8, 0, 3, 'm', '/', 'x', 0, quality, payload}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-slow.begun:
		case <-time.After(time.Minute):
			t.Fatalf("quality %d: nothing is kept for the one who is away", quality)
		}
		if now, _ := k.server.Topics.Retained.Get("m/x"); string(now.Payload) != string(payload) {
			t.Errorf("quality %d: %q is retained, want %q", quality, now.Payload, payload)
		}
		answer := make([]byte, 4)
		c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if n, err := c.Read(answer); err == nil {
			t.Fatalf("quality %d: got % x before it is kept", quality, answer[:n])
		}
		c.SetReadDeadline(time.Now().Add(time.Minute))
		slow.release <- struct{}{}
		if _, err := io.ReadFull(c, answer); err != nil || !bytes.Equal(answer, acknowledged) {
			t.Errorf("quality %d: got % x and %v, want % x", quality, answer, err, acknowledged)
		}
	}
	close(slow.over)
	if n := away.State.Inflight.Len(); n != 2 {
		t.Errorf("%d messages wait, want 2", n)
	}
}

// What the server's clockwork may do while the store is closed waits for that.
func TestOwnBrokerStoreCloses(t *testing.T) {
	k := ownBroker(t)
	s := &store{k: k}
	s.SetOpts(discard, nil)
	if err := s.Init(&bolt.Options{Path: filepath.Join(t.TempDir(), "x"), Options: &bbolt.Options{Timeout: time.Second}}); err != nil {
		t.Fatal(err)
	}
	cl := k.server.NewClient(nil, "", "s1", false)
	pk := packets.Packet{TopicName: "m/x", PacketID: 1, Filters: packets.Subscriptions{{Filter: "m/x"}}}
	for name, write := range map[string]func(){
		"OnUnsubscribed":    func() { s.OnUnsubscribed(cl, pk) },
		"OnClientExpired":   func() { s.OnClientExpired(cl) },
		"OnQosDropped":      func() { s.OnQosDropped(cl, pk) },
		"OnQosPublish":      func() { s.OnQosPublish(cl, pk, 0, 0) },
		"OnRetainMessage":   func() { s.OnRetainMessage(cl, pk, 1) },
		"OnRetainedExpired": func() { s.OnRetainedExpired("m/x") },
		"OnWillSent":        func() { s.OnWillSent(cl, pk) },
		"OnSysInfoTick":     func() { s.OnSysInfoTick(k.server.Info.Clone()) },
	} {
		done := make(chan struct{})
		s.closing.Lock()
		go func() { write(); close(done) }()
		select {
		case <-done:
			t.Errorf("%s doesn't wait", name)
		case <-time.After(50 * time.Millisecond):
		}
		s.closing.Unlock()
		<-done
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}

// retaining is a store that takes its time for what is retained.
type retaining struct {
	mochi.HookBase
	begun, release chan struct{}
}

func (r *retaining) Provides(b byte) bool { return b == mochi.OnRetainMessage }

func (r *retaining) OnRetainMessage(*mochi.Client, packets.Packet, int64) {
	r.begun <- struct{}{}
	<-r.release
}

// What a device says while a connection takes over from its last one is heard, and what that said is heard once.
func TestOwnBrokerTakesOver(t *testing.T) {
	k := ownBroker(t)
	slow := &retaining{begun: make(chan struct{}), release: make(chan struct{})}
	k.server.Topics.InlineSubscribe(mochi.InlineSubscription{Subscription: packets.Subscription{Identifier: 7, Filter: "m/#"}, Handler: k.received})
	if err := k.server.AddHook(slow, nil); err != nil {
		t.Fatal(err)
	}
	said := make(chan error, 1)
	go func() {
		pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1, Retain: true}, PacketID: 1, TopicName: "m/x", Payload: []byte("1")}
		_, err := k.gate.OnPublish(k.server.NewClient(nil, "", "d", false), pk)
		said <- err
	}()
	first := <-k.b.inbox
	first.ack()
	<-slow.begun
	k.received(nil, packets.Subscription{}, packets.Packet{TopicName: "m/y", Origin: "d"})
	close(slow.release)
	if err := <-said; err != nil {
		t.Error(err)
	}
	var heard []string
	for len(k.b.inbox) > 0 {
		heard = append(heard, (<-k.b.inbox).topic)
	}
	if first.topic != "m/x" || !slices.Equal(heard, []string{"m/y"}) {
		t.Errorf("got %s and %v, want m/x and then m/y alone", first.topic, heard)
	}
}
