package worker

import (
	"os"
	"os/signal"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// ignoreInterrupts leaves ^C to the process that started this one.
func ignoreInterrupts() { signal.Ignore(os.Interrupt) }

// memoryInUse is what Go has from the system, in bytes.
func memoryInUse() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}

// collectAt has garbage collected more often from three quarters of the memory
// on that filters may take, so that only what is in use counts.
func collectAt(memory int64) { debug.SetMemoryLimit(memoryInUse() + memory*3/4) }

// watchEvery is how often watchMemory looks.
const watchEvery = 5 * time.Millisecond

// watchMemory ends the process once it has taken memory bytes more than now.
func watchMemory(memory int64) {
	limit := memoryInUse() + memory
	for range time.Tick(watchEvery) {
		if memoryInUse() > limit {
			os.Exit(exitMemory)
		}
	}
}
