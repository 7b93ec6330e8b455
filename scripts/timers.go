package scripts

import (
	"container/heap"
	"time"

	"github.com/dop251/goja"
)

// A timer is one every() or after().
type timer struct {
	due     time.Time
	every   time.Duration // 0: once
	handler handler
	index   int // in the heap; -1 when it is not in it
}

// timers is a heap by due time. It belongs to the generation's goroutine, which
// sleeps on one time.Timer for all of them.
type timers struct{ heap []*timer }

// due takes the timer that is due, or returns nil. A repeated one goes back for
// its next time; times that were missed are left out.
func (ts *timers) due(now time.Time) *timer {
	if len(ts.heap) == 0 || ts.heap[0].due.After(now) {
		return nil
	}
	t := ts.heap[0]
	if t.every == 0 {
		heap.Pop(ts)
		return t
	}
	t.due = t.due.Add(t.every)
	if late := now.Sub(t.due); late >= 0 {
		t.due = t.due.Add((late/t.every + 1) * t.every)
	}
	heap.Fix(ts, 0)
	return t
}

// wait returns how long it is until the next timer is due.
func (ts *timers) wait(now time.Time) time.Duration {
	if len(ts.heap) == 0 {
		return maxDelay
	}
	return max(ts.heap[0].due.Sub(now), 0)
}

func (ts *timers) cancel(t *timer) {
	if t.index >= 0 && t.index < len(ts.heap) && ts.heap[t.index] == t {
		heap.Remove(ts, t.index)
	}
}

// Len implements heap.Interface.
func (ts *timers) Len() int { return len(ts.heap) }

// Less implements heap.Interface.
func (ts *timers) Less(i, j int) bool { return ts.heap[i].due.Before(ts.heap[j].due) }

// Swap implements heap.Interface.
func (ts *timers) Swap(i, j int) {
	ts.heap[i], ts.heap[j] = ts.heap[j], ts.heap[i]
	ts.heap[i].index, ts.heap[j].index = i, j
}

// Push implements heap.Interface.
func (ts *timers) Push(x any) {
	t := x.(*timer)
	t.index = len(ts.heap)
	ts.heap = append(ts.heap, t)
}

// Pop implements heap.Interface.
func (ts *timers) Pop() any {
	last := len(ts.heap) - 1
	t := ts.heap[last]
	t.index = -1
	ts.heap[last] = nil
	ts.heap = ts.heap[:last]
	return t
}

// apiEvery is every(duration, fn) -> cancel.
func (g *generation) apiEvery(c goja.FunctionCall) goja.Value { return g.addTimer("every", c, true) }

// apiAfter is after(duration, fn) -> cancel.
func (g *generation) apiAfter(c goja.FunctionCall) goja.Value { return g.addTimer("after", c, false) }

func (g *generation) addTimer(name string, c goja.FunctionCall, repeat bool) goja.Value {
	d := g.duration(name, c.Argument(0))
	t := &timer{due: time.Now().Add(d), handler: handler{g.callable(name+": the second argument", c.Argument(1)), g.here()}}
	if repeat {
		t.every = d
	}
	if g.timers.Len() >= maxTimers {
		g.throw("%s: more than %d timers in one script", name, maxTimers)
	}
	heap.Push(&g.timers, t)
	g.count()
	return g.vm.ToValue(func(goja.FunctionCall) goja.Value {
		g.timers.cancel(t)
		g.count()
		return goja.Undefined()
	})
}

// fire runs the function of a timer, which begins a story of its own.
func (g *generation) fire(t *timer) {
	g.count()
	g.stats.handled.Add(1)
	g.run(&story{}, t.handler.at, func() error {
		_, err := t.handler.fn(goja.Undefined())
		return err
	})
}
