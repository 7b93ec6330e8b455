package loadtest

import (
	"errors"
	"fmt"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latencies are kept in µs, from 1 µs to 10 minutes, with 3 digits.
const (
	maxLatency = int64(10 * time.Minute / time.Microsecond)
	digits     = 3
)

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, maxLatency, digits) }

// worker holds a share of the streams and checks what they get. All of it is
// owned by one goroutine, or guarded by the caller, but for live.
type worker struct {
	// Static after construction.
	run    *test
	target *url.URL
	feeds  []*feed
	order  *order // of all events that its streams have had

	streams   []stream
	waiting   []int32   // streams to be opened, by the time when
	parsers   []*parser // free ones
	hist      *hdrhistogram.Histogram
	second    int64     // of the run, that hist belongs to
	condition int32     // of the test, the same
	comment   []byte    // the last one outside the tape: a server's explanation, perhaps
	counted   int64     // run time at which pending was counted
	mischief  *mischief // nil without chaos

	// Counted here, shown in live by flush.
	delivered, others, bytes int64
	faults                   faults
	gaps, resets, reconnects int64
	filterErrors             int64
	examples                 []string
	open, ever               int64

	live live
}

// live is a worker's figures for other goroutines.
type live struct {
	delivered, others, bytes, faults, gaps, resets, reconnects, open, ever atomic.Int64
	pending                                                                atomic.Int64 // streams that lack the last event
	pendingOf                                                              atomic.Int64 // the number of that event
	lastAt                                                                 atomic.Int64 // run time of the last delivery, ns
	condition                                                              atomic.Int32 // that latencies are counted for
	_                                                                      [64]byte     // own cache line
}

// interval is the latencies of one second of the run.
type interval struct {
	second    int64
	condition int32
	hist      *hdrhistogram.Histogram
}

// newWorker returns the worker with the number, of the n streams from first on.
func newWorker(t *test, number, first, n int) *worker {
	w := &worker{run: t, target: t.target, order: &order{}}
	feeds := newFeeds(w)
	w.hist = newHistogram()
	w.mischief = newMischief(t.o.Chaos, number)
	w.live.pending.Store(int64(n))
	w.streams = make([]stream, n)
	for i := range w.streams {
		f := feeds.of(first + i)
		w.streams[i] = stream{index: int32(i), fd: -1, feed: f, tracker: tracker{taking: f.taking}}
		if !t.o.ListenOnly {
			w.streams[i].next = f.taking.from(1)
		}
		w.waiting = append(w.waiting, int32(i))
	}
	feeds.share()
	return w
}

// opened notes that the head of an event stream has come.
func (w *worker) opened(s *stream) {
	w.open++
	if s.once {
		w.reconnects++
	} else {
		w.ever++
	}
	s.once, s.tries = true, 0
	w.run.gate.done()
}

// closed notes that the connection of s has gone, for cause, and when to try
// again. It must be called once for every connection that was begun.
func (w *worker) closed(s *stream, cause error, now int64) {
	if s.phase == phaseBody {
		w.open--
	} else {
		w.run.gate.done()
		s.tries++
	}
	if errors.Is(cause, errCut) {
		w.killed(s)
	}
	w.end(s)
	s.phase = phaseClosed
	if !w.run.retry(s, cause) {
		return
	}
	s.phase = phaseIdle
	s.dialAt = now + int64(backoff(s.tries))
	w.waiting = append(w.waiting, s.index)
}

// backoff is the time to the next attempt: 100 ms, doubled by each failure to
// 1.6 s, so that a server that comes back is found soon.
func backoff(tries uint8) time.Duration {
	return 100 * time.Millisecond << min(tries, 4)
}

// note takes one frame that s has received at the run time now.
func (w *worker) note(s *stream, r *record, now int64) {
	var fault string
	switch {
	case r.kind == kindMark && r.mine:
		w.delivered++
		latency := (w.run.unix(now) - r.t) / int64(time.Microsecond)
		w.hist.RecordValue(min(max(latency, 1), maxLatency))
		if r.bad {
			w.faults.Altered++
			s.faulty = true
			fault = fmt.Sprintf("event %d (id %q) does not hold the data that was published", r.n, r.id)
		}
		if !s.expected(r) {
			if f := s.mark(r, &w.faults, w.run.retriedSpans()); f != "" {
				fault = f
			}
		}
	case r.kind == kindError:
		w.filterErrors++
		if fault = s.id(r, &w.faults, false); fault == "" {
			fault = "a filter failed: " + r.text
		}
	case r.kind == kindGap:
		w.gaps++
		fault = s.announce(r, &w.faults)
	case r.kind == kindReset:
		w.resets++
		fault = s.announce(r, &w.faults)
	default:
		if r.kind != kindMoved {
			w.others++
		}
		fault = s.id(r, &w.faults, false)
	}
	if fault != "" && len(w.examples) < maxExamples {
		w.examples = append(w.examples, fault)
	}
}

const maxExamples = 5

// flush shows the counters to other goroutines; now is the run time in ns.
// It hands the histogram over at the end of each second.
func (w *worker) flush(now int64) {
	l := &w.live
	if w.delivered+w.others != l.delivered.Load()+l.others.Load() {
		l.lastAt.Store(now)
	}
	l.delivered.Store(w.delivered)
	l.others.Store(w.others)
	l.bytes.Store(w.bytes)
	l.faults.Store(w.faults.total())
	l.gaps.Store(w.gaps)
	l.resets.Store(w.resets)
	l.reconnects.Store(w.reconnects)
	l.open.Store(w.open)
	l.ever.Store(w.ever)
	if second, condition := now/int64(time.Second), w.run.condition.Load(); second != w.second || condition != w.condition {
		w.handOver()
		w.second, w.condition = second, condition
		l.condition.Store(condition)
	}
	if last := w.run.last.Load(); last > 0 && now-w.counted > int64(10*time.Millisecond) {
		w.counted = now
		pending := int64(0)
		for i := range w.streams {
			if w.streams[i].next <= last {
				pending++
			}
		}
		l.pending.Store(pending)
		l.pendingOf.Store(last)
	}
}

// handOver gives the second's latencies to the collector.
func (w *worker) handOver() {
	if w.hist.TotalCount() > 0 {
		w.run.intervals <- interval{w.second, w.condition, w.hist}
		w.hist = newHistogram()
	}
}

// finish adds up what never came, once no more input comes. last is the
// number of the last event published, 0 if unknown; o is what all workers know.
func (w *worker) finish(last int64, o order) {
	w.handOver()
	for i := range w.streams {
		lost, announced := w.streams[i].settle(last, o)
		w.faults.Lost += lost
		w.faults.Announced += announced
		if lost > 0 && len(w.examples) < maxExamples {
			w.examples = append(w.examples, w.streams[i].lossText(last, o))
		}
		w.streams[i].faulty = w.streams[i].faulty || lost > 0
	}
}

func (w *worker) faultyStreams() (n int) {
	for i := range w.streams {
		if w.streams[i].faulty {
			n++
		}
	}
	return n
}
