package loadtest

import (
	"encoding/json"
	"fmt"
	"math"

	"carillon/internal/sse"
)

// gap is what a gap or reset frame announces: that the stream does not get
// what lies from one sequence to another, both included.
type gap struct{ from, to uint64 }

// maxGaps bounds what a tracker keeps of the gaps of one stream; the two
// nearest are joined then only if they touch, and else the newest is dropped,
// so that its events count as lost.
const maxGaps = 4096

// parseGap reads the data of a frame named gap or reset. One that cannot be
// read announces nothing.
func parseGap(f sse.Frame) *gap {
	var d struct{ From, To, Head uint64 }
	if json.Unmarshal(f.Data, &d) != nil {
		return &gap{1, 0}
	}
	if string(f.Event) == "reset" {
		return &gap{0, d.Head}
	}
	return &gap{d.From, d.To}
}

// announce takes a gap or reset frame. A gap that reaches back to what the
// stream has had already is disorder.
func (k *tracker) announce(r *record, f *faults) (fault string) {
	g := *r.gap
	switch {
	case g.from > g.to:
		f.Disordered++
		k.faulty = true
		return "a gap frame does not tell which events it stands for"
	case r.kind == kindGap && r.hasID && r.epoch == k.epoch && g.from <= k.seq:
		f.Disordered++
		k.faulty = true
		return "a gap frame stands for events that came before it"
	}
	if n := len(k.gaps); n > 0 && k.gaps[n-1].to+1 >= g.from && k.gaps[n-1].from <= g.from {
		k.gaps[n-1].to = max(k.gaps[n-1].to, g.to)
	} else if n < maxGaps {
		k.gaps = append(k.gaps, g)
	}
	return k.id(r, f, false)
}

// covers reports whether all sequences from first to last were announced as
// missing by one gap or reset.
func (k *tracker) covers(first, last uint64) bool {
	for _, g := range k.gaps {
		if g.from <= first && last <= g.to {
			return true
		}
	}
	return false
}

// order tells the sequence of each event by its number, 0 if no stream has
// had it.
type order []uint64

// maxOrder bounds an order; events of higher numbers are not known in it.
const maxOrder = 1 << 24

// note writes down where the event n lies.
func (o *order) note(n int64, seq uint64) {
	if seq == 0 || n <= 0 || n >= maxOrder {
		return
	}
	for int64(len(*o)) <= n {
		*o = append(*o, 0)
	}
	if (*o)[n] == 0 { // else it was published twice
		(*o)[n] = seq
	}
}

// merge adds what p knows.
func (o *order) merge(p order) {
	for n, seq := range p {
		o.note(int64(n), seq)
	}
}

// bounds returns the sequences between which the event n must lie: one alone
// if a stream has had it.
func (o order) bounds(n int64) (first, last uint64) {
	before, after := min(n, int64(len(o))-1), n
	for before > 0 && o[before] == 0 {
		before--
	}
	for after < int64(len(o)) && o[after] == 0 {
		after++
	}
	first, last = uint64(n), math.MaxUint64
	if before > 0 {
		first = o[before] + uint64(n-before)
	}
	if after < int64(len(o)) {
		last = o[after] - uint64(after-n)
	}
	return first, last
}

// lossText tells the first loss of a stream for people.
func (k *tracker) lossText(last int64, o order) string {
	for _, s := range append(k.missing[:len(k.missing):len(k.missing)], span{k.next, last}) {
		for n := k.taking.from(s.first); n <= s.last; n = k.taking.from(n + 1) {
			if first, to := o.bounds(n); !k.covers(first, to) {
				return fmt.Sprintf("event %d of the missing %d to %d, at sequence %d to %d, was not announced; announced were %v",
					n, s.first, s.last, first, to, k.gaps[:min(len(k.gaps), 5)])
			}
		}
	}
	return ""
}

// settle splits what never came, if last is the number of the last event
// published, into lost and announced.
func (k *tracker) settle(last int64, o order) (lost, announced int64) {
	if len(k.gaps) == 0 {
		return k.lost(last), 0
	}
	spans := k.missing
	if k.next > 0 && last >= k.next {
		spans = append(spans[:len(spans):len(spans)], span{k.next, last})
	}
	for _, s := range spans {
		for n := k.taking.from(s.first); n <= s.last; n = k.taking.from(n + 1) {
			if k.covers(o.bounds(n)) {
				announced++
			} else {
				lost++
			}
		}
	}
	return lost, announced
}
