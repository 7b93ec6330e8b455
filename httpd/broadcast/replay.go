package broadcast

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	chunkBytes = 64 << 10    // a filtered turn of a replay ends after this much
	chunkTime  = time.Second // or this long, so that its stream hears of it

	chunkWait = 10 * time.Millisecond // and after this long, if it has something and more must be read

	// A reading goes that many passages beyond the last stream that waits for
	// it: each start costs the journal about a millisecond.
	aheadOf = 8
	// waitFor is how many events behind a stream a reading may be for the
	// stream to wait for it, rather than have one of its own.
	waitFor = 16384
)

// A job is one turn of a stream's replay.
type job struct {
	s     *Stream
	pump  pump
	feed  *feed
	check bool   // pos may lie ahead of the journal
	limit uint64 // nothing above it is given
	merge uint64 // it is a conflation up to here; 0 if not
	begun bool   // whose gap is told
	began time.Time

	// The readers move pos from the sequence that the stream has to the one
	// that it has with the chunk.
	pos  uint64
	told uint64 // the position that the stream's client knows of after the chunk

	failure FilterError // of the events so far; with Errors 0 there is none
	chunk
	err error
}

// A chunk is what one turn of a replay yields. Its bytes never change.
type chunk struct {
	gap    Gap // told before data; none if it has no Reason
	data   []byte
	end    uint64 // of a conflation: the position after it
	events uint64
}

// readers are goroutines that read the journal for streams that are not on
// their tape. There are at most Config.Readers, and none when none is needed.
// What they read goes onto a shelf, whole and unfiltered, so that streams that
// resume in the same region share the reading and the encoding of it.
type readers struct {
	h     *Hub
	ctx   context.Context
	shelf shelf

	mu sync.Mutex
	// Guarded by mu.
	crew     crew // for all that have no lane
	readings []*reading
	merged   mergedChunks
}

// A crew is goroutines that do jobs. Each lane has its own: asking it may take
// long, and the others don't wait for that.
type crew struct {
	queue   []*job // a stream has one job at most, which bounds it
	running int
	most    int
}

func (r *readers) crewOf(j *job) *crew {
	if l := j.feed.lane; l != nil {
		return &l.crew
	}
	return &r.crew
}

// kept gives the stream what the shelf has for it. It reports false if the
// journal has to be read, or there is more to be looked at: ask does both. It
// is called with the pump's sending lock held.
func (r *readers) kept(s *Stream) (events uint64, ok bool) {
	f := s.member.feed
	if !f.whole || s.extra.Load() != nil || s.is(checking) && s.pos > r.h.head.Load() {
		return 0, false
	}
	p := r.shelf.at(f.ch, s.pos, r.h.clock.Load(), false)
	if p == nil {
		return 0, false
	}
	j := job{s: s, feed: f, pos: s.pos, limit: p.end}
	j.takeAll(p)
	r.follow(f.ch, j.pos)
	return r.h.take(&j), true
}

// follow keeps a reading going that has somebody close behind it.
func (r *readers) follow(ch *channel, pos uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.readings {
		if l.ch == ch && l.after <= pos && pos <= l.goal {
			l.goal = max(l.goal, min(pos+aheadOf*passageEvents, l.bound))
		}
	}
}

// ask has the pump told by reply what follows the stream's position.
func (r *readers) ask(s *Stream) {
	s.set(replays)
	j := &job{s: s, pump: s.member.pump, feed: s.member.feed, pos: s.pos, told: s.pos, began: time.Now(), limit: noLimit}
	j.check = s.is(checking) && s.pos > r.h.head.Load()
	if x := s.extra.Load(); x != nil {
		j.limit, j.merge, j.begun = x.limit, x.conflating(s.pos), x.told
	}
	r.enqueue(j)
}

func (r *readers) enqueue(jobs ...*job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, j := range jobs {
		c := r.crewOf(j)
		if c.queue = append(c.queue, j); c.running < c.most {
			c.running++
			go r.run(c)
		}
	}
}

func (r *readers) run(c *crew) {
	var buf passageBuffer
	for {
		j := r.nextJob(c)
		if j == nil {
			return
		}
		switch {
		case j.merge != 0:
			r.conflate(j)
			r.reply(j)
		case r.advance(j):
			j.finish()
			r.reply(j)
		default:
			if l := r.attend(j); l != nil {
				l.read(&buf)
			}
		}
	}
}

func (r *readers) nextJob(c *crew) *job {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(c.queue) == 0 {
		c.queue = nil
		c.running--
		return nil
	}
	j := c.queue[0]
	c.queue[0] = nil
	c.queue = c.queue[1:]
	return j
}

func (r *readers) reply(j *job) {
	r.h.met.replays.Inc()
	j.pump.reply(j)
}

// forget drops what nobody asked for lately.
func (r *readers) forget() {
	r.shelf.forget(r.h.clock.Load())
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.crew.running == 0 {
		r.merged = mergedChunks{}
	}
}

// advance moves a job on as far as the shelf goes. It reports whether the
// stream is to have what there is then; else the journal has to be read. What
// lies beyond the feed's head comes over the feed.
func (r *readers) advance(j *job) bool {
	if j.check && !r.check(j) {
		return true
	}
	keys, sought := []nameKey(nil), false
	for limit := min(j.feed.head(), j.limit); j.pos < limit; {
		p := r.shelf.at(j.feed.ch, j.pos, r.h.clock.Load(), j.feed.sel.Filter != nil)
		if p == nil {
			if first := min(r.h.cfg.First(), limit+1); j.pos+1 < first {
				j.tell(Gap{From: j.pos + 1, To: first - 1, Reason: AgedOut})
				return true
			}
			spent := time.Since(j.began)
			return j.events > 0 && spent >= chunkWait || spent >= chunkTime
		}
		if j.feed.whole {
			j.takeAll(p)
			return true
		}
		if !sought {
			keys, sought = j.feed.sel.keys(), true
		}
		if j.feed.sel.Filter == nil {
			j.takeSome(p, keys)
		} else if j.err = r.takeFiltered(j, p, keys); j.err != nil {
			return true
		}
		if len(j.data) >= chunkBytes || time.Since(j.began) >= chunkTime {
			return true
		}
	}
	return true
}

// tell makes a gap or reset the turn's only yield, unless it has something
// already: then the gap begins the next one.
func (j *job) tell(g Gap) {
	if len(j.data) == 0 {
		j.gap = g
		j.pos, j.told = g.To, g.To
	}
}

// takeAll gives the job the rest of a passage, which it shares.
func (j *job) takeAll(p *passage) {
	from, to := p.between(j.pos, j.limit)
	j.data = p.data[p.start(from):p.start(to):p.start(to)]
	j.events = uint64(to - from)
	j.pos = min(p.end, j.limit)
	j.told = j.pos // no event lies between
}

// takeSome gives the job a copy of what it wants of a passage.
func (j *job) takeSome(p *passage, keys []nameKey) {
	var scratch [passageEvents]uint32
	from, to := p.between(j.pos, j.limit)
	for _, i := range p.match(scratch[:0], &j.feed.sel, keys, from, to) {
		j.data = append(j.data, p.data[p.start(int(i)):p.start(int(i)+1)]...)
		j.told = p.marks[i].seq
		j.events++
	}
	j.pos = min(p.end, j.limit)
}

// finish ends the turn. If what came last did not match, the client still
// learns how far it is, so that it need not come back for the same again.
func (j *job) finish() {
	j.data = j.appendFailure(j.data)
	if j.told < j.pos {
		j.data = appendPosition(j.data, j.feed.ch.epoch, j.pos)
		j.told = j.pos
	}
}

// check finds out whether a position that a client named lies in the journal,
// which may be ahead of the hub. If not, the stream begins at the head. It
// reports false if that ends the turn.
func (r *readers) check(j *job) bool {
	j.check = false
	if j.pos <= r.h.head.Load() {
		return true
	}
	found := false
	err := r.h.cfg.Replay(r.ctx, j.pos-1, func(*Event) bool {
		found = true
		return false
	})
	if err != nil {
		j.err = fmt.Errorf("looking for %d in the journal: %w", j.pos, err)
		return false
	}
	if head := r.h.head.Load(); !found && j.pos > head {
		j.tell(Gap{Reset: true, Epoch: j.feed.ch.epoch, To: head, Reason: Ahead})
	}
	return false
}
