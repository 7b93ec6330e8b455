//go:build unix

package plugins

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"carillon/plugins/adapter/wire"
	"carillon/runtime"
)

// BenchmarkItems is items of an adapter into the journal in memory, and
// acknowledged, over mutual TLS.
func BenchmarkItems(x *testing.B) {
	for _, per := range []int{1, 16, 128, 1024} {
		x.Run(fmt.Sprintf("batch=%d", per), func(x *testing.B) {
			b := newBench(x, nil, "lamps", fmt.Sprintf("count=%d per=%d", x.N+1, per))
			b.awaitShown("light.lamp", "off")
			first := b.status("lamps").Counters.Items
			x.ResetTimer()
			b.await("all is stored", func() bool {
				s := b.status("lamps")
				return s.Counters.Items > int64(x.N) && s.Queue == 0
			})
			x.ReportMetric(float64(int64(x.N)-first)/x.Elapsed().Seconds(), "items/s")
		})
	}
}

// BenchmarkCommand is a command's way to an adapter and its answer's way back,
// with the state that it changes and the two events that tell of it.
func BenchmarkCommand(x *testing.B) {
	b := newBench(x, nil, "lamps", "version=1")
	b.awaitShown("light.lamp", "off")
	took := make([]time.Duration, 0, x.N)
	for x.Loop() {
		began := time.Now()
		if _, err := b.call("turn_on", "light.lamp"); err != nil {
			x.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	x.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	x.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkStart is from the request to ready, with the old one's end.
func BenchmarkStart(x *testing.B) {
	b := newBench(x, nil, "lamps", "version=1")
	last := b.awaitState("lamps", Ready)
	for x.Loop() {
		if err := b.host.Restart("lamps"); err != nil {
			x.Fatal(err)
		}
		b.await("it runs anew", func() bool { s := b.status("lamps"); return s.State == Ready && s.PID != last.PID })
		last = b.status("lamps")
	}
}

// BenchmarkNoticeKill is from SIGKILL to the unavailable entity.
func BenchmarkNoticeKill(x *testing.B) {
	b := newBench(x, func(b *bench) { b.host.times.window = time.Nanosecond }, "lamps", "version=1")
	for x.Loop() {
		x.StopTimer()
		b.awaitShown("light.lamp", "off")
		st := b.awaitState("lamps", Ready)
		x.StartTimer()
		if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
			x.Fatal(err)
		}
		b.awaitShown("light.lamp", runtime.Unavailable)
	}
}

// declare declares devices of ten entities each, one a batch, and fires an event then.
func (f *fake) declare() {
	for d := range f.number("devices") {
		var items []*wire.Item
		var ids []string
		for e := range 10 {
			ids = append(ids, fmt.Sprintf("light.d%d_e%d", d, e))
			items = append(items, state(ids[e], "off", ""))
		}
		f.publish(append([]*wire.Item{device(fmt.Sprint("d", d), ids...)}, items...)...)
		if f.has("one-by-one") {
			f.flush()
		}
	}
	f.publish(event("declared", "{}"))
}

// BenchmarkDeclare500 is from the start of a process to 5,000 entities, with two
// commands each, that it declares ten at a time: as fast as it can, and each only when the
// one before is visible, as who asks its devices what they are.
func BenchmarkDeclare500(x *testing.B) {
	for _, words := range []string{"at-once", "one-by-one"} {
		x.Run(words, func(x *testing.B) {
			for x.Loop() {
				b := newBench(x, nil, "lamps", "devices=500 "+words)
				b.await("all is declared", func() bool { return len(b.find("declared")) == 1 })
				b.stop()
			}
		})
	}
}
