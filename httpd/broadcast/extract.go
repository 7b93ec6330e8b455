package broadcast

import (
	"bytes"
	"fmt"
	"sort"
	"sync"
)

// An extract is what a feed with a filter takes of a passage. If the feed has
// several streams they share it.
type extract struct {
	once     sync.Once
	data     []byte
	marks    []frameMark // of its frames, in order
	failures []thrown
	err      error
}

// A thrown is an event on which the filter threw.
type thrown struct {
	seq     uint64
	message string
}

// maxExtracts bounds the extracts of a passage that are kept.
const maxExtracts = 16

// takeFiltered gives the job what its names and its filter take of a passage.
func (r *readers) takeFiltered(j *job, p *passage, keys []nameKey) error {
	from, to := p.between(j.pos, j.limit)
	x := p.extract(j.feed)
	if x == nil {
		x = new(extract)
	} else {
		from, to = 0, len(p.marks) // for all others, too
	}
	x.once.Do(func() {
		if x.err = r.fill(x, j.feed, p, p.match(nil, &j.feed.sel, keys, from, to)); x.err != nil {
			p.forget(j.feed)
			return
		}
		r.shelf.grow(p, len(x.data)+frameExtra*len(x.marks))
	})
	if x.err != nil {
		return x.err
	}
	j.takeExtract(x, min(p.end, j.limit))
	return nil
}

// extract returns the extract that the streams of a feed share, maybe one that
// is still to be filled; nil if that is not worth it.
func (p *passage) extract(f *feed) *extract {
	if f.streams.Load() < 2 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.extracts[f]
	if x == nil && len(p.extracts) < maxExtracts {
		if p.extracts == nil {
			p.extracts = make(map[*feed]*extract)
		}
		x = new(extract)
		p.extracts[f] = x
	}
	return x
}

func (p *passage) forget(f *feed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.extracts, f)
}

// fill decides about the events at some places of a passage.
func (r *readers) fill(x *extract, f *feed, p *passage, places []uint32) error {
	events := make([]*Event, len(places))
	for i, place := range places {
		events[i] = p.events[place]
	}
	decisions, err := r.decisions(f, events)
	if err != nil {
		return err
	}
	var payload []byte
	for i, ev := range events {
		switch d := &decisions[i]; {
		case d.Err != "":
			r.h.met.filterErrors[f.tier()].Inc()
			x.failures = append(x.failures, thrown{ev.Seq, d.Err})
			continue
		case !d.Match:
			continue
		case d.Data == nil:
			place := int(places[i])
			x.data = append(x.data, p.data[p.start(place):p.start(place+1)]...)
		default:
			x.data, payload = f.ch.appendProjected(x.data, payload, ev, d.Data)
		}
		x.marks = append(x.marks, frameMark{ev.Seq, uint32(len(x.data))})
	}
	return nil
}

// decisions returns what the filter of a feed says about each of the events.
func (r *readers) decisions(f *feed, events []*Event) ([]Decision, error) {
	if len(events) == 0 {
		return nil, nil
	}
	decisions := make([]Decision, len(events))
	err := r.h.cfg.Filters.Decide(r.ctx, f.sel.Filter, events, func(i int, d Decision) {
		d.Data = bytes.Clone(d.Data)
		decisions[i] = d
	})
	if err != nil {
		return nil, fmt.Errorf("filtering %d events after %d: %w", len(events), events[0].Seq-1, err)
	}
	return decisions, nil
}

// takeExtract gives the job what an extract has of the events up to end.
func (j *job) takeExtract(x *extract, end uint64) {
	place := func(seq uint64) int {
		return sort.Search(len(x.marks), func(i int) bool { return x.marks[i].seq > seq })
	}
	if from, to := place(j.pos), place(end); from < to {
		start := uint32(0)
		if from > 0 {
			start = x.marks[from-1].end
		}
		last := x.marks[to-1]
		if data := x.data[start:last.end:last.end]; len(j.data) == 0 {
			j.data = data
		} else {
			j.data = append(j.data, data...)
		}
		j.told = last.seq
		j.events += uint64(to - from)
	}
	for _, f := range x.failures {
		if j.pos < f.seq && f.seq <= end {
			j.failed(f.seq, f.message)
		}
	}
	j.pos = end
}

// failed notes that the filter of a job's feed threw on an event.
func (j *job) failed(seq uint64, message string) {
	if j.failure.Errors == 0 {
		j.failure = FilterError{Epoch: j.feed.ch.epoch, Seq: seq, Message: message, Filter: j.feed.sel.Filter.String()}
	}
	j.failure.Errors++
}

// appendFailure appends what tells of the errors that came while the job's turn
// was read.
func (j *job) appendFailure(dst []byte) []byte {
	if j.failure.Errors == 0 {
		return dst
	}
	dst = j.feed.ch.format.appendError(dst, j.failure, j.feed.asData)
	j.failure = FilterError{}
	return dst
}
