package broadcast

import "time"

// A StreamInfo tells about one stream.
type StreamInfo struct {
	ID, Remote, Label, Credential, Format string

	Selection   Selection // the present one, canonical; shared, not to be changed
	Slow        Policy
	GapsAsData  bool
	ConnectedAt time.Time
	LastSent    time.Time // to the second
	LastPing    time.Time // of its format; zero if there was none since it connected

	Bytes, Events uint64 // given to its connection
	Position      uint64 // it has all of its selection up to this sequence

	// What it lacks. While it reads the journal LagEvents are sequences, so at
	// least the events, and LagBytes is what that many events have in the mean
	// on the tape. Events that its filter's lane has yet to decide about count in
	// LagEvents. Bytes given to the kernel are not among them.
	LagEvents, LagBytes uint64
	KernelBytes         int // held by the kernel for it, not acknowledged by the peer; Linux only

	Changes    int  // of Reselect, still to come
	Blocked    bool // its connection takes no more for now
	Replaying  bool // it reads the journal
	Conflating bool // and leaves out what is outdated
}

// Streams calls fn for every stream, one at a time. It waits for the pass that
// each pump has under way, so it must not be called from OnClose.
func (h *Hub) Streams(fn func(StreamInfo)) {
	pings := h.lastPings()
	for _, p := range h.pumps {
		var infos []StreamInfo
		h.inspect(p, func(s *Stream) { infos = append(infos, h.info(s, pings)) })
		for _, info := range infos {
			fn(info)
		}
	}
}

// inspect calls fn for each stream of a pump, where its fields may be used. It
// returns when that is done.
func (h *Hub) inspect(p pump, fn func(*Stream)) {
	done := make(chan struct{})
	p.ask(func() {
		p.each(fn)
		close(done)
	})
	select {
	case <-done:
	case <-p.ended():
	}
}

func (h *Hub) lastPings() map[*channel]int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	pings := make(map[*channel]int64, len(h.channels))
	for _, ch := range h.channels {
		pings[ch] = ch.pinged
	}
	return pings
}

func (h *Hub) info(s *Stream, pings map[*channel]int64) StreamInfo {
	f := s.member.feed
	info := StreamInfo{
		ID: s.id, Remote: s.remote, Label: s.label, Credential: s.credential,
		Format: f.ch.format.Name, Selection: f.sel,
		ConnectedAt: time.UnixMilli(s.opened), LastSent: h.birth.Add(time.Duration(s.sent) * time.Second),
		Bytes: s.bytes, Events: s.events, Position: s.pos,
		KernelBytes: s.kernelBytes(), Blocked: s.is(blocked), Replaying: s.is(replays),
	}
	if info.LastSent.Before(info.ConnectedAt) { // it is cut to the second
		info.LastSent = info.ConnectedAt
	}
	if x := s.extra.Load(); x != nil {
		info.Slow, info.GapsAsData = x.slow, x.gapsAsData
		info.Conflating, info.Changes = x.conflating(s.pos) != 0, int(x.waiting.Load())
	}
	if ping := time.Unix(0, pings[f.ch]); ping.After(info.ConnectedAt) {
		info.LastPing = ping
	}
	h.lag(s, &info)
	return info
}

// lag tells how far the stream is.
func (h *Hub) lag(s *Stream, info *StreamInfo) {
	f, head := s.member.feed, h.head.Load()
	known := false
	if s.is(joined) {
		undecided := head - min(f.head(), head) // before the look at the feed
		info.LagEvents, info.LagBytes, known = f.behind(s.cursor)
		info.LagEvents += undecided
	}
	switch {
	case !known:
		info.LagEvents = max(head, s.pos) - s.pos
		info.LagBytes = info.LagEvents * f.ch.tape.meanFrame()
	case info.LagEvents == 0:
		info.Position = max(head, s.pos)
	}
	info.LagBytes += uint64(len(s.own))
}
