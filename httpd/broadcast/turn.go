package broadcast

import "bytes"

// A turn reads the journal for one job that is a conflation.
type turn struct {
	r       *readers
	j       *job
	data    []byte
	payload []byte
	lead    Gap // told before data
	pos     uint64
	told    uint64 // the position that the stream's client knows of after data
	events  uint64
}

// conflate yields what the job's stream is to have.
func (r *readers) conflate(j *job) {
	c, known := r.known(j)
	if !known {
		t := turn{r: r, j: j}
		c, j.err = t.conflate()
		r.keep(j, c)
	}
	j.chunk, j.pos = c, c.end
}

// event gives an event, with the data that its filter gave for it, if any.
func (t *turn) event(ev *Event, data []byte) {
	t.pos, t.told = ev.Seq, ev.Seq
	ch := t.j.feed.ch
	if data == nil {
		t.data, t.payload = ch.appendFrame(t.data, t.payload, ev)
	} else {
		t.data, t.payload = ch.appendProjected(t.data, t.payload, ev, data)
	}
	t.events++
}

// selected calls fn for what the selection takes behind t.pos, up to and
// including to, until it returns false. With a maybe, only those for which it
// holds are looked at, and errors of the filter don't count: they did before.
func (t *turn) selected(to uint64, maybe func(*Event) bool, fn func(ev *Event, data []byte) bool) error {
	f, goesOn := t.j.feed, true
	var batch []*Event
	var failed error
	decide := func() bool {
		decisions, err := t.r.decisions(f, batch)
		failed = err
		for i := range decisions {
			if d := &decisions[i]; d.Err != "" && maybe == nil {
				t.r.h.met.filterErrors[f.tier()].Inc()
				t.j.failed(batch[i].Seq, d.Err)
			} else if d.Match && goesOn {
				goesOn = fn(batch[i], d.Data)
			}
		}
		batch = batch[:0]
		return goesOn && failed == nil
	}
	err := t.r.h.cfg.Replay(t.r.ctx, t.pos, func(ev *Event) bool {
		switch {
		case ev.Seq > to:
			return false
		case !f.sel.matches(ev) || maybe != nil && !maybe(ev):
			return true
		case f.sel.Filter == nil:
			goesOn = fn(ev, nil)
			return goesOn
		}
		batch = append(batch, ev)
		return len(batch) < passageEvents || decide()
	})
	if err == nil && failed == nil && goesOn {
		decide()
	}
	if failed != nil {
		return failed
	}
	return err
}

// chunk ends the turn. If what came last did not match, the client still
// learns how far it is, so that it need not come back for the same again.
func (t *turn) chunk() chunk {
	t.data = t.j.appendFailure(t.data)
	if t.told < t.pos {
		t.data = appendPosition(t.data, t.j.feed.ch.epoch, t.pos)
	}
	return chunk{t.lead, bytes.Clone(t.data), t.pos, t.events}
}

// gap tells the reader of the stream that the events before first are gone. It
// reports false if that must wait for the next turn: a gap begins one.
func (t *turn) gap(first uint64) bool {
	if t.pos+1 >= first {
		return true
	}
	if len(t.data) > 0 || t.lead.Reason != "" {
		return false
	}
	t.lead = Gap{From: t.pos + 1, To: first - 1, Reason: AgedOut}
	t.pos, t.told = first-1, first-1
	return true
}

// mergedChunks are the newest yields of conflations, for streams that stall
// together.
type mergedChunks struct {
	kept  map[chunkKey]chunk
	order []chunkKey // of kept, oldest first
	left  []*survivors
}

type chunkKey struct {
	feed      *feed
	after, to uint64 // to is where the conflation ends
	begun     bool   // its gap is told
}

const keptChunks = 64

func (j *job) key() chunkKey { return chunkKey{j.feed, j.pos, j.merge, j.begun} }

func (r *readers) known(j *job) (chunk, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.merged.kept[j.key()]
	return c, ok && c.end <= j.limit
}

// keep remembers a chunk: what follows a position stays what it is.
func (r *readers) keep(j *job, c chunk) {
	if j.err != nil || c.end == j.pos {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m := &r.merged
	if m.kept == nil {
		m.kept = make(map[chunkKey]chunk)
	}
	if len(m.order) == keptChunks {
		delete(m.kept, m.order[0])
		m.order = append(m.order[:0], m.order[1:]...)
	}
	k := j.key()
	if _, ok := m.kept[k]; !ok {
		m.order = append(m.order, k)
	}
	m.kept[k] = c
}
