package broadcast

// An Identity says what a stream is, as far as it was asked for.
type Identity struct {
	Credential, Label, Format string

	Selection  Selection // canonical, after the changes that are still to come; shared, not to be changed
	GapsAsData bool
}

// Identify returns the identity of the stream with this id, or ErrNoStream. It
// waits for a send under way, and not for a pass of the stream's pump.
func (h *Hub) Identify(id string) (Identity, error) {
	s := h.ids.find(id)
	if s == nil {
		return Identity{}, ErrNoStream
	}
	p := h.pumps[s.home]
	p.lockSending()
	defer p.unlockSending()
	f, x := s.member.feed, s.extra.Load()
	it := Identity{Credential: s.credential, Label: s.label, Format: f.ch.format.Name}
	if x != nil {
		it.GapsAsData = x.gapsAsData
		if len(x.changes) > 0 {
			f = x.changes[len(x.changes)-1].member.feed
		}
	}
	it.Selection = f.sel
	return it, nil
}
