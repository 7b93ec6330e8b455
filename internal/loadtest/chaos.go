package loadtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Chaos says how a test disturbs what it watches: it kills connections after a
// random number of bytes, mostly within a frame, lets readers stall, and
// restarts the server. Times are means of random ones; zero means never.
type Chaos struct {
	// Seed is for all that is random; the same one makes the same choices,
	// though not at the same instants.
	Seed uint64
	// KillEvery is how long a connection lives. Half of them end with a TCP
	// reset, the others with an orderly close.
	KillEvery time.Duration
	// StallEvery is how long a stream is read until it stalls. One stall in
	// ten takes up to StallMax, the others up to a tenth of it.
	StallEvery, StallMax time.Duration
	// RestartEvery is the time between two restarts of the server.
	RestartEvery time.Duration
	// Restart ends the server, at once if killed, and returns when it has
	// begun again, with the same data and at the same address. It is called
	// by one goroutine. Nil never restarts it.
	Restart func(ctx context.Context, killed bool) error
}

// ChaosReport is what a test did to its streams and its server.
type ChaosReport struct {
	Seed uint64 `json:"seed"`
	// Kills counts connections that the test closed while bytes came:
	// KillsInHead of them before the response head was whole, KillsInFrame
	// within a frame; Aborted of them with a TCP reset.
	Kills        int64   `json:"kills"`
	KillsInHead  int64   `json:"kills_in_head"`
	KillsInFrame int64   `json:"kills_in_frame"`
	Aborted      int64   `json:"kills_by_reset"`
	Stalls       int64   `json:"stalls"`
	StallSeconds float64 `json:"stall_seconds"`
	RestartsKill int64   `json:"restarts_sigkill"`
	RestartsTerm int64   `json:"restarts_sigterm"`
	DownSeconds  float64 `json:"down_seconds"` // of the server, in all
}

func (c *ChaosReport) add(d ChaosReport) {
	c.Kills += d.Kills
	c.KillsInHead += d.KillsInHead
	c.KillsInFrame += d.KillsInFrame
	c.Aborted += d.Aborted
	c.Stalls += d.Stalls
	c.StallSeconds += d.StallSeconds
}

// cut is how a connection is to be killed.
type cut uint8

const (
	cutNot   cut = iota
	cutClose     // an orderly close (FIN)
	cutAbort     // a reset (RST)
)

// errCut is the end of a connection by the test's own hand.
var errCut = errors.New("the test closed the connection")

// mischief is a worker's part of the chaos. It has the worker's owner.
type mischief struct {
	*Chaos
	*rand.Rand
	kill, stall int64   // run times of the next ones
	stalled     []int32 // streams, in no order
	done        ChaosReport
}

func newMischief(c *Chaos, worker int) *mischief {
	if c == nil {
		return nil
	}
	return &mischief{Chaos: c, Rand: rand.New(rand.NewPCG(c.Seed, uint64(worker)+1))}
}

const (
	// maxCut is the most bytes that a connection marked for its end still
	// reads: a few frames.
	maxCut = 2000
	// One new connection in earlyCuts is marked from its first byte on, to
	// read earlyCut bytes at most: about a response head and a frame.
	earlyCuts, earlyCut = 4, 400
)

// next returns a random time after now that comes every mean, n times as often.
func (m *mischief) next(now int64, mean time.Duration, n int) int64 {
	return now + int64(m.ExpFloat64()*float64(mean)/float64(max(n, 1))) + 1
}

// mark makes the connection of s end after some more bytes.
func (m *mischief) mark(s *stream, most int32) {
	s.left = 1 + m.Int32N(most)
	s.cut = cutClose + cut(m.IntN(2))
}

// disturb does to the worker's streams what is due at the run time now, and
// calls resume for each that is read again.
func (w *worker) disturb(now int64, resume func(*stream)) {
	m := w.mischief
	if m == nil {
		return
	}
	quiet := w.run.quiet.Load()
	for i := 0; i < len(m.stalled); {
		s := &w.streams[m.stalled[i]]
		if !quiet && now < s.stalledTo {
			i++
			continue
		}
		s.stalledTo = 0
		m.stalled[i] = m.stalled[len(m.stalled)-1]
		m.stalled = m.stalled[:len(m.stalled)-1]
		resume(s)
	}
	if quiet {
		m.kill, m.stall = 0, 0
		return
	}
	for m.KillEvery > 0 && now >= m.kill {
		if s := w.anyone(); m.kill > 0 && s != nil && s.cut == cutNot {
			m.mark(s, maxCut)
		}
		m.kill = m.next(max(m.kill, now-int64(time.Second)), m.KillEvery, len(w.streams))
	}
	for m.StallEvery > 0 && now >= m.stall {
		if s := w.anyone(); m.stall > 0 && s != nil && s.stalledTo == 0 {
			w.stall(s, now)
		}
		m.stall = m.next(max(m.stall, now-int64(time.Second)), m.StallEvery, len(w.streams))
	}
}

// anyone returns a random stream, nil if it is not open.
func (w *worker) anyone() *stream {
	s := &w.streams[w.mischief.IntN(len(w.streams))]
	if s.phase != phaseBody {
		return nil
	}
	return s
}

func (w *worker) stall(s *stream, now int64) {
	m := w.mischief
	longest := m.StallMax
	if m.IntN(10) > 0 {
		longest /= 10
	}
	took := 1 + m.Int64N(max(int64(longest), 1))
	s.stalledTo = now + took
	m.stalled = append(m.stalled, s.index)
	m.done.Stalls++
	m.done.StallSeconds += time.Duration(took).Seconds()
}

// spare takes the kill off every stream once the test has become quiet.
func (w *worker) spare(s *stream) bool {
	if s.cut != cutNot && w.run.quiet.Load() {
		s.cut = cutNot
	}
	return s.cut == cutNot
}

// cutShort returns as much of p as s may still read and, when that is all,
// errCut once the worker has taken it.
func (w *worker) cutShort(s *stream, p []byte) ([]byte, error) {
	if w.spare(s) || len(p) < int(s.left) {
		s.left -= int32(min(len(p), int(s.left)))
		return p, nil
	}
	return p[:s.left], errCut
}

// killed counts the kill of s, before its connection's state is forgotten.
func (w *worker) killed(s *stream) {
	c := &w.mischief.done
	c.Kills++
	if s.cut == cutAbort {
		c.Aborted++
	}
	switch {
	case s.phase == phaseHead:
		c.KillsInHead++
	case s.own != nil && s.own.reader.Pending(), s.own == nil && len(s.feed.tape.partial(s.pos, s.nextRec)) > 0:
		c.KillsInFrame++
	}
	s.cut, s.left = cutNot, 0
}

// trouble restarts the server from time to time until ctx ends. It reports
// what it did once the server runs.
func (t *test) trouble(ctx context.Context) (done ChaosReport, err error) {
	c := t.o.Chaos
	r := rand.New(rand.NewPCG(c.Seed, 0))
	for first := r.IntN(2); ; first++ {
		pause := time.Duration((0.5 + r.Float64()) * float64(c.RestartEvery))
		select {
		case <-ctx.Done():
			return done, nil
		case <-time.After(pause):
		}
		// The first two are one of each; then a coin decides.
		kill := first%2 == 0
		if done.RestartsKill > 0 && done.RestartsTerm > 0 {
			kill = r.IntN(2) == 0
		}
		begin := time.Now()
		if err := c.Restart(t.ctx, kill); err != nil {
			return done, fmt.Errorf("restarting server: %w", err)
		}
		done.DownSeconds += time.Since(begin).Seconds()
		if kill {
			done.RestartsKill++
		} else {
			done.RestartsTerm++
		}
		t.restarts.Add(1)
	}
}

// disturbed runs play with the chaos on, and off before it drains.
func (t *test) startTrouble() (stop func() (ChaosReport, error)) {
	if t.o.Chaos == nil {
		return func() (ChaosReport, error) { return ChaosReport{}, nil }
	}
	t.quiet.Store(false)
	ctx, cancel := context.WithCancel(t.ctx)
	type end struct {
		done ChaosReport
		err  error
	}
	ended := make(chan end, 1)
	if t.o.Chaos.Restart == nil || t.o.Chaos.RestartEvery <= 0 {
		ended <- end{}
	} else {
		go func() {
			done, err := t.trouble(ctx)
			if err != nil {
				t.fail(err)
			}
			ended <- end{done, err}
		}()
	}
	return func() (ChaosReport, error) {
		cancel()
		e := <-ended
		t.quiet.Store(true)
		return e.done, e.err
	}
}
