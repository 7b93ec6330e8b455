package httpd

import (
	"context"
	"fmt"

	"carillon/httpd/broadcast"
	"carillon/internal/sse"
	"carillon/runtime"
)

// maxTries is how often a change of selection is tried anew because states
// changed that a slow filter was not asked about.
const maxTries = 20

// fixed are the parameters that a stream keeps for its life.
var fixed = []string{"format", "slow", "gaps", "max_age", "padding", "since"}

// postStream gives a stream another selection at an exact sequence. The stream
// brings, in this order: all of the old selection up to there; a leave message
// for each entity that it does not select any more, if the stream or the request
// says leave=1; the present state of each entity that it did not select before,
// unless the request says snapshot=0; the id of that place; and all of the new
// selection from there on.
func (s *Server) postStream(c *call) error {
	p, err := readParams(c)
	if err != nil {
		return err
	}
	for _, key := range fixed {
		if p.first(key) != "" {
			return malformed(key, "can't be changed while a stream is open")
		}
	}
	q, err := p.query("", s.settings())
	if err != nil {
		return err
	}
	if err := s.useFilter(c, &q); err != nil {
		return err
	}
	defer s.releaseFilter(q.selection.Filter)
	change, err := s.reselect(c, q)
	if err != nil {
		return err
	}
	return writeJSON(c, map[string]any{
		"id": c.rest, "at": sse.FormatID(s.Epoch, change.at), "selection": describeSelection(q.selection),
		"entered": change.entered, "left": change.left,
	})
}

// A change is a stream's new selection on its way.
type change struct {
	s              *Server
	id             string
	stream         broadcast.Identity
	before, behind chooser
	leave, refrain bool
	slow           bool // one of the filters is

	at            uint64
	entered, left int
	again         bool  // a slow filter was not asked about all states
	err           error // a filter could not be asked
}

// reselect makes one change of a stream after the other, so that each begins
// with the selection that the one before it left.
func (s *Server) reselect(c *call, q query) (*change, error) {
	defer s.changing.take(c.rest)()
	stream, err := s.find(c)
	if err != nil {
		return nil, err
	}
	slow := slow(stream.Selection.Filter) || slow(q.selection.Filter)
	if !s.beginSnapshot(slow) {
		return nil, s.later(tooManySnapshots)
	}
	defer s.endSnapshot(slow)
	moved, free := s.tenants.begin(c.rest, stream.Credential, q.selection.Filter, s.settings().MaxFiltersPerCredential)
	if !free {
		return nil, s.later(tooManyFilters)
	}
	_, leave := s.leaving.Load(c.rest)
	made := &change{
		s: s, id: c.rest, stream: stream, before: chooser{sel: stream.Selection}, behind: chooser{sel: q.selection},
		leave: q.leave == yes || leave && q.leave != no, refrain: q.refrain, slow: slow,
	}
	ctx, cancel := c.patience()
	defer cancel()
	err = made.make(ctx)
	moved(err == nil, stream.Selection.Filter)
	if err != nil {
		return nil, streamError(err)
	}
	s.followFilter(q.selection.Filter)
	return made, nil
}

// make makes the change. Filters are asked about the states before, since the
// hub waits during the cut. A quick one is asked then about those that changed
// meanwhile; for a slow one the change begins anew.
func (c *change) make(ctx context.Context) error {
	for try := 1; ; try++ {
		states, _ := c.s.Runtime.Snapshot()
		if err := c.decide(ctx, states); err != nil {
			return err
		}
		c.again = false
		err := c.s.hub.Reselect(c.id, c.behind.sel, func(broadcast.Selection) ([]byte, uint64) { return c.cut() })
		switch {
		case c.err != nil:
			return c.err
		case !c.again:
			return err
		case try == maxTries:
			return fmt.Errorf("%w: states change faster than it decides; try again", ErrFilterBusy)
		}
	}
}

func (c *change) decide(ctx context.Context, states []*runtime.State) error {
	if err := c.before.decide(ctx, c.s, states); err != nil {
		return err
	}
	return c.behind.decide(ctx, c.s, states)
}

// cut returns what the stream gets between the two selections. After 0, where
// there is no state, it makes the hub refuse.
func (c *change) cut() (own []byte, after uint64) {
	states, at := c.s.Runtime.Snapshot()
	if !c.before.knows(states) || !c.behind.knows(states) {
		if c.again = c.slow; c.again {
			return nil, 0
		}
		if c.err = c.decide(context.Background(), states); c.err != nil {
			return nil, 0
		}
	}
	c.at = at
	f := c.s.format(c.stream.Format)
	for _, state := range states {
		if c.leave && c.before.of(state).takes && !c.behind.of(state).takes {
			own = f.appendLeave(own, state.EntityID, at, c.stream.GapsAsData)
			c.left++
		}
	}
	if !c.refrain {
		own = c.behind.appendTo(own, c.s, f, states, at, c.stream.GapsAsData, func(state *runtime.State) bool {
			if c.before.of(state).takes {
				return false
			}
			c.entered++
			return true
		})
	}
	return sse.AppendID(own, sse.FormatID(c.s.Epoch, at)), at
}
