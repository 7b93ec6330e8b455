package worker

import (
	"carillon/scripts/filter"
	"context"
	"fmt"
	"testing"
)

// BenchmarkDecide is a stream of events decided by several filters.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("filters=%d", n), func(b *testing.B) {
			p, filters := benchFilters(b, n)
			events := lights(1000)
			b.ReportAllocs()
			matches := 0
			for b.Loop() {
				err := p.Decide(context.Background(), "operator", events, filters, nil, func(int, int, filter.Outcome) { matches++ })
				if err != nil {
					b.Fatal(err)
				}
			}
			decisions := float64(b.N) * float64(len(events)*n)
			b.ReportMetric(decisions/b.Elapsed().Seconds(), "decisions/s")
			b.ReportMetric(float64(b.N)*float64(len(events))/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkSingle is one event at a time: how long until it is decided.
func BenchmarkSingle(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("filters=%d", n), func(b *testing.B) {
			p, filters := benchFilters(b, n)
			events := lights(1)
			for b.Loop() {
				if err := p.Decide(context.Background(), "operator", events, filters, nil, func(int, int, filter.Outcome) {}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchFilters(b *testing.B, n int) (*Pool, []*Filter) {
	p := newTestPool(b, Options{})
	sources := make([]string, n)
	for i := range sources {
		sources[i] = fmt.Sprintf("e => e.domain === 'light' && e.attributes.brightness === %d", i)
	}
	return p, compileAll(b, p, "operator", sources...)
}
