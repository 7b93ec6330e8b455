package adapter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"regexp"

	"carillon/plugins/adapter/wire"
)

// outbox is what goes out besides batches. It is bounded: results by the commands
// under way, logs by maxLogs, the rest is one of each.
type outbox struct {
	results []result
	logs    []*wire.Log
	dropped int // log lines that found no room
	beat    *wire.Beat

	metrics map[string]float64 // as they are
	news    bool               // the host doesn't know them
	due     bool               // they are to be sent
	refused bool               // a metric was left out, and that was logged
}

// A result waits until what was published before it is on its way.
type result struct {
	after uint64 // items
	wire  *wire.Result
}

// urgent reports whether a result waits for items that were not sent.
func (o *outbox) urgent(sent uint64) bool {
	return len(o.results) > 0 && o.results[0].after > sent
}

// next returns what goes out before batches, or nil.
func (o *outbox) next(sent uint64) *wire.FromAdapter {
	switch {
	case o.beat != nil:
		m := &wire.FromAdapter{Message: &wire.FromAdapter_Beat{Beat: o.beat}}
		o.beat = nil
		return m
	case o.due:
		o.due, o.news = false, false
		return &wire.FromAdapter{Message: &wire.FromAdapter_Metrics{Metrics: &wire.Metrics{Values: maps.Clone(o.metrics)}}}
	case len(o.results) > 0 && o.results[0].after <= sent:
		m := &wire.FromAdapter{Message: &wire.FromAdapter_Result{Result: o.results[0].wire}}
		o.results = o.results[1:]
		return m
	case len(o.logs) > 0:
		m := &wire.FromAdapter{Message: &wire.FromAdapter_Log{Log: o.logs[0]}}
		o.logs = o.logs[1:]
		return m
	case o.dropped > 0:
		l := &wire.Log{Level: wire.Log_WARN, Message: "log lines were dropped: they came faster than the host takes them", Fields: map[string]string{"lines": fmt.Sprint(o.dropped)}}
		o.dropped = 0
		return &wire.FromAdapter{Message: &wire.FromAdapter_Log{Log: l}}
	}
	return nil
}

func (o *outbox) empty() bool {
	return o.beat == nil && !o.due && len(o.results) == 0 && len(o.logs) == 0 && o.dropped == 0
}

// next returns what is to be sent now, or nil.
func (h *Host) next() *wire.FromAdapter {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sending = true
	if m := h.outbox.next(h.sent); m != nil {
		return m
	}
	if m := h.follows.next(); m != nil {
		return m
	}
	if b := h.nextBatch(); b != nil {
		return &wire.FromAdapter{Message: &wire.FromAdapter_Batch{Batch: b}}
	}
	h.sending = false
	h.tell()
	return nil
}

// send sends until the session is over.
func (h *Host) send() {
	for {
		select {
		case <-h.wake:
		case <-h.over:
			return
		}
		for m := h.next(); m != nil; m = h.next() {
			if err := h.stream.Send(m); err != nil {
				h.end(fmt.Errorf("%w: sending: %v", ErrHostGone, err))
				return
			}
		}
	}
}

// receive takes what the host sends until the session is over.
func (h *Host) receive() {
	for {
		m, err := h.stream.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("it closed its side")
			}
			h.end(fmt.Errorf("%w: %v", ErrHostGone, err))
			return
		}
		if err := h.take(m); err != nil {
			h.end(err)
			return
		}
	}
}

func (h *Host) take(m *wire.FromHost) error {
	switch m := m.Message.(type) {
	case *wire.FromHost_Ack:
		return h.acknowledged(m.Ack)
	case *wire.FromHost_Command:
		h.commands.begin(m.Command)
	case *wire.FromHost_Cancel:
		h.commands.cancel(m.Cancel.Id)
	case *wire.FromHost_Beat:
		h.beat(m.Beat)
	case *wire.FromHost_Happenings:
		return h.follows.arrived(m.Happenings)
	case *wire.FromHost_Welcome:
		return errors.New("the host welcomes twice")
	}
	return nil // what a later host may say
}

// beat answers a beat, and tells the metrics if they have changed.
func (h *Host) beat(b *wire.Beat) {
	h.mu.Lock()
	h.outbox.beat = b
	h.outbox.due = h.outbox.news
	h.mu.Unlock()
	notify(h.wake)
}

// end ends the session; the first reason stays.
func (h *Host) end(reason error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.err = reason
		close(h.over)
	}
}

func (h *Host) reason() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// settle waits until all that was published is stored, and all else is sent.
func (h *Host) settle(ctx context.Context) error {
	notify(h.wake)
	return h.wait(ctx, func() bool { return h.stored == h.published && h.outbox.empty() && !h.sending })
}

// maxMetrics is how many metrics an adapter may have, as the contract says.
const maxMetrics = 100

var metricName = regexp.MustCompile(`^[a-z0-9_]{1,64}$`)

// Metric sets a number that the host shows beside its own, by its name
// ([a-z0-9_]{1,64}); at most 100 names. Counters only rise. It is told with the
// next beat.
func (h *Host) Metric(name string, v float64) {
	h.mu.Lock()
	o := &h.outbox
	was, known := o.metrics[name]
	leftOut := !known && (len(o.metrics) == maxMetrics || !metricName.MatchString(name))
	first := leftOut && !o.refused
	switch {
	case leftOut:
		o.refused = true
	case !known || math.Float64bits(was) != math.Float64bits(v):
		if o.metrics == nil {
			o.metrics = map[string]float64{}
		}
		o.metrics[name] = v
		o.news = true
	}
	h.mu.Unlock()
	if first {
		h.log.Warn("metrics are left out: names are 1 to 64 lower-case letters, digits and underscores, and there may be 100", "metric", name)
	}
}
