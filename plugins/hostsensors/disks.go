package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v4/disk"
)

// disks reads how full file systems are. One that hangs, as a network's may, costs the
// others nothing.
type disks struct {
	// Static after construction.
	usage func(ctx context.Context, path string) (*disk.UsageStat, error)

	mu   sync.Mutex
	busy map[string]bool // mount points that have not answered yet; guarded by mu
}

// diskPatience is how long a file system may take: less than its kind has.
const diskPatience = patience - time.Second

type diskUse struct {
	*disk.UsageStat
	err error
}

// ask begins to ask a file system. The channel gets the answer; if an earlier question
// hangs still, at once that it is late.
func (d *disks) ask(ctx context.Context, path string) <-chan diskUse {
	done := make(chan diskUse, 1)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[path] {
		done <- diskUse{err: errDiskLate}
		return done
	}
	if d.busy == nil {
		d.busy = map[string]bool{}
	}
	d.busy[path] = true
	go func() {
		use, err := d.usage(ctx, path)
		d.mu.Lock()
		delete(d.busy, path)
		d.mu.Unlock()
		done <- diskUse{use, err}
	}()
	return done
}

var errDiskLate = fmt.Errorf("it has not answered for %v", diskPatience)

// read is the source.
func (d *disks) read(ctx context.Context, s *settings) (all []reading, err error) {
	mounted, err := disk.PartitionsWithContext(ctx, s.Disks != nil)
	if mounted == nil && err != nil {
		return nil, err
	}
	var errs []error
	for _, name := range missing(s.Disks, mounted, func(p disk.PartitionStat) string { return p.Mountpoint }) {
		errs = append(errs, fmt.Errorf("nothing is mounted at %s: disks names mount points", name))
	}
	chosen := chosenDisks(mounted, s.Disks)
	asked := make([]<-chan diskUse, len(chosen))
	for i, p := range chosen {
		asked[i] = d.ask(ctx, p.Mountpoint)
	}
	late, cancel := context.WithTimeout(ctx, diskPatience)
	defer cancel()
	for i, p := range chosen {
		use := diskUse{err: errDiskLate}
		select {
		case use = <-asked[i]:
		case <-late.Done():
			select { // the others may have answered since
			case use = <-asked[i]:
			default:
			}
		}
		if use.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.Mountpoint, use.err))
			continue
		}
		if use.Total == 0 {
			continue // proc and its like
		}
		object, name := "disk_"+p.Mountpoint, "Disk "+p.Mountpoint
		if p.Mountpoint == "/" {
			object = "disk_root"
		}
		all = append(all,
			reading{
				object: object + "_use", name: name + " use", value: number(use.UsedPercent, 1), unit: "%", stateClass: "measurement", icon: "mdi:harddisk",
				attributes: map[string]any{"mount_point": p.Mountpoint, "device": p.Device, "file_system": p.Fstype, "total_gib": float64(10*use.Total/gib) / 10},
			},
			reading{
				object: object + "_free", name: name + " free", value: number(float64(use.Free)/gib, 2),
				unit: "GiB", deviceClass: "data_size", stateClass: "measurement", icon: "mdi:harddisk",
			})
	}
	return all, errors.Join(errs...)
}

// chosenDisks returns the file systems that are asked for, else one for each device:
// that with the shortest path. Images that are always full are none of them.
func chosenDisks(mounted []disk.PartitionStat, patterns []string) (chosen []disk.PartitionStat) {
	if patterns != nil {
		return slices.DeleteFunc(slices.Clone(mounted), func(p disk.PartitionStat) bool { return !matches(patterns, p.Mountpoint) })
	}
	for _, p := range mounted {
		if p.Fstype == "squashfs" || p.Fstype == "iso9660" {
			continue
		}
		i := slices.IndexFunc(chosen, func(c disk.PartitionStat) bool { return c.Device == p.Device })
		switch {
		case i < 0:
			chosen = append(chosen, p)
		case len(p.Mountpoint) < len(chosen[i].Mountpoint):
			chosen[i] = p
		}
	}
	return chosen
}
