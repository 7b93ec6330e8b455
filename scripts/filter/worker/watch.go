package worker

import "time"

const (
	// looks is how often a watch looks at the process within a deadline.
	looks = 10
	// stuckAfter ends a process that says nothing and uses no processor, and
	// lostAfter one that uses it for nothing known.
	stuckAfter = 5 * time.Second
	lostAfter  = time.Second
	// back is how many decisions give back a whole deadline.
	back = 50
)

// A budget is what a filter may still take. A filter that runs when a watch
// looks is charged with the time since the last look; each decision gives it a
// little back.
type budget struct {
	spent   time.Duration
	decided uint64 // decisions since the last charge
}

// charge reports whether the filter has taken more than it may: deadline at
// once, and a fiftieth of that for each decision.
func (b *budget) charge(taken, deadline time.Duration) (over bool) {
	given := min(b.decided, back) // more than the whole deadline is not given back
	b.spent = max(b.spent-time.Duration(given)*deadline/back, 0) + taken
	b.decided = 0
	return b.spent >= deadline
}

// A watch waits for what a process says, and ends it when a filter takes too
// long.
type watch struct {
	lane     *lane
	proc     *process
	deadline time.Duration
	ticker   *time.Ticker
	looked   time.Time
	used     time.Duration // processor time at the last look
	place    uint64        // at the last look
	since    time.Time     // the first look that found it
	there    time.Duration // processor time since then
	heard    time.Time     // when it last said something
	lost     time.Duration // time for nothing known since then
}

// An ended is why a process is no more. It has been buried.
type ended struct {
	culprit *Filter // nil if it is not known
	reason  string
}

func (l *lane) watch() *watch {
	now := time.Now()
	w := &watch{lane: l, proc: l.proc, deadline: l.pool.o.Deadline, looked: now, heard: now}
	w.used, _ = processorTime(w.proc.cmd.Process.Pid)
	w.ticker = time.NewTicker(max(w.deadline/looks, time.Millisecond))
	return w
}

func (w *watch) stop() { w.ticker.Stop() }

// next returns what the process says next, or how it ended.
func (w *watch) next() (reply any, e *ended) {
	for {
		select {
		case reply, ok := <-w.proc.replies:
			if !ok {
				return nil, w.died()
			}
			w.heard, w.lost = time.Now(), 0
			if m, ok := reply.(greedy); ok {
				if f := w.proc.loaded[m.id]; f != nil {
					w.lane.pool.jail(f, m.reason)
				}
				continue
			}
			return reply, nil
		case <-w.ticker.C:
			if e := w.look(); e != nil {
				return nil, e
			}
		}
	}
}

// died says of a process that ended by itself who ended it.
func (w *watch) died() *ended {
	<-w.proc.ended
	e := &ended{culprit: w.running(), reason: w.proc.lastWords()}
	if w.proc.killed() {
		e.culprit = nil
	}
	w.lane.bury()
	return e
}

// running is the filter that runs, nil if none does.
func (w *watch) running() *Filter {
	id, _ := splitPlace(w.proc.place.Load())
	return w.proc.loaded[id]
}

// hangs reports whether a filter has been at one event for longer than its
// deadline by the clock, because others use the processors too. A good part of
// that has to be its own doing.
func (w *watch) hangs(now time.Time) bool {
	return now.Sub(w.since) > w.deadline*3/2 && w.there > w.deadline/4
}

// look charges the filter that runs and kills the process if it is over its
// budget.
func (w *watch) look() *ended {
	now := time.Now()
	used, measured := processorTime(w.proc.cmd.Process.Pid)
	taken := used - w.used
	if !measured {
		taken = now.Sub(w.looked)
	}
	place := w.proc.place.Load()
	if place == w.place {
		w.there += taken
	} else {
		// Others may have run since the last look: a late one must not make
		// the one that is found pay for all of them.
		taken = min(taken, 2*w.deadline/looks)
		w.place, w.since, w.there = place, now, 0
	}
	w.used, w.looked = used, now
	f := w.running()
	switch {
	case f != nil && (f.budget.charge(taken, w.deadline) || w.hangs(now)):
		w.lane.bury()
		return &ended{culprit: f, reason: "took longer than " + w.deadline.String()}
	case f == nil:
		w.lost += taken
	}
	if w.lost > lostAfter || now.Sub(w.heard) > w.lane.pool.stuck {
		w.lane.bury()
		return &ended{reason: "did not answer"}
	}
	return nil
}
