package broadcast

import (
	"bytes"
	"fmt"
)

// takeFiltered gives the job what its names and its filter take of a passage.
func (r *readers) takeFiltered(j *job, p *passage, keys []nameKey) error {
	var scratch [passageEvents]uint32
	from, to := p.between(j.pos, j.limit)
	places := p.match(scratch[:0], &j.feed.sel, keys, from, to)
	events := make([]*Event, len(places))
	for i, place := range places {
		events[i] = p.events[place]
	}
	decisions, err := r.decisions(j.feed, events)
	if err != nil {
		return err
	}
	for i, place := range places {
		switch d := &decisions[i]; {
		case d.Err != "":
			r.failed(j, events[i].Seq, d.Err)
			continue
		case !d.Match:
			continue
		case d.Data == nil:
			j.data = append(j.data, p.data[p.start(int(place)):p.start(int(place)+1)]...)
		default:
			j.data, j.payload = j.feed.ch.appendProjected(j.data, j.payload, events[i], d.Data)
		}
		j.told = events[i].Seq
		j.events++
	}
	j.pos = min(p.end, j.limit)
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

// failed notes that the filter of a job's feed threw on an event.
func (r *readers) failed(j *job, seq uint64, message string) {
	f := j.feed
	r.h.met.filterErrors[f.tier()].Inc()
	if j.failure.Errors == 0 {
		j.failure = FilterError{Epoch: f.ch.epoch, Seq: seq, Message: message, Filter: f.sel.Filter.String()}
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
