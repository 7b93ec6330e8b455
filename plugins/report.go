package plugins

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"carillon/runtime"
)

// report makes an event of the host's own without waiting for the journal.
func (h *Host) report(typ, source string, data map[string]any) {
	text, err := json.Marshal(data)
	if err != nil {
		h.log().Error("making an event", "type", typ, "err", err) // strings and numbers only: does not happen
		return
	}
	select {
	case h.reports <- runtime.NewEvent{Type: typ, Data: text, Source: source}:
	default:
		h.metrics.reportsDropped.Inc()
		h.log().Warn("event dropped: too many wait for the journal", "type", typ, "adapter", source)
	}
}

// tellReports fires what report was given, as much as there is at once, until
// ctx ends and all is told.
func (h *Host) tellReports(ctx context.Context) {
	for {
		select {
		case e := <-h.reports:
			h.fire(e)
		case <-ctx.Done():
			for len(h.reports) > 0 && h.publishing.Err() == nil {
				h.fire(<-h.reports)
			}
			return
		}
	}
}

func (h *Host) fire(first runtime.NewEvent) {
	events := []runtime.NewEvent{first}
	for len(events) < 256 && len(h.reports) > 0 {
		events = append(events, <-h.reports)
	}
	ctx, cancel := context.WithTimeout(h.publishing, 10*time.Second)
	defer cancel()
	if _, err := h.Runtime.Fire(ctx, events...); err != nil && !errors.Is(err, runtime.ErrClosed) {
		h.metrics.reportsDropped.Add(len(events))
		h.log().Warn("events dropped", "events", len(events), "type", first.Type, "err", err)
	}
}

// complain logs that the journal takes nothing, at most every ten seconds.
func (h *Host) complain(err error) {
	now := time.Now().UnixNano()
	if last := h.complained.Load(); now-last > int64(10*time.Second) && h.complained.CompareAndSwap(last, now) {
		h.log().Warn("the journal takes no events of adapters; they wait", "err", err)
	}
}
