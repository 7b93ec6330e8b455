package broadcast

import (
	"errors"
	"fmt"
	"sync"
)

// Errors of Reselect and End that a caller may branch on.
var (
	ErrNoStream = errors.New("no such stream")
	ErrBusy     = errors.New("the stream or the hub has too many changes under way; try again later")
)

const (
	maxChanges = 8        // of one stream, still to come
	maxOwned   = 64 << 20 // bytes given to Reselect that wait for slow streams, of all streams
)

// A change is what Reselect wants of a stream.
type change struct {
	member *member // of the feed that the stream goes to; counted in feed.streams
	after  uint64
	own    []byte
}

// An idTable finds streams by their id.
type idTable struct {
	mu   sync.Mutex
	byID map[string]*Stream // guarded by mu; those that are not closed yet
}

// add makes a stream known, unless it has no id.
func (t *idTable) add(s *Stream) {
	if s.id == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byID[s.id] = s
}

func (t *idTable) find(id string) *Stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[id]
}

func (t *idTable) remove(s *Stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID[s.id] == s {
		delete(t.byID, s.id)
	}
}

// Reselect gives a stream another selection at an exact sequence: it gets what
// its present selection takes up to and including after, then own and a frame
// that has only the id of after, then what sel takes from after+1 on, nothing
// lost and nothing twice. It returns at once; the stream follows as fast as its
// connection takes it.
//
// cut is given the canonical selection that the stream has by then, with the
// changes that are still to come. It returns own, whole frames of which the hub
// makes a copy, and after, which must not lie below the hub's head, nor below
// that of a change of the same stream which is still to come. It is called with
// Publish and Attach held back, so it should be quick and must call nothing of
// the hub.
//
// ErrBusy tells that the stream has 8 changes still to come, that 64 MiB of
// own bytes wait for slow streams, or that the stream still waits for the hub
// to reach its resume point.
func (h *Hub) Reselect(id string, sel Selection, cut func(was Selection) (own []byte, after uint64)) error {
	sel = sel.canonical()
	if sel.Filter != nil && h.cfg.Filters == nil {
		return ErrNoFilters
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return ErrClosed
	}
	s := h.ids.find(id)
	if s == nil {
		return ErrNoStream
	}
	p := h.pumps[s.home]
	was, least, err := h.changeable(s, p)
	if err != nil {
		return err
	}
	own, after := cut(was.sel)
	if after < least {
		return fmt.Errorf("changing a selection after %d, but the stream may have got events up to %d", after, least)
	}
	if h.owned.Load()+int64(len(own)) > maxOwned {
		return ErrBusy
	}
	own = appendPosition(own[:len(own):len(own)], h.cfg.Epoch, after)
	x := s.extra.Load()
	f := h.feed(was.ch, sel, x != nil && x.gapsAsData, h.cfg.Now())
	c := change{member: f.member(p), after: after, own: own}
	if !h.plan(s, p, c) {
		h.idle.Store(true) // the feed may have no stream
		return ErrNoStream
	}
	if was.head() < after {
		h.waits = append(h.waits, wait{s, was, after})
	}
	p.look(s)
	return nil
}

// changeable returns the feed that the stream will be on after the changes that
// are still to come, and after which sequence it can change again at the
// earliest, if it may get one more change.
func (h *Hub) changeable(s *Stream, p pump) (last *feed, least uint64, err error) {
	p.lockSending()
	defer p.unlockSending()
	least = h.head.Load()
	if s.pos > least {
		return nil, 0, ErrBusy
	}
	last = s.member.feed
	if x := s.extra.Load(); x != nil && len(x.changes) > 0 {
		if len(x.changes) == maxChanges {
			return nil, 0, ErrBusy
		}
		c := &x.changes[len(x.changes)-1]
		last, least = c.member.feed, max(least, c.after)
	}
	return last, least, nil
}

// plan adds a change to those that the stream has still to make. It reports
// false if the stream is closed: it leaves the table under the sending lock.
func (h *Hub) plan(s *Stream, p pump, c change) bool {
	p.lockSending()
	defer p.unlockSending()
	if h.ids.find(s.id) != s {
		return false
	}
	x := s.extra.Load()
	if x == nil {
		x = &extra{limit: noLimit}
		s.extra.Store(x)
	}
	x.changes = append(x.changes, c)
	x.waiting.Add(1)
	c.member.feed.streams.Add(1)
	h.owned.Add(int64(len(c.own)))
	return true
}

// change makes the first change of a stream that has everything before it. It
// is called by the stream's pump with its sending lock held.
func (h *Hub) change(s *Stream, x *extra) {
	c := x.changes[0]
	x.changes = append(x.changes[:0:0], x.changes[1:]...)
	x.waiting.Add(-1)
	old := s.member
	old.take(s)
	s.member = c.member
	s.member.put(s)
	h.unused(old.feed)
	s.pos = c.after
	s.clear(joined | chunked)
	x.owned = int64(len(c.own))
	s.own = c.own
	x.merging, x.limit = 0, noLimit
}

// release gives back what the stream's own bytes held, now that they are sent.
func (h *Hub) release(x *extra) {
	if x.owned != 0 {
		h.owned.Add(-x.owned)
		x.owned = 0
	}
}

// put makes s one of the streams of m, which is its member.
func (m *member) put(s *Stream) {
	s.place = uint32(len(m.streams))
	m.streams = append(m.streams, s)
}

// take is the reverse of put.
func (m *member) take(s *Stream) {
	last := m.streams[len(m.streams)-1]
	m.streams[s.place] = last
	last.place = s.place
	m.streams[len(m.streams)-1] = nil
	m.streams = m.streams[:len(m.streams)-1]
}

// forget takes a stream that is being closed out of the table and gives back
// what its changes hold. It is called with the pump's sending lock held.
func (h *Hub) forget(s *Stream) {
	h.ids.remove(s)
	x := s.extra.Load()
	if x == nil {
		return
	}
	h.release(x)
	for _, c := range x.changes {
		h.owned.Add(-int64(len(c.own)))
		h.unused(c.member.feed)
	}
	x.changes = nil
}

// unused notes that the feed has one stream less.
func (h *Hub) unused(f *feed) {
	if f.streams.Add(-1) == 0 {
		h.idle.Store(true)
	}
}

// End closes a stream soon, on a frame boundary; its OnClose gets why.
func (h *Hub) End(id string, why Reason) error {
	s := h.ids.find(id)
	if s == nil {
		return ErrNoStream
	}
	p := h.pumps[s.home]
	p.ask(func() { p.finish(s, why) })
	return nil
}
