package sse

import (
	"encoding/json"
	"fmt"
)

// A Continuity follows the ids of one stream over all its connections, and
// tells what they prove. Give it every frame in order, from a [Reader] that
// was Reset for each connection, and resume each connection with the
// Reader's LastID. The zero value is ready; it is for one goroutine.
//
// What the server promises: ids <epoch>-<sequence> rise; before an id comes
// everything up to it that the stream asked for; what cannot be given is
// announced by a gap, and another numbering by a reset; beats (frames of only
// an id) carry on in silence.
//
// What a reader can prove with that: no event came twice or out of order, and
// the stream is whole from its first position to its last one, but for the
// gaps. A beat proves it for the time in which nothing came. What it cannot
// prove is that the server left nothing out: sequences that pass without an
// event are of others' selections, or were never given out. [Totals.Skipped]
// counts them; for a stream that selects everything it is 0 on a journal
// without holes. Who must know more numbers its own events, as the load test does.
type Continuity struct {
	epoch string
	seq   uint64
	known bool   // there is a position
	gaps  []span // announced ahead of the position, none touching another
	total Totals
}

type span struct{ from, to uint64 }

// Totals is what a Continuity has seen.
type Totals struct {
	Events   uint64 // messages with an id, faulty ones not among them
	Unplaced uint64 // messages without an id: pings, snapshots
	Beats    uint64 // frames of only an id
	Skipped  uint64 // sequences passed over, neither given nor announced
	Gaps     uint64 // gap frames
	Missing  uint64 // sequences that they stand for; of conflated ones, those merged or dropped
	Resets   uint64
	Faults   uint64
}

// Finding is what a frame means to its stream.
type Finding uint8

const (
	// Nothing: the frame says nothing about the position.
	Nothing Finding = iota
	// Event: an event that came once and in order.
	Event
	// Beat: everything up to the position has come.
	Beat
	// Gap: the sequences From to To will not come; of a conflated gap, some will.
	Gap
	// Reset: the position means nothing any more; the stream begins anew
	// behind the sequence To.
	Reset
	// Fault: the frame breaks the stream's promise; Reason says how.
	Fault
)

// Verdict is the finding about one frame.
type Verdict struct {
	Finding  Finding
	From, To uint64 // of a Gap; To of a Reset
	Reason   string // of a Gap, Reset or Fault
	// Again is set for a Fault whose event is not above the position: it came
	// before, or it is late. Whoever takes events once leaves it out.
	Again bool
}

// Position returns the place up to which the stream is whole; ok is false
// before the first id and after a reset.
func (c *Continuity) Position() (epoch string, seq uint64, ok bool) {
	return c.epoch, c.seq, c.known
}

// Totals returns what was seen so far.
func (c *Continuity) Totals() Totals { return c.total }

// Take takes the next frame of the stream. It keeps nothing of f.
func (c *Continuity) Take(f Frame) Verdict {
	switch {
	case f.Kind == Moved:
		return c.beat(f)
	case f.Kind != Message:
		return Verdict{}
	case string(f.Event) == "gap":
		return c.gap(f)
	case string(f.Event) == "reset":
		return c.reset(f)
	case !f.HasID:
		c.total.Unplaced++
		return Verdict{}
	}
	epoch, seq, ok := ParseID(string(f.ID))
	switch {
	case !ok:
		return c.fault("the id %q has not the form <epoch>-<sequence>", f.ID)
	case c.known && epoch != c.epoch:
		v := c.fault("the epoch changed from %s to %s without a reset", c.epoch, epoch)
		c.epoch, c.seq = epoch, seq
		return v
	case c.known && seq == c.seq:
		return c.again("event %d came again", seq)
	case c.known && seq < c.seq:
		return c.again("event %d came after %d", seq, c.seq)
	}
	c.pass(epoch, seq, seq-1)
	c.total.Events++
	return Verdict{Finding: Event}
}

// pass moves the position to seq, over sequences up to through, of which
// those that no gap stands for count as skipped.
func (c *Continuity) pass(epoch string, seq, through uint64) {
	if c.known && through > c.seq {
		skipped, kept := through-c.seq, c.gaps[:0]
		for _, g := range c.gaps {
			if first, last := max(g.from, c.seq+1), min(g.to, through); first <= last {
				skipped -= last - first + 1
			}
			if g.to > through {
				kept = append(kept, g)
			}
		}
		c.total.Skipped += skipped
		c.gaps = kept
	}
	c.epoch, c.seq, c.known = epoch, seq, true
}

func (c *Continuity) beat(f Frame) Verdict {
	epoch, seq, ok := ParseID(string(f.ID))
	switch {
	case !ok:
		return c.fault("the id %q has not the form <epoch>-<sequence>", f.ID)
	case c.known && epoch != c.epoch:
		v := c.fault("the epoch changed from %s to %s without a reset", c.epoch, epoch)
		c.epoch, c.seq = epoch, seq
		return v
	case c.known && seq < c.seq:
		return c.fault("the beat %d came after %d", seq, c.seq)
	}
	c.pass(epoch, seq, seq)
	c.total.Beats++
	return Verdict{Finding: Beat}
}

// notice is the data of a gap or reset.
type notice struct {
	From, To, Head  uint64
	Merged, Dropped uint64
	Reason          string
}

func (c *Continuity) gap(f Frame) Verdict {
	var n notice
	if err := json.Unmarshal(f.Data, &n); err != nil || n.From > n.To || n.From == 0 {
		return c.fault("the gap %.80q does not tell what is missing", f.Data)
	}
	if c.known && n.From <= c.seq {
		return c.fault("the gap %d to %d stands for what came before it, up to %d", n.From, n.To, c.seq)
	}
	epoch, seq, ok := ParseID(string(f.ID))
	if ok = ok && f.HasID; ok && c.known && (epoch != c.epoch || seq < c.seq) {
		return c.fault("the gap's id %s does not follow %s", f.ID, FormatID(c.epoch, c.seq))
	}
	missing := c.announce(span{n.From, n.To})
	if n.Merged+n.Dropped > 0 {
		missing = n.Merged + n.Dropped
	}
	c.total.Missing += missing
	c.total.Gaps++
	if ok {
		c.pass(epoch, seq, seq)
	}
	return Verdict{Finding: Gap, From: n.From, To: n.To, Reason: n.Reason}
}

// announce notes a gap and returns how many sequences of it are new: a gap
// without an id is told again to a reader that is cut off behind it.
func (c *Continuity) announce(g span) (added uint64) {
	kept := c.gaps[:0]
	added = g.to - g.from + 1
	for _, o := range c.gaps {
		if o.to+1 < g.from || g.to+1 < o.from {
			kept = append(kept, o)
			continue
		}
		if first, last := max(o.from, g.from), min(o.to, g.to); first <= last {
			added -= last - first + 1
		}
		g = span{min(o.from, g.from), max(o.to, g.to)}
	}
	c.gaps = append(kept, g)
	return added
}

func (c *Continuity) reset(f Frame) Verdict {
	var n notice
	json.Unmarshal(f.Data, &n) // a reset that does not tell more is one nevertheless
	c.known, c.gaps = false, nil
	if epoch, seq, ok := ParseID(string(f.ID)); f.HasID && ok {
		c.epoch, c.seq, c.known = epoch, seq, true
	}
	c.total.Resets++
	return Verdict{Finding: Reset, To: n.Head, Reason: n.Reason}
}

func (c *Continuity) again(format string, args ...any) Verdict {
	v := c.fault(format, args...)
	v.Again = true
	return v
}

func (c *Continuity) fault(format string, args ...any) Verdict {
	c.total.Faults++
	return Verdict{Finding: Fault, Reason: fmt.Sprintf(format, args...)}
}
