package journal

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"carillon/runtime"
)

var filler = strings.Repeat("abcdefghi ", 60)

var million = flag.Bool("million", false, "measure opening a journal of a million events")

// bigEvent is of the size of a common state_changed event, 700 bytes.
func bigEvent(i int) *runtime.Event {
	ev := event(i)
	id := fmt.Sprintf("sensor.temperature_%d", i%1000)
	text := fmt.Sprintf(`{"event_type":"state_changed","data":{"entity_id":%q,"n":%d,"x":%q},"origin":"LOCAL"}`, id, i, filler)
	return runtime.ParseEvent(0, ev.Source, ev.Type, id, "sensor", ev.Time, []byte(text))
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1, 16} {
		b.Run(fmt.Sprintf("of-%d", size), func(b *testing.B) {
			j := open(b, Options{})
			l := startTail(b, j, 0)
			evs := make([]*runtime.Event, 0, b.N+size)
			for i := range b.N + size {
				evs = append(evs, bigEvent(i))
			}
			b.ResetTimer()
			for i := 0; i < b.N; i += size {
				j.Append(evs[i:i+size], func(_ uint64, err error) {
					if err != nil {
						b.Error(err)
					}
				})
			}
			l.wait(b, b.N)
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func BenchmarkAppendToTail(b *testing.B) {
	j := open(b, Options{})
	came := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go j.Tail(ctx, 0, func([]*runtime.Event) { came <- struct{}{} })
	mustAppend(b, j, bigEvent(0))
	<-came
	b.ResetTimer()
	for i := range b.N {
		j.Append([]*runtime.Event{bigEvent(i)}, func(uint64, error) {})
		<-came
	}
}

func fill(b testing.TB, j *Journal, n int) {
	b.Helper()
	for i := 0; i < n; i += 100 {
		evs := make([]*runtime.Event, 100)
		for k := range evs {
			evs[k] = bigEvent(i + k)
		}
		j.Append(evs, func(_ uint64, err error) {
			if err != nil {
				b.Error(err)
			}
		})
	}
	mustAppend(b, j, bigEvent(n))
}

func BenchmarkRead(b *testing.B) {
	const n = 200_000
	j := open(b, Options{})
	fill(b, j, n)
	for _, readers := range []int{1, 8} {
		b.Run(fmt.Sprintf("readers-%d", readers), func(b *testing.B) {
			for range b.N {
				var wg sync.WaitGroup
				for range readers {
					wg.Add(1)
					go func() {
						defer wg.Done()
						got := 0
						if err := j.Read(context.Background(), 0, func(*runtime.Event) bool { got++; return true }); err != nil || got != n+1 {
							b.Errorf("got %d events, %v", got, err)
						}
					}()
				}
				wg.Wait()
			}
			b.ReportMetric(float64(b.N)*n*float64(readers)/b.Elapsed().Seconds(), "events/s")
		})
	}
	b.Run("first-event", func(b *testing.B) {
		for i := range b.N {
			j.Read(context.Background(), uint64(i*7919%n), func(*runtime.Event) bool { return false })
		}
	})
	b.Run("last-of-1000", func(b *testing.B) {
		for range b.N {
			j.Last(context.Background(), func(*runtime.Event) {})
		}
	})
	b.Run("seq-at", func(b *testing.B) {
		for i := range b.N {
			j.SeqAt(context.Background(), start.Add(time.Duration(i*7919%n)*time.Second))
		}
	})
}

func BenchmarkSaveStates(b *testing.B) {
	j := open(b, Options{})
	states := make([]runtime.StoredState, 10_000)
	for i := range states {
		states[i] = runtime.StoredState{Source: "x", State: &runtime.State{EntityID: fmt.Sprintf("sensor.s%d", i), State: "on", Attributes: []byte(`{}`)}}
	}
	for range b.N {
		if err := j.SaveStates(context.Background(), states, nil, 1); err != nil {
			b.Fatal(err)
		}
	}
}

// TestOpenAMillion tells how long Open takes with a million events, after a
// clean end and after a kill (go test -run Million -million -v).
func TestOpenAMillion(t *testing.T) {
	if !*million {
		t.Skip("takes a minute: -million")
	}
	dir := t.TempDir()
	j := open(t, Options{Dir: dir})
	begin := time.Now()
	fill(t, j, 1_000_000)
	t.Logf("filled in %v", time.Since(begin))
	begin = time.Now()
	j.Close()
	t.Logf("closed in %v", time.Since(begin))
	begin = time.Now()
	j = open(t, Options{Dir: dir})
	t.Logf("opened after a clean end in %v", time.Since(begin))
	j.Close()
	cmd, lines := child(t, "load", dir)
	for range 100 {
		lines.Scan()
	}
	cmd.Process.Kill()
	cmd.Wait()
	begin = time.Now()
	j = open(t, Options{Dir: dir})
	took := time.Since(begin)
	_, last := j.Bounds()
	t.Logf("opened after a kill in %v, with %d events", took, last)
	begin = time.Now()
	if err := j.Read(context.Background(), 500_000, func(*runtime.Event) bool { return false }); err != nil {
		t.Error(err)
	}
	t.Logf("first event from the middle in %v", time.Since(begin))
}
