package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/shirou/gopsutil/v4/disk"
)

// readDisks reads how full file systems are.
func readDisks(ctx context.Context, s *settings) (all []reading, err error) {
	mounted, err := disk.PartitionsWithContext(ctx, s.Disks != nil)
	if mounted == nil && err != nil {
		return nil, err
	}
	var errs []error
	for _, name := range missing(s.Disks, mounted, func(p disk.PartitionStat) string { return p.Mountpoint }) {
		errs = append(errs, fmt.Errorf("nothing is mounted at %s: disks names mount points", name))
	}
	for _, p := range chosenDisks(mounted, s.Disks) {
		use, err := disk.UsageWithContext(ctx, p.Mountpoint)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.Mountpoint, err))
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
