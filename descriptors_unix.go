//go:build unix

package main

import "golang.org/x/sys/unix"

const (
	// keptDescriptors are for everything but connections: files and listeners.
	keptDescriptors = 500
	// fewestConnections are served however few descriptors there are.
	fewestConnections = 16
)

// raiseDescriptorLimit takes all the descriptors that the system allows.
// Failing to is no error: the streams are then fewer.
func raiseDescriptorLimit() {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil && limit.Cur < limit.Max {
		limit.Cur = limit.Max
		unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	}
}

// connectionsForDescriptors returns how many connections the descriptors allow
// beside what is kept: a third of them where there are few.
func connectionsForDescriptors() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 1000
	}
	all := int(min(uint64(limit.Cur), 1_000_000))
	return max(all-min(keptDescriptors, max(all/3, 64)), fewestConnections)
}
