package main

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/storage"
	"github.com/mochi-mqtt/server/v2/hooks/storage/bolt"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/mochi-mqtt/server/v2/system"
)

// A store keeps retained messages and sessions in a file. It is mochi's, but for what that
// restores wrongly: messages without their packet ids, which no client may be sent;
// what belongs to no session any more; and the order of what waits.
type store struct {
	bolt.Hook
	k    *broker
	kept map[string]bool // clients whose sessions go on; owned by the server's start

	closing sync.RWMutex // held for reading where the server's clockwork may write while it is closed
}

// Provides implements mochi.Hook.
func (s *store) Provides(b byte) bool { return b == mochi.OnSessionEstablish || s.Hook.Provides(b) }

// StoredClients implements mochi.Hook. The server asks for them first, and drops those whose
// session ended with their connection.
func (s *store) StoredClients() ([]storage.Client, error) {
	all, err := s.Hook.StoredClients()
	s.kept = map[string]bool{}
	for i := range all {
		c := &all[i]
		if c.ProtocolVersion == 5 {
			s.kept[c.ID] = c.Properties.SessionExpiryInterval > 0
			c.Properties.SessionExpiryIntervalFlag = s.kept[c.ID] // it is not stored
		} else {
			s.kept[c.ID] = !c.Clean
		}
	}
	return all, err
}

// StoredSubscriptions implements mochi.Hook.
func (s *store) StoredSubscriptions() ([]storage.Subscription, error) {
	all, err := s.Hook.StoredSubscriptions()
	return slices.DeleteFunc(all, func(sub storage.Subscription) bool {
		if s.kept[sub.Client] {
			return false
		}
		s.OnUnsubscribed(&mochi.Client{ID: sub.Client}, packets.Packet{Filters: packets.Subscriptions{{Filter: sub.Filter}}})
		return true
	}), err
}

// StoredInflightMessages implements mochi.Hook. A message's packet id is in its key only.
func (s *store) StoredInflightMessages() ([]storage.Message, error) {
	all, err := s.Hook.StoredInflightMessages()
	kept := all[:0]
	for _, m := range all {
		id, _ := strconv.ParseUint(m.ID[strings.LastIndexByte(m.ID, ':')+1:], 10, 16)
		m.PacketID = uint16(id)
		if m.PacketID == 0 || !s.kept[m.Client] {
			s.OnQosComplete(&mochi.Client{ID: m.Client}, packets.Packet{PacketID: m.PacketID})
			continue
		}
		kept = append(kept, m)
	}
	return kept, err
}

// StoredRetainedMessages implements mochi.Hook. When a message expires is not stored, but when it
// was made.
func (s *store) StoredRetainedMessages() ([]storage.Message, error) {
	all, err := s.Hook.StoredRetainedMessages()
	now := time.Now().Unix()
	return slices.DeleteFunc(all, func(m storage.Message) bool {
		expired := m.Properties.MessageExpiryInterval > 0 && m.Created+int64(m.Properties.MessageExpiryInterval) < now
		if expired {
			s.OnRetainedExpired(m.TopicName)
		}
		return expired
	}), err
}

// OnSessionEstablish implements mochi.Hook. The server sends again what waits by the
// lower 16 bits of the second in which it came; with a number in its place that is the
// order in which it came.
func (s *store) OnSessionEstablish(cl *mochi.Client, _ packets.Packet) {
	before, ok := s.k.server.Clients.Get(cl.ID)
	if !ok || !before.Closed() {
		return
	}
	waiting := before.State.Inflight.GetAll(false)
	slices.SortFunc(waiting, func(a, b packets.Packet) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), int(int16(a.PacketID-b.PacketID))) // ids begin anew behind 65535
	})
	for i, m := range waiting {
		m.Created = int64(i) + 1 // before all that comes later
		before.State.Inflight.Set(m)
	}
}

// OnQosDropped implements mochi.Hook. What the session's next connection takes over is none
// that was dropped.
func (s *store) OnQosDropped(cl *mochi.Client, pk packets.Packet) {
	if !cl.IsTakenOver() {
		s.closing.RLock()
		defer s.closing.RUnlock()
		s.Hook.OnQosDropped(cl, pk)
	}
}

// OnClientExpired implements mochi.Hook. The server forgets the client, and would keep what is its.
func (s *store) OnClientExpired(cl *mochi.Client) {
	s.closing.RLock()
	s.Hook.OnClientExpired(cl)
	s.closing.RUnlock()
	s.forget(cl)
}

func (s *store) forget(cl *mochi.Client) {
	s.k.server.UnsubscribeClient(cl)
	cl.ClearInflights()
}

// Stop implements mochi.Hook. The server does not wait for its clockwork before.
func (s *store) Stop() error {
	s.closing.Lock()
	defer s.closing.Unlock()
	return s.Hook.Stop()
}

// OnUnsubscribed implements mochi.Hook. The clockwork unsubscribes whose session expires.
func (s *store) OnUnsubscribed(cl *mochi.Client, pk packets.Packet) {
	s.closing.RLock()
	defer s.closing.RUnlock()
	s.Hook.OnUnsubscribed(cl, pk)
}

// OnQosPublish implements mochi.Hook.
func (s *store) OnQosPublish(cl *mochi.Client, pk packets.Packet, sent int64, resends int) {
	s.closing.RLock()
	defer s.closing.RUnlock()
	s.Hook.OnQosPublish(cl, pk, sent, resends)
}

// OnRetainMessage implements mochi.Hook.
func (s *store) OnRetainMessage(cl *mochi.Client, pk packets.Packet, r int64) {
	s.closing.RLock()
	defer s.closing.RUnlock()
	s.Hook.OnRetainMessage(cl, pk, r)
}

// OnRetainedExpired implements mochi.Hook.
func (s *store) OnRetainedExpired(topic string) {
	s.closing.RLock()
	defer s.closing.RUnlock()
	s.Hook.OnRetainedExpired(topic)
}

// OnWillSent implements mochi.Hook.
func (s *store) OnWillSent(cl *mochi.Client, pk packets.Packet) {
	s.closing.RLock()
	defer s.closing.RUnlock()
	s.Hook.OnWillSent(cl, pk)
}

// OnSysInfoTick implements mochi.Hook.
func (s *store) OnSysInfoTick(info *system.Info) {
	s.closing.RLock()
	defer s.closing.RUnlock()
	s.Hook.OnSysInfoTick(info)
}
