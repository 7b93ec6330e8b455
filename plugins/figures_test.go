//go:build unix

package plugins

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"carillon/runtime"
)

// BenchmarkItems is items of an adapter into the journal in memory, and
// acknowledged, over mutual TLS.
func BenchmarkItems(bench *testing.B) {
	for _, per := range []int{1, 16, 128, 1024} {
		bench.Run(fmt.Sprintf("batch=%d", per), func(bench *testing.B) {
			b := openBench(bench, nil, "lamps", fmt.Sprintf("count=%d per=%d", bench.N+1, per))
			b.awaitShown("light.lamp", "off")
			first := b.status("lamps").Counters.Items
			bench.ResetTimer()
			b.await("all is stored", func() bool {
				s := b.status("lamps")
				return s.Counters.Items > int64(bench.N) && s.Queue == 0
			})
			bench.ReportMetric(float64(int64(bench.N)-first)/bench.Elapsed().Seconds(), "items/s")
		})
	}
}

// BenchmarkCommand is a command's way to an adapter and its answer's way back,
// with the state that it changes and the two events that tell of it.
func BenchmarkCommand(bench *testing.B) {
	b := openBench(bench, nil, "lamps", "version=1")
	b.awaitShown("light.lamp", "off")
	took := make([]time.Duration, 0, bench.N)
	for bench.Loop() {
		began := time.Now()
		if _, err := b.call("turn_on", "light.lamp"); err != nil {
			bench.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	bench.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	bench.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkStart is from the request to ready, with the old one's end.
func BenchmarkStart(bench *testing.B) {
	b := openBench(bench, nil, "lamps", "version=1")
	last := b.awaitState("lamps", Ready)
	for bench.Loop() {
		if err := b.host.Restart("lamps"); err != nil {
			bench.Fatal(err)
		}
		b.await("it runs anew", func() bool { s := b.status("lamps"); return s.State == Ready && s.PID != last.PID })
		last = b.status("lamps")
	}
}

// BenchmarkNoticeKill is from SIGKILL to the unavailable entity.
func BenchmarkNoticeKill(bench *testing.B) {
	b := openBench(bench, func(b *bencher) { b.host.times.window = time.Nanosecond }, "lamps", "version=1")
	for bench.Loop() {
		bench.StopTimer()
		b.awaitShown("light.lamp", "off")
		st := b.awaitState("lamps", Ready)
		bench.StartTimer()
		if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
			bench.Fatal(err)
		}
		b.awaitShown("light.lamp", runtime.Unavailable)
	}
}
