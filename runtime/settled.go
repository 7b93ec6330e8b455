package runtime

import (
	"context"
	"sync"
)

// A settled tells waiters when the table has reached a sequence.
type settled struct {
	mu sync.Mutex
	// Guarded by mu.
	seq     uint64
	waiting []waiter // in the order of their sequences
	closed  bool
}

type waiter struct {
	seq uint64
	fn  func(error)
}

func (s *settled) init(seq uint64) { s.seq = seq }

// when calls fn once the table has reached seq, or with ErrClosed; at once if
// it has already. Calls come in the order of their sequences.
func (s *settled) when(seq uint64, fn func(error)) {
	s.mu.Lock()
	reached, closed := s.seq >= seq, s.closed
	if !reached && !closed {
		s.waiting = append(s.waiting, waiter{seq, fn})
	}
	s.mu.Unlock()
	switch {
	case reached:
		fn(nil)
	case closed:
		fn(ErrClosed)
	}
}

// wait waits until the table has reached seq.
func (s *settled) wait(ctx context.Context, seq uint64) error {
	done := make(chan error, 1)
	s.when(seq, func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *settled) advance(seq uint64) {
	s.mu.Lock()
	s.seq = max(s.seq, seq)
	n := 0
	for n < len(s.waiting) && s.waiting[n].seq <= s.seq {
		n++
	}
	ready := s.waiting[:n:n]
	s.waiting = s.waiting[n:]
	if len(s.waiting) == 0 {
		s.waiting = nil
	}
	s.mu.Unlock()
	for _, w := range ready {
		w.fn(nil)
	}
}

func (s *settled) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *settled) close() {
	s.mu.Lock()
	s.closed = true
	ready := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	for _, w := range ready {
		w.fn(ErrClosed)
	}
}
