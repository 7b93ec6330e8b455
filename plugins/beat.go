package plugins

import (
	"sync"
	"time"

	"carillon/plugins/adapter/wire"
)

// beats are the proof that the adapter lives.
type beats struct {
	mu sync.Mutex
	// Guarded by mu.
	sent     uint64 // the last number
	answered uint64
	since    time.Time     // when the oldest one without answer was sent
	trip     time.Duration // how long the last took
}

func (b *beats) init() {}

// next returns the number to send, or how long an answer is outstanding.
func (b *beats) next(now time.Time) (number uint64, outstanding time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sent != b.answered {
		return 0, now.Sub(b.since)
	}
	b.sent++
	b.since = now
	return b.sent, 0
}

func (b *beats) answer(number uint64) *failure {
	b.mu.Lock()
	defer b.mu.Unlock()
	if number > b.sent {
		return failed(ReasonContract, "it answered beat %d, which was not sent", number)
	}
	if number == b.sent && b.answered != b.sent {
		b.answered = number
		b.trip = time.Since(b.since)
	}
	return nil
}

// forgive makes the outstanding beat a new one: the host did not listen.
func (b *beats) forgive(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.since = now
}

// beat sends beats, one at a time, and ends the session of an adapter that
// doesn't answer.
func (s *session) beat() {
	t := &s.a.host.times
	tick := time.NewTicker(t.beat)
	defer tick.Stop()
	for {
		number, outstanding := s.beats.next(time.Now())
		switch {
		case number > 0:
			if !s.out.put(&wire.FromHost{Message: &wire.FromHost_Beat{Beat: &wire.Beat{Number: number}}}) {
				s.fail(failed(ReasonHang, "it doesn't read what is sent to it"))
			}
		case s.pub.blocked():
			s.beats.forgive(time.Now())
		case outstanding >= t.hang:
			s.fail(failed(ReasonHang, "it has not answered a beat for %v", outstanding.Round(time.Millisecond)))
		}
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
	}
}
