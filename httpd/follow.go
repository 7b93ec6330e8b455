package httpd

import (
	"context"
	"errors"
	"time"

	"carillon/httpd/broadcast"
	"carillon/internal/sse"
)

// followAgain is the time between two tries to give streams their next filter,
// which gets longer: a stream may have too many changes still to come, or the
// filter may not be to be had.
const (
	followAgain  = 200 * time.Millisecond
	followRarely = 10 * time.Second
)

// FollowFilters has the filters of all streams looked at: a stream whose filter
// is not the present version of a named one gets that at an exact sequence, with
// a comment that names it. It returns at once, and may be called at any time.
func (s *Server) FollowFilters() {
	select {
	case s.looks() <- struct{}{}:
	default:
	}
}

// looks returns the channel of requests for FollowFilters.
func (s *Server) looks() chan struct{} {
	s.looksOnce.Do(func() { s.outdated = make(chan struct{}, 1) })
	return s.outdated
}

// followFilter is for a stream that has the filter f since a moment: there may
// be a next one since f was looked up.
func (s *Server) followFilter(f broadcast.Filter) {
	if f == nil || s.NextFilter == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	defer cancel()
	next, _, err := s.NextFilter(ctx, f)
	s.releaseFilter(next)
	if next != nil || err != nil {
		s.FollowFilters()
	}
}

func (s *Server) followFilters() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		select {
		case <-s.looks():
		case <-s.stopped:
			return
		}
		for pause := followAgain; s.follow(ctx) > 0; pause = min(2*pause, followRarely) {
			select {
			case <-time.After(pause):
			case <-s.looks():
			case <-s.stopped:
				return
			}
		}
	}
}

// A successor is the filter that takes the place of another one.
type successor struct {
	filter  broadcast.Filter // nil: none
	comment string
	err     error
}

// follow gives each stream with an outdated filter the next one, and returns how
// many could not get it yet.
func (s *Server) follow(ctx context.Context) (left int) {
	var ids []string
	s.hub.Streams(func(info broadcast.StreamInfo) {
		if info.Selection.Filter != nil || info.Changes > 0 {
			ids = append(ids, info.ID)
		}
	})
	successors := map[broadcast.Filter]successor{}
	for _, id := range ids {
		if !s.followOne(ctx, id, successors) {
			left++
		}
	}
	for _, next := range successors {
		s.releaseFilter(next.filter)
	}
	return left
}

// followOne reports whether the stream has the present version now.
func (s *Server) followOne(ctx context.Context, id string, successors map[broadcast.Filter]successor) bool {
	defer s.changing.take(id)()
	stream, err := s.hub.Identify(id)
	f := stream.Selection.Filter
	if err != nil || f == nil {
		return true
	}
	next, known := successors[f]
	if !known {
		next.filter, next.comment, next.err = s.NextFilter(ctx, f)
		successors[f] = next
		if next.err != nil {
			s.log.Warn("following a filter", "filter", f, "err", next.err)
		}
	}
	if next.filter == nil {
		return next.err == nil
	}
	sel := stream.Selection
	sel.Filter = next.filter
	moved, _ := s.tenants.begin(id, stream.Credential, next.filter, 0)
	err = s.hub.Reselect(id, sel, func(broadcast.Selection) (own []byte, after uint64) {
		return sse.AppendComment(nil, next.comment), s.Runtime.Head()
	})
	moved(err == nil, f)
	return err == nil || errors.Is(err, broadcast.ErrNoStream) || errors.Is(err, broadcast.ErrClosed)
}
