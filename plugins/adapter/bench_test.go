package adapter

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"time"

	"carillon/plugins/adapter/wire"
)

// flood publishes states: Singles one after another when each is stored, then
// Items as fast as they are taken, by four goroutines.
type flood struct {
	config struct{ Singles, Items int }
}

func (f *flood) Describe() Description { return Description{Name: "flood"} }

func (f *flood) Configure(_ context.Context, c Config) error { return c.Decode(&f.config) }

func (f *flood) Run(ctx context.Context, h *Host) error {
	if err := h.Declare(ctx, Device{ID: "f", Entities: []Entity{{ID: "sensor.f"}}}); err != nil {
		return err
	}
	for range f.config.Singles {
		if err := h.Set(ctx, State{EntityID: "sensor.f", State: strconv.FormatInt(time.Now().UnixNano(), 10), Attributes: map[string]any{"unit_of_measurement": "W"}}); err != nil {
			return err
		}
		if err := h.Flush(ctx); err != nil {
			return err
		}
	}
	ends := make(chan error, 4)
	for range 4 {
		go func() {
			for i := range f.config.Items / 4 {
				if err := h.Set(ctx, State{EntityID: "sensor.f", State: strconv.Itoa(i), Attributes: map[string]any{"unit_of_measurement": "W"}}); err != nil {
					ends <- err
					return
				}
			}
			ends <- nil
		}()
	}
	for range 4 {
		if err := <-ends; err != nil {
			return err
		}
	}
	if err := h.Flush(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// follow opens a session and acknowledges what comes, until n items have.
func follow(b *testing.B, a *started, config string, n int, each func(*wire.Item)) (batches int) {
	session := a.open(config, &wire.Welcome{Credit: 4096, MaxBatchItems: 512})
	for items := -1; items < n; {
		m, err := session.Recv()
		if err != nil {
			b.Fatal(err)
		}
		batch := m.GetBatch()
		for _, item := range batch.GetItems() {
			each(item)
		}
		items += len(batch.GetItems())
		batches++
		ack(session, batch)
	}
	return batches
}

// BenchmarkItems measures states over a unix socket with mutual TLS, from an adapter's
// process into a host that stores nothing.
func BenchmarkItems(b *testing.B) {
	a := start(b, "flood")
	b.ResetTimer()
	batches := follow(b, a, `{"items":`+strconv.Itoa(b.N/4*4)+`}`, b.N/4*4, func(*wire.Item) {})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "items/s")
	b.ReportMetric(float64(b.N)/float64(batches), "items/batch")
}

// BenchmarkLatency measures a single state from Set to the host.
func BenchmarkLatency(b *testing.B) {
	a := start(b, "flood")
	took := make([]time.Duration, 0, b.N)
	follow(b, a, `{"singles":`+strconv.Itoa(b.N)+`}`, b.N, func(i *wire.Item) {
		if s := i.GetState(); s != nil {
			at, _ := strconv.ParseInt(s.State, 10, 64)
			took = append(took, time.Since(time.Unix(0, at)))
		}
	})
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1000, "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1000, "p99-µs")
}
