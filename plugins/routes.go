package plugins

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// routes tell which session takes commands.
type routes struct {
	mu sync.Mutex
	// Guarded by mu.
	session *session
	opened  time.Time     // when session was
	refusal error         // why none takes any; nil: one is about to
	news    chan struct{} // closed and replaced when something changes
}

func (r *routes) init() { r.news = make(chan struct{}) }

func (r *routes) change(s *session, refusal error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.session, r.opened, r.refusal = s, time.Now(), refusal
	close(r.news)
	r.news = make(chan struct{})
}

// open sends commands to s.
func (r *routes) open(s *session) { r.change(s, nil) }

// hold lets commands wait for the next session.
func (r *routes) hold() { r.change(nil, nil) }

// refuse fails commands.
func (r *routes) refuse(why error) { r.change(nil, why) }

// changed says that entities were declared.
func (r *routes) changed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.news)
	r.news = make(chan struct{})
}

// find returns the session that takes commands for the entity. It waits for a
// session that is about to begin, and then for as long as is given to declare the entity.
func (r *routes) find(ctx context.Context, es *entities, entityID string, silent time.Duration) (*session, error) {
	for {
		r.mu.Lock()
		s, opened, refusal, news := r.session, r.opened, r.refusal, r.news
		r.mu.Unlock()
		var late <-chan time.Time
		if refusal != nil {
			return nil, refusal
		}
		if s != nil && !s.draining.Load() && es.of(s.g.number, entityID) != nil {
			return s, nil
		}
		if s != nil && !s.draining.Load() {
			wait := silent - time.Since(opened)
			if wait <= 0 {
				return nil, errors.New("its adapter has not declared it since it started")
			}
			late = time.After(wait)
		}
		select {
		case <-news:
		case <-late:
		case <-ctx.Done():
			return nil, fmt.Errorf("the adapter is not ready for it: %w", ctx.Err())
		}
	}
}

// lost refuses commands if they went to s, which has ended.
func (r *routes) lost(s *session, why *failure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.session == s {
		r.session, r.refusal = nil, fmt.Errorf("the adapter has ended: %w", why)
		close(r.news)
		r.news = make(chan struct{})
	}
}
