package broadcast

import (
	"fmt"
	"net"
	"slices"
	"time"
)

// A Request asks for a stream.
type Request struct {
	// Conn is taken over by Attach unless that fails. A connection with a file
	// descriptor (syscall.Conn) is closed at once on Linux, and its descriptor's
	// duplicate lives on; buffered input is dropped.
	Conn      net.Conn
	Format    string
	Selection Selection
	Prologue  []byte // written before all else; the hub keeps it and never changes it

	// After is the sequence after which the stream begins. With Resume it comes
	// from a client: what the journal lost since is told by a gap, and a number
	// ahead of the journal by a reset. Without Resume, 0 means from now on, and
	// any other number that the Prologue holds everything up to it.
	After  uint64
	Resume bool

	MaxAge     time.Duration // 0 for no end; in whole seconds, rounded up
	Slow       Policy        // what becomes of it when it is too slow
	GapsAsData bool          // gaps and resets also as unnamed messages (Format.Gap)
	ID         string        // for Reselect, End and Streams; "" or one that no other stream has

	Remote, Label, Credential string       // for Streams only
	OnClose                   func(Reason) // called once, on a pump: it must return at once and call nothing of the hub
}

// Attach makes a stream of a connection. It waits for a Publish under way, and
// for no connection. On an error the connection is still the caller's.
func (h *Hub) Attach(r Request) (*Stream, error) {
	s := &Stream{own: r.Prologue, pos: r.After, fd: -1, onClose: r.OnClose,
		id: r.ID, remote: r.Remote, label: r.Label, credential: r.Credential}
	s.extra.Store(r.extra())
	now := h.cfg.Now()
	s.opened = now.UnixMilli()
	s.sent = h.clock.Load()
	if r.MaxAge > 0 {
		s.until = max(1, uint32((now.Sub(h.birth)+r.MaxAge+time.Second-1)/time.Second))
	}
	if r.Resume {
		s.set(checking)
	}
	sel := r.Selection.canonical()
	if u, ok := r.Conn.(interface{ UnsafeConn() net.Conn }); ok {
		r.Conn = u.UnsafeConn() // of fasthttp's wrapper, which hides the descriptor
	}

	h.attaching <- struct{}{}
	defer func() { <-h.attaching }()
	if err := h.takeOver(s, r.Conn); err != nil {
		return nil, fmt.Errorf("taking over the connection: %w", err)
	}
	if err := h.admit(s, &r, sel, now); err != nil {
		if s.fd >= 0 {
			dropDescriptor(int(s.fd))
		}
		return nil, err
	}
	if s.fd >= 0 {
		r.Conn.Close() //nolint:errcheck // the duplicate is what counts
	}
	return s, nil
}

// takeOver duplicates the connection's descriptor, or else makes the line of a
// stream of the portable pump.
func (h *Hub) takeOver(s *Stream, conn net.Conn) error {
	if len(h.pumps) > 1 {
		fd, ok, err := duplicate(conn, h.cfg.SendBuffer)
		if err != nil {
			return err
		}
		if ok {
			s.fd = int32(fd)
			return nil
		}
	}
	s.line = newLine(conn)
	return nil
}

// admit gives the stream its feed and its pump, unless it may not be.
func (h *Hub) admit(s *Stream, r *Request, sel Selection, now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.draining {
		return ErrClosed
	}
	if r.ID != "" && h.ids.find(r.ID) != nil {
		return fmt.Errorf("stream id %q is taken", r.ID)
	}
	if sel.Filter != nil && h.cfg.Filters == nil {
		return ErrNoFilters
	}
	ch, err := h.channel(r.Format, now)
	if err != nil {
		return err
	}
	p := h.place(s)
	if !r.Resume && r.After == 0 {
		s.pos = h.head.Load()
	}
	f := h.feed(ch, sel, r.GapsAsData, now)
	s.member = f.member(h.pumps[p])
	f.streams.Add(1)
	h.met.streams.Add(1)
	h.met.opened.Inc()
	s.home = uint16(p)
	h.ids.add(s)
	h.pumps[p].attach(s)
	h.pumps[p].wake()
	return nil
}

// place chooses the stream's pump: the portable one is the last.
func (h *Hub) place(s *Stream) int {
	last := len(h.pumps) - 1
	if s.fd < 0 {
		return last
	}
	h.lastPump = (h.lastPump + 1) % last
	return h.lastPump
}

// channel returns the channel of a format, which begins with the first stream.
func (h *Hub) channel(name string, now time.Time) (*channel, error) {
	if ch := h.channels[name]; ch != nil {
		return ch, nil
	}
	i := slices.IndexFunc(h.cfg.Formats, func(f Format) bool { return f.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("%w %q", ErrUnknownFormat, name)
	}
	ch := &channel{format: h.cfg.Formats[i], epoch: h.cfg.Epoch, head: &h.head, feeds: make(map[feedKey]*feed)}
	ch.quiet, ch.pinged, ch.quietest = now.UnixNano(), now.UnixNano(), now.UnixNano()
	ch.leastRefs = h.cfg.feedRefs
	ch.newTape = func(seq uint64) *tape { return newTape(h.cfg.TapeBytes, seq, h.fence, h.halt, h.play) }
	ch.tape = ch.newTape(h.head.Load())
	h.channels[name] = ch
	return ch, nil
}

// feed returns the feed of a canonical selection. It is called with mu held.
func (h *Hub) feed(ch *channel, sel Selection, asData bool, now time.Time) *feed {
	if sel.all() {
		if ch.whole == nil {
			ch.whole = &feed{ch: ch, whole: true}
		}
		return ch.whole
	}
	key := sel.key()
	key.asData = asData && sel.Filter != nil
	f := ch.feeds[key]
	if f == nil {
		head := h.head.Load()
		f = &feed{ch: ch, sel: sel, asData: key.asData, since: head, base: head, quiet: now.UnixNano()}
		ch.feeds[key] = f
		h.uses(f)
	}
	return f
}

// member returns the part of the feed that belongs to a pump. It is called with
// Hub.mu held.
func (f *feed) member(p pump) *member {
	for _, m := range f.members {
		if m.pump == p {
			return m
		}
	}
	m := &member{feed: f, pump: p}
	f.members = append(f.members, m)
	return m
}

// left notes that a stream of the feed is gone. Any pump calls it.
func (h *Hub) left(s *Stream, why Reason) {
	h.met.streams.Add(-1)
	h.met.closed[why].Inc()
	h.unused(s.member.feed)
	if s.onClose != nil {
		s.onClose(why)
	}
}

// reap removes filtered feeds without streams. It is called with mu held, so
// that no stream can come to them meanwhile.
func (h *Hub) reap() {
	if !h.idle.Swap(false) {
		return
	}
	for _, ch := range h.channels {
		for key, f := range ch.feeds {
			if f.streams.Load() == 0 {
				delete(ch.feeds, key)
				h.unuses(f)
			}
		}
	}
}
