package main

import (
	"context"
	"errors"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
)

// processors reads the CPU.
type processors struct {
	before *cpu.TimesStat // of the last round
	boot   string         // when the machine started; it doesn't change, and what is computed of it does
}

func (p *processors) read(ctx context.Context, _ *settings) (all []reading, err error) {
	times, err := cpu.TimesWithContext(ctx, false)
	if err == nil && len(times) > 0 {
		now := times[0]
		all = append(all, reading{
			object: "cpu_use", name: "CPU use", value: busyShare(p.before, &now), unit: "%", stateClass: "measurement", icon: "mdi:cpu-64-bit",
		})
		p.before = &now
	}
	avg, loadErr := load.AvgWithContext(ctx)
	if loadErr == nil {
		all = append(all, reading{
			object: "load", name: "Load", value: number(avg.Load1, 2), stateClass: "measurement", icon: "mdi:chip",
			attributes: map[string]any{"five_minutes": avg.Load5, "fifteen_minutes": avg.Load15},
		})
	}
	if p.boot == "" {
		if seconds, bootErr := host.BootTimeWithContext(ctx); bootErr == nil {
			p.boot = time.Unix(int64(seconds), 0).UTC().Format(time.RFC3339)
		}
	}
	if p.boot != "" {
		all = append(all, reading{object: "last_boot", name: "Last boot", value: p.boot, deviceClass: "timestamp", icon: "mdi:clock-start"})
	}
	return all, errors.Join(err, loadErr)
}

// busyShare returns how busy all processors were between two times, in percent;
// "" if that is not known. Guest time is within user time already (proc(5), /proc/stat).
func busyShare(before, now *cpu.TimesStat) string {
	if before == nil {
		return ""
	}
	sum := func(t *cpu.TimesStat) (total, idle float64) {
		return t.User + t.System + t.Nice + t.Irq + t.Softirq + t.Steal + t.Idle + t.Iowait, t.Idle + t.Iowait
	}
	total0, idle0 := sum(before)
	total1, idle1 := sum(now)
	passed, idle := total1-total0, idle1-idle0
	if passed <= 0 {
		return ""
	}
	return number(min(max(100*(passed-idle)/passed, 0), 100), 1)
}

// readMemory reads memory and swap.
func readMemory(ctx context.Context, _ *settings) (all []reading, err error) {
	m, err := mem.VirtualMemoryWithContext(ctx)
	if err == nil {
		all = append(all,
			reading{
				object: "memory_use", name: "Memory use", value: number(100-100*float64(m.Available)/float64(max(m.Total, 1)), 1),
				unit: "%", stateClass: "measurement", icon: "mdi:memory",
				attributes: map[string]any{"total_mib": m.Total / mib},
			},
			reading{
				object: "memory_available", name: "Memory available", value: number(float64(m.Available)/mib, 0),
				unit: "MiB", deviceClass: "data_size", stateClass: "measurement", icon: "mdi:memory",
			})
	}
	swap, swapErr := mem.SwapMemoryWithContext(ctx)
	if swapErr == nil && swap.Total > 0 {
		all = append(all, reading{
			object: "swap_use", name: "Swap use", value: number(100*float64(swap.Used)/float64(swap.Total), 1),
			unit: "%", stateClass: "measurement", icon: "mdi:harddisk",
			attributes: map[string]any{"total_mib": swap.Total / mib},
		})
	}
	return all, errors.Join(err, swapErr)
}
