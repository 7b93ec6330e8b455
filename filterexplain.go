package main

import (
	"context"
	"errors"
	"strings"

	"carillon/httpd"
	"carillon/internal/sse"
	"carillon/runtime"
	"carillon/scripts/filter"
	"carillon/scripts/filter/worker"
)

// An explanation is what POST /api/filters/explain answers.
type explanation struct {
	Filter     string           `json:"filter,omitempty"` // the version of a named one: "@above@3"
	Tier       string           `json:"tier"`
	Refused    *refusedFilter   `json:"refused,omitempty"`   // why it is not compiled
	Canonical  string           `json:"canonical,omitempty"` // filters with the same text are one
	Cost       int              `json:"cost,omitempty"`
	Index      string           `json:"index,omitempty"` // what an event must have for the filter to be asked at all
	Projects   bool             `json:"projects"`
	Quarantine string           `json:"quarantine,omitempty"`
	Events     []explainedEvent `json:"events"`
}

type refusedFilter struct {
	Line      int    `json:"line"`
	Column    int    `json:"column"`
	Construct string `json:"construct,omitempty"`
	Message   string `json:"message"`
}

// An explainedEvent is what a filter says of one event, and why.
type explainedEvent struct {
	ID       string `json:"id,omitempty"`
	Type     string `json:"type"`
	EntityID string `json:"entity_id,omitempty"`
	filter.Explanation
}

// explain is httpd's ExplainFilter. What it compiles is not shared: places are
// those of this text.
func (f *filters) explain(ctx context.Context, epoch string, spec httpd.FilterSpec, events []*runtime.Event) (any, error) {
	x := explanation{Tier: nativeTier, Events: make([]explainedEvent, len(events))}
	for i, e := range events {
		x.Events[i] = explainedEvent{Type: e.Type, EntityID: e.EntityID}
		if e.Seq > 0 {
			x.Events[i].ID = sse.FormatID(epoch, e.Seq)
		}
	}
	source, place := spec.Source, samePlace
	if name, ok := strings.CutPrefix(source, "@"); ok {
		from, err := f.named.find(name, spec.Params)
		if err != nil {
			return nil, err
		}
		x.Filter, source, place = from.text(""), from.version.text.native, from.version.place
	}
	p, err := filter.Compile(source, filter.Options{Params: spec.Params})
	if err != nil {
		return x.byWorker(ctx, f, spec, events, err, place)
	}
	x.Canonical, x.Cost, x.Index, x.Projects = p.Key(), p.Cost(), p.IndexKey(), p.Projects()
	for i, e := range events {
		x.Events[i].Explanation = explainWhy(p, e, place)
	}
	return x, nil
}

// byWorker has a worker decide, which can't say why. Refused is why it must.
func (x *explanation) byWorker(ctx context.Context, f *filters, spec httpd.FilterSpec, events []*runtime.Event, refused error, place placer) (any, error) {
	made, err := f.take(ctx, spec)
	if err != nil {
		return nil, err
	}
	defer f.leave(made)
	if made.full == nil {
		return nil, errors.New("the filter has just changed; try again") // of a named one
	}
	x.Tier = workerTier
	var why *filter.Error
	if errors.As(refused, &why) {
		line, column := place(why.Line, why.Column)
		x.Refused = &refusedFilter{line, column, why.Construct, why.Message}
	}
	err = f.pool.Decide(ctx, made.full.Domain(), events, []*worker.Filter{made.full}, nil, func(_, event int, o filter.Outcome) {
		x.Events[event].Explanation = filter.Explanation{Match: o.Match, Data: o.Data, Error: o.Err}
	})
	x.Quarantine, _ = made.full.Quarantined()
	return x, err
}

// A placer says where a place of a text came from.
type placer = func(line, column int) (int, int)

func samePlace(line, column int) (int, int) { return line, column }

// explainWhy explains one event with the places of the file that the filter
// came from.
func explainWhy(p *filter.Program, e *runtime.Event, place placer) filter.Explanation {
	x := filter.Explain(p, e)
	for i := range x.Why {
		r := &x.Why[i]
		r.Line, r.Column = place(r.Line, r.Column)
	}
	return x
}
