package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shirou/gopsutil/v4/net"
)

// networks reads network interfaces.
type networks struct {
	before map[string]net.IOCountersStat // of the last round
	at     time.Time                     // of that
}

func (n *networks) read(ctx context.Context, s *settings) (all []reading, err error) {
	counters, err := net.IOCountersWithContext(ctx, true)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	interfaces, err := net.InterfacesWithContext(ctx)
	if err != nil && s.Interfaces == nil {
		return nil, err
	}
	after := map[string]net.IOCountersStat{}
	for _, c := range counters {
		if !chosenInterface(c.Name, s.Interfaces, interfaces) {
			continue
		}
		after[c.Name] = c
		var received, sent string
		if b, known := n.before[c.Name]; known {
			passed := now.Sub(n.at)
			received, sent = rate(b.BytesRecv, c.BytesRecv, passed), rate(b.BytesSent, c.BytesSent, passed)
		}
		all = append(all, traffic(c.Name, "in", "received", "mdi:download-network", c.BytesRecv, received)...)
		all = append(all, traffic(c.Name, "out", "sent", "mdi:upload-network", c.BytesSent, sent)...)
	}
	n.before, n.at = after, now
	var errs []error
	for _, name := range missing(s.Interfaces, counters, func(c net.IOCountersStat) string { return c.Name }) {
		errs = append(errs, fmt.Errorf("there is no interface %s: interfaces names what is not there", name))
	}
	return all, errors.Join(errs...)
}

// traffic makes the readings of one direction.
func traffic(name, way, done, icon string, total uint64, rate string) []reading {
	return []reading{
		{
			object: "network_" + name + "_" + way, name: "Network " + name + " " + done, value: number(float64(total)/mib, 1),
			unit: "MiB", deviceClass: "data_size", stateClass: "total_increasing", icon: icon,
		},
		{
			object: "network_" + name + "_" + way + "_rate", name: "Network " + name + " " + done + " rate", value: rate,
			unit: "kB/s", deviceClass: "data_rate", stateClass: "measurement", icon: icon,
		},
	}
}

// rate returns thousands of bytes per second; "" for a counter that began anew.
func rate(before, after uint64, passed time.Duration) string {
	if after < before || passed <= 0 {
		return ""
	}
	return number(float64(after-before)/1000/passed.Seconds(), 3)
}

// chosenInterface reports whether an interface is asked for; if none are named,
// whether it is up and leads to elsewhere.
func chosenInterface(name string, patterns []string, interfaces net.InterfaceStatList) bool {
	if patterns != nil {
		return matches(patterns, name)
	}
	for _, i := range interfaces {
		if i.Name == name {
			return slices.Contains(i.Flags, "up") && !slices.Contains(i.Flags, "loopback")
		}
	}
	return false
}
